"""What a query is made of, as far as reading it in parts goes.

A query may be read in parts that nobody asked for when each of its parts gives the same rows
however often it is asked in one state of the database, and when it costs little to ask for a part:
it takes rows from tables as they are, and neither groups, counts nor limits them. What is not known
to be so is not divided.
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
_PLAIN = frozenset({"with_", "expressions", "from_", "joins", "where", "order"})
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
_ROWS_OF_THEIR_OWN = (exp.SetOperation, exp.Limit, exp.Offset, exp.Distinct, exp.Group, exp.Having)
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
class Term:
    """One term of the ORDER BY; ``column`` is None for anything but a column of a table."""

    column: ColumnName | None
    descending: bool


@dataclass(frozen=True)
class Outline:
    """A query that takes rows from tables as they are.

    Attributes:
        sources: the tables in FROM, in order, by what the query calls them.
        others: tables that it looks into beside.
        order: the terms of its ORDER BY.
        pinned: columns that are compared with one value, which all rows then have.
        select_at, from_at, where_at, order_at: where in the file its SELECT begins, behind what
            stands in WITH, its FROM, its WHERE and its ORDER BY; None where it has none.
    """

    sources: dict[str, TableName]
    others: frozenset[TableName]
    order: tuple[Term, ...]
    pinned: dict[ColumnName, Value]
    select_at: int
    from_at: int
    where_at: int | None
    order_at: int | None


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
    named = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    tables = [
        (found, _table(found))
        for found in tree.find_all(exp.Table)
        if found.db or found.name.casefold() not in named
    ]
    joined = [tree.args["from_"], *(tree.args.get("joins") or ())]
    direct = [one.this for one in joined]
    sources = {one.alias_or_name: name for at in direct for one, name in tables if one is at}
    begins = _clauses(tree, query.text, dialect)
    return Outline(
        sources=sources,
        others=frozenset(name for _, name in tables) - frozenset(sources.values()),
        order=tuple(_terms(tree)),
        pinned=dict(_pinned(tree, query)),
        select_at=begins["expressions"],
        from_at=begins["from_"],
        where_at=begins.get("where"),
        order_at=begins.get("order"),
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
    if not tree.args.get("from_"):
        message = "it takes no rows from a table"
        raise UndividedError(message)


def _spoken(node: exp.Expr) -> str:
    kinds = (kind.__name__ for kind in type(node).__mro__)
    return next((_SPOKEN[kind] for kind in kinds if kind in _SPOKEN), type(node).__name__.upper())


def _called(node: exp.Func) -> str:
    return str(node.name).upper() if isinstance(node, exp.Anonymous) else node.sql_name()


def _table(found: exp.Table) -> TableName:
    if not isinstance(found.this, exp.Identifier) or found.catalog or found.args.get("partition"):
        message = "it takes rows from something else than whole tables"
        raise UndividedError(message)
    return TableName(found.db, found.name)


def _terms(tree: exp.Select) -> Iterator[Term]:
    order = tree.args.get("order")
    for term in order.expressions if order is not None else ():
        yield Term(_ordering(term.this, tree.expressions), bool(term.args.get("desc")))


def _ordering(term: exp.Expr, items: list[exp.Expr]) -> ColumnName | None:
    """The column that a term means: a name in the result comes before one in a table."""
    if isinstance(term, exp.Literal) and not term.is_string:
        number = int(term.this) if str(term.this).isdigit() else 0
        before = items[: max(number, 1)]
        starred = any(isinstance(item, exp.Star) or item.is_star for item in before)
        if not 0 < number <= len(items) or starred:
            return None
        return _column(items[number - 1].unalias())
    if isinstance(term, exp.Column) and not term.table:
        word = term.name.casefold()
        named = [item.unalias() for item in items if item.alias_or_name.casefold() == word]
        return _column(named[0]) if named else _column(term)
    return _column(term)


def _column(found: exp.Expr) -> ColumnName | None:
    if not isinstance(found, exp.Column) or found.is_star:
        return None
    return ColumnName(found.table, found.name)


def _clauses(tree: exp.Select, text: str, dialect: str) -> dict[str, int]:
    """Where the clauses of the whole begin: outside of all parentheses."""
    depth = 0
    begins: dict[TokenType, list[int]] = {}
    for token in Dialect.get_or_raise(dialect).tokenize(text):
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if not depth:
            begins.setdefault(token.token_type, []).append(token.start)
    wanted = {
        "expressions": (TokenType.SELECT, 0),
        "from_": (TokenType.FROM, 0),
        "where": (TokenType.WHERE, 0),
        "order": (TokenType.ORDER_BY, -1),  # an index may be meant FOR ORDER BY
    }
    try:
        return {
            clause: begins[kind][index]
            for clause, (kind, index) in wanted.items()
            if tree.args.get(clause)
        }
    except KeyError as error:
        message = "its words are not understood"
        raise UndividedError(message) from error


def _pinned(tree: exp.Select, query: Query) -> Iterator[tuple[ColumnName, Value]]:
    where = tree.args.get("where")
    for condition in _conditions(where.this) if where is not None else ():
        if not isinstance(condition, exp.EQ):
            continue
        for column, given in permutations((condition.this, condition.expression)):
            if (name := _column(column)) and (value := _value(given, query)) is not None:
                yield name, value


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
        return chain(_conditions(condition.this), _conditions(condition.expression))
    return (condition,)
