"""Dividing one big query into parts of equal width by a column of its result.

The bounds of the column are asked for first. Every row is in exactly one part, also one that is
written meanwhile beyond the bounds: the first part has no lower end, the last no upper end, and the
first has the NULLs too. Parts of equal numbers of rows are in
:mod:`openreg_airflow.extract.sized_parts`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.query import Added, Placeholder, Query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.spec import PartitionSpec

#: Parameters of a part: from the first on, before the second. No spec can declare such names.
FROM, UNTIL = "_from", "_until"
#: What the query is called within the query of a part.
ALIAS = "openreg_part"
_LONGEST_INTEGER = 2**63

Bound = int | Decimal | date | str


def check_query(query: Query) -> None:
    """Refuse a query whose order would be lost or doubled by reading it in parts.

    Raises:
        SpecError: it has an ORDER BY.
    """
    if query.ordered:
        message = "a query that is read in parts has no ORDER BY of its own"
        hint = "Name the columns under `partition.order_by`, and remove it from the query."
        raise SpecError(message, where=query.file, hint=hint)


def bounds_query(query: Query, column: str) -> Query:
    """The query for the least and the largest value of a column of another's result."""
    # The column's name is a plain word; the query is the author's own.
    before = Added(f"SELECT min({column}) AS low, max({column}) AS high FROM (")  # noqa: S608
    return replace(query, pieces=(before, *query.pieces, Added(f"\n) {ALIAS}")), ordered=True)


def part_queries(query: Query, spec: PartitionSpec, splits: Sequence[Bound]) -> list[Query]:
    """The queries of the parts; there is one more than splits.

    Args:
        query: of the whole.
        spec: the ``partition`` section.
        splits: where a part ends and the next begins, ascending.
    """
    return [
        part_query(query, spec, *between(spec.column, low, high, len(query.text)))
        for low, high in zip([None, *splits], [*splits, None], strict=True)
    ]


def part_query(
    query: Query,
    spec: PartitionSpec,
    condition: Sequence[str | Placeholder],
    values: Mapping[str, Value],
) -> Query:
    """The query of one part.

    Args:
        query: of the whole.
        spec: the ``partition`` section.
        condition: of the part's rows.
        values: of the parameters in it.
    """
    order = ", ".join(spec.order_by or (spec.column,))
    pieces = (
        Added("SELECT * FROM ("),
        *query.pieces,
        Added(f"\n) {ALIAS} WHERE "),
        *condition,
        Added(f" ORDER BY {order}"),
    )
    parameters = {**query.parameters, **values}
    return replace(query, pieces=pieces, parameters=parameters, ordered=True)


def between(
    column: str, low: Bound | None, high: Bound | None, end: int, *, nulls: bool = True
) -> tuple[list[str | Placeholder], dict[str, Value]]:
    """The condition of the rows from one value up to another, and the values in it.

    Args:
        column: the partition's.
        low: the part's least value; None for the first part, which has the NULLs too.
        high: the least value of the next part; None for the last.
        end: where the file of the query ends, for the place of a fault.
        nulls: whether the first part has the NULLs, or another one has them.
    """
    if low is None and high is None:
        return [Added("1 = 1" if nulls else f"{column} IS NOT NULL")], {}
    if low is None:
        assert high is not None  # noqa: S101 - seen above
        if not nulls:
            return [Added(f"{column} < "), Placeholder(UNTIL, end)], {UNTIL: high}
        below: list[str | Placeholder] = [Added(f"({column} < "), Placeholder(UNTIL, end)]
        return [*below, Added(f" OR {column} IS NULL)")], {UNTIL: high}
    above: list[str | Placeholder] = [Added(f"{column} >= "), Placeholder(FROM, end)]
    if high is None:
        return above, {FROM: low}
    return (
        [*above, Added(f" AND {column} < "), Placeholder(UNTIL, end)],
        {FROM: low, UNTIL: high},
    )


def split(low: Any, high: Any, parts: int) -> list[Bound]:
    """Where the parts of a range of numbers or days begin, without the first.

    Args:
        low, high: the least and the largest value; None when there are none.
        parts: how many parts are wanted; a narrow range has fewer.

    Raises:
        TypeError: the values are neither numbers nor days.
    """
    if low is None or high is None:
        return []
    if isinstance(low, date):
        first, last = _day(low).toordinal(), _day(high).toordinal()
        return [date.fromordinal(number) for number in _between(first, last, parts)]
    if isinstance(low, str):
        return split(_written_day(low), _written_day(high), parts)
    if isinstance(low, bool) or not isinstance(low, int | Decimal):
        raise TypeError(type(low).__name__)
    first, last = (int(Decimal(end).to_integral_value(ROUND_FLOOR)) for end in (low, high))
    numbers = _between(first, last, parts)
    fits = all(-_LONGEST_INTEGER <= number < _LONGEST_INTEGER for number in numbers)
    return list(numbers) if fits else [Decimal(number) for number in numbers]


def _between(first: int, last: int, parts: int) -> list[int]:
    width = last - first + 1
    found = {first + width * number // parts for number in range(1, parts)}
    return sorted(found - {first})


def _day(value: date) -> date:
    return value.date() if isinstance(value, datetime) else value


def _written_day(text: str) -> date:
    """SQLite writes days as text."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        message = "text"
        raise TypeError(message) from error
