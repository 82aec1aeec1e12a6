"""Looking values up in dated entries, a whole column at once.

The entries are a table with key columns, value columns, ``effective_from`` and ``effective_to``:
dates, the second exclusive, NULL for an open end. The periods of one key do not overlap. This
module is all that the sandbox and the rest of the product need for a look-up, so that both give
the same answer; it knows numpy and Arrow and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

FROM = "effective_from"
TO = "effective_to"
#: Days that stand for an open end: before and after every date.
_FIRST = -(1 << 31)
_LAST = (1 << 31) - 1
#: Rows that are looked up at once: what is worked on stays in the processor's caches.
_AT_ONCE = 65_536
#: Digits of the widest decimal.
_DIGITS = 76


class KeyMismatchError(TypeError):
    """What is looked up is of another type than the keys, or there are too many or too few."""


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
        self._indexes: list[_Index] = []
        codes = np.zeros(len(table), np.int64)
        for name in self.keys:
            index = _Index(flat(self.table[name]), codes)
            codes = index.entry_codes
            self._indexes.append(index)
        first = _days(flat(self.table[FROM]), _FIRST)
        order = np.lexsort((first, codes))
        self._order, self._codes = order, codes[order]
        self._first = first[order]
        self._end = _days(flat(self.table[TO]), _LAST)[order]
        # Where the periods of each key begin and end; the last one is of keys that are not there.
        periods = np.bincount(codes, minlength=1) if len(codes) else np.zeros(0, np.int64)
        self._past = np.append(np.cumsum(periods), 0).astype(np.int64)
        self._begin = self._past - np.append(periods, 0)
        self._most = int(periods.max(initial=0))
        self._on: dict[int, Numbers] = {}

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
        if rows <= _AT_ONCE:
            return self._find(columns, as_of)
        parts = []
        for start in range(0, rows, _AT_ONCE):
            days: Any = as_of
            if _is_array(as_of):
                days = days.slice(start, _AT_ONCE)
            parts.append(self._find([one.slice(start, _AT_ONCE) for one in columns], days))
        return Found(
            pa.concat_arrays([part.entries for part in parts]),
            np.concatenate([part.unmapped for part in parts]),
            np.concatenate([part.blank for part in parts]),
        )

    def _find(self, columns: Sequence[Any], as_of: date | Any) -> Found:
        codes = np.zeros(len(columns[0]), np.int64)
        blank = np.zeros(len(codes), np.bool_)
        for name, index, column in zip(self.keys, self._indexes, columns, strict=True):
            given = flat(column)
            blank |= _nulls(given)
            codes = index.codes(name, given, codes)
        if _is_array(as_of):
            dates = as_days(flat(as_of))
            blank |= _nulls(dates)
            position = self._dated(codes, _days(dates, _FIRST))
        else:
            position = self._of_day(codes, _ordinal(as_of))
        missing = position < 0
        position[blank] = -1
        entries = pa.array(position, mask=position < 0)
        return Found(entries, missing & ~blank, blank)

    def valid_on(self, day: date) -> pa.Table:
        """The entries that hold on a day, in the table's order."""
        number = _ordinal(day)
        holds = (self._first <= number) & (number < self._end)
        return self.table.take(pa.array(np.sort(self._order[holds])))

    def take(self, value: str, entries: pa.Array) -> pa.Array:
        """The values of found entries, NULL where there is none."""
        return flat(self.table[value]).take(entries)

    def _dated(self, codes: Numbers, days: Numbers) -> Numbers:
        """The entry of each key on a day of its own; -1 where there is none."""
        if not len(self._order):
            return np.full(len(codes), -1, np.int64)
        begin, past = self._begin[codes], self._past[codes]
        # All rows search together, each among the periods of its key: the last that has begun.
        place = begin - 1
        step = 1 << max(0, self._most.bit_length() - 1)
        while step:
            next_place = place + step
            inside = np.minimum(next_place, len(self._first) - 1)
            begun = (next_place < past) & (self._first[inside] <= days)
            place = np.where(begun, next_place, place)
            step >>= 1
        there = place >= begin
        place[~there] = 0
        there &= days < self._end[place]
        return np.where(there, self._order[place], -1)

    def _of_day(self, codes: Numbers, day: int) -> Numbers:
        """The entry of each key on one day; -1 where there is none."""
        if day not in self._on:
            holds = (self._first <= day) & (day < self._end)
            # The last place is that of keys which are not there, whose code is -1.
            on = np.full(len(self._begin), -1, np.int64)
            on[self._codes[holds]] = self._order[holds]
            self._on = {day: on}
        return self._on[day][codes]


