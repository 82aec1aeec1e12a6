"""How a verdict reads: the table in a task's log, and the error when blocking rules failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import BlockingRulesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openreg_airflow.records import RuleResult, Verdict

#: Most rules in the table; failed ones come before passed ones when there are more.
LISTED = 200
#: Rules, and messages of each, in the text of the error.
_NAMED = 10
_MESSAGES = 3
_HEAD = ("rule", "severity", "result", "failed", "checked", "seconds", "title")
_RIGHT = frozenset({"failed", "checked", "seconds"})


def lines(verdict: Verdict) -> Iterator[str]:
    """The verdict as lines of text: a table of the rules, then messages of those that failed."""
    results = verdict.results
    if not results:
        yield "There are no rules."
        return
    broken = [result for result in results if not result.passed]
    listed: Sequence[RuleResult] = results if len(results) <= LISTED else broken[:LISTED]
    if listed:
        yield from _table([_HEAD, *map(_row, listed)])
    if len(listed) < len(results):
        yield f"... and {len(results) - len(listed):,} rules more."
    for result in broken[:LISTED]:
        yield from _details(result)
    for table, records in verdict.set_aside.items():
        yield f"Set aside: {records:,} records of {table}. See: openreg exceptions list"
    if verdict.failures and broken:
        yield f"Failing rows: {verdict.failures.uri}"


def count(verdict: Verdict) -> str:
    """One line: how many rules passed, warned and blocked, and how many records are set aside."""
    blocking, warnings = len(verdict.blocking), len(verdict.warnings)
    passed = len(verdict.results) - blocking - warnings
    line = f"{passed} of {len(verdict.results)} rules passed, {warnings} warned, {blocking} blocked"
    aside = sum(verdict.set_aside.values())
    return f"{line}, {aside:,} records set aside" if aside else line


def blocking_error(verdict: Verdict) -> BlockingRulesError:
    """The error that stops a run whose blocking rules failed."""
    blocking = verdict.blocking
    parts = [f"{len(blocking)} blocking rule{'s' if len(blocking) > 1 else ''} failed"]
    for result in blocking[:_NAMED]:
        parts.append(f"- {result.rule_id} ({result.title}): {outcome(result)}")
        parts += [f"    {message}" for message in result.messages[:_MESSAGES]]
    if len(blocking) > _NAMED:
        parts.append(f"- and {len(blocking) - _NAMED} more")
    where = f" All failing rows are in {verdict.failures.uri}." if verdict.failures else ""
    return BlockingRulesError(
        "\n".join(parts),
        hint=f"Mend the data at its source, or the rule, and clear the run.{where}",
    )


def state(result: RuleResult) -> str:
    """How a rule ended, in a word or two: passed, failed, error, set aside or tolerated."""
    if result.sets_aside:
        return "set aside"
    if result.tolerated:
        return "tolerated"
    return "passed" if result.passed else "error" if result.error else "failed"


def _row(result: RuleResult) -> tuple[str, ...]:
    ended = state(result)
    return (
        result.rule_id,
        result.severity,
        ended.upper() if ended in {"error", "failed"} else ended,
        f"{result.failed:,}",
        f"{result.checked:,}",
        f"{result.seconds:.2f}",
        result.title,
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for name, cell, width in zip(_HEAD, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _details(result: RuleResult) -> Iterator[str]:
    reference = f" [{result.reference}]" if result.reference else ""
    yield f"{result.severity} rule {result.rule_id}{reference}: {outcome(result)}"
    for message, sample in zip(result.messages, result.samples, strict=False):
        values = ", ".join(
            f"{name}={'NULL' if value is None else value}" for name, value in sample.items()
        )
        yield f"    {message}    ({values})"


def outcome(result: RuleResult) -> str:
    """How a rule that did not pass ended, in half a sentence."""
    if result.error and not result.failed:
        return f"it could not be evaluated: {result.error}"
    rows = "row" if result.checked == 1 else "rows"
    error = f"; {result.error}" if result.error else ""
    limit = ""
    if result.at_most:
        limit = f" ({'within' if result.tolerated else 'more than'} {result.at_most})"
    return f"{result.failed:,} of {result.checked:,} {rows} failed{limit}{error}"
