"""The records of an artifact as the store takes them: a Parquet file beside the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.references.content import load, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from openreg_airflow.references.content import Records
    from openreg_airflow.references.spec import ReferencesSpec
    from openreg_airflow.store.reference_staging import StagedRecord

_BATCH = 50_000
COLUMNS = "reference, cancels, digest, needs, event"
IN_ORDER = f"SELECT {COLUMNS}, position AS origin FROM target ORDER BY position"  # noqa: S608
#: ``origin`` is the row's number in the artifact's table; a derived cancellation has none there.
STAGED = pa.schema(
    [
        ("position", pa.int64()),
        ("reference", pa.string()),
        ("cancels", pa.bool_()),
        ("digest", pa.string()),
        ("needs", pa.string()),
        ("event", pa.string()),
        ("origin", pa.int64()),
    ]
)
_STORED = STAGED.names[:-1]


def write_records(records: Records, spec: ReferencesSpec, out: Path, scratch: Path) -> int:
    """Write the records of tables in their order, and give their number.

    Args:
        records: the tables.
        spec: which column is what.
        out: where they go, as Parquet.
        scratch: a folder for what does not fit into memory.

    Raises:
        ArtifactError: as :func:`~openreg_airflow.references.content.load`.
    """
    with open_database(scratch) as database:
        load(database, records, spec)
        return put_records(database, [IN_ORDER], out)


def put_records(database: duckdb.DuckDBPyConnection, queries: Sequence[str], out: Path) -> int:
    """Write the rows of queries, numbered from 0 through all of them, and give their number."""
    position = 0
    with pq.ParquetWriter(out, STAGED, compression="zstd") as file:
        for query in queries:
            for batch in database.sql(query).to_arrow_reader(_BATCH):
                if batch.num_rows:
                    numbers = pa.array(range(position, position + batch.num_rows), pa.int64())
                    columns = [numbers, *batch.columns]
                    table = pa.Table.from_arrays(columns, names=STAGED.names)
                    file.write_table(table.cast(STAGED))
                    position += batch.num_rows
    return position


def read_records(file: Path) -> Iterator[list[StagedRecord]]:
    """The records that were written, in batches."""
    with pq.ParquetFile(file) as records:
        for batch in records.iter_batches(_BATCH, columns=_STORED, use_threads=False):
            columns = [column.to_pylist() for column in batch.columns]
            yield list(zip(*columns, strict=True))
