"""One pass over a table for all rules that only filter it.

A rule such as ``SELECT * FROM trades WHERE price <= 0`` looks at each row by itself. Many of them
are evaluated together: the first pass notes which rows break which rule, the second fetches the
few rows that are shown, in the order of the table. A rule that groups, joins or sorts is evaluated
alone, and so is every rule whose pass fails: then one of them has an error, which must be told of
that rule and of no other.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb

from openreg_airflow.sql_quoting import named
from openreg_airflow.validate.statement import parser

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

#: Rules that are evaluated in one pass.
TOGETHER = 32
#: Rows that a sweep fetches to be shown; when they are more, each rule fetches its own.
MOST_FETCHED = 200_000
_ROW = "file_row_number"
#: They look like functions of one row but make several.
_MULTIPLY = frozenset({"unnest", "unlist"})
_INNER = frozenset({"SUBQUERY", "WINDOW"})


@dataclass(frozen=True)
class Filter:
    """A rule's SELECT taken apart.

    Attributes:
        table: the table that it filters, in lower case.
        alias: the name by which the condition calls the table.
        condition: the condition in SQL.
        tree: DuckDB's syntax tree of the whole SELECT, as JSON.
        dated: whether the condition has a parameter.
        shows_date: whether the columns have one.
    """

    table: str
    alias: str
    condition: str
    tree: str
    dated: bool
    shows_date: bool

    def over(self, table: str) -> str:
        """The SELECT without its condition, over another table with the same columns."""
        tree = json.loads(self.tree)
        node = tree["statements"][0]["node"]
        node["where_clause"] = None
        source = node["from_table"]
        source["alias"] = self.alias
        source["table_name"] = table
        source["qualified_name"] = {"path": [table]}
        return _sql(tree)


def as_filter(sql: str) -> Filter | None:
    """Take a rule's checked SQL apart; None when it does more than to filter one table."""
    [(text,)] = parser().execute("SELECT json_serialize_sql($1)", [sql]).fetchall()
    tree = json.loads(text)
    node = tree["statements"][0]["node"]
    if not _only_filters(node):
        return None
    source = node["from_table"]
    shows_date = _has_parameter(node["select_list"])
    dated = _has_parameter(node["where_clause"])
    node["select_list"] = [node["where_clause"]]
    node["where_clause"] = None
    # No table at all, so that what stands between SELECT and the end is the condition.
    node["from_table"] = _no_table()
    return Filter(
        table=source["table_name"].casefold(),
        alias=source["alias"] or source["table_name"],
        condition=_sql(tree).removeprefix("SELECT "),
        tree=text,
        dated=dated,
        shows_date=shows_date,
    )


