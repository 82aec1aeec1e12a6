"""Rejected records as the exception queue knows them: rows of the report's table, and keys."""

from __future__ import annotations

from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from openreg_airflow.sql_quoting import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from openreg_airflow.store.acknowledgement_records import RecordAnswer

#: Records that are looked up at a time; each time the table's columns are read once.
_RECORDS = 20_000


def with_origin(
    records: Path, rejected: Iterable[RecordAnswer]
) -> Iterator[tuple[int | None, RecordAnswer]]:
    """Give what is said of rows that were written with their numbers in the report's table.

    Args:
        records: of :mod:`openreg_airflow.references.rows`.
        rejected: what is said of rows.

    Returns:
        The 0-based numbers; None for a derived cancellation, which is no row of the report.
    """
    waiting = iter(rejected)
    with duckdb.connect(":memory:", config={"max_memory": "96MiB", "threads": 1}) as database:
        while chunk := list(islice(waiting, _RECORDS)):
            rows = pa.array([word.row for word in chunk], pa.int64())
            database.register("wanted", pa.table({"position": rows}))
            found = dict(
                database.execute(
                    "SELECT position, origin FROM read_parquet($1) SEMI JOIN wanted "
                    "USING (position)",
                    [str(records)],
                ).fetchall()
            )
            for word in chunk:
                yield found[word.row], word


def keyed(
    table: Path, columns: Sequence[str], rejected: Iterable[tuple[int, RecordAnswer]]
) -> Iterator[tuple[int, tuple[str | None, ...], RecordAnswer]]:
    """Give what is said of rows together with the values that name their records.

    Args:
        table: a Parquet file.
        columns: the names of the columns that name a record.
        rejected: 0-based numbers of rows, each once, with what is said of them.
    """
    wanted = ", ".join(f"CAST({named(name)} AS VARCHAR)" for name in columns)
    waiting = iter(rejected)
    with duckdb.connect(":memory:", config={"max_memory": "96MiB", "threads": 1}) as database:
        database.execute("SET TimeZone = 'UTC'")
        while chunk := list(islice(waiting, _RECORDS)):
            chunk.sort(key=itemgetter(0))
            rows = pa.array([row for row, _ in chunk], pa.int64())
            database.register("wanted", pa.table({"row": rows}))
            keys = database.execute(
                f"SELECT {wanted} FROM read_parquet($1, file_row_number = true) "  # noqa: S608
                "SEMI JOIN wanted ON file_row_number = wanted.row ORDER BY file_row_number",
                [str(table)],
            ).fetchall()
            for key, (row, word) in zip(keys, chunk, strict=True):
                yield row, key, word
