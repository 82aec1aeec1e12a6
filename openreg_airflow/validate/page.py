"""A verdict as one HTML page that stands alone: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from openreg_airflow.validate import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from openreg_airflow.records import RuleResult, Verdict

#: Most rules on the page; failed ones come before passed ones when there are more.
LISTED = 1000
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --dim: #5d6b7a; --page: #f5f7f9;
  --card: #fff; --line: #dde3e9; --good: #1f7a4d; --warn: #a15c00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --dim: #9aa8b6; --page: #12181f;
  --card: #1b232c; --line: #303b47; --good: #58c08b; --warn: #e0a24a; --bad: #f2837b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 2.2rem 0 .8rem; font-size: 1.15rem; }
h3 { margin: 0; font-size: 1rem; } p { margin: .2rem 0; } .dim { color: var(--dim); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem;
  margin-top: 1.2rem; }
.tile { padding: .8rem 1rem; } .tile b { display: block; font-size: 1.7rem; line-height: 1.2; }
.state { display: inline-block; margin: .9rem 0 0; padding: .25rem .8rem; border-radius: 99px;
  color: var(--card); font-weight: 600; background: var(--good); }
.state.warned { background: var(--warn); } .state.blocked { background: var(--bad); }
.wide { overflow-x: auto; } table { width: 100%; border-collapse: collapse; }
th, td { padding: .45rem .7rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; } th { color: var(--dim); font-weight: 600; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, .v { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.bar { width: 9rem; height: .6rem; margin-top: .45rem; border-radius: 3px;
  background: var(--line); overflow: hidden; }
.bar i { display: block; height: 100%; background: currentColor; }
.rule { margin-bottom: 1rem; padding: 1rem 1.1rem; } .rule table { margin-top: .6rem; }
td.v { min-width: 9.5rem; } a { color: inherit; }
"""


def page(
    verdict: Verdict,
    *,
    report_id: str,
    title: str,
    business_date: date,
    source: str,
    counts: Sequence[str] = (),
) -> str:
    """The page as text, to be written as UTF-8.

    Args:
        verdict: what is shown.
        report_id: the report.
        title: its title.
        business_date: the reported day.
        source: where the tables came from: a run, or files.
        counts: how the records of the date reconcile by now, a line a table.
    """
    results = verdict.results
    broken = [result for result in results if not result.passed]
    listed = results if len(results) <= LISTED else tuple(broken[:LISTED])
    head = f"{title}, {business_date.isoformat()}"
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Validation: {_text(head)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{_text(title)}</h1>",
            f'<p class="dim"><code>{_text(report_id)}</code>, business date '
            f"{business_date.isoformat()}, {_text(source)}</p>",
            _state(verdict),
            *_tiles(verdict),
            *(f'<p class="dim">{_text(line)}</p>' for line in counts),
            "<h2>Rules</h2>",
            *_table(listed),
            *_more(len(results) - len(listed)),
            *_failures(broken[:LISTED]),
            "</body>\n</html>\n",
        )
    )


def _state(verdict: Verdict) -> str:
    kind, text = ("", "Every rule passed")
    if verdict.blocking:
        kind, text = " blocked", "Blocked: nothing may be delivered"
    elif any(not result.passed for result in verdict.results):
        kind, text = " warned", "May be delivered, with warnings"
        if aside := sum(verdict.set_aside.values()):
            text = f"May be delivered, without {aside:,} records"
    elif not verdict.results:
        text = "There are no rules"
    return f'<p class="state{kind}">{text}</p>'


def _tiles(verdict: Verdict) -> Iterator[str]:
    results = verdict.results
    tables = {result.table: result.checked for result in results}
    tiles = (
        ("rules", f"{len(results):,}", ""),
        ("passed", f"{sum(result.passed for result in results):,}", "good"),
        ("warned", f"{len(verdict.warnings):,}", "warn" if verdict.warnings else ""),
        ("blocked", f"{len(verdict.blocking):,}", "bad" if verdict.blocking else ""),
        *_aside(verdict),
        ("rows checked", f"{sum(tables.values()):,}", ""),
        ("seconds", f"{sum(result.seconds for result in results):.1f}", ""),
    )
    yield '<div class="tiles">'
    for name, value, kind in tiles:
        yield f'<div class="tile card"><b class="{kind}">{value}</b>{name}</div>'
    yield "</div>"


