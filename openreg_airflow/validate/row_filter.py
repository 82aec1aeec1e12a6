"""Rules that only filter one table, taken apart by DuckDB's syntax tree.

Their conditions look at one row each, so that they can be evaluated together in one pass
(:mod:`openreg_airflow.validate.sweep`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from openreg_airflow.validate.duckdb_syntax import functions, parser, syntax
from openreg_airflow.validate.patterns import quicken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openreg_airflow.language.look_up import LookUp

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
        whole: whether the columns are those of the table, as they are.
        asks: whether the condition has a query of its own.
        look_ups: what stands in the condition as columns that are not of the table, since the pass
            joins the mapping sets in which they are found.
    """

    table: str
    alias: str
    condition: str
    tree: str
    dated: bool
    shows_date: bool
    whole: bool
    asks: bool
    look_ups: tuple[LookUp, ...] = ()

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


def as_filter(syntax: str) -> Filter | None:
    """Take a rule's checked SQL apart; None when it does more than to filter one table.

    Args:
        syntax: its syntax tree.
    """
    tree = json.loads(syntax)
    node = tree["statements"][0]["node"]
    if not _only_filters(node):
        return None
    source, columns, condition = node["from_table"], node["select_list"], node["where_clause"]
    shows_date, dated = map(_has_parameter, (columns, condition))
    asks = any(part.get("class") in _INNER for part in _parts(condition))
    row = (source["alias"] or source["table_name"]).casefold()
    if any(_is_many_columns(part, row, asks=asks) for part in _parts(condition)):
        return None
    for part in list(_parts(condition)):
        quicken(part)
    node["select_list"] = [condition]
    node["where_clause"] = None
    # No table at all, so that what stands between SELECT and the end is the condition.
    node["from_table"] = _no_table()
    return Filter(
        table=source["table_name"].casefold(),
        alias=source["alias"] or source["table_name"],
        condition=_sql(tree).removeprefix("SELECT "),
        tree=syntax,
        dated=dated,
        shows_date=shows_date,
        whole=len(columns) == 1 and _is_bare_star(columns[0]),
        asks=asks,
    )


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


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending.extend(node.values())
        elif isinstance(node, list | tuple):
            pending.extend(node)


def _is_bare_star(column: Mapping[str, Any]) -> bool:
    changes = (
        "relation_name", "exclude_list", "replace_list", "rename_list", "expr",
        "qualified_exclude_list", "columns", "alias",
    )  # fmt: skip
    return column.get("class") == "STAR" and not any(column.get(change) for change in changes)


def _is_many_columns(part: Mapping[str, Any], row: str, *, asks: bool) -> bool:
    """Whether a part of a condition is COLUMNS(...), or the whole row by the table's name.

    After WHERE the first demands the condition of each column; as a flag it would be a flag for
    each. The second would have the row's number as a field.
    """
    if part.get("class") == "COLUMN_REF":
        return [name.casefold() for name in part["column_names"]] == [row]
    return part.get("class") == "STAR" and not (asks and _is_bare_star(part))


def _has_parameter(tree: Any) -> bool:
    return any(node.get("type") == "VALUE_PARAMETER" for node in _parts(tree))


@cache
def _no_table() -> Any:
    return json.loads(syntax("SELECT 1"))["statements"][0]["node"]["from_table"]


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
    others = {one.name for one in functions() if one.kind != "scalar"}
    return frozenset({one.name for one in functions()} - others - _MULTIPLY)
