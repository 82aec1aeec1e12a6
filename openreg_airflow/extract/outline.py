"""What a query is made of, as far as reading it in parts goes.

A query may be read in parts that nobody asked for when each of its parts gives the same rows
however often it is asked in one state of the database, and when it costs little to ask for a part:
it takes rows from tables and joins of tables, and neither groups, counts nor limits them. What is
not known to be so is not divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, permutations
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.query import Query

#: Parts of a SELECT that take rows as they are.
_PLAIN = frozenset({"expressions", "from_", "joins", "where", "order"})
_WITHIN_QUERIES = (exp.Min, exp.Max, exp.Count)
#: Functions that give the same for the same values, today and tomorrow.
_STEADY = frozenset({
    "Abs", "And", "Case", "Cast", "Ceil", "Coalesce", "Collate", "Concat", "ConcatWs", "Date",
    "DateAdd", "DateDiff", "DateSub", "Day", "DayOfMonth", "DayOfWeek", "DayOfYear", "Exists",
    "Extract", "Floor", "Greatest", "Hex", "If", "JSONExtract", "JSONExtractScalar", "LastDay",
    "Least", "Left", "Length", "Lower", "LowerHex", "MD5", "Month", "Nullif", "Or", "Pad",
    "Pow", "Quarter", "RegexpLike", "RegexpReplace", "Repeat", "Replace", "Reverse", "Right",
    "Round", "SHA", "SHA2", "Sign", "Sqrt", "StrPosition", "StrToDate", "StrToTime", "Stuff",
    "Substring", "SubstringIndex", "TimeToStr", "TimestampAdd", "TimestampDiff", "Trim",
    "Trunc", "TsOrDsAdd", "TsOrDsDiff", "TsOrDsToDate", "TsOrDsToTimestamp", "Unhex",
    "UnixToTime", "Upper", "Week", "WeekOfYear", "Xor", "Year",
})  # fmt: skip
_UNSTEADY = (exp.Parameter, exp.SessionParameter, exp.Version, exp.Lateral, exp.Window)
_ROWS_OF_THEIR_OWN = (exp.With, exp.SetOperation, exp.Limit, exp.Offset, exp.Distinct, exp.Group)
_SPOKEN = {
    "Group": "GROUP BY",
    "Parameter": "a variable",
    "SessionParameter": "a variable",
    "SetOperation": "UNION",
    "Version": "FOR SYSTEM_TIME",
}


class UndividedError(Exception):
    """A query is not divided; the text says why."""


@dataclass(frozen=True)
class TableName:
    """A table as a query names it; an empty ``schema`` is the connection's own."""

    schema: str
    name: str


@dataclass(frozen=True)
class ColumnName:
    """A column of a table; ``table`` is what the query calls that, and empty when it does not."""

    table: str
    name: str


@dataclass(frozen=True)
class Item:
    """One item of what is selected.

    Attributes:
        name: of the result's column; None for all columns of a table, or of the only one.
        column: what it takes as it is; None when it is computed.
    """

    name: str | None
    column: ColumnName | None


@dataclass(frozen=True)
class Term:
    """One term of the ORDER BY; ``column`` may be a name in the result, or an item's number."""

    column: ColumnName | int
    descending: bool


@dataclass(frozen=True)
class Outline:
    """A query that takes rows from tables as they are.

    Attributes:
        sources: the tables in FROM, in order, by what the query calls them.
        others: tables that it looks into beside.
        items: what is selected, in order.
        order: the terms of its ORDER BY.
        order_at: where in the file its ORDER BY begins; None when it has none.
        pinned: columns that are compared with one value, which all rows then have.
    """

    sources: dict[str, TableName]
    others: frozenset[TableName]
    items: tuple[Item, ...]
    order: tuple[Term, ...]
    order_at: int | None
    pinned: dict[ColumnName, Value]


def outline(query: Query, dialect: str) -> Outline:
    """What a query is made of.

    Args:
        query: as it stands in its file.
        dialect: sqlglot's name of its database's SQL.

    Raises:
        UndividedError: it may give other rows when it is asked again, or is dear to ask again.
    """
    try:
        tree: Any = sqlglot.parse_one(query.text, read=dialect)
    except SqlglotError as error:
        message = "its grammar is not understood"
        raise UndividedError(message) from error
    if not isinstance(tree, exp.Select):
        message = "it is not one SELECT"
        raise UndividedError(message)
    _check(tree)
    sources = dict(_sources(tree))
    every = {_table(found) for found in tree.find_all(exp.Table)}
    return Outline(
        sources=sources,
        others=frozenset(every) - frozenset(sources.values()),
        items=tuple(_item(one) for one in tree.expressions),
        order=tuple(_terms(tree)),
        order_at=_order_at(query.text, dialect) if tree.args.get("order") else None,
        pinned=dict(_pinned(tree, query)),
    )


