"""Static check of the ``validate`` section: every rule can be read, and fits what is declared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from openreg_airflow.language.scope import Scope, columns_of, nearest
from openreg_airflow.problem import Problem
from openreg_airflow.validate.history import COLUMNS, HISTORY
from openreg_airflow.validate.message import MessageTemplate
from openreg_airflow.validate.pack import PackError, SharedRule, shared_rules
from openreg_airflow.validate.statement import BUSINESS_DATE, RuleSqlError, parse
from openreg_airflow.validate.written import RuleFaultError, failing_rows
from openreg_airflow.yaml_source import Places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.language.scope import CodeSet
    from openreg_airflow.validate.spec import RuleSpec, ValidateSection

    Declared = Mapping[str, Mapping[str, str] | None]

_EMPTY_HINT = "A rule is one SELECT that returns the failing rows."


def check(
    spec: ValidateSection,
    folder: Path,
    tables: Declared | None = None,
    *,
    examples: bool = True,
    sets: Mapping[str, CodeSet] | None = None,
    records: Mapping[str, RecordTable] | None = None,
) -> Iterator[Problem]:
    """Faults in the rules and in those of included packs, each with its place.

    Args:
        spec: the section.
        folder: the report's folder.
        tables: the declared types of the columns by table; None where they are not declared.
            What is not declared is known only in a run.
        examples: whether the rules' examples are tried as well.
        sets: the mapping sets with their columns; None when it is not known which there are.
        records: the report's tables of records; None when nothing is to be set aside.
    """
    if tables is not None:
        tables = dict.fromkeys(spec.sources) | dict(tables) | {HISTORY: COLUMNS}
    try:
        shared = shared_rules(spec, folder)
    except PackError as error:
        yield Problem(
            message=error.message,
            hint=error.hint,
            keys=("include",),
            file=error.file,
            line=error.line,
            column=error.column,
        )
        shared = {}
    for rule_id, rule in shared.items():
        if rule.spec.phase == "artifact":
            message = f"rule {rule_id} of a pack speaks of finished files"
            hint = "Such a rule stands in the report, which alone knows its artifacts."
            yield _in_pack(Problem(message=message, hint=hint, keys=("rules", rule_id)), rule)
        for problem in _check_rule(rule_id, rule.spec, folder, tables, sets):
            yield _in_pack(problem, rule)
        for problem in _check_record(rule_id, rule.spec, records):
            yield replace(problem, keys=("include", rule.include))
    for rule_id, own in spec.rules.items():
        yield from _check_record(rule_id, own, records)
        yield from _check_rule(rule_id, own, folder, tables, sets)
    if examples:
        yield from _try_examples(spec, folder, shared, tables or {})


def _in_pack(problem: Problem, rule: SharedRule) -> Problem:
    """The problem at its place in the pack's file, or at the include of a pack that is no file."""
    if rule.file is None:
        return replace(problem, keys=("include", rule.include), inside=None)
    places = Places(rule.file.read_text(encoding="utf-8-sig"))
    place = places.inside(problem.keys, *(problem.inside or (1, 1)))
    return replace(problem, file=rule.file, line=place.line, column=place.column)


def read_sql(rule: RuleSpec, folder: Path) -> str:
    """A rule's SQL, from the spec or from its file; empty when it is written in another way.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: the file is not UTF-8.
    """
    if rule.sql_file is None:
        return rule.sql or ""
    return (folder / rule.sql_file).read_text(encoding="utf-8-sig")


def _check_record(
    rule_id: str, rule: RuleSpec, records: Mapping[str, RecordTable] | None
) -> Iterator[Problem]:
    """Rows can be set aside only where it is known what names their record."""
    if records is not None and rule.severity == "correctable" and rule.table not in records:
        yield Problem(
            message=f"rule {rule_id} is correctable, but nothing names a record of {rule.table}",
            hint=f"Add at the top: records: {{{rule.table}: {{key: [column]}}}}, or with its "
            "parent and on.",
            keys=("rules", rule_id, "severity"),
        )


