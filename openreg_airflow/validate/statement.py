"""What a rule's SQL may be: one SELECT over the report's tables, and nothing that reaches out.

DuckDB's own parser reads the statement, so what is checked is what will run. The connection in
which it runs is locked down as well (:mod:`openreg_airflow.validate.session`); this check is there
to refuse early, with a place and a reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb

from openreg_airflow.errors import SpecError
from openreg_airflow.validate.duckdb_syntax import functions, parser, place, syntax, without_end

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Rules may use these table functions; all others read files, settings or catalogues.
TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree"})
BUSINESS_DATE = "business_date"

_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_CLOCK_COLUMNS = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
_NO_PLACE = 2**64 - 1
_SELECT_HINT = "A rule is one SELECT that returns the failing rows."
_CLOCK_HINT = "A rule must give the same answer on every run; use $business_date."


class RuleSqlError(SpecError):
    """A rule's SQL is refused; ``line`` and ``column`` are 1-based places in it."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        where = f"line {line}, column {column} of its SQL" if line else None
        super().__init__(message, hint=hint, where=where)
        self.line = line
        self.column = column


@dataclass(frozen=True)
class Statement:
    """A rule's SQL that passed the check.

    Attributes:
        sql: the SELECT, fit to be put in parentheses on lines of its own.
        tables: the tables that it reads, in lower case, each with its place in ``sql`` in bytes.
        dated: whether it uses ``$business_date``.
        ordered: whether the rows come in an order that does not change from run to run: the one
            that its author gave, or that of the table when rows are only filtered.
        grouped: whether the rows are made of groups of rows, so that they have few columns.
        tree: DuckDB's syntax tree, as JSON.
    """

    sql: str
    tables: tuple[tuple[str, int | None], ...]
    dated: bool
    ordered: bool
    grouped: bool = False
    tree: str = field(default="", repr=False)

    def require_tables(self, known: frozenset[str]) -> None:
        """Refuse a statement that reads another table than the known ones.

        Raises:
            RuleSqlError: with the table's name and place.
        """
        for name, offset in self.tables:
            if name not in known:
                listed = ", ".join(sorted(known)) or "none"
                raise _refused(
                    self.sql,
                    offset,
                    f"there is no table {name!r} in this run",
                    f"The run's tables are: {listed}.",
                )


def parse(sql: str) -> Statement:
    """Read and check one rule's SQL.

    Raises:
        RuleSqlError: it does not parse, is not exactly one SELECT, or uses something that rules
            may not use.
    """
    cursor = parser().cursor()
    try:
        serialized = syntax(sql)
        outcome = json.loads(serialized)
        if outcome["error"] and outcome.get("error_type") == "parser":
            raise _refused(sql, _offset(outcome.get("position")), outcome["error_message"])
        kinds = [statement.type.name for statement in cursor.extract_statements(sql)]
    except RecursionError as error:
        message = "the statement is nested too deeply"
        raise RuleSqlError(message, hint="Use WITH, or several rules.") from error
    except duckdb.Error as error:
        message = f"the statement cannot be read: {error}"
        raise RuleSqlError(message, hint=_SELECT_HINT) from error
    if not kinds:
        message = "there is no statement"
        raise RuleSqlError(message, hint=_SELECT_HINT)
    if len(kinds) > 1:
        message = f"there are {len(kinds)} statements"
        raise RuleSqlError(message, hint=_SELECT_HINT)
    if outcome["error"]:
        raise _not_a_select(kinds[0])
    [tree] = outcome["statements"]
    walk = _Walk(sql)
    walk.visit(tree)
    return Statement(
        sql=without_end(sql),
        tables=tuple(walk.tables),
        dated=walk.dated,
        ordered=walk.filters_only or "ORDER_MODIFIER" in _modifiers(tree["node"]),
        grouped=bool(tree["node"].get("group_expressions")),
        tree=serialized,
    )


