"""Record batches into one Parquet file, written by a thread of its own.

Encoding takes as long as reading from the database, so the two go on side by side.
"""

from __future__ import annotations

import threading
from queue import Queue
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

#: A row group is closed at this many rows or bytes, whichever comes first. Depends on the data
#: alone, so the same rows give the same file.
_GROUP_ROWS = 122_880
_GROUP_BYTES = 16 << 20
_WAITING = 2

#: Decimals of so many digits are whole numbers in the file, which are read in half the time.
_INTEGER_DIGITS = 18
#: A dictionary that outgrows this is given up; unique values only make it a burden.
_DICTIONARY_BYTES = 64 << 10


class ParquetSink:
    """Writes batches to a file; a context manager that waits for the last byte.

    Args:
        path: the file to write.
        schema: the columns of every batch.

    Raises:
        OSError: by :meth:`write` or at the end of the block: the disk is full, for example.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._queue: Queue[pa.RecordBatch | None] = Queue(_WAITING)
        self._error: BaseException | None = None
        self._last_taken = False
        self._thread = threading.Thread(target=self._run, name="openreg-parquet", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def write(self, batch: pa.RecordBatch) -> None:
        """Hand over a batch; returns when there is room for the next."""
        if self._error is not None:
            raise self._error
        self._queue.put(batch)

    def _run(self) -> None:
        try:
            with pq.ParquetWriter(
                self._path,
                self._schema,
                compression="zstd",
                use_dictionary=[f.name for f in self._schema if pa.types.is_string(f.type)],
                dictionary_pagesize_limit=_DICTIONARY_BYTES,
                store_decimal_as_integer=True,
                column_encoding=_encodings(self._schema),
            ) as writer:
                self._write_groups(writer)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that hands over
            self._error = error
            while not self._last_taken:  # whoever hands over must not wait for us
                self._take()

    def _take(self) -> pa.RecordBatch | None:
        batch = self._queue.get()
        self._last_taken = batch is None
        return batch

    def _write_groups(self, writer: pq.ParquetWriter) -> None:
        group: list[pa.RecordBatch] = []
        rows = size = 0
        while True:
            batch = self._take()
            if batch is not None:
                group.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows and (batch is None or rows >= _GROUP_ROWS or size >= _GROUP_BYTES):
                writer.write_table(pa.Table.from_batches(group, self._schema), row_group_size=rows)
                group, rows, size = [], 0, 0
            if batch is None:
                return


def _encodings(schema: pa.Schema) -> dict[str, str]:
    """How columns are encoded, by name, but for those that Arrow decides about.

    What Parquet keeps as whole numbers is kept as differences: that takes less time to write and to
    read than compressing the numbers, and less room. Not BYTE_STREAM_SPLIT for longer decimals,
    which DuckDB does not read.
    """
    return {
        field.name: "DELTA_BINARY_PACKED"
        for field in schema
        if pa.types.is_integer(field.type)
        or pa.types.is_temporal(field.type)
        or (pa.types.is_decimal(field.type) and field.type.precision <= _INTEGER_DIGITS)
    }