class _Index:
    """Numbers for the values of one key column, combined with those of the keys before it."""

    def __init__(self, column: pa.Array, before: Numbers) -> None:
        self._distinct = column.unique()
        own = pc.index_in(column, value_set=self._distinct).to_numpy(zero_copy_only=False)
        own = own.astype(np.int64)
        self._first = not before.any()
        if self._first:
            self.entry_codes = own
            return
        self._size = len(self._distinct)
        self._pairs, self.entry_codes = np.unique(before * self._size + own, return_inverse=True)
        self.entry_codes = self.entry_codes.astype(np.int64)

    def codes(self, name: str, column: pa.Array, before: Numbers) -> Numbers:
        """The numbers of values that are looked up; -1 for one that no entry has."""
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        own = pc.index_in(*_alike(name, column, self._distinct))
        found = own.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        # A NULL is in no entry.
        found[_nulls(column)] = -1
        if self._first:
            return np.where(before < 0, -1, found)
        pair = before * self._size + found
        place = np.searchsorted(self._pairs, pair)
        place[place == len(self._pairs)] = 0
        there = (before >= 0) & (found >= 0)
        if len(self._pairs):
            there &= self._pairs[place] == pair
        return np.where(there, place, -1)


def _alike(name: str, column: pa.Array, keys: pa.Array) -> tuple[pa.Array, pa.Array]:
    """A column and the keys that it is held against, in one type.

    Raises:
        KeyMismatchError: the two are not of one kind.
    """
    kind, wanted = column.type, keys.type
    if kind == wanted:
        return column, keys
    if pa.types.is_null(kind):
        return column.cast(wanted), keys
    if _kind(kind) != _kind(wanted):
        message = f"key {name} is {wanted}, but what is looked up is {kind}"
        raise KeyMismatchError(message)
    if _kind(kind) == "number" and not (_narrow(kind) and _narrow(wanted)):
        # A number that the keys' type cannot hold is no key, and no error.
        scale = max(getattr(one, "scale", 0) for one in (kind, wanted))
        wanted = pa.decimal256(_DIGITS, scale)
    try:
        return column.cast(wanted), keys.cast(wanted)
    except pa.ArrowInvalid as error:
        message = f"key {name} is {wanted}, and a value of type {kind} does not fit: {error}"
        raise KeyMismatchError(message) from error


def _kind(kind: pa.DataType) -> str:
    text = str(kind)
    if text in ("string", "large_string", "string_view"):
        return "text"
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return "number"
    return text.partition("[")[0].removesuffix("32").removesuffix("64")


def _narrow(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind)) and kind != pa.uint64()


def flat(column: Any) -> pa.Array:
    """An array without chunks."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            return column.chunk(0)
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


def _is_array(value: Any) -> bool:
    return isinstance(value, pa.Array | pa.ChunkedArray)


def _nulls(column: pa.Array) -> Flags:
    if not column.null_count:
        return np.zeros(len(column), np.bool_)
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False))


def as_days(column: pa.Array) -> pa.Array:
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


def _days(dates: pa.Array, absent: int) -> Numbers:
    numbers = dates.cast(pa.int32()).fill_null(absent)
    return np.asarray(numbers.to_numpy(zero_copy_only=False)).astype(np.int64)


def _ordinal(day: date) -> int:
    return day.toordinal() - 719_163
