"""The failing rows of all rules as one Parquet file.

Every row is one failing row of one rule: ``rule_id``, ``severity``, ``table``, ``row`` (its number
among the rule's failing rows, from 1), ``message`` and ``values``, a map from column to text.
Text is DuckDB's: decimals exact, timestamps with a zone in UTC, NULL as null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from openreg_airflow.validate.job import Rule

SCHEMA = pa.schema(
    [
        pa.field("rule_id", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("table", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("values", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)

#: Rows and characters of values that are gathered before they are written.
_ROWS = 10_000
_CHARACTERS = 16 << 20


class FailureWriter:
    """Writes failing rows in batches of bounded size; a context manager.

    Args:
        path: the file to write; it is there, if empty, when no row failed.
    """

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._characters = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self._flush()
        finally:
            self._writer.close()

    def add(self, rule: Rule, row: int, message: str, values: Mapping[str, str | None]) -> None:
        """Add one failing row of a rule."""
        self._rows.append(
            {
                "rule_id": rule.rule_id,
                "severity": rule.spec.severity,
                "table": rule.spec.table,
                "row": row,
                "message": message,
                "values": list(values.items()),
            }
        )
        self._characters += sum(len(value) for value in values.values() if value)
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=SCHEMA))
            self._rows = []
            self._characters = 0
