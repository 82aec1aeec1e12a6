"""Tries rules on the examples that stand beside them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb

from openreg_airflow.column_types import sql_type
from openreg_airflow.language.library import install
from openreg_airflow.language.scope import CodeSet, Scope, columns_of
from openreg_airflow.sql_quoting import named
from openreg_airflow.validate.session import STRICT
from openreg_airflow.validate.statement import BUSINESS_DATE, RuleSqlError, parse
from openreg_airflow.validate.written import RuleFaultError, demanded, failing_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openreg_airflow.language.types import Type
    from openreg_airflow.validate.body import Example, Row
    from openreg_airflow.validate.spec import RuleSpec

    Declared = Mapping[str, Mapping[str, str] | None]

#: What goes wrong with an example: the way to it below the rule, and the text.
Fault = tuple[tuple[str | int, ...], str]
_NUMBER = "openreg_example"
#: Tables of examples that stand for mapping sets begin with it.
_MAPPING = "mapping_"


class Bench:
    """A database in memory in which examples are tried.

    Args:
        tables: the declared columns by table; None where they are not declared. The columns of
            such a table are those of the examples.
    """

    def __init__(self, tables: Declared) -> None:
        self._tables = tables
        self._expected: Mapping[str, Mapping[str, str]] = {}
        self._connection = duckdb.connect(":memory:", config=dict(STRICT))
        self._connection.execute("SET TimeZone = 'UTC'")
        install(self._connection)
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def close(self) -> None:
        """Forget the database."""
        self._connection.close()

    def faults(
        self, spec: RuleSpec, sql: str, expected: Mapping[str, Mapping[str, str]]
    ) -> Iterator[Fault]:
        """The examples of a rule that do not end as they should.

        Args:
            spec: the rule.
            sql: its SQL, when it is written in SQL.
            expected: columns that the rule's pack declares, by table.
        """
        self._expected = expected
        examples = [("pass", n, _rows(e)) for n, e in enumerate(spec.examples.pass_)]
        examples += [("fail", n, _rows(e)) for n, e in enumerate(spec.examples.fail)]
        if not examples:
            return
        try:
            kinds = self._make_others(spec)
            kinds[spec.table] = self._kinds(
                spec.table, [row for *_, rows in examples for row in rows]
            )
            failing = self._failing(spec, sql, kinds, [rows for *_, rows in examples])
        except (RuleFaultError, RuleSqlError) as fault:
            yield ("examples",), f"the examples cannot be tried: {fault}"
            return
        except duckdb.Error as error:
            yield ("examples",), f"the examples cannot be tried: {_said(error)}"
            return
        for (wanted, number, _), failed in zip(examples, failing, strict=True):
            if isinstance(failed, str):
                yield ("examples", wanted, number), f"the example cannot be tried: {failed}"
            elif failed != (wanted == "fail"):
                did = "breaks" if failed else "keeps"
                yield ("examples", wanted, number), f"the example {did} the rule"

    def _failing(
        self,
        spec: RuleSpec,
        sql: str,
        kinds: dict[str, dict[str, str]],
        examples: list[tuple[Row, ...]],
    ) -> list[bool | str]:
        """Whether each example breaks the rule, or why that cannot be said."""
        columns = kinds[spec.table]
        tables = {name: columns_of(these) for name, these in kinds.items()}
        scope = Scope(spec.table, tables, mappings=self._sets(tables))
        if spec.condition is not None:
            demand = demanded(spec, scope).sql
            wrong = "IS NOT TRUE" if spec.unknown == "fail" else "IS FALSE"
            self._make(spec.table, columns, examples)
            query = (
                f"SELECT {_NUMBER}, bool_or(({demand}) {wrong}) FROM {named(spec.table)} "  # noqa: S608
                f"GROUP BY {_NUMBER}"
            )
            broken = dict(self._ask(query, spec.examples.business_date))
            return [broken.get(number, False) for number in range(len(examples))]
        text = parse(sql or failing_rows(spec, scope)).sql
        outcomes: list[bool | str] = []
        for rows in examples:
            self._make(spec.table, columns, [rows], numbered=False)
            query = f"SELECT count(*) FROM (\n{text}\n)"  # noqa: S608 - checked by parse
            try:
                [(failed,)] = self._ask(query, spec.examples.business_date)
                outcomes.append(failed > 0)
            except duckdb.Error as error:
                outcomes.append(_said(error))
        return outcomes

    def _sets(self, tables: Mapping[str, Mapping[str, Type]]) -> dict[str, CodeSet]:
        """Mapping sets, given as tables whose first column is the key; they hold on all dates."""
        sets = {}
        for name, columns in tables.items():
            if name.startswith(_MAPPING) and columns:
                key, *values = columns
                codes = CodeSet(
                    name.removeprefix(_MAPPING),
                    {key: columns[key]},
                    {value: columns[value] for value in values},
                )
                self._connection.execute(
                    f"CREATE OR REPLACE VIEW {named(codes.dated_view)} AS SELECT *, "  # noqa: S608
                    "CAST(NULL AS DATE) AS effective_from, CAST(NULL AS DATE) AS effective_to "
                    f"FROM {named(name)}"
                )
                sets[codes.name] = codes
        return sets

    def _ask(self, query: str, day: date) -> list[tuple[Any, ...]]:
        given = {BUSINESS_DATE: day} if f"${BUSINESS_DATE}" in query else {}
        return self._connection.execute(query, given).fetchall()

    def _make_others(self, spec: RuleSpec) -> dict[str, dict[str, str]]:
        """The other tables, with the rows that the examples give them."""
        given = spec.examples.tables
        kinds = {}
        for name in dict.fromkeys((*self._tables, *given)):
            if name != spec.table:
                rows = given.get(name, ())
                kinds[name] = self._kinds(name, rows)
                self._make(name, kinds[name], [rows], numbered=False)
        return kinds

    def _kinds(self, table: str, rows: list[Row] | tuple[Row, ...]) -> dict[str, str]:
        """The columns of a table with their types."""
        declared = self._expected.get(table) or self._tables.get(table)
        # A column that a map step fills has the type that the examples give it.
        kinds = {name: kind for name, kind in (declared or {}).items() if kind != "any"}
        for row in rows:
            for name, value in row.items():
                if name not in kinds:
                    if declared is not None and name not in declared:
                        message = f"the table {table} has no column {name!r}"
                        raise RuleFaultError(message, key="examples")
                    kinds[name] = _kind(value)
        return kinds

    def _make(
        self,
        table: str,
        kinds: Mapping[str, str],
        examples: list[tuple[Row, ...]],
        *,
        numbered: bool = True,
    ) -> None:
        types = {name: sql_type(kind) for name, kind in kinds.items()}
        columns = [f"{named(name)} {kind}" for name, kind in types.items()]
        if numbered or not columns:
            columns.append(f"{_NUMBER} INTEGER")
        self._connection.execute(f"CREATE OR REPLACE TABLE {named(table)} ({', '.join(columns)})")
        for number, rows in enumerate(examples):
            for row in rows:
                given = dict(row) | ({_NUMBER: number} if numbered else {})
                if not given:
                    continue
                places = ", ".join(f"CAST(? AS {types.get(name, 'INTEGER')})" for name in given)
                names = ", ".join(map(named, given))
                values = [_text(value) for value in given.values()]
                insert = f"INSERT INTO {named(table)} ({names}) VALUES ({places})"  # noqa: S608
                self._connection.execute(insert, values)


def _rows(example: Example) -> tuple[Row, ...]:
    return (example,) if isinstance(example, dict) else example


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "decimal(38,10)"
    return "date" if isinstance(value, date) else "string"


def _text(value: object) -> str | None:
    """A value as its author wrote it; DuckDB reads it as the column's type."""
    return None if value is None else str(value)


def _said(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0]
