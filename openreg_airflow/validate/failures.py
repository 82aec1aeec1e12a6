"""The failing rows of all rules as one Parquet file.

Every row is one failing row of one rule: ``rule_id``, ``severity``, ``table``, ``row`` (its number
among the rule's failing rows, from 1), ``message`` and ``values``, a map from column to text.
Text is DuckDB's: decimals exact, timestamps with a zone in UTC, NULL as null.
"""

from __future__ import annotations

from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from openreg_airflow.parquet_rows import RowFile

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class FailureWriter(RowFile):
    """Writes failing rows; a context manager."""

    schema = SCHEMA

    def add(self, rule: Rule, row: int, message: str, values: Mapping[str, str | None]) -> None:
        """Add one failing row of a rule."""
        self._put(
            {
                "rule_id": rule.rule_id,
                "severity": rule.spec.severity,
                "table": rule.spec.table,
                "row": row,
                "message": message,
                "values": values,
            },
            sum(map(len, filter(None, values.values()))),
        )

    def _batch(self, rows: list[dict[str, Any]]) -> pa.RecordBatch:
        """The rows as a batch; a map is made of its parts several times as fast as of pairs."""
        maps = [row["values"] for row in rows]
        names = pa.array(chain.from_iterable(maps), pa.string())
        texts = pa.array(chain.from_iterable(map(dict.values, maps)), pa.string())
        ends = pa.array(accumulate(map(len, maps), initial=0), pa.int32())
        columns = [
            pa.array([row[field.name] for row in rows], field.type) for field in list(SCHEMA)[:-1]
        ]
        values = pa.MapArray.from_arrays(ends, names, texts)
        return pa.RecordBatch.from_arrays([*columns, values], schema=SCHEMA)
