"""Dividing one big query into parts of about so many rows by a column of its result.

The database ranks the rows by the column and says where each part begins and how many rows it has.
Rows of one value have one rank, so ties are never in two parts, and no column is too skewed: a part
has less than the wanted number and the rows of one value more. Parts whose column has so many ties
that they would be twice as large are refused before the first is read. NULLs are a part of their
own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.partition import ALIAS, between, part_query
from openreg_airflow.extract.query import Added, Query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.partition import Bound
    from openreg_airflow.extract.query import Placeholder, Query
    from openreg_airflow.extract.spec import PartitionSpec

_MOST_PARTS = 10_000
_SIZES = (
    "SELECT min(openreg_value) AS low, count(openreg_value) AS valued, count(*) AS everyone FROM ("
)
#: The number of a part, from 0: all databases round, not all have floor, div or %. The zeros are
#: there since MySQL divides to four digits more than the dividend has.
_NUMBER = "round((openreg_rank - 0.5) * 1.0000000000 / {rows} - 0.5, 0)"


class Divider(Protocol):
    """What divides the rows of a query."""

    @property
    def column(self) -> str:
        """The column, as SQL has it."""

    @property
    def rows(self) -> int:
        """Rows wanted in a part."""

    @property
    def descending(self) -> bool:
        """Whether the parts come in the falling order of the column."""

    def ranked(self, query: Query) -> tuple[str | Placeholder, ...]:
        """A query for each row's ``openreg_value`` of the column and its ``openreg_rank``."""

    def part(
        self, query: Query, condition: Sequence[str | Placeholder], values: Mapping[str, Value]
    ) -> Query:
        """The query for the rows of a condition on the column, and the values in that."""


@dataclass(frozen=True)
class AskedDivider:
    """What the spec of a source asks for: a column of the query's result."""

    spec: PartitionSpec

    @property
    def column(self) -> str:
        """See :class:`Divider`."""
        return self.spec.column

    @property
    def rows(self) -> int:
        """See :class:`Divider`."""
        assert self.spec.part_rows is not None  # noqa: S101 - seen by whoever makes one
        return self.spec.part_rows

    @property
    def descending(self) -> bool:
        """See :class:`Divider`."""
        return False

    def ranked(self, query: Query) -> tuple[str | Placeholder, ...]:
        """See :class:`Divider`."""
        return (*ranking(self.column), Added("FROM ("), *query.pieces, Added(f"\n) {ALIAS}"))

    def part(
        self, query: Query, condition: Sequence[str | Placeholder], values: Mapping[str, Value]
    ) -> Query:
        """See :class:`Divider`."""
        return part_query(query, self.spec, condition, values)


def ranking(column: str) -> tuple[Added, ...]:
    """What a query for the rank of each row begins with; see :meth:`Divider.ranked`."""
    value, rank = f"{column} AS openreg_value", f"rank() OVER (ORDER BY {column}) AS openreg_rank"
    return (Added(f"SELECT {value}, {rank} "),)


@dataclass(frozen=True)
class SizedPart:
    """One part: its query, how many rows it has, and its least value where one bounds it."""

    query: Query
    rows: int
    low: Bound | None


def sizes_query(query: Query, by: Divider) -> Query:
    """The query for where the parts begin and how many rows they have; see :func:`sized_parts`."""
    number = _NUMBER.format(rows=by.rows)
    after = Added(f"\n) openreg_ranked GROUP BY {number} ORDER BY 1")
    return replace(query, pieces=(Added(_SIZES), *by.ranked(query), after), ordered=True)


def sized_parts(
    query: Query, by: Divider, sizes: Iterable[tuple[Any, int, int]]
) -> list[SizedPart]:
    """The parts in the order of the column; NULLs are the least.

    Args:
        query: of the whole.
        by: what divides it.
        sizes: of each part its least value, its rows with a value, and all its rows.

    Raises:
        SourceError: the column cannot be compared with a bound, or has too many ties.
    """
    sizes = list(sizes)
    without = sum(everyone - valued for _, valued, everyone in sizes)
    found = [(_bound(low, query, by), valued) for low, valued, _ in sizes if valued]
    _check_sizes(found, without, query, by)
    parts = []
    if without:
        alone = [Added(f"{by.column} IS NULL")]
        parts.append(SizedPart(by.part(query, alone, {}), without, None))
    lows = [None, *(low for low, _ in found[1:]), None]
    known: list[tuple[Bound | None, int]] = [*found] or [(None, 0)]
    for (low, high), (least, rows) in zip(pairwise(lows), known, strict=True):
        condition, values = between(by.column, low, high, len(query.text), nulls=not without)
        parts.append(SizedPart(by.part(query, condition, values), rows, least))
    return parts[::-1] if by.descending else parts


def _check_sizes(found: list[tuple[Bound, int]], without: int, query: Query, by: Divider) -> None:
    column, most = by.column, 2 * by.rows
    if len(found) > _MOST_PARTS:
        message = f"{len(found)} parts of {by.rows} rows are more than {_MOST_PARTS}"
        raise SourceError(message, where=query.file, hint="Raise `rows` of the partition.")
    hint = f"Choose a column that has few ties, best a key; or raise `rows` ({by.rows})."
    if without > most:
        message = f"{without} rows have no {column}, too many for one part"
        raise SourceError(message, where=query.file, hint=hint)
    for low, rows in found:
        if rows > most:
            message = (
                f"the rows cannot be divided: {rows} are from {column} = {low} on in one part, "
                "since many of them have the same value"
            )
            raise SourceError(message, where=query.file, hint=hint)


def _bound(low: Any, query: Query, by: Divider) -> Bound:
    """A value as it is bound; what loses digits on its way, or has no order, is none."""
    if isinstance(low, int | Decimal | date | str) and not isinstance(low, bool | datetime):
        return low
    message = f"the column {by.column} is {type(low).__name__}, which cannot bound a part"
    hint = "Choose a column of whole numbers, decimals, dates or text."
    raise SourceError(message, where=query.file, hint=hint)
