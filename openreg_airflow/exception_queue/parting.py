"""Parts the records that are set aside from those that go on.

Rows are copied batch by batch with Arrow, so that every type stays as it is. Those that are set
aside wait in files of the scratch folder until they are asked for.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import PermanentError
from openreg_airflow.exception_queue.spec import family
from openreg_airflow.exception_queue.values import ValueRefusedError, encode
from openreg_airflow.parquet_rows import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.exception_queue.aside_rows import AsideRows


#: Rows that are read at a time, and records that are given at a time.
_ROWS = 16_384
_RECORDS = 1000
#: Records after which the files of rows are mapped anew, which lets go of what was read of them.
_MAPPED = 50_000
_PROGRESS = 5.0
_HELD = "aside_{}.arrow"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AsideRecord:
    """One record that is set aside.

    Attributes:
        table: the table of records.
        key: the values that name it, as JSON values.
        occurrence: 1, or more where several rows have the same key.
        position: 0-based number of its row in the table.
        values: its row by column, as JSON values.
        children: the rows that belong to it, by table, in their order.
        reasons: why: ``rule``, ``message``, ``reference`` and the ``table`` whose row is at fault.
    """

    table: str
    key: tuple[Any, ...]
    occurrence: int
    position: int
    values: dict[str, Any]
    children: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reasons: list[dict[str, Any]] = field(default_factory=list)


class Parting:
    """What is set aside of some tables; a context manager.

    Args:
        found: which rows they are; it is closed with this.
    """

    def __init__(self, found: AsideRows) -> None:
        self._found = found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._found.close()

    @property
    def roots(self) -> tuple[str, ...]:
        """The tables of records."""
        return self._found.roots

    def watched(self) -> Iterator[AsideRecord]:
        """The same as :meth:`records`, with a line in the log now and then."""
        total = sum(map(self.aside, self.roots))
        spoken = time.monotonic()
        for number, one in enumerate(self.records(), start=1):
            if time.monotonic() - spoken >= _PROGRESS:
                spoken = time.monotonic()
                log.info("%d of %d records are in the queue.", number, total)
            yield one

    def aside(self, table: str) -> int:
        """How many rows of a table are set aside."""
        return len(self._numbers[table]) if table in self._numbers else 0

    def write(self, table: str, target: Path) -> int:
        """Write a table without the rows that are set aside, in its own order and types.

        Returns:
            The rows that were written.
        """
        written = 0
        aside = self._numbers[table]
        with opened(self._found.tables[table]) as file:
            text = [f.name for f in file.schema_arrow if pa.types.is_string(f.type)]
            with pq.ParquetWriter(
                target,
                file.schema_arrow,
                compression="zstd",
                use_dictionary=text,
                dictionary_pagesize_limit=64 << 10,
            ) as writer:
                first = 0
                for batch in file.iter_batches(_ROWS):
                    kept = np.ones(batch.num_rows, bool)
                    kept[_within(aside, first, batch.num_rows)] = False
                    first += batch.num_rows
                    rows = batch.filter(pa.array(kept))
                    written += rows.num_rows
                    if rows.num_rows:
                        writer.write_batch(rows)
        return written

    def records(self) -> Iterator[AsideRecord]:
        """The records that are set aside, by table and in the order of their rows.

        Raises:
            PermanentError: a column's type cannot be kept.
        """
        for table in self.roots:
            if self.aside(table):
                yield from self._records_of(table)

    @cached_property
    def _numbers(self) -> dict[str, Any]:
        """The numbers of the rows that are set aside, sorted, by table."""
        return {name: _distinct(rows) for name, (rows, _) in self._found.pairs.items()}

    def _records_of(self, name: str) -> Iterator[AsideRecord]:
        tables = [t for t in family(self._found.records, name) if self.aside(t)]
        for table in tables:
            self._hold(table)
        held: dict[str, pa.Table] = {}
        numbers = self._numbers[name]
        reasons = self._found.reasons_of(name)
        repeated = self._found.repeated(name)
        seen: dict[str, int] = defaultdict(int)
        key = self._found.records[name].key or ()
        for first in range(0, len(numbers), _RECORDS):
            part = numbers[first : first + _RECORDS]
            if first % _MAPPED == 0:
                held = {table: self._held(table) for table in tables}
            below = {t: self._below(t, held[t], part) for t in held if t != name}
            rows = held[name].slice(first, len(part)).to_pylist()
            again = np.isin(part, repeated).tolist()
            for number, row, counted in zip(part.tolist(), rows, again, strict=True):
                values = _encoded(row, name)
                names = tuple(values[column] for column in key)
                if counted:
                    seen[repr(names)] += 1
                yield AsideRecord(
                    table=name,
                    key=names,
                    occurrence=seen[repr(names)] if counted else 1,
                    position=number,
                    values=values,
                    children={t: rows[number] for t, rows in below.items() if number in rows},
                    reasons=next(reasons),
                )

    def _below(self, table: str, held: pa.Table, part: Any) -> dict[int, list[dict[str, Any]]]:
        """The rows of an inner table that belong to some records, by the record's row."""
        rows, owners = self._found.pairs[table]
        begin, end = np.searchsorted(owners, [part[0], part[-1] + 1])
        places = np.searchsorted(self._numbers[table], rows[begin:end])
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        if not len(places):
            return found
        # Arrow joins all pieces of a table before it takes of it.
        low, high = int(places.min()), int(places.max())
        taken = held.slice(low, high + 1 - low).take(pa.array(places - low)).to_pylist()
        for owner, row in zip(owners[begin:end].tolist(), taken, strict=True):
            found[owner].append(_encoded(row, table))
        return found

    def _held(self, table: str) -> pa.Table:
        """The rows of a table that are set aside, from a file that is mapped into memory."""
        return pa.ipc.open_file(pa.memory_map(str(self._path(table)))).read_all()

    def _path(self, table: str) -> Path:
        return self._found.scratch / _HELD.format(table)

    def _hold(self, table: str) -> None:
        """Write the rows of a table that are set aside to a file of their own."""
        path = self._path(table)
        aside = self._numbers[table]
        with opened(self._found.tables[table]) as file:
            schema = file.schema_arrow
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                first = 0
                for batch in file.iter_batches(_ROWS):
                    within = _within(aside, first, batch.num_rows)
                    first += batch.num_rows
                    if len(within):
                        writer.write_batch(batch.take(pa.array(within)))


def _encoded(row: dict[str, Any], table: str) -> dict[str, Any]:
    try:
        return {name: encode(value) for name, value in row.items()}
    except ValueRefusedError as error:
        message = f"a row of {table} cannot be set aside: {error}"
        raise PermanentError(message, hint="Declare a plain type for the column.") from error


def _distinct(numbers: Any) -> Any:
    """Numbers, sorted and each once; by sorting, where numpy would build a table of hashes."""
    ordered = np.sort(numbers)
    return ordered[np.flatnonzero(np.diff(ordered, prepend=-1))]


def _within(numbers: Any, first: int, rows: int) -> Any:
    """Which of some rows are among sorted numbers, as places from ``first`` on."""
    begin, end = np.searchsorted(numbers, [first, first + rows])
    return numbers[begin:end] - first
