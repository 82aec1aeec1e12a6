"""Counting what was looked up and not found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .keys import flat
from .lookup import as_days

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from .lookup import Found

#: Distinct unmapped values that are counted one by one; of more only the rows are counted.
MOST_COUNTED = 100_000
#: Longest key that is kept, in characters.
_LONGEST = 200
_NAMED = 20


class Tally:
    """How many rows were looked up, and which values were not found.

    Attributes:
        rows: rows that were looked up.
        blank: rows whose key or as-of date was NULL.
        unmapped: rows whose key was not found.
    """

    def __init__(self) -> None:
        self.rows = self.blank = self.unmapped = 0
        #: For each key that was not found: the number of rows, and the first as-of date.
        self._counts: dict[tuple[str, ...], tuple[int, date]] = {}
        self._beyond = 0

    def add(self, columns: Sequence[Any], as_of: date | Any, found: Found) -> None:
        """Count one look-up; the arguments are those and the result of ``Entries.find``."""
        self.rows += len(found.entries)
        self.blank += int(np.count_nonzero(found.blank))
        missing = int(np.count_nonzero(found.unmapped))
        if not missing:
            return
        self.unmapped += missing
        mask = pa.array(found.unmapped)
        names = [f"key{number}" for number in range(len(columns))]
        parts = [_text(flat(_filterable(column).filter(mask))) for column in columns]
        days = (
            as_days(flat(as_of.filter(mask)))
            if isinstance(as_of, pa.Array | pa.ChunkedArray)
            else pa.array(np.full(missing, as_of, "datetime64[D]"))
        )
        table = pa.Table.from_arrays([*parts, days], [*names, "day"])
        grouped = table.group_by(names, use_threads=False).aggregate(
            [("day", "min"), ("day", "count")]
        )
        keys = zip(*(grouped[name].to_pylist() for name in names), strict=True)
        firsts, counts = grouped["day_min"].to_pylist(), grouped["day_count"].to_pylist()
        for key, first, count in zip(keys, firsts, counts, strict=True):
            self._count(key, count, first)

    def add_one(self, key: Sequence[Any], as_of: date, *, found: bool) -> None:
        """Count the look-up of a single key."""
        self.rows += 1
        if not found:
            self.unmapped += 1
            self._count(tuple(str(part)[:_LONGEST] for part in key), 1, as_of)

    def _count(self, key: tuple[str, ...], count: int, first: date) -> None:
        before = self._counts.get(key)
        if before is not None:
            self._counts[key] = (before[0] + count, min(before[1], first))
        elif len(self._counts) < MOST_COUNTED:
            self._counts[key] = (count, first)
        else:
            self._beyond += count

    @property
    def complete(self) -> bool:
        """Whether every value that was not found has been counted by itself."""
        return not self._beyond

    @property
    def distinct(self) -> int:
        """How many different values were not found; at least so many when not complete."""
        return len(self._counts)

    def values(self, most: int) -> list[tuple[tuple[str, ...], int, date]]:
        """The values that were not found, the most frequent ones first.

        Args:
            most: at most so many.

        Returns:
            For each its key as text, the number of rows and the first as-of date.
        """
        ranked = sorted(self._counts.items(), key=lambda one: (-one[1][0], one[0]))
        return [(key, count, first) for key, (count, first) in ranked[:most]]

    def listed(self) -> str:
        """The most frequent values that were not found with their counts, for a message."""
        shown = [
            f"{' / '.join(key)!r} ({count:,} {'row' if count == 1 else 'rows'})"
            for key, count, _ in self.values(_NAMED)
        ]
        left = self.distinct - len(shown)
        more = f" and {left:,}{'' if self.complete else ' or more'} others" if left > 0 else ""
        return ", ".join(shown) + more


def _filterable(column: Any) -> Any:
    # Arrow has no filter for views of texts.
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return column.cast(pa.string()) if kind == pa.string_view() else column


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.utf8_slice_codeunits(column.cast(pa.string()), 0, _LONGEST)
