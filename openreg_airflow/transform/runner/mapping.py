"""The mapping sets of a run, as its script sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .faults import MappingUseError, NoMappingError, UnmappedValueError
from .keys import KeyMismatchError, as_values
from .lookup import Entries
from .tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

Unmapped = Literal["fail", "default", "original", "none"]
_WAYS = ("fail", "default", "original", "none")
#: Unmapped values of all sets together that are told to the task.
_MOST_TOLD = 1000


class MappingSet(Mapping[Any, Any]):
    """One mapping set, as it was known to the run.

    As a mapping it holds what is true on the business date: by the key, or by a tuple of keys
    where there are several; the value, or a dict of values by name where there are several.

    Args:
        name: the set's name.
        entries: its entries of all dates.
        business_date: the date that counts when no other is given.
        tally: counts what is looked up.
    """

    def __init__(self, name: str, entries: Entries, business_date: date, tally: Tally) -> None:
        self.name = name
        self._entries = entries
        self._business_date = business_date
        self._tally = tally

    @property
    def keys_named(self) -> tuple[str, ...]:
        """The names of the keys, in the order in which they are given."""
        return self._entries.keys

    @property
    def values_named(self) -> tuple[str, ...]:
        """The names of the values."""
        return self._entries.values

    @property
    def table(self) -> pa.Table:
        """All entries: keys, values, effective_from and effective_to (exclusive)."""
        return self._entries.table

    @cached_property
    def _held(self) -> dict[Any, Any]:
        table = self._entries.valid_on(self._business_date)
        keys = [table[name].to_pylist() for name in self.keys_named]
        values = [table[name].to_pylist() for name in self.values_named]
        spelled = keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))
        if len(values) == 1:
            return dict(zip(spelled, values[0], strict=True))
        rows = (dict(zip(self.values_named, row, strict=True)) for row in zip(*values, strict=True))
        return dict(zip(spelled, rows, strict=True))

    def __getitem__(self, key: Any) -> Any:
        found = key in self._held
        parts = key if isinstance(key, tuple) else (key,)
        self._tally.add_one(parts, self._business_date, found=found)
        if not found:
            raise KeyError(key)
        return self._held[key]

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __iter__(self) -> Iterator[Any]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def map(
        self,
        *columns: Any,
        value: str | None = None,
        as_of: date | Any = None,
        unmapped: Unmapped = "fail",
        default: Any = None,
    ) -> Any:
        """Look a whole column up.

        Args:
            columns: a column for each key, in their order: pandas Series, or Arrow arrays.
            value: which value is wanted; may be left out where the set has one.
            as_of: a date, or a column with a date for each row; the business date when left out.
            unmapped: what a row gets whose key is not found. ``fail``: the script ends with the
                list of these values; ``default``: what ``default`` says; ``original``: the key
                itself; ``none``: a missing value. A missing key always gives a missing value.
            default: the value for ``unmapped="default"``.

        Returns:
            A Series with the index of the first column, backed by Arrow; or an Arrow array.

        Raises:
            MappingUseError: columns, types or names do not fit the set.
            UnmappedValueError: a key is not found, and ``unmapped`` is ``fail``.
        """
        name = self._value(value)
        if unmapped not in _WAYS:
            message = f"mapping {self.name}: unmapped={unmapped!r} is none of {', '.join(_WAYS)}"
            raise MappingUseError(message, "To set rows aside, map them by the spec's map section.")
        arrays = [_arrow(column) for column in columns]
        when = self._business_date if as_of is None else _arrow_or_date(as_of)
        mine = Tally()
        try:
            found = self._entries.find(arrays, when)
        except (KeyMismatchError, ValueError) as error:
            message = f"mapping {self.name}: {error}"
            raise MappingUseError(message, "Give each key a column of its own type.") from error
        for tally in (self._tally, mine):
            tally.add(arrays, when, found)
        if unmapped == "fail" and mine.unmapped:
            raise UnmappedValueError(self.name, mine.listed(), mine.unmapped)
        result = self._entries.take(name, found.entries)
        if mine.unmapped and unmapped in ("default", "original"):
            result = self._filled(result, found.unmapped, arrays, unmapped, default)
        return _like(columns[0], result, name)

    def _filled(
        self, result: pa.Array, missing: Any, columns: Sequence[Any], way: str, default: Any
    ) -> pa.Array:
        try:
            if way == "default":
                instead: Any = pa.scalar(default, result.type)
            elif len(columns) > 1:
                message = "unmapped='original' needs a set with one key"
                raise ValueError(message)
            else:
                instead = as_values(columns[0], pa.array(missing), result.type)
        except (pa.ArrowException, ValueError, TypeError) as error:
            message = f"mapping {self.name}: {error}"
            raise MappingUseError(message, "It must be of the value's type.") from error
        return pc.if_else(pa.array(missing), instead, result)

    def _value(self, wanted: str | None) -> str:
        if wanted is None and len(self.values_named) == 1:
            return self.values_named[0]
        if wanted in self.values_named:
            return str(wanted)
        message = f"mapping {self.name} has the values {', '.join(self.values_named)}"
        raise MappingUseError(message, f"Say which, as value={self.values_named[0]!r}.")


class MappingSets:
    """The sets that a run was given.

    Args:
        described: for each its file, and the names of its keys and values.
        paths: where the files are.
        business_date: the day that is reported.
    """

    def __init__(
        self, described: Mapping[str, Any], paths: Mapping[str, str], business_date: date
    ) -> None:
        self._described = described
        self._paths = paths
        self._business_date = business_date
        self._sets: dict[str, MappingSet] = {}
        self._tallies: dict[str, Tally] = {}

    def get(self, name: str) -> MappingSet:
        """The set of a name, read when it is first asked for.

        Raises:
            NoMappingError: the run has no such set.
        """
        if name not in self._described:
            listed = ", ".join(self._described) or "none"
            message = f"the report uses no mapping set {name!r}; it uses {listed}"
            raise NoMappingError(message)
        if name not in self._sets:
            one = self._described[name]
            table = pq.read_table(self._paths[one["file"]])
            entries = Entries(table, one["keys"], one["values"])
            tally = self._tallies[name] = Tally()
            self._sets[name] = MappingSet(name, entries, self._business_date, tally)
        return self._sets[name]

    def told(self) -> list[dict[str, Any]]:
        """What was looked up, for the task."""
        used = {name: tally for name, tally in self._tallies.items() if tally.rows}
        most = _MOST_TOLD // max(1, len(used))
        return [
            {
                "set": name,
                "rows": tally.rows,
                "blank": tally.blank,
                "unmapped": tally.unmapped,
                "distinct": tally.distinct,
                "values": [
                    [list(key), count, first.isoformat()]
                    for key, count, first in tally.values(most)
                ],
            }
            for name, tally in used.items()
        ]


def _arrow(column: Any) -> Any:
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    import pandas as pd

    if isinstance(column, pd.Series):
        return pa.array(column, from_pandas=True)
    message = f"a key is a Series or an Arrow array, not {type(column).__name__}"
    raise MappingUseError(message, "Look a single value up as m[value].")


def _arrow_or_date(as_of: Any) -> Any:
    import datetime

    if isinstance(as_of, datetime.datetime):
        return as_of.date()
    return as_of if isinstance(as_of, datetime.date) else _arrow(as_of)


def _like(column: Any, result: pa.Array, name: str) -> Any:
    """The result in the kind of the column that was looked up."""
    if isinstance(column, pa.Array):
        return result
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([result])
    import pandas as pd

    values = pd.arrays.ArrowExtensionArray(pa.chunked_array([result]))
    return pd.Series(values, index=column.index, name=name)
