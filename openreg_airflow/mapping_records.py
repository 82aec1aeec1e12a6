"""What a run keeps of the mapping sets that it used: snapshots, and what was looked up in them."""

from __future__ import annotations

from datetime import date, datetime

from openreg_airflow.records import FileRef, Record


class TypedColumn(Record):
    """A key or value column of a mapping set; ``type`` as :mod:`~.column_types` spells it."""

    name: str
    type: str


class MappingSnapshot(FileRef):
    """A mapping set as one run saw it: a Parquet file that runs and reports share.

    The file has the key columns, the value columns, ``effective_from`` and ``effective_to``
    (dates, the second exclusive, NULL for an open end), ordered by key and ``effective_from``,
    with the entries of all dates.

    Attributes:
        name: the set's name.
        set_id: the set, which may be renamed.
        version: its revision: which state of the entries it is.
        known_at: the entries are those that were recorded up to then.
        keys: the key columns, in order.
        values: the value columns, in order.
        rows: the number of entries.
    """

    name: str
    set_id: int
    version: int
    known_at: datetime
    keys: tuple[TypedColumn, ...]
    values: tuple[TypedColumn, ...]
    rows: int


class UnmappedValue(Record):
    """A value for which a set has no entry.

    Attributes:
        key: the value of each key column, as text.
        rows: in how many rows it stands.
        first: the earliest as-of date of these rows.
    """

    key: tuple[str, ...]
    rows: int
    first: date


class MappingUse(Record):
    """How one step of a run fared with one mapping set.

    Attributes:
        place: where in the run: ``transform``, or ``map.NAME`` for a step of the spec.
        name: the set.
        rows: rows that were looked up.
        blank: rows whose key or as-of date was NULL.
        unmapped: rows whose key has no entry.
        distinct: how many different keys have none; of very many only some are counted.
        fallback: what became of these rows.
        values: the unmapped values, the most frequent ones first, as many as are kept.
    """

    place: str
    name: str
    rows: int
    blank: int
    unmapped: int
    distinct: int
    fallback: str
    values: tuple[UnmappedValue, ...] = ()

    def listed(self, most: int = 20) -> str:
        """The most frequent unmapped values with their counts, for a message."""
        shown = [
            f"{' / '.join(one.key)!r} ({one.rows:,} {'row' if one.rows == 1 else 'rows'})"
            for one in self.values[:most]
        ]
        left = self.distinct - len(shown)
        return ", ".join(shown) + (f" and {left:,} others" if left > 0 else "")

    def __str__(self) -> str:
        found = f" ({self.fallback}): {self.listed()}" if self.unmapped else ""
        return (
            f"{self.place}: {self.rows:,} rows looked up in {self.name}, {self.blank:,} without "
            f"a key, {self.unmapped:,} unmapped{found}"
        )