class _Walk:
    """Visits DuckDB's syntax tree and refuses what a rule may not use."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tables: list[tuple[str, int | None]] = []
        self.dated = False
        self.filters_only = True

    def visit(self, tree: Any) -> None:
        """Check every node; names that WITH defines are known below the node that has the WITH."""
        self.filters_only = _filters_one_table(tree["node"])
        pending: list[tuple[Any, frozenset[str]]] = [(tree["node"], frozenset())]
        while pending:
            node, defined = pending.pop()
            if isinstance(node, dict):
                defined |= set(_defined(node))
                self._check(node, defined)
                if node is not tree["node"] and _reorders(node):
                    self.filters_only = False
                pending.extend((child, defined) for child in reversed(node.values()))
            elif isinstance(node, list):
                pending.extend((child, defined) for child in reversed(node))

    def _check(self, node: dict[str, Any], defined: frozenset[str]) -> None:
        kind = node.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERY_NODES:
            what = kind.removesuffix("_NODE").removesuffix("_QUERY")
            raise self._error(node, f"{what} is not allowed in a rule", _SELECT_HINT)
        if kind == "SHOW_REF":
            raise self._error(node, "DESCRIBE, SHOW and SUMMARIZE are not rules", _SELECT_HINT)
        if kind == "BASE_TABLE":
            self._table(node, defined)
        elif kind == "TABLE_FUNCTION":
            self._table_function(node)
        elif node.get("class") in ("FUNCTION", "WINDOW"):
            self._function(node)
        elif kind == "COLUMN_REF":
            self._column(node)
        elif kind == "VALUE_PARAMETER":
            self._parameter(node)
        if node.get("sample") is not None:
            raise self._error(node, "a sample is drawn by chance", _CLOCK_HINT)

    def _table(self, node: dict[str, Any], defined: frozenset[str]) -> None:
        name = node["table_name"]
        if node.get("schema_name") or node.get("catalog_name"):
            full = ".".join(
                part for part in (node.get("catalog_name"), node.get("schema_name"), name) if part
            )
            raise self._error(
                node, f"{full} is not a table of the report", "Name the table without a schema."
            )
        if name.casefold() in defined:
            return
        if not name.isidentifier():
            raise self._error(
                node,
                f"{name!r} is not a table of the report",
                "A rule reads the report's tables; it cannot read files.",
            )
        self.tables.append((name.casefold(), _offset(node.get("query_location"))))

    def _table_function(self, node: dict[str, Any]) -> None:
        name = node["function"]["function_name"].casefold()
        if name not in TABLE_FUNCTIONS:
            raise self._error(
                node,
                f"the table function {name} is not allowed in a rule",
                "A rule reads the report's tables; allowed beside them are "
                f"{', '.join(sorted(TABLE_FUNCTIONS))}.",
            )

    def _function(self, node: dict[str, Any]) -> None:
        name = node["function_name"].casefold()
        if name in _unsteady_functions():
            raise self._error(node, f"the function {name} is not allowed in a rule", _CLOCK_HINT)
        # With one argument it counts from today.
        if name == "age" and len(node["arguments"]) == 1:
            hint = "Write age($business_date, x)."
            raise self._error(node, "age with one argument depends on the clock", hint)

    def _column(self, node: dict[str, Any]) -> None:
        names = node["column_names"]
        if len(names) == 1 and names[0].casefold() in _CLOCK_COLUMNS:
            hint = f"{_CLOCK_HINT} A column of that name is written table.{names[0]}."
            raise self._error(node, f"{names[0]} is not allowed in a rule", hint)

    def _parameter(self, node: dict[str, Any]) -> None:
        name = node["identifier"]
        if name != BUSINESS_DATE:
            spelled = f"${name}"
            raise self._error(
                node, f"there is no parameter {spelled}", "The only one is $business_date."
            )
        self.dated = True

    def _error(self, node: dict[str, Any], message: str, hint: str) -> RuleSqlError:
        return _refused(self.sql, _offset(node.get("query_location")), message, hint)


def _filters_one_table(node: dict[str, Any]) -> bool:
    """Whether the outermost SELECT takes rows of one table without grouping them."""
    return (
        node["type"] == "SELECT_NODE"
        and node["from_table"]["type"] == "BASE_TABLE"
        and not node["group_expressions"]
        and node["aggregate_handling"] == "STANDARD_HANDLING"
        and "DISTINCT_MODIFIER" not in _modifiers(node)
    )


def _reorders(node: dict[str, Any]) -> bool:
    """Whether a part of a SELECT, a subquery or a window function, may change the rows' order."""
    return node.get("class") == "WINDOW" or node.get("type") in _QUERY_NODES


def _modifiers(node: dict[str, Any]) -> set[str]:
    return {modifier["type"] for modifier in node["modifiers"]}


def _defined(node: dict[str, Any]) -> Iterator[str]:
    """The names that a node's WITH, or its recursion, defines."""
    entries = node.get("cte_map")
    if isinstance(entries, dict):
        yield from (entry["key"].casefold() for entry in entries.get("map", ()))
    if node.get("type") in ("RECURSIVE_CTE_NODE", "CTE_NODE"):
        yield node["cte_name"].casefold()


def _refused(
    sql: str, offset: int | None, message: str, hint: str | None = _SELECT_HINT
) -> RuleSqlError:
    line, column = place(sql, offset) if offset is not None else (None, None)
    return RuleSqlError(message, hint=hint, line=line, column=column)


def _not_a_select(kind: str) -> RuleSqlError:
    if kind == "MULTI":
        return RuleSqlError(
            "PIVOT without IN is more than one statement",
            hint="List the values: PIVOT t ON column IN ('a', 'b') USING ...",
        )
    return RuleSqlError(f"{kind} is not allowed in a rule", hint=_SELECT_HINT)


def _offset(value: Any) -> int | None:
    if value is None or int(value) >= _NO_PLACE:
        return None
    return int(value)


@cache
def _unsteady_functions() -> frozenset[str]:
    """Functions whose result depends on the clock, on chance or on the session."""
    known = [one for one in functions() if one.kind in ("scalar", "macro")]
    unsteady = {one.name for one in known if one.stability not in (None, "CONSISTENT")}
    # It does nothing but fail with the text that it is given.
    unsteady.discard("error")
    words = unsteady | _CLOCK_COLUMNS
    made_of_them = {
        one.name
        for one in known
        if one.definition and any(word in one.definition for word in words)
    }
    return frozenset(words | made_of_them)