class Sweep:
    """What one pass found about some filters of one table.

    Args:
        connection: a locked session; two temporary tables are made in it.
        number: tells the tables of this sweep from those of others.
        file: the Parquet file of the table.
        filters: by rule id; all of one table under one alias.
        parameters: the values of the parameters that the conditions use.
        most: most rows that will be asked of one rule.

    Raises:
        duckdb.Error: a condition cannot be evaluated; which one is not known.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        number: int,
        *,
        file: Path,
        filters: Mapping[str, Filter],
        parameters: Mapping[str, Any],
        most: int,
    ) -> None:
        self._connection = connection
        self._filters = filters
        self._flags = f"openreg_flags_{number}"
        self._rows = f"openreg_rows_{number}"
        self._columns = {rule_id: f"f{place}" for place, rule_id in enumerate(filters)}
        self._source = f"read_parquet('{str(file).replace(chr(39), chr(39) * 2)}')"
        self._most = most
        self._refuse_own_row_numbers()
        try:
            self._flag(parameters)
            self.counts = self._count()
            #: Whether the rows to be shown were few enough to be fetched; only then ask for them.
            self.fetched = self._fetch()
        except (duckdb.Error, MemoryError):
            with suppress(duckdb.Error):
                self.close()
            raise

    def __contains__(self, rule_id: str) -> bool:
        return rule_id in self._filters

    def __len__(self) -> int:
        return len(self._filters)

    def shows_date(self, rule_id: str) -> bool:
        """Whether a rule's rows depend on the parameters."""
        return self._filters[rule_id].shows_date

    def rows(self, rule_id: str) -> str:
        """SQL that gives the first failing rows of a rule, as the rule selects them, in order."""
        picked = (
            f"(SELECT fetched.* EXCLUDE ({_ROW}) FROM {self._rows} AS fetched "  # noqa: S608
            f"JOIN {self._flags} AS flags USING ({_ROW}) WHERE flags.{self._columns[rule_id]} "
            f"ORDER BY {_ROW} LIMIT {self._most})"
        )
        name = f"{self._rows}_picked"
        return f"WITH {name} AS {picked} {self._filters[rule_id].over(name)}"

    def close(self) -> None:
        """Give the memory back."""
        for table in (self._rows, self._flags):
            self._connection.execute(f"DROP TABLE IF EXISTS {table}")

    def _refuse_own_row_numbers(self) -> None:
        """A column of the table would be taken for the row numbers."""
        self._connection.execute(f"SELECT * FROM {self._source} LIMIT 0")  # noqa: S608
        names = [column[0].casefold() for column in self._connection.description or ()]
        if _ROW in names:
            message = f"the table has a column {_ROW}"
            raise duckdb.NotSupportedError(message)

    def _flag(self, parameters: Mapping[str, Any]) -> None:
        flags = ", ".join(
            f"coalesce(CAST(({one.condition}) AS BOOLEAN), false) AS {self._columns[rule_id]}"
            for rule_id, one in self._filters.items()
        )
        [alias] = {one.alias for one in self._filters.values()}
        # Conditions stand inside once only, because a subquery that is repeated runs twice.
        self._connection.execute(
            f"CREATE TEMP TABLE {self._flags} AS SELECT * FROM (SELECT {_ROW}, {flags} "  # noqa: S608
            f"FROM {self._source} AS {named(alias)}) WHERE {' OR '.join(self._columns.values())}",
            dict(parameters) if any(one.dated for one in self._filters.values()) else {},
        )

    def _count(self) -> dict[str, int]:
        counts = ", ".join(f"count(*) FILTER ({name})" for name in self._columns.values())
        [row] = self._connection.execute(f"SELECT {counts} FROM {self._flags}").fetchall()  # noqa: S608
        return dict(zip(self._columns, map(int, row), strict=True))

    def _fetch(self) -> bool:
        failed = [rule_id for rule_id, count in self.counts.items() if count]
        if sum(min(self.counts[rule_id], self._most) for rule_id in failed) > MOST_FETCHED:
            return False
        if not failed:
            return True
        picked = " UNION ".join(
            f"(SELECT {_ROW} FROM {self._flags} WHERE {self._columns[rule_id]} "  # noqa: S608
            f"ORDER BY {_ROW} LIMIT {self._most})"
            for rule_id in failed
        )
        self._connection.execute(
            f"CREATE TEMP TABLE {self._rows} AS SELECT {_ROW}, * FROM {self._source} "  # noqa: S608
            f"WHERE {_ROW} IN ({picked})"
        )
        return True


def groups(filters: Mapping[str, Filter]) -> Iterator[dict[str, Filter]]:
    """Filters that can be swept together: of one table under one name, not too many at once."""
    together: dict[tuple[str, str], dict[str, Filter]] = {}
    for rule_id, one in filters.items():
        group = together.setdefault((one.table, one.alias), {})
        group[rule_id] = one
        if len(group) == TOGETHER:
            yield together.pop((one.table, one.alias))
    yield from together.values()


def _only_filters(node: Mapping[str, Any]) -> bool:
    source = node.get("from_table", {})
    return (
        node["type"] == "SELECT_NODE"
        and source["type"] == "BASE_TABLE"
        and not source["column_name_alias"]
        and source["sample"] is None
        and source["at_clause"] is None
        and node["where_clause"] is not None
        and node["aggregate_handling"] == "STANDARD_HANDLING"
        and not node["cte_map"]["map"]
        and not any(node[part] for part in ("modifiers", "group_expressions", "group_sets"))
        and not any(node[part] for part in ("having", "qualify", "sample"))
        # A condition says yes or no of one row; columns can aggregate, or make several rows.
        and all(map(_of_one_row, _parts(node["select_list"])))
    )


def _of_one_row(node: Mapping[str, Any]) -> bool:
    if node.get("class") == "FUNCTION":
        return str(node["function_name"]).casefold() in _row_functions()
    return node.get("class") not in _INNER


def _parts(tree: Any) -> Iterator[Mapping[str, Any]]:
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending.extend(node.values())
        elif isinstance(node, list | tuple):
            pending.extend(node)


def _has_parameter(tree: Any) -> bool:
    return any(node.get("type") == "VALUE_PARAMETER" for node in _parts(tree))


@cache
def _no_table() -> Any:
    [(text,)] = parser().execute("SELECT json_serialize_sql('SELECT 1')").fetchall()
    return json.loads(text)["statements"][0]["node"]["from_table"]


def _sql(tree: Any) -> str:
    [(text,)] = (
        parser()
        .execute("SELECT json_deserialize_sql(CAST($1 AS JSON))", [json.dumps(tree)])
        .fetchall()
    )
    return str(text)


@cache
def _row_functions() -> frozenset[str]:
    """Functions that give one value for one row, whatever their arguments."""
    rows: Iterable[tuple[str, bool]] = (
        parser()
        .execute(
            "SELECT lower(function_name), bool_and(function_type = 'scalar') "
            "FROM duckdb_functions() GROUP BY ALL"
        )
        .fetchall()
    )
    return frozenset(name for name, scalar in rows if scalar) - _MULTIPLY
