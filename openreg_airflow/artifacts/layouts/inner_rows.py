"""The rows of inner tables, in the order of the rows that they belong to.

A layout may repeat an element inside a repeated element (``r:each`` with ``r:on``). The inner table
is joined and sorted once, by DuckDB, which spills to disk; then both are read side by side, so that
memory grows neither with the records nor with their inner rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.artifacts.writer import unknown_column
from openreg_airflow.errors import ArtifactError, StorageError
from openreg_airflow.orphans import orphaned
from openreg_airflow.parquet_rows import opened
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import duckdb

    from openreg_airflow.artifacts.layouts.layout_parts import Element

#: How many inner rows are held at a time, unless a single outer row has more.
_MOST_ROWS = 32_768
_READ_ROWS = 8192
#: A multiple of the rows that DuckDB writes at a time; it writes a column of a group as one page,
#: which is read as a whole.
_GROUP_ROWS = 20_480
_MEMORY = "256MB"
#: A second one would make the sort a little faster, but hold more the more rows there are.
_THREADS = 1
_OUTER = "the outer row"
_NUMBER = '"the row itself"'


@dataclass(frozen=True)
class InnerTable:
    """An inner table, sorted.

    Attributes:
        path: Parquet, with the 0-based number of the outer row in the first column.
        inner: the tables inside it, by the identity of their element.
    """

    path: Path
    inner: Mapping[int, InnerTable] = field(default_factory=dict)


def sort(
    element: Element, path: Path, tables: Mapping[str, Path], folder: Path, layout: str
) -> dict[int, InnerTable]:
    """Sort the inner tables of a repeated element by its own rows.

    Args:
        element: the repeated element.
        path: the Parquet file with its rows.
        tables: the tables of the run by name.
        folder: an empty folder for what is sorted, and for what does not fit into memory.
        layout: the layout's file name, for messages.

    Returns:
        The sorted tables by the identity of the inner element.

    Raises:
        ArtifactError: an inner row belongs to no outer row, the columns by which they belong
            together have different types, or a number is too long to be sorted.
        StorageError: there is no room for what is sorted.
    """
    if not any(element.inner()):
        return {}
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "threads": _THREADS,
        "temp_directory": str(folder / "spill"),
        "autoinstall_known_extensions": False,
    }
    try:
        with duckdb.connect(":memory:", config=settings) as database:
            return _Sorter(database, tables, folder, layout).below(element, path)
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        message = f"the inner tables of {element.each} cannot be sorted: {error}"
        raise StorageError(
            message, where=str(folder), hint="Free space for temporary files, then clear the task."
        ) from error


class _Sorter:
    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        tables: Mapping[str, Path],
        folder: Path,
        layout: str,
    ) -> None:
        self._database = database
        self._tables = tables
        self._folder = folder
        self._layout = layout
        self._files = 0

    def below(self, element: Element, path: Path) -> dict[int, InnerTable]:
        alike: dict[tuple[str, tuple[tuple[str, str], ...]], list[Element]] = {}
        for inner in element.inner():
            alike.setdefault((str(inner.each), inner.on), []).append(inner)
        found: dict[int, InnerTable] = {}
        for elements in alike.values():
            target = self._sorted(elements, str(element.each), path)
            for inner in elements:
                found[id(inner)] = InnerTable(target, self.below(inner, target))
        return found

    def _sorted(self, elements: list[Element], outer_table: str, outer: Path) -> Path:
        first = elements[0]
        source = self._tables[str(first.each)]
        keys = [name for name, _ in first.on]
        names = sorted({name for element in elements for name, _ in element.columns()} | {*keys})
        self._refuse_types(first, source, outer, names)
        self._files += 1
        target = self._folder / f"{self._files}.parquet"
        same = " AND ".join(f"i.{named(a)} = o.{named(b)}" for a, b in first.on)
        rows, owners = f"{_numbered(source)} AS i", f"{_numbered(outer)} AS o"
        self._refuse_orphans(first, outer_table, f"{rows} ANTI JOIN {owners} ON {same}")
        columns = ", ".join(f"i.{named(name)}" for name in names)
        self._database.execute(
            f"COPY (SELECT o.{_NUMBER} AS {named(_OUTER)}, {columns} "  # noqa: S608
            f"FROM {rows} JOIN {owners} ON {same} ORDER BY o.{_NUMBER}, i.{_NUMBER}) "
            f"TO {quoted(str(target))} "
            f"(FORMAT parquet, COMPRESSION lz4_raw, ROW_GROUP_SIZE {_GROUP_ROWS})"
        )
        return target

    def _refuse_types(self, element: Element, source: Path, outer: Path, names: list[str]) -> None:
        where = f"{self._layout}, line {element.line}"
        inner_types, outer_types = pq.read_schema(source), pq.read_schema(outer)
        for name in names:
            if name not in inner_types.names:
                raise unknown_column(str(element.each), name, inner_types.names).at(where=where)
            if pa.types.is_decimal256(inner_types.field(name).type):
                message = f"column {name} of {element.each} has more than 38 digits"
                hint = "Declare a shorter decimal for it in the transform."
                raise ArtifactError(message, where=where, hint=hint)
        for name, other in element.on:
            one, two = inner_types.field(name).type, outer_types.field(other).type
            if one != two:
                message = f"column {name} of {element.each} is {one}, but {other} is {two}"
                hint = "Rows belong together by equal values: declare the same type for both."
                raise ArtifactError(message, where=where, hint=hint)

    def _refuse_orphans(self, element: Element, outer: str, joined: str) -> None:
        keys = ", ".join(f"arg_min(i.{named(name)}, i.{_NUMBER})" for name, _ in element.on)
        [(count, first, *values)] = self._database.execute(
            f"SELECT count(*), min(i.{_NUMBER}), {keys} FROM {joined}"  # noqa: S608
        ).fetchall()
        if not count:
            return
        record = ", ".join(
            f"{name} {'NULL' if value is None else value}"
            for (name, _), value in zip(element.on, values, strict=True)
        )
        place = f"table {element.each} row {first + 1} ({record})"
        raise orphaned(count, outer, f"{place}, {self._layout} line {element.line}")


class Cursor:
    """Reads an inner table beside its outer rows.

    Args:
        path: of an :class:`InnerTable`.
        columns: the columns to read.
    """

    def __init__(self, path: Path, columns: list[str]) -> None:
        self._columns = columns
        self._file = opened(path)
        self._batches = self._file.iter_batches(
            _READ_ROWS, columns=[_OUTER, *columns], use_threads=False
        )
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._last = -1
        self._complete = False
        #: The 0-based number of the first inner row that is held.
        self._begin = 0

    def fit(self, first: int, rows: int) -> int:
        """How many of the outer rows from ``first`` on can be read now: at least one, at most all.

        Args:
            first: 0-based; never less than in the call before.
            rows: how many are wanted.
        """
        self._forget(first)
        while not self._complete and self._last < first + rows:
            # The rows of the last outer row that was seen may go on in the next batch.
            if self._rows >= _MOST_ROWS and self._last > first:
                return self._last - first
            self._read()
        return rows

    def take(self, first: int, rows: int) -> tuple[pa.RecordBatch, Any, int]:
        """The inner rows of outer rows that fit.

        Returns:
            The inner rows, the place where those of each outer row begin and the last ones end,
            and the 0-based number of the first of them in the inner table.
        """
        if not self._held:
            schema = self._file.schema_arrow
            empty = pa.RecordBatch.from_pylist(
                [], schema=pa.schema(map(schema.field, self._columns))
            )
            return empty, np.zeros(rows + 1, np.int32), self._begin
        held = pa.Table.from_batches(self._held).combine_chunks().to_batches()[0]
        self._held = [held]
        outer = held.column(0).to_numpy()
        bounds = np.searchsorted(outer, np.arange(first, first + rows + 1))
        start, end = int(bounds[0]), int(bounds[-1])
        part = held.slice(start, end - start).select(self._columns)
        return part, (bounds - start).astype(np.int32), self._begin + start

    def _read(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self._complete = True
            return
        if batch.num_rows:
            self._held.append(batch)
            self._rows += batch.num_rows
            self._last = batch.column(0)[-1].as_py()

    def _forget(self, first: int) -> None:
        """Let go of the rows of outer rows before ``first``."""
        while not self._complete and self._last < first:
            self._begin += self._rows
            self._held, self._rows = [], 0
            self._read()
        kept = []
        for batch in self._held:
            gone = int(np.searchsorted(batch.column(0).to_numpy(), first))
            self._begin += gone
            self._rows -= gone
            if gone < batch.num_rows:
                kept.append(batch.slice(gone))
        self._held = kept


def _numbered(path: Path) -> str:
    """SQL for the rows of a file with their numbers."""
    query = f"SELECT *, file_row_number AS {_NUMBER} FROM read_parquet({quoted(str(path))}, "  # noqa: S608
    return f"({query}file_row_number = true))"
