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
from typing import TYPE_CHECKING, Any, Self

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.partition import ALIAS, between, part_query
from openreg_airflow.extract.query import Added, Query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openreg_airflow.extract.partition import Bound
    from openreg_airflow.extract.spec import PartitionSpec

_MOST_PARTS = 10_000
_SIZES = (
    "SELECT min(openreg_value) AS low, count(openreg_value) AS valued, count(*) AS everyone FROM "
    "(SELECT {column} AS openreg_value, rank() OVER (ORDER BY {column}) AS openreg_rank FROM ("
)
#: The number of a part, from 0: all databases round, not all have floor, div or %. The zeros are
#: there since MySQL divides to four digits more than the dividend has.
_NUMBER = "round((openreg_rank - 0.5) * 1.0000000000 / {rows} - 0.5, 0)"


@dataclass(frozen=True)
class Divider:
    """What divides the rows of a query.

    Attributes:
        column: of the result, as SQL has it.
        order: of the rows of a part: the words behind ORDER BY.
        rows: wanted in a part.
        descending: the parts come in the falling order of the column.
    """

    column: str
    order: str
    rows: int
    descending: bool = False

    @classmethod
    def asked(cls, spec: PartitionSpec) -> Self:
        """What the spec of a source asks for."""
        assert spec.part_rows is not None  # noqa: S101 - seen by the caller
        return cls(spec.column, spec.order, spec.part_rows)


@dataclass(frozen=True)
class SizedPart:
    """One part: its query, how many rows it has, and its least value where one bounds it."""

    query: Query
    rows: int
    low: Bound | None


def sizes_query(query: Query, by: Divider) -> Query:
    """The query for where the parts begin and how many rows they have; see :func:`sized_parts`."""
    before = Added(_SIZES.format(column=by.column))
    number = _NUMBER.format(rows=by.rows)
    after = Added(f"\n) {ALIAS}) openreg_ranked GROUP BY {number} ORDER BY 1")
    return replace(query, pieces=(before, *query.pieces, after), ordered=True)


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
        parts.append(SizedPart(part_query(query, by.order, alone, {}), without, None))
    lows = [None, *(low for low, _ in found[1:]), None]
    known: list[tuple[Bound | None, int]] = [*found] or [(None, 0)]
    for (low, high), (least, rows) in zip(pairwise(lows), known, strict=True):
        condition, values = between(by.column, low, high, len(query.text), nulls=not without)
        parts.append(SizedPart(part_query(query, by.order, condition, values), rows, least))
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
