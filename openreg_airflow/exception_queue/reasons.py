"""Why rows are set aside, as a Parquet file: one line for a rule and a row.

A line names its row in one of two ways: ``row``, the 0-based number of the row in its table's
file, or ``key``, the values of the columns that name the record (``RecordTable.naming``) as
DuckDB casts them to text. A line with neither stands for nothing and is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from openreg_airflow.parquet_rows import RowFile

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class ReasonWriter(RowFile):
    """Writes reasons, a line for a rule and a row; a context manager."""

    schema = SCHEMA

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
        self._put(
            {
                "table": table,
                "row": row,
                "key": None if key is None else list(key),
                "rule": rule,
                "message": message,
                "reference": reference,
            },
            len(message) + sum(len(part or "") for part in key or ()),
        )
