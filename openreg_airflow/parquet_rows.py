"""Rows of Parquet files, read and written in batches of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

#: Rows and characters of text that are gathered before they are written.
_ROWS = 10_000
_CHARACTERS = 16 << 20
#: What is read ahead of each column; a page that is longer is read as a whole.
_READ_AHEAD = 64 << 10


def opened(path: Path) -> pq.ParquetFile:
    """Open a file to read its rows in batches, with memory that does not grow with their number.

    Left to itself, Arrow fetches row groups ahead of time and lets go of none of them before the
    file is closed, so that in the end the whole file is in memory.
    """
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_AHEAD)


class RowFile:
    """A Parquet file that takes one row after another; a context manager.

    A subclass names the columns and has the method that takes what a row is made of.

    Args:
        path: the file to write; it is there, if empty, when no row comes.
    """

    #: The columns.
    schema: ClassVar[pa.Schema]

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, self.schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._characters = 0
        #: Rows taken so far.
        self.written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._flush()
        finally:
            self._writer.close()

    def _put(self, row: dict[str, Any], characters: int) -> None:
        """Take one row.

        Args:
            row: its values by column.
            characters: how long those of its texts are that have no bound.
        """
        self._rows.append(row)
        self.written += 1
        self._characters += characters
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(self._batch(self._rows))
            self._rows = []
            self._characters = 0

    def _batch(self, rows: list[dict[str, Any]]) -> pa.RecordBatch:
        """The rows as a batch of the schema."""
        return pa.RecordBatch.from_pylist(rows, schema=self.schema)
