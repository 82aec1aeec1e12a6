"""Rules of every way of writing become SQL that returns the failing rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.language.arithmetic import comparable
from openreg_airflow.language.compiler import Condition, compile_condition
from openreg_airflow.language.fault import ExpressionError
from openreg_airflow.language.look_up import LookUp
from openreg_airflow.language.scope import (
    CodeSet,
    Columns,
    Scope,
    columns_of,
    holding,
    nearest,
    no_set,
)
from openreg_airflow.language.types import ANY
from openreg_airflow.sql_quoting import named, quoted
from openreg_airflow.validate.history import HISTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.validate.body import (
        CompleteDays,
        ControlTotal,
        References,
        RowCount,
        RuleBody,
    )
    from openreg_airflow.validate.job import Job, Rule


class RuleFaultError(Exception):
    """A rule does not fit the tables; the text says why, ``hint`` what to do, ``key`` where.

    ``line`` and ``column`` are the 1-based place in the text of ``key``, when it is known, and
    ``shown`` is that line with a caret below it.
    """

    def __init__(
        self,
        text: str,
        *,
        key: str,
        hint: str | None = None,
        line: int = 0,
        column: int = 0,
        shown: str = "",
    ) -> None:
        super().__init__(text)
        self.hint = hint
        self.key = key
        self.line = line
        self.column = column
        self.shown = shown


def written(job: Job) -> Job:
    """The job with the SQL of every rule; a rule that does not fit the tables has its fault."""
    import pyarrow.parquet as pq

    if all(rule.sql or rule.spec.in_sql for rule in job.rules):
        return job
    tables = {}
    for name, table in job.tables.items():
        schema = pq.read_schema(table.path)
        tables[name] = columns_of({field.name: str(field.type) for field in schema})
    sets = {name: one.codes(name) for name, one in job.mappings.items()}
    rules = tuple(_written(rule, tables, sets) for rule in job.rules)
    return job.model_copy(update={"rules": rules})


def _written(rule: Rule, tables: Mapping[str, Columns], sets: Mapping[str, CodeSet]) -> Rule:
    if rule.sql or rule.spec.in_sql:
        return rule
    if rule.spec.table not in tables:
        return rule  # The engine says so of every rule.
    scope = Scope(rule.spec.table, tables, mappings=sets)
    try:
        if rule.spec.condition is None:
            found: dict[str, object] = {"sql": failing_rows(rule.spec, scope)}
            if rule.spec.references is not None:
                found |= _joined_reference(rule.spec.references, scope)
        else:
            demand = demanded(rule.spec, scope)
            found = {
                "sql": _breaking(rule.spec, scope, demand.sql),
                "demand": demand.sql,
                "reads": demand.columns,
                "joined": _breaking(rule.spec, scope, demand.joined),
                "look_ups": demand.look_ups,
            }
    except RuleFaultError as fault:
        place = f" (line {fault.line}, column {fault.column} of its {fault.key})"
        hint = f". {fault.hint}" if fault.hint else ""
        found = {"fault": f"{fault}{place if fault.line else ''}{hint}"}
    return rule.model_copy(update=found)


def failing_rows(spec: RuleBody, scope: Scope) -> str:
    """SQL that returns the rows which break a rule that is not written in SQL.

    Raises:
        RuleFaultError: the rule does not fit the tables.
    """
    if spec.condition is not None:
        return _breaking(spec, scope, demanded(spec, scope).sql)
    if spec.unique is not None:
        return _unique(spec.unique, scope)
    if spec.row_count is not None:
        return _row_count(spec.row_count, scope)
    if spec.control_total is not None:
        return _control_total(spec.control_total, scope)
    if spec.references is not None:
        return _references(spec.references, scope)
    assert spec.complete_days is not None  # noqa: S101 - the spec has exactly one way
    return _complete_days(spec.complete_days, scope)


def _breaking(spec: RuleBody, scope: Scope, demand: str) -> str:
    wrong = "IS NOT TRUE" if spec.unknown == "fail" else "IS FALSE"
    return f"SELECT * FROM {named(scope.table)} WHERE ({demand}) {wrong}"  # noqa: S608


def demanded(spec: RuleBody, scope: Scope) -> Condition:
    """What must be true of every row: the condition, or that ``when`` is false.

    Raises:
        RuleFaultError: the condition is wrong.
    """
    condition = _compiled(spec.condition or "", "condition", scope)
    if spec.when is None:
        return condition
    when = _compiled(spec.when, "when", scope)
    columns = tuple(sorted({*condition.columns, *when.columns}))
    return Condition(
        f"((NOT {when.sql}) OR {condition.sql})",
        columns,
        f"((NOT {when.joined}) OR {condition.joined})",
        tuple(dict.fromkeys((*when.look_ups, *condition.look_ups))),
    )


def _compiled(text: str, key: str, scope: Scope) -> Condition:
    try:
        return compile_condition(text, scope)
    except ExpressionError as error:
        raise RuleFaultError(
            error.message,
            key=key,
            hint=error.hint,
            line=error.line,
            column=error.column,
            shown=error.pointed(),
        ) from error


def _unique(columns: tuple[str, ...], scope: Scope) -> str:
    _require(scope, scope.table, columns, "unique")
    table, listed = named(scope.table), ", ".join(map(named, columns))
    same = " AND ".join(f"r.{c} IS NOT DISTINCT FROM d.{c}" for c in map(named, columns))
    return (
        f"SELECT r.*, d.times FROM {table} AS r JOIN (SELECT {listed}, count(*) AS times "  # noqa: S608
        f"FROM {table} GROUP BY {listed} HAVING count(*) > 1) AS d ON {same}"
    )


def _row_count(demand: RowCount, scope: Scope) -> str:
    table = named(scope.table)
    wrong = []
    if demand.min is not None:
        wrong.append(f"rows < {demand.min}")
    if demand.max is not None:
        wrong.append(f"rows > {demand.max}")
    other = "NULL"
    if demand.same_as is not None:
        _require(scope, demand.same_as, (), "row_count")
        other = f"(SELECT count(*) FROM {named(demand.same_as)})"  # noqa: S608
        wrong.append(f"abs(rows - expected) * 100 > expected * {demand.within_percent:f}")
    more = ""
    if demand.previous_within_percent is not None:
        _require(scope, HISTORY, (), "row_count")
        last = (
            f"FROM {HISTORY} AS h WHERE h.table_name = {quoted(scope.table)} "
            "AND h.business_date < CAST($business_date AS DATE) "
            "ORDER BY h.business_date DESC LIMIT 1"
        )
        day = f"(SELECT h.business_date {last}) AS previous_date"
        more = f", (SELECT h.rows {last}) AS previous, {day}"
        wrong.append(f"abs(rows - previous) * 100 > previous * {demand.previous_within_percent:f}")
    return (
        f"SELECT * FROM (SELECT count(*) AS rows, {other} AS expected{more} FROM {table}) "  # noqa: S608
        f"WHERE {' OR '.join(wrong)}"
    )


def _control_total(demand: ControlTotal, scope: Scope) -> str:
    _require(scope, scope.table, (demand.column,), "control_total")
    summed = f"(SELECT sum({named(demand.column)}) FROM {named(scope.table)})"  # noqa: S608
    if demand.table is None:
        control = f"{demand.equals:f}"
    else:
        _require(scope, demand.table, (demand.total or "",), "control_total")
        control = f"(SELECT sum({named(demand.total or '')}) FROM {named(demand.table)})"  # noqa: S608
    return (
        "SELECT *, total - control_total AS difference FROM "  # noqa: S608
        f"(SELECT coalesce({summed}, 0) AS total, {control} AS control_total) "
        f"WHERE control_total IS NULL OR abs(total - control_total) > {demand.tolerance:f}"
    )


def _references(demand: References, scope: Scope) -> str:
    if demand.table is None:
        return _in_mapping(demand, scope)
    to = demand.to or demand.columns
    _require(scope, scope.table, demand.columns, "references")
    _require(scope, demand.table, to, "references")
    present = " AND ".join(f"r.{named(column)} IS NOT NULL" for column in demand.columns)
    same = " AND ".join(
        f"o.{named(there)} = r.{named(here)}"
        for here, there in zip(demand.columns, to, strict=True)
    )
    return (
        f"SELECT r.* FROM {named(scope.table)} AS r WHERE {present} "  # noqa: S608
        f"AND NOT EXISTS (SELECT 1 FROM {named(demand.table)} AS o WHERE {same})"
    )


def _in_mapping(demand: References, scope: Scope) -> str:
    """Rows whose columns are the key of no entry of a mapping set."""
    name = demand.mapping or ""
    columns = (*demand.columns, *([demand.as_of] if demand.as_of else []))
    _require(scope, scope.table, columns, "references")
    codes = scope.codes(name)
    if codes is None:
        raise RuleFaultError(no_set(name), key="references", hint=scope.near_sets(name))
    if codes.keys is None:
        return f"SELECT * FROM {named(scope.table)}"  # noqa: S608 - of a check, never run
    if len(codes.keys) != len(demand.columns):
        message = f"set {name} has the keys {', '.join(codes.keys)}, columns names {len(columns)}"
        raise RuleFaultError(message, key="references")
    same = []
    for here, (there, kind) in zip(demand.columns, codes.keys.items(), strict=True):
        found = scope.column(here) or ANY
        if comparable(found, kind):
            message = f"column {here} is {found}, key {there} of set {name} is {kind}"
            raise RuleFaultError(message, key="references")
        same.append(f"o.{named(there)} = r.{named(here)}")
    if demand.as_of is not None:
        same.append(holding("o", f"CAST(r.{named(demand.as_of)} AS DATE)"))
    present = " AND ".join(f"r.{named(column)} IS NOT NULL" for column in columns)
    view = codes.dated_view if demand.as_of else codes.view
    return (
        f"SELECT r.* FROM {named(scope.table)} AS r WHERE {present} "  # noqa: S608
        f"AND NOT EXISTS (SELECT 1 FROM {named(view)} AS o WHERE {' AND '.join(same)})"
    )


def _joined_reference(demand: References, scope: Scope) -> dict[str, object]:
    """The same rows in a pass that joins the set, when an entry must hold on a date of the row."""
    codes = scope.codes(demand.mapping or "")
    if demand.as_of is None or codes is None or codes.keys is None:
        return {}
    given = tuple(map(named, demand.columns))
    one = LookUp(codes.dated_view, tuple(codes.keys), given, named(demand.as_of), None)
    present = " AND ".join(f"{column} IS NOT NULL" for column in (*given, one.day))
    missing = f"{present} AND {one.column} IS NOT TRUE"
    sql = f"SELECT * FROM {named(scope.table)} WHERE {missing}"  # noqa: S608
    return {"joined": sql, "look_ups": (one,)}


def _complete_days(demand: CompleteDays, scope: Scope) -> str:
    _require(scope, scope.table, (demand.column,), "complete_days")
    first = (
        f"date_trunc('{demand.since}', CAST($business_date AS DATE))"
        if isinstance(demand.since, str)
        else f"DATE '{demand.since}'"
    )
    column = named(demand.column)
    return (
        "SELECT day FROM (SELECT CAST(range AS DATE) AS day FROM "  # noqa: S608
        f"range(CAST({first} AS TIMESTAMP), "
        "CAST($business_date AS DATE) + INTERVAL 1 DAY, INTERVAL 1 DAY)) "
        f"WHERE is_business_day(day, {quoted(demand.calendar)}) AND day NOT IN "
        f"(SELECT DISTINCT CAST({column} AS DATE) FROM {named(scope.table)} "
        f"WHERE {column} IS NOT NULL)"
    )


def _require(scope: Scope, table: str, columns: tuple[str, ...], key: str) -> None:
    """Refuse names that the tables do not have.

    Raises:
        RuleFaultError: with the name.
    """
    if table not in scope.tables and scope.complete:
        message = f"there is no table {table!r}"
        raise RuleFaultError(message, key=key, hint=nearest(table, scope.tables, "tables"))
    for column in columns:
        if scope.column(column, table) is None:
            message = f"the table {table} has no column {column!r}"
            raise RuleFaultError(message, key=key, hint=scope.near(column, table))
