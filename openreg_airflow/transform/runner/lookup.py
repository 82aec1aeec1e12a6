"""Looking values up in dated entries, a whole column at once.

The entries are a table with key columns, value columns, ``effective_from`` and ``effective_to``:
dates, the second exclusive, NULL for an open end. The periods of one key do not overlap. This
module, with :mod:`.keys`, is all that the sandbox and the rest of the product need for a look-up,
so that both give the same answer; it knows numpy and Arrow and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .keys import KeyMismatchError, KeyNumbers, chunked, flat, mark_nulls, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Codes = NDArray[np.int32]
    Flags = NDArray[np.bool_]

FROM = "effective_from"
TO = "effective_to"
#: Codes that stand for an open end: before and after every date.
_FIRST = -(1 << 31)
_LAST = (1 << 31) - 1
#: Rows whose dates are searched at once: what is worked on stays in the processor's caches.
_AT_ONCE = 32_768


@dataclass(frozen=True)
class Found:
    """Where the rows of one look-up are.

    Attributes:
        entries: for each row the number of its entry, NULL where there is none.
        unmapped: the rows that have a key, for which there is no entry.
        blank: the rows whose key or as-of date is NULL, so that there is nothing to look up.
    """

    entries: pa.Array
    unmapped: Flags
    blank: Flags


class Entries:
    """Dated entries, ready for look-ups.

    Args:
        table: the entries.
        keys: names of the key columns.
        values: names of the value columns.
    """

    def __init__(self, table: pa.Table, keys: Sequence[str], values: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.values = tuple(values)
        self.table = table.combine_chunks()
        self._indexes: list[KeyNumbers] = []
        codes = np.zeros(len(table), np.int64)
        for name in self.keys:
            index = KeyNumbers(flat(self.table[name]), codes if self._indexes else None)
            codes = index.entry_codes
            self._indexes.append(index)
        began = _moment(codes, _days(flat(self.table[FROM]), _FIRST))
        self._order = np.argsort(began, kind="stable")
        self._in_order = bool((self._order[1:] > self._order[:-1]).all())
        codes = codes[self._order]
        self._codes = codes
        self._ended = _moment(codes, _days(flat(self.table[TO]), _LAST)[self._order])
        # A last place that has never begun, for keys which are not there.
        self._began = np.append(began[self._order], np.iinfo(np.int64).max)
        periods = np.bincount(codes, minlength=1)
        self._first = np.append(np.cumsum(periods) - periods, len(codes))
        self._most = int(periods.max(initial=0))
        self._on: dict[int, Codes] = {}

    def __len__(self) -> int:
        return len(self.table)

    def type_of(self, column: str) -> pa.DataType:
        """The type of a key or value column."""
        return self.table.schema.field(column).type

    def find(self, columns: Sequence[Any], as_of: date | Any) -> Found:
        """Find the entry of each row.

        Args:
            columns: an Arrow array for each key, in the keys' order.
            as_of: one date for all rows, or an array with a date or a timestamp for each; a
                timestamp with a zone counts as its date in UTC.

        Raises:
            KeyMismatchError: the columns are not of the keys' types, or not as many.
        """
        if len(columns) != len(self.keys):
            message = f"{len(columns)} columns for the {len(self.keys)} keys {', '.join(self.keys)}"
            raise KeyMismatchError(message)
        rows = len(columns[0])
        dated = isinstance(as_of, pa.Array | pa.ChunkedArray)
        if any(len(one) != rows for one in (*columns, *([as_of] if dated else []))):
            message = "the columns and the as-of dates are not of one length"
            raise KeyMismatchError(message)
        codes: Any = None
        blank = np.zeros(rows, np.bool_)
        for name, index, column in zip(self.keys, self._indexes, columns, strict=True):
            given = plain(column)
            mark_nulls(given, blank)
            codes = index.codes(name, given, codes)
        if dated:
            dates = as_days(chunked(as_of))
            mark_nulls(dates, blank)
            place = self._dated(codes, _days(flat(dates), _FIRST))
        else:
            place = self._of_day(codes, _ordinal(as_of))
        place[blank] = -1
        missing = place < 0
        return Found(pa.array(place, mask=missing), missing & ~blank, blank)

    def valid_on(self, day: date) -> pa.Table:
        """The entries that hold on a day, in the table's order."""
        number = _ordinal(day)
        holds = self._holding(number)
        return self.table.take(pa.array(np.sort(self._order[holds])))

    def take(self, value: str, entries: pa.Array) -> pa.Array:
        """The values of found entries, NULL where there is none."""
        return flat(self.table[value]).take(entries)

    def _dated(self, codes: Numbers, days: Codes) -> Codes:
        """The entry of each key on a day of its own; -1 where there is none."""
        found = np.empty(len(codes), np.int32)
        for start in range(0, len(codes), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            found[part] = self._places(codes[part].astype(np.int64), days[part])
        return found

    def _places(self, codes: Numbers, days: Codes) -> Numbers:
        """As :meth:`_dated`, for so few rows that what is worked on stays in the caches.

        All rows search together, each among the periods of its key: the last that has begun. To
        add the step to all, times 0 where it goes too far, costs less than to choose.
        """
        wanted = _moment(codes, days)
        place = self._first.take(codes, mode="wrap")
        step = 1 << (self._most - 1).bit_length() >> 1 if self._most else 0
        while step:
            place += (self._began.take(place + step, mode="clip") <= wanted) * np.int64(step)
            step >>= 1
        there = self._began.take(place, mode="clip") <= wanted
        if self._most:
            there &= wanted < self._ended.take(place, mode="clip")
            if not self._in_order:
                place = self._order.take(place, mode="clip")
        return np.where(there, place, -1)

    def _of_day(self, codes: Numbers, day: int) -> Codes:
        """The entry of each key on one day; -1 where there is none."""
        if day not in self._on:
            holds = self._holding(day)
            # The last place is that of keys which are not there, whose code is -1.
            on = np.full(len(self._first), -1, np.int32)
            on[self._codes[holds]] = self._order[holds]
            self._on = {day: on}
        return self._on[day].take(codes, mode="wrap")

    def _holding(self, day: int) -> Flags:
        """Which of the entries, by key and period, hold on a day."""
        wanted = _moment(self._codes, np.full(len(self._codes), day, np.int32))
        return np.asarray((self._began[:-1] <= wanted) & (wanted < self._ended))


def _moment(codes: Numbers, days: Codes) -> Numbers:
    """One number for a key and a day, which sorts by key first."""
    moment = codes << 32
    moment += days
    return moment


def as_days(column: Any) -> Any:
    """Dates and timestamps as dates.

    Raises:
        KeyMismatchError: the column holds something else.
    """
    kind = column.type
    if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind)):
        message = f"an as-of column holds dates or timestamps, not {kind}"
        raise KeyMismatchError(message)
    if pa.types.is_timestamp(kind):
        column = pc.floor_temporal(column.cast(pa.timestamp(kind.unit)), unit="day")
    return column.cast(pa.date32())


def _days(dates: pa.Array, absent: int) -> Codes:
    numbers = dates.cast(pa.int32())
    if numbers.null_count:
        numbers = numbers.fill_null(absent)
    return np.asarray(numbers.to_numpy())


def _ordinal(day: date) -> int:
    return day.toordinal() - 719_163
