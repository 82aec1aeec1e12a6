"""Decodes returned tables in a process of its own, with little memory and nothing to lose.

A Parquet file of some kilobytes may unfold to terabytes, and its metadata may say anything. So
the task does not open what a script made before this process has decoded every value of it.
It reads one JSON object from standard input and prints one.
"""

from __future__ import annotations

import base64
import json
import resource
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Memory in bytes for decoding; :data:`BATCH` rows must fit into it, as must each page.
MEMORY = 1 << 30
BATCH = 1 << 15
#: Most rows, columns and decoded bytes of a table.
MAX_ROWS = 500_000_000
MAX_COLUMNS = 4096
MAX_DECODED = 64 << 30


class RefusedError(Exception):
    """A table is not what it must be.

    Args:
        message: why.
        limit: it is too large, and not wrong.
    """

    def __init__(self, message: str, *, limit: bool = False) -> None:
        super().__init__(message)
        self.limit = limit


def main() -> None:
    """Answer one request."""
    for kind, most in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (most, most))
    request = json.loads(sys.stdin.buffer.read())
    answer: dict[str, Any] = {}
    for name, table in request.items():
        try:
            answer[name] = inspect(table["path"], table["declared"])
        except RefusedError as error:
            answer[name] = {"problem": str(error), "limit": error.limit}
        except MemoryError:
            message = f"needs more than {MEMORY >> 20} MiB of memory for {BATCH} rows"
            answer[name] = {"problem": message, "limit": True}
        except (pa.ArrowException, OSError, ValueError) as error:
            answer[name] = {"problem": f"did not come back as Parquet: {error}", "limit": False}
    json.dump(answer, sys.stdout)


def inspect(path: str, declared: str | None) -> dict[str, Any]:
    """Decode a table.

    Args:
        path: a file.
        declared: the schema that it must have, serialized and in base64, if it must.

    Returns:
        Its ``rows`` and its ``columns``, each as name, type and whether it may be null.

    Raises:
        RefusedError: it is larger than allowed, or has other columns or rows than it says.
    """
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        rows, columns = file.metadata.num_rows, file.metadata.num_columns
        if rows > MAX_ROWS or columns > MAX_COLUMNS:
            message = (
                f"has {rows:,} rows and {columns:,} columns; at most {MAX_ROWS:,} and "
                f"{MAX_COLUMNS:,} are possible"
            )
            raise RefusedError(message, limit=True)
        schema = file.schema_arrow
        if declared is not None and not schema.equals(_schema(declared)):
            message = f"came back with other columns than declared: {schema.to_string()}"
            raise RefusedError(message)
        found = _decode(file)
    if found != rows:
        message = f"has {found:,} rows where it says {rows:,}"
        raise RefusedError(message)
    return {
        "rows": rows,
        "columns": [[field.name, str(field.type), field.nullable] for field in schema],
    }


def _decode(file: pq.ParquetFile) -> int:
    rows = decoded = 0
    for batch in file.iter_batches(batch_size=BATCH):
        # Texts that are not UTF-8 and decimals beyond their digits would fail whoever reads them.
        batch.validate(full=True)
        rows += len(batch)
        decoded += batch.nbytes
        if decoded > MAX_DECODED:
            message = f"unfolds to more than {MAX_DECODED:,} bytes"
            raise RefusedError(message, limit=True)
    return rows


def _schema(encoded: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(encoded)))


if __name__ == "__main__":
    main()
