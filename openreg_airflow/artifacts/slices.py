"""The tables of one part of an artifact: some of the records, with the rows that belong to them.

The records keep their order. Rows of inner tables stay with the record that they belong to; they
are joined to it once, by DuckDB, which spills to disk, so memory grows with neither table.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import ArtifactError, StorageError
from openreg_airflow.orphans import orphaned
from openreg_airflow.parquet_rows import opened
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from openreg_airflow.artifacts.parts import Part
    from openreg_airflow.artifacts.writer import Relation

_READ_ROWS = 32_768
#: A multiple of the rows that DuckDB writes at a time.
_GROUP_ROWS = 20_480
_MEMORY = "256MB"
#: More would hold more the more rows there are.
_THREADS = 1
_ROOT = '"the record it belongs to"'
_OWN = '"the row itself"'


class Slices:
    """Cuts the tables of an artifact into those of its parts.

    Args:
        tables: the whole tables, local Parquet files by name.
        main: the table of the records.
        relations: which tables belong to which, parents first; the others stand whole in every
            part.
        folder: an empty folder for what is sorted and does not fit into memory.

    Raises:
        ArtifactError: a row belongs to no record, or one table belongs in two ways.
        StorageError: there is no room for what is sorted.
    """

    def __init__(
        self,
        tables: Mapping[str, Path],
        main: str,
        relations: Sequence[Relation],
        folder: Path,
    ) -> None:
        self._tables = tables
        self._main = main
        self._folder = folder
        #: The records in small row groups: to cut a part, those before it need not be read.
        self._records = _regrouped(tables[main], folder / "the records.parquet")
        #: Inner tables with the number of their record, sorted by it.
        self._sorted: dict[str, Path] = {}
        self._columns: dict[str, list[str]] = {}
        self._opening = threading.Lock()
        self._database: duckdb.DuckDBPyConnection | None = None
        for relation in relations:
            if relation.table in self._sorted:
                message = (
                    f"table {relation.table} belongs to records in two ways and cannot be split"
                )
                hint = "Give each of the ways a table of its own."
                raise ArtifactError(message, hint=hint)
            with self._step() as database:
                self._sort(database, relation)

    def cut(self, part: Part, folder: Path) -> tuple[dict[str, Path], dict[str, int]]:
        """Write the tables of a part into a folder; tables that stand whole stay where they are.

        Returns:
            The files and their numbers of rows, by table.
        """
        tables = dict(self._tables)
        tables[self._main] = folder / f"{self._main}.parquet"
        _copy_rows(self._records, part.first, part.records, tables[self._main])
        for table, source in self._sorted.items():
            target = folder / f"{table}.parquet"
            with self._step() as database:
                self._cut(database, table, source, part, target)
            tables[table] = target
        return tables, {table: pq.read_metadata(path).num_rows for table, path in tables.items()}

    def close(self) -> None:
        """Let go of what was needed for cutting."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _sort(self, database: duckdb.DuckDBPyConnection, relation: Relation) -> None:
        source = self._tables[relation.table]
        self._columns[relation.table] = pq.read_schema(source).names
        if relation.parent == self._main:
            owners = f"{_numbered(self._tables[self._main])} AS o"
            root = f"o.{_OWN}"
        else:
            owners = f"read_parquet({quoted(str(self._sorted[relation.parent]))}) AS o"
            root = f"o.{_ROOT}"
        same = " AND ".join(f"i.{named(a)} = o.{named(b)}" for a, b in relation.on)
        rows = f"{_numbered(source)} AS i"
        orphans = database.execute(
            f"SELECT count(*), min(i.{_OWN}) FROM {rows} ANTI JOIN {owners} ON {same}"  # noqa: S608
        ).fetchall()
        [(count, first)] = orphans
        if count:
            raise orphaned(count, relation.parent, f"table {relation.table} row {first + 1}")
        columns = ", ".join(f"i.{named(name)}" for name in self._columns[relation.table])
        target = self._folder / f"{relation.table}.parquet"
        database.execute(
            f"COPY (SELECT {root} AS {_ROOT}, i.{_OWN}, {columns} "  # noqa: S608
            f"FROM {rows} JOIN {owners} ON {same} ORDER BY 1, 2) "
            f"TO {quoted(str(target))} "
            f"(FORMAT parquet, COMPRESSION lz4_raw, ROW_GROUP_SIZE {_GROUP_ROWS})"
        )
        self._sorted[relation.table] = target

    def _cut(
        self,
        database: duckdb.DuckDBPyConnection,
        table: str,
        source: Path,
        part: Part,
        target: Path,
    ) -> None:
        columns = ", ".join(named(name) for name in self._columns[table])
        last = part.first + part.records
        # A row may belong to several records of a part and is still there once.
        database.execute(
            f"COPY (SELECT {columns} FROM (SELECT *, row_number() OVER (PARTITION BY {_OWN} "  # noqa: S608
            f'ORDER BY {_ROOT}) AS "its turn" FROM read_parquet({quoted(str(source))}) '
            f"WHERE {_ROOT} >= {part.first:d} AND {_ROOT} < {last:d}) "
            f'WHERE "its turn" = 1 ORDER BY {_OWN}) '
            f"TO {quoted(str(target))} (FORMAT parquet, COMPRESSION lz4_raw)"
        )

    @contextmanager
    def _step(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A session of the one database, whose lack of room is an error of ours."""
        import duckdb

        with self._opening:
            if self._database is None:
                self._database = self._open()
            session = self._database.cursor()
        try:
            session.execute("SET enable_progress_bar = false")
            yield session
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            message = f"the inner tables cannot be cut into parts: {error}"
            raise StorageError(
                message,
                where=str(self._folder),
                hint="Free space for temporary files, then clear the task.",
            ) from error
        finally:
            session.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY,
            "threads": _THREADS,
            "temp_directory": str(self._folder / "spill"),
            "autoinstall_known_extensions": False,
        }
        return duckdb.connect(":memory:", config=settings)


def _regrouped(source: Path, target: Path) -> Path:
    """The same rows in row groups of few rows; the file itself when it has them already."""
    with opened(source) as table:
        about = table.metadata
        groups = range(about.num_row_groups)
        if max((about.row_group(n).num_rows for n in groups), default=0) <= 2 * _GROUP_ROWS:
            return source
        with pq.ParquetWriter(target, table.schema_arrow, compression="lz4") as writer:
            for batch in table.iter_batches(_GROUP_ROWS, use_threads=False):
                writer.write_batch(batch)
    return target


def _copy_rows(source: Path, first: int, rows: int, target: Path) -> None:
    """Write some rows of a Parquet file to another, with the same columns."""
    with (
        opened(source) as table,
        pq.ParquetWriter(target, table.schema_arrow, compression="lz4") as writer,
    ):
        for batch in _rows(table, first, rows):
            writer.write_batch(batch)


def _rows(table: pq.ParquetFile, first: int, rows: int) -> Iterator[pa.RecordBatch]:
    about = table.metadata
    groups, begin, skipped = [], 0, 0
    for group in range(about.num_row_groups):
        size = about.row_group(group).num_rows
        if begin + size <= first:
            skipped = begin + size
        elif begin < first + rows:
            groups.append(group)
        begin += size
    at = skipped
    for batch in table.iter_batches(_READ_ROWS, row_groups=groups, use_threads=False):
        start = max(first - at, 0)
        end = min(first + rows - at, batch.num_rows)
        if start < end:
            yield batch.slice(start, end - start)
        at += batch.num_rows


def _numbered(path: Path) -> str:
    """SQL for the rows of a file with their numbers."""
    query = f"SELECT *, file_row_number AS {_OWN} FROM read_parquet({quoted(str(path))}, "  # noqa: S608
    return f"({query}file_row_number = true))"
