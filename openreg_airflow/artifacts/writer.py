"""What a writer of a format is, and how it is found.

A package adds a format by an entry point in the group ``openreg.writers``: the entry point's name
is the format, its value a class that satisfies :class:`Writer`.
"""

from __future__ import annotations

import difflib
import logging
import time
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

from openreg_airflow.artifacts.publishing.digest import Digest, HashedFile
from openreg_airflow.errors import ArtifactError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    from openreg_airflow.problem import Problem
    from openreg_airflow.records import RunKey

GROUP = "openreg.writers"
_PROGRESS_SECONDS = 5.0
_MAX_BATCH_ROWS = 8192
_BATCH_BYTES = 32 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which file of an artifact this is, and what the authority knows it by.

    Attributes:
        number: from 1.
        count: how many files the artifact has.
        total_records: the records of all of them.
        first_record: number of this one's first record among all, from 1.
        sequence: its sequence number as it is written; None without a sequence.
        version: 1 for the first content of a report and date, 2 for its first correction.
        replaces: sequence number of the file that it corrects; empty when it corrects none.
        replaces_file: name of the file that it corrects; empty when it corrects none.
    """

    number: int = 1
    count: int = 1
    total_records: int = 0
    first_record: int = 1
    sequence: str | None = None
    version: int = 1
    replaces: str = ""
    replaces_file: str = ""


@dataclass(frozen=True)
class Relation:
    """The rows of one table belong to rows of another.

    Attributes:
        table: the inner table.
        parent: the table of the rows that they belong to.
        on: the columns that are equal: of the inner table, of the parent.
    """

    table: str
    parent: str
    on: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One file to write.

    Attributes:
        artifact: the artifact's name in the spec.
        spec: its section.
        filename: the name under which the file will be delivered.
        folder: the report's folder.
        run: the run that the file belongs to.
        tables: local Parquet files by table name; all that :meth:`Writer.tables` asked for.
        rows: the number of rows of each of the tables.
        schema_folders: where schema files of authorities are looked for.
        page: which of the artifact's files it is; when it is split, ``tables`` are its own rows.
        draft: it is only written for its length; a schema need not be asked.
        written: counts and hashes what is written through :meth:`create`.
    """

    artifact: str
    spec: Any
    filename: str
    folder: Path
    run: RunKey
    tables: Mapping[str, Path]
    rows: Mapping[str, int]
    schema_folders: tuple[Path, ...] = ()
    page: Page = Page()
    draft: bool = False
    written: Digest | None = None

    def create(self, target: Path) -> HashedFile:
        """Begin the file: its length and hashes are taken while it is written.

        A writer that cannot write from beginning to end opens ``target`` itself; the hashes are
        then read from the finished file.
        """
        return HashedFile(target, self.written or Digest())


class Writer(Protocol):
    """Writes Parquet tables as a file of one format. It has no state and takes no arguments.

    A format with rows inside records may also have a method ``relations(spec, folder)`` that gives
    a :class:`Relation` for each inner table, parents first; only then can it be split. One that
    names columns may have ``uses(spec, folder)``, which gives a
    :class:`~openreg_airflow.artifacts.layouts.column_use.Use` for each, so that they are checked
    without data.
    """

    def tables(self, spec: Any, folder: Path) -> frozenset[str]:
        """The names of the tables that the file is made of."""

    def write(self, job: Job, target: Path) -> str:
        """Write the file, with memory that does not grow with the rows.

        Returns:
            ``valid``, or why the file was not held against a schema.

        Raises:
            openreg_airflow.errors.ArtifactError: a value that the format cannot carry, a column
                that is not there, or a result that its schema refuses.
        """

    def check(self, spec: Any, folder: Path) -> Iterator[Problem]:
        """Faults that show without data; their ``keys`` are relative to the artifact's section."""


def known_formats() -> tuple[str, ...]:
    """The formats that can be written in this installation."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def writer(name: str) -> Writer:
    """The writer of a format.

    Raises:
        SpecError: no installed package writes that format.
    """
    for entry in entry_points(group=GROUP, name=name):
        return cast("Writer", entry.load()())
    message = f"no writer for format {name!r} is installed; known are {', '.join(known_formats())}"
    raise SpecError(message, hint="Install the package that brings it, or mend the format.")


def relations(writes: Writer, spec: Any, folder: Path) -> tuple[Relation, ...]:
    """The inner tables of an artifact, parents first."""
    find = getattr(writes, "relations", None)
    return tuple(find(spec, folder)) if find is not None else ()


def unsplittable(writes: Writer, spec: Any, folder: Path) -> tuple[str, ...]:
    """Tables of a split artifact of which nobody says which rows go into which file."""
    inner = {relation.table for relation in relations(writes, spec, folder)}
    known = {spec.table, *inner, *spec.split.repeat}
    return tuple(sorted(writes.tables(spec, folder) - known))


def unknown_column(table: str, column: str, known: Sequence[str]) -> ArtifactError:
    """The error of a spec or layout that names a column which its table does not have."""
    close = difflib.get_close_matches(column, known, 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    message = f"table {table} has no column {column}"
    return ArtifactError(message, hint=f"{hint}Its columns are {', '.join(known)}.")


def batch_rows(table: pq.ParquetFile, markup: int = 0) -> int:
    """How many rows to render at a time: enough for columns to pay, few enough for memory.

    Args:
        table: the table that is read.
        markup: bytes that the format adds to each record.
    """
    groups = map(table.metadata.row_group, range(table.metadata.num_row_groups))
    # Long records often stand together: a mean of the whole table would not tell of them.
    stored = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return max(1, min(_MAX_BATCH_ROWS, _BATCH_BYTES // max(markup + stored, 1)))


def batches(
    table: pq.ParquetFile, columns: Sequence[str], markup: int = 0
) -> Iterator[pa.RecordBatch]:
    """The rows of a table in batches to render, of few bytes however long some records are.

    Args:
        table: the table that is read.
        columns: the columns that are read.
        markup: bytes that the format adds to each record.
    """
    rows = batch_rows(table, markup)
    for batch in table.iter_batches(rows, columns=list(columns), use_threads=False):
        yield from _halved(batch)


def _halved(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if batch.nbytes <= 2 * _BATCH_BYTES or batch.num_rows < 2:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _halved(batch.slice(0, half))
    yield from _halved(batch.slice(half))


@dataclass
class Progress:
    """Says in the log how far a long piece of work is, about every five seconds."""

    what: str
    total: int
    unit: str = "records"
    _next: float = field(default_factory=lambda: time.monotonic() + _PROGRESS_SECONDS)

    def at(self, done: int) -> None:
        """Tell that ``done`` of the total are done."""
        if (now := time.monotonic()) >= self._next:
            self._next = now + _PROGRESS_SECONDS
            log.info("%s: %d of %d %s", self.what, done, self.total, self.unit)