def _aside(verdict: Verdict) -> Iterator[tuple[str, str, str]]:
    for table, records in verdict.set_aside.items():
        yield f"{_text(table)} set aside", f"{records:,}", "warn"


def _table(results: Sequence[RuleResult]) -> Iterator[str]:
    if not results:
        return
    yield '<div class="card wide"><table><thead><tr><th>Rule</th><th>Severity</th><th>Result</th>'
    yield '<th class="n">Failed</th><th class="n">Of</th><th>Share</th>'
    yield '<th class="n">Seconds</th></tr></thead><tbody>'
    for number, result in enumerate(results):
        kind = _kind(result)
        name = f"<code>{_text(result.rule_id)}</code>"
        if not result.passed:
            name = f'<a href="#{_anchor(result)}">{name}</a>'
        yield (
            f'<tr id="r{number}"><td>{name}<br>{_text(result.title)}</td>'
            f'<td>{_text(result.severity)}</td><td class="{kind}">{summary.state(result)}</td>'
            f'<td class="n">{result.failed:,}</td><td class="n">{result.checked:,}</td>'
            f'<td class="{kind}">{_bar(result)}</td><td class="n">{result.seconds:.2f}</td></tr>'
        )
    yield "</tbody></table></div>"


def _bar(result: RuleResult) -> str:
    """The share of failing rows; the least is still seen."""
    if not result.failed or not result.checked:
        return '<div class="bar"></div>'
    share = min(1.0, result.failed / result.checked)
    percent = f"{share:.2%}" if share >= 0.0001 else "under 0.01%"
    width = max(2.0, share * 100)
    return f'<div class="bar" title="{percent}"><i style="width:{width:.1f}%"></i></div>{percent}'


def _failures(broken: Sequence[RuleResult]) -> Iterator[str]:
    if broken:
        yield "<h2>What failed</h2>"
    for result in broken:
        yield f'<section class="rule card" id="{_anchor(result)}">'
        yield f'<h3 class="{_kind(result)}">{_text(result.title)}</h3>'
        reference = f", {_text(result.reference)}" if result.reference else ""
        yield (
            f'<p class="dim"><code>{_text(result.rule_id)}</code>, {_text(result.severity)}, '
            f"table <code>{_text(result.table)}</code>{reference}</p>"
        )
        yield f"<p>{_text(summary.outcome(result))}</p>"
        yield from _samples(result)
        yield "</section>"


def _samples(result: RuleResult) -> Iterator[str]:
    if not result.samples:
        return
    columns = list(result.samples[0])
    yield '<div class="wide"><table><thead><tr><th>Message</th>'
    yield f"{_cells(columns, 'th')}</tr></thead><tbody>"
    for message, sample in zip(result.messages, result.samples, strict=False):
        values = ("NULL" if sample[name] is None else str(sample[name]) for name in columns)
        yield f"<tr><td>{_text(message)}</td>{_cells(values, 'td')}</tr>"
    yield "</tbody></table></div>"
    if result.failed > len(result.samples):
        more = result.failed - len(result.samples)
        yield f'<p class="dim">and {more:,} rows more</p>'


def _cells(values: Iterable[str], tag: str) -> str:
    kind = ' class="v"' if tag == "td" else ""
    return "".join(f"<{tag}{kind}>{_text(value)}</{tag}>" for value in values)


def _more(rules: int) -> Iterator[str]:
    if rules:
        yield f'<p class="dim">and {rules:,} rules more</p>'


def _kind(result: RuleResult) -> str:
    return "good" if result.passed else "bad" if result.blocks else "warn"


def _anchor(result: RuleResult) -> str:
    return f"rule-{_text(result.rule_id)}"


def _text(value: str) -> str:
    """A value that cannot be taken for markup; half a surrogate pair is escaped."""
    return escape(value.encode("utf-8", "backslashreplace").decode())
