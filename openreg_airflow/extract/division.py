"""By which columns a query can be read in parts that its spec does not ask for.

Any column of its tables would do, since each part is believed only when it has the rows that were
counted. A column of a key has few ties, and an index by which a part is found without reading the
table once more. Where the query has an order, the parts keep it: they divide the first column that
orders its rows. A part is the query itself with one condition more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from openreg_airflow.extract.outline import ColumnName, UndividedError
from openreg_airflow.extract.query import Added, Placeholder
from openreg_airflow.extract.sized_parts import ranking
from openreg_airflow.extract.spec import USUAL_PART_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from openreg_airflow.extract.outline import Outline, TableName
    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.query import Query

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
        columns: the type of each column.
        keys: the columns of each unique key.
        indexed: columns in an index.
    """

    steady: bool
    row_bytes: int
    columns: Mapping[str, str]
    keys: Sequence[Sequence[str]]
    indexed: frozenset[str]


@dataclass(frozen=True)
class TableDivider:
    """A column of a table that a query takes rows from; see :class:`~.sized_parts.Divider`."""

    column: str
    rows: int
    descending: bool
    outline: Outline

    def ranked(self, query: Query) -> tuple[str | Placeholder, ...]:
        """Each row's value of the column, and its rank."""
        one = self.outline
        rows = _between(query, one.from_at, one.order_at)
        return (*_between(query, 0, one.select_at), *ranking(self.column), *rows)

    def part(
        self, query: Query, condition: Sequence[str | Placeholder], values: Mapping[str, Value]
    ) -> Query:
        """The query with one condition more."""
        where, order = self.outline.where_at, self.outline.order_at
        pieces: list[str | Placeholder] = []
        if where is None:
            pieces += [*_between(query, 0, order), Added("\nWHERE "), *condition]
        else:
            after = where + len("WHERE")
            pieces += [*_between(query, 0, after), Added(" ("), *_between(query, after, order)]
            pieces += [Added("\n) AND "), *condition]
        if order is None:
            pieces.append(Added(f" ORDER BY {self.column}"))
        else:
            pieces += [Added("\n"), *_between(query, order, None)]
        parameters = {**query.parameters, **values}
        return replace(query, pieces=tuple(pieces), parameters=parameters, ordered=True)


def dividers(outline: Outline, facts: Mapping[TableName, TableFacts]) -> list[TableDivider]:
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
    sources = {name: facts[table] for name, table in outline.sources.items()}
    size = sum(found.row_bytes for found in sources.values())
    rows = max(min(_PART_BYTES // max(size, 1), USUAL_PART_ROWS), _LEAST_ROWS)
    columns = _Columns(outline, sources)
    descending = False
    if ordering := columns.first_of_order():
        chosen, descending = [ordering[0]], ordering[1]
    elif not (chosen := list(columns.of_keys())):
        message = "its tables have no unique key of numbers, dates or text"
        raise UndividedError(message)
    return [
        TableDivider(f"{_quoted(column.table)}.{_quoted(column.name)}", rows, descending, outline)
        for column in chosen
    ]


class _Columns:
    """The columns of the tables that a query takes rows from.

    Args:
        outline: of the query.
        sources: the tables, by what the query calls them.
    """

    def __init__(self, outline: Outline, sources: Mapping[str, TableFacts]) -> None:
        self._sources = sources
        self._order = outline.order
        pinned = ((self._known(column), value) for column, value in outline.pinned.items())
        self._pinned = {
            column for column, value in pinned if column and _is_one(value, self._type(column))
        }

    def first_of_order(self) -> tuple[ColumnName, bool] | None:
        """The first column that orders the rows, and whether they fall; None when none does."""
        for term in self._order:
            column = self._known(term.column) if term.column else None
            if column is None:
                message = "it is ordered by something else than a column of its tables"
                raise UndividedError(message)
            if column in self._pinned:
                continue
            if column.name not in self._sources[column.table].indexed:
                message = f"no index has {column.name}, which orders it"
                raise UndividedError(message)
            if self._type(column) not in _DIVIDING:
                message = f"{column.name}, which orders it, is {self._type(column)}"
                raise UndividedError(message)
            return column, term.descending
        return None

    def of_keys(self) -> Iterator[ColumnName]:
        """Columns of unique keys: of the first table, of its shortest, and of its end, first."""
        seen = set(self._pinned)
        for table, facts in self._sources.items():
            for key in sorted(facts.keys, key=len):
                for name in reversed(key):
                    column = ColumnName(table, name)
                    if column not in seen and facts.columns.get(name) in _DIVIDING:
                        seen.add(column)
                        yield column

    def _known(self, column: ColumnName) -> ColumnName | None:
        """A column as its table spells it; None when it is not certain whose it is."""
        word = column.name.casefold()
        found = [
            ColumnName(table, name)
            for table, facts in self._sources.items()
            if column.table in ("", table)
            for name in facts.columns
            if name.casefold() == word
        ]
        return found[0] if len(found) == 1 else None

    def _type(self, column: ColumnName) -> str:
        return self._sources[column.table].columns[column.name]


def _between(query: Query, start: int, end: int | None) -> Iterator[str | Placeholder]:
    """The pieces of a query between two places of its file."""
    begins = 0
    for piece in query.pieces:
        size = len(piece.name) + 1 if isinstance(piece, Placeholder) else len(piece)
        ends = begins + size if end is None else min(begins + size, end)
        if isinstance(piece, Placeholder):
            if start <= begins < ends:
                yield piece
        elif cut := piece[max(start - begins, 0) : max(ends - begins, 0)]:
            yield cut
        begins += size


def _is_one(value: Value, kind: str) -> bool:
    """Whether all values of a type that equal this one are sorted as one."""
    if isinstance(value, date):
        return kind in _DAYS
    return kind in (_TEXTS | _DAYS if isinstance(value, str) else _NUMBERS)


def _quoted(name: str) -> str:
    """A name as MariaDB and MySQL take it, whatever their mode."""
    return "`" + name.replace("`", "``") + "`"