def _check(tree: exp.Select) -> None:
    for node in tree.walk():
        if isinstance(node, _UNSTEADY + _ROWS_OF_THEIR_OWN):
            raise UndividedError(f"it has {_spoken(node)}")  # noqa: EM102
        if isinstance(node, exp.AggFunc):
            if not isinstance(node, _WITHIN_QUERIES) or node.parent_select is tree:
                raise UndividedError(f"it has {_spoken(node)}")  # noqa: EM102
        elif isinstance(node, exp.Func) and type(node).__name__ not in _STEADY:
            raise UndividedError(f"it calls {_called(node)}")  # noqa: EM102
    more = {key for key, value in tree.args.items() if value} - _PLAIN
    if more:
        raise UndividedError(f"it has {', '.join(sorted(more)).upper()}")  # noqa: EM102


def _spoken(node: exp.Expr) -> str:
    kinds = (kind.__name__ for kind in type(node).__mro__)
    return next((_SPOKEN[kind] for kind in kinds if kind in _SPOKEN), type(node).__name__.upper())


def _called(node: exp.Func) -> str:
    return str(node.name).upper() if isinstance(node, exp.Anonymous) else node.sql_name()


def _sources(tree: exp.Select) -> Iterator[tuple[str, TableName]]:
    given = [tree.args["from_"]] if tree.args.get("from_") else []
    for found in chain(given, tree.args.get("joins") or ()):
        table = found.this
        if not isinstance(table, exp.Table):
            message = "it takes rows from something else than tables"
            raise UndividedError(message)
        yield table.alias_or_name.casefold(), _table(table)
    if not given:
        message = "it takes no rows from a table"
        raise UndividedError(message)


def _table(found: exp.Table) -> TableName:
    if not isinstance(found.this, exp.Identifier) or found.catalog or found.args.get("partition"):
        message = "it takes rows from something else than whole tables"
        raise UndividedError(message)
    return TableName(found.db, found.name)


def _item(one: exp.Expr) -> Item:
    if isinstance(one, exp.Star):
        return Item(None, ColumnName("", "*"))
    inner = one.this if isinstance(one, exp.Alias) else one
    if isinstance(inner, exp.Column):
        column = ColumnName(inner.table.casefold(), inner.name)
        return (
            Item(None, column)
            if isinstance(inner.this, exp.Star)
            else Item(one.alias_or_name, column)
        )
    if not isinstance(one, exp.Alias):
        message = f"{one.sql()[:60]} has no name (AS)"
        raise UndividedError(message)
    return Item(one.alias, None)


def _terms(tree: exp.Select) -> Iterator[Term]:
    order = tree.args.get("order")
    for term in order.expressions if order is not None else ():
        descending = bool(term.args.get("desc"))
        if isinstance(term.this, exp.Column):
            yield Term(ColumnName(term.this.table.casefold(), term.this.name), descending)
        elif isinstance(term.this, exp.Literal) and not term.this.is_string:
            yield Term(int(term.this.this), descending)
        else:
            message = "it is ordered by something else than a column"
            raise UndividedError(message)


def _order_at(text: str, dialect: str) -> int:
    """Where the ORDER BY of the whole begins: no other comes behind it."""
    tokens = Dialect.get_or_raise(dialect).tokenize(text)
    return max(token.start for token in tokens if token.token_type is TokenType.ORDER_BY)


def _pinned(tree: exp.Select, query: Query) -> Iterator[tuple[ColumnName, Value]]:
    where = tree.args.get("where")
    for condition in _conditions(where.this) if where is not None else ():
        if not isinstance(condition, exp.EQ):
            continue
        for column, given in permutations((condition.this, condition.expression)):
            if isinstance(column, exp.Column) and (value := _value(given, query)) is not None:
                yield ColumnName(column.table.casefold(), column.name), value


def _value(given: exp.Expr, query: Query) -> Value | None:
    """The value of a parameter or literal; None for anything else."""
    if isinstance(given, exp.Placeholder):
        value = query.parameters.get(given.name)
        return None if isinstance(value, tuple) else value
    if isinstance(given, exp.Literal):
        return str(given.this) if given.is_string else Decimal(given.this)
    return None


def _conditions(condition: exp.Expr) -> Iterable[exp.Expr]:
    """The conditions that all must hold."""
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return [*_conditions(condition.this), *_conditions(condition.expression)]
    return [condition]
