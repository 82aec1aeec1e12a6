"""By which columns a query can be read in parts that its spec does not ask for.

Any column of the result would do, since each part is believed only when it has the rows that were
counted. A column of a key has few ties, and an index by which a part is found without reading the
table once more. Where the query has an order, the parts keep it: they divide the first column that
orders its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from openreg_airflow.extract.outline import ColumnName, UndividedError
from openreg_airflow.extract.query import Placeholder, Query
from openreg_airflow.extract.sized_parts import Divider
from openreg_airflow.extract.spec import USUAL_PART_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from openreg_airflow.extract.outline import Item, Outline, TableName, Term
    from openreg_airflow.extract.parameter import Value

#: What a part may take of a driver's memory, by what the database says of its rows.
_PART_BYTES = 128 << 20
#: Fewer rows than these are no part, whatever their size: the database is asked for each one.
_LEAST_ROWS = 16

_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"})
_TEXTS = frozenset({"char", "varchar"})
_DAYS = frozenset({"date"})
#: Types whose values are sorted as they are compared, and are bound without loss.
_DIVIDING = _NUMBERS | _TEXTS | _DAYS


@dataclass(frozen=True)
class TableFacts:
    """What a database says of a table.

    Attributes:
        steady: all queries of a transaction see the same rows of it.
        row_bytes: the size of a row, about.
        columns: the type of each column, in order.
        keys: the columns of each unique key.
        indexed: columns in an index.
    """

    steady: bool
    row_bytes: int
    columns: Mapping[str, str]
    keys: Sequence[Sequence[str]]
    indexed: frozenset[str]


def dividers(outline: Outline, facts: Mapping[TableName, TableFacts]) -> list[Divider]:
    """What may divide the rows of a query, the best first.

    Args:
        outline: of the query.
        facts: of each of its tables.

    Raises:
        UndividedError: nothing does.
    """
    for name, found in facts.items():
        if not found.steady:
            message = f"{name.name} is no table with transactions"
            raise UndividedError(message)
    return list(_Columns(outline, facts).dividers())


def without_order(query: Query, outline: Outline) -> Query:
    """The query without its ORDER BY."""
    if outline.order_at is None:
        return query
    pieces: list[str | Placeholder] = []
    start = 0
    for piece in query.pieces:
        size = len(piece.name) + 1 if isinstance(piece, Placeholder) else len(piece)
        if start + size > outline.order_at:
            assert isinstance(piece, str)  # noqa: S101 - the words are no parameter
            pieces.append(piece[: outline.order_at - start])
            break
        pieces.append(piece)
        start += size
    return replace(query, pieces=tuple(pieces), ordered=False)


class _Columns:
    """The columns of a query's result, and those of its tables behind them."""

    def __init__(self, outline: Outline, facts: Mapping[TableName, TableFacts]) -> None:
        self._facts = {name: facts[table] for name, table in outline.sources.items()}
        self._order = outline.order
        self._items = [named for item in outline.items for named in self._named(item)]
        names = [name.casefold() for name, _ in self._items]
        if len(set(names)) < len(names):
            message = "two columns of its result have one name"
            raise UndividedError(message)
        size = sum(found.row_bytes for found in self._facts.values())
        self._rows = max(min(_PART_BYTES // max(size, 1), USUAL_PART_ROWS), _LEAST_ROWS)
        pinned = ((self._source(column), value) for column, value in outline.pinned.items())
        self._pinned = {
            source for source, value in pinned if source and _is_one(value, self._type(source))
        }

    def dividers(self) -> Iterator[Divider]:
        terms = [named for term in self._order if (named := self._ordering(term)) is not None]
        if terms:
            name, source, descending = terms[0]
            if source is None or source.name not in self._facts[source.table].indexed:
                message = f"no index has {name}, which orders it"
                raise UndividedError(message)
            if self._type(source) not in _DIVIDING:
                message = f"{name}, which orders it, is {self._type(source)}"
                raise UndividedError(message)
            order = ", ".join(f"{_quoted(one)}{' DESC' * down}" for one, _, down in terms)
            yield Divider(_quoted(name), order, self._rows, descending=descending)
            return
        found = [_quoted(name) for name in self._of_keys()]
        if not found:
            message = "no column of a unique key is in its result"
            raise UndividedError(message)
        for name in found:
            yield Divider(name, name, self._rows)

    def _of_keys(self) -> Iterator[str]:
        """Columns of the result that are of a key: of the shortest, and of its end, first."""
        given: dict[ColumnName, str] = {}
        for name, source in self._items:
            if source is not None:
                given.setdefault(source, name)
        seen: set[ColumnName] = set()
        for table, facts in self._facts.items():
            for key in sorted(facts.keys, key=len):
                for column in reversed(key):
                    source = ColumnName(table, column)
                    usable = source in given and self._type(source) in _DIVIDING
                    if usable and source not in self._pinned | seen:
                        seen.add(source)
                        yield given[source]

    def _ordering(self, term: Term) -> tuple[str, ColumnName | None, bool] | None:
        """The result's column that a term orders by; None when all rows have one value there."""
        source: ColumnName | None = None
        if isinstance(term.column, int):
            if not 0 < term.column <= len(self._items):
                message = "it is ordered by something else than a column"
                raise UndividedError(message)
            name, source = self._items[term.column - 1]
        else:
            named = None
            if not term.column.table:  # a name of the result comes before one of a table
                word = term.column.name.casefold()
                named = next((one for one in self._items if one[0].casefold() == word), None)
            if named is None:
                source = self._source(term.column)
                same = (one for one in self._items if source and one[1] == source)
                named = next(same, None)
            if source in self._pinned:
                return None
            if named is None:
                message = f"its result has no {term.column.name}, which orders it"
                raise UndividedError(message)
            name, source = named
        return None if source in self._pinned else (name, source, term.descending)

    def _named(self, item: Item) -> Iterator[tuple[str, ColumnName | None]]:
        """An item's columns in the result, each with the table's column that it is."""
        if item.name is not None:
            yield item.name, self._source(item.column) if item.column else None
            return
        assert item.column is not None  # noqa: S101 - all columns of a table
        table = item.column.table
        if not table and len(self._facts) > 1:
            message = "it takes all columns of several tables"
            raise UndividedError(message)
        table = table or next(iter(self._facts))
        if table not in self._facts:
            message = f"it has no table {table}"
            raise UndividedError(message)
        for name in self._facts[table].columns:
            yield name, ColumnName(table, name)

    def _source(self, column: ColumnName) -> ColumnName | None:
        """A table's column, as its table spells it; None when it is not certain which one."""
        word = column.name.casefold()
        found = [
            ColumnName(table, name)
            for table, facts in self._facts.items()
            if column.table in ("", table)
            for name in facts.columns
            if name.casefold() == word
        ]
        return found[0] if len(found) == 1 else None

    def _type(self, source: ColumnName) -> str:
        return self._facts[source.table].columns[source.name]


def _is_one(value: Value, kind: str) -> bool:
    """Whether all values of a type that equal this one are sorted as one."""
    if isinstance(value, date):
        return kind in _DAYS
    return kind in (_TEXTS if isinstance(value, str) else _NUMBERS)


def _quoted(name: str) -> str:
    """A name as MariaDB and MySQL take it, whatever their mode."""
    return "`" + name.replace("`", "``") + "`"
