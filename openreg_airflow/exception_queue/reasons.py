"""Why rows are set aside, as a Parquet file: one line for a rule and a row.

A line names its row in one of two ways: ``row``, the 0-based number of the row in its table's
file, or ``key``, the values of the columns that name the record (``RecordTable.naming``) as
DuckDB casts them to text. A line with neither stands for nothing and is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA = pa.schema(
    [
        pa.field("table", pa.string(), nullable=False),
        pa.field("row", pa.int64()),
        pa.field("key", pa.list_(pa.string())),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("reference", pa.string()),
    ]
)
_ROWS = 10_000
_CHARACTERS = 16 << 20


class ReasonWriter:
    """Writes reasons in batches of bounded size; a context manager.

    Args:
        path: the file to write; it is there, if empty, when no row is set aside.
    """

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._characters = 0
        #: Lines written so far.
        self.written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._flush()
        finally:
            self._writer.close()

    def add(
        self,
        table: str,
        rule: str,
        message: str,
        *,
        row: int | None = None,
        key: Sequence[str | None] | None = None,
        reference: str | None = None,
    ) -> None:
        """Say that a row is set aside.

        Args:
            table: its table.
            rule: id of what it does not meet: a rule, or a mapping.
            message: what is wrong with it.
            row: its 0-based number in the table's file.
            key: or the values that name its record, as text.
            reference: the paragraph of regulation that the rule comes from.
        """
        if (row is None) == (key is None):
            message = "a reason names its row by its number or by its key"
            raise ValueError(message)
        self._rows.append(
            {
                "table": table,
                "row": row,
                "key": None if key is None else list(key),
                "rule": rule,
                "message": message,
                "reference": reference,
            }
        )
        self.written += 1
        self._characters += len(message) + sum(len(part or "") for part in key or ())
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=SCHEMA))
            self._rows = []
            self._characters = 0
