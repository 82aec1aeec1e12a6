"""A returned table is data from a stranger: it is looked at before anyone relies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import SandboxLimitError, TransformError
from openreg_airflow.records import Column

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

#: Most rows of one table.
MAX_ROWS = 500_000_000
#: Most bytes of a row group before compression; a reader holds at least one.
MAX_ROW_GROUP = 2 << 30


def check_table(
    path: Path, name: str, declared: pa.Schema | None
) -> tuple[int, tuple[Column, ...]]:
    """Open a returned table.

    Args:
        path: the received file.
        name: the table's name, for messages.
        declared: the columns that the spec demands, if it does.

    Returns:
        Its number of rows and its columns.

    Raises:
        TransformError: it is not a Parquet file, or its columns are not the declared ones.
        SandboxLimitError: it is larger than any table may be.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_size(file.metadata, name)
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        message = f"table {name} did not come back as Parquet: {error}"
        hint = "Return tables from transform(); the script must not write to the reply itself."
        raise TransformError(message, hint=hint) from error
    if declared is not None and not schema.equals(declared):
        message = f"table {name} came back with other columns than declared: {schema.to_string()}"
        raise TransformError(message, hint="The script must not write to the reply itself.")
    return rows, tuple(
        Column(name=field.name, type=str(field.type), nullable=field.nullable) for field in schema
    )


def _check_size(metadata: pq.FileMetaData, name: str) -> None:
    if metadata.num_rows > MAX_ROWS:
        message = f"table {name} has {metadata.num_rows} rows; at most {MAX_ROWS} are possible"
        raise SandboxLimitError(message)
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).total_byte_size
        if size > MAX_ROW_GROUP:
            message = (
                f"table {name} has {size} bytes in row group {number}, at most {MAX_ROW_GROUP}"
            )
            raise SandboxLimitError(message, hint="Return narrower rows.")