def _check_rule(
    rule_id: str,
    rule: RuleSpec,
    folder: Path,
    tables: Declared | None,
    sets: Mapping[str, CodeSet] | None,
) -> Iterator[Problem]:
    if rule.in_sql:
        yield from _check_sql(rule_id, rule, folder)
        return
    if rule.phase != "transformed":
        tables = None
    if tables is not None and rule.table not in tables:
        message = f"rule {rule_id}: there is no table {rule.table!r}"
        keys = ("rules", rule_id, "table")
        yield Problem(message=message, hint=nearest(rule.table, tables, "tables"), keys=keys)
        return
    known = {
        name: None if columns is None else columns_of(columns)
        for name, columns in (tables or {}).items()
    }
    scope = Scope(rule.table, known, tables is not None, sets)
    try:
        failing_rows(rule, scope)
    except RuleFaultError as fault:
        yield Problem(
            message=f"rule {rule_id}: {fault}",
            hint=_hint(fault),
            keys=("rules", rule_id, fault.key),
            inside=(fault.line, fault.column) if fault.line else None,
        )
    columns = known.get(rule.table)
    if rule.condition is None or columns is None:
        return
    if unknown := MessageTemplate(rule.message).unknown((*columns, BUSINESS_DATE)):
        message = f"rule {rule_id}: the message shows {', '.join(unknown)}"
        hint = scope.near(unknown[0])
        yield Problem(message=message, hint=hint, keys=("rules", rule_id, "message"))


def _hint(fault: RuleFaultError) -> str | None:
    """What to do, and the faulty line of a condition with a caret below it."""
    if not fault.shown:
        return fault.hint
    lines = (f"      {line}" for line in fault.shown.splitlines())
    return "\n".join((fault.hint or "It is here:", *lines))


def _try_examples(
    spec: ValidateSection, folder: Path, shared: dict[str, SharedRule], tables: Declared
) -> Iterator[Problem]:
    """Examples that do not end as they should; DuckDB is loaded only when there are any."""
    rules = {rule_id: rule.spec for rule_id, rule in shared.items()} | spec.rules
    if not any(rule.examples.pass_ or rule.examples.fail for rule in rules.values()):
        return
    from openreg_airflow.validate.examples import Bench

    bench = Bench(tables)
    try:
        for rule_id, rule in rules.items():
            try:
                sql = read_sql(rule, folder)
            except (OSError, UnicodeDecodeError):
                continue  # It is told of already.
            for way, message in bench.faults(rule, sql, _expected(rule, shared.get(rule_id))):
                listed = " ".join(str(step) for step in way[1:])
                text = f"rule {rule_id}: {message}" + (f" ({listed})" if listed else "")
                problem = Problem(message=text, keys=("rules", rule_id, *way))
                yield _in_pack(problem, shared[rule_id]) if rule_id in shared else problem
    finally:
        bench.close()


def _expected(rule: RuleSpec, shared: SharedRule | None) -> dict[str, dict[str, str]]:
    """The columns that a pack declares for the table of its rules."""
    return {rule.table: shared.columns} if shared is not None and shared.columns else {}


def _check_sql(rule_id: str, rule: RuleSpec, folder: Path) -> Iterator[Problem]:
    keys = ("rules", rule_id, "sql" if rule.sql_file is None else "sql_file")
    try:
        sql = read_sql(rule, folder)
    except OSError as error:
        message = f"rule {rule_id}: {rule.sql_file} cannot be read: {error.strerror}"
        yield Problem(message=message, hint=f"It is looked for in {folder}.", keys=keys)
        return
    except UnicodeDecodeError as error:
        message = f"rule {rule_id}: {rule.sql_file} is not UTF-8: {error.reason}"
        yield Problem(message=message, hint="Save it as UTF-8.", keys=keys)
        return
    if not sql.strip():
        message = f"rule {rule_id}: {rule.sql_file} is empty"
        yield Problem(message=message, hint=_EMPTY_HINT, keys=keys)
        return
    try:
        parse(sql)
    except RuleSqlError as error:
        yield _problem(rule_id, rule, folder, keys, error)


def _problem(
    rule_id: str, rule: RuleSpec, folder: Path, keys: tuple[str, ...], error: RuleSqlError
) -> Problem:
    if rule.sql_file is not None:
        return Problem(
            message=f"rule {rule_id}: {error.message}",
            hint=error.hint,
            keys=keys,
            file=folder / rule.sql_file,
            line=error.line,
            column=error.column,
        )
    place = f" ({error.where})" if error.where else ""
    return Problem(message=f"rule {rule_id}: {error.message}{place}", hint=error.hint, keys=keys)
