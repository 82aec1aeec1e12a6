"""From files to one Parquet file: found, fetched, hashed, streamed, exact, with evidence."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract.extracted import Extracted, Head, columns_of
from openreg_airflow.extract.files.formats import open_table
from openreg_airflow.extract.files.place import changed, find
from openreg_airflow.extract.files.text_forms import MisspelledError, TextForms
from openreg_airflow.extract.limits import Meter
from openreg_airflow.extract.parquet import ParquetSink
from openreg_airflow.extract.shape import Shape
from openreg_airflow.extract.spec import BUSINESS_DATE
from openreg_airflow.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import date
    from pathlib import Path

    from openreg_airflow.extract.file_spec import FileSpec
    from openreg_airflow.extract.files.place import FetchedFile, Place
    from openreg_airflow.extract.files.table import FileTable
    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.spec import SourceSpec

log = logging.getLogger(__name__)

#: What is on record in place of a connection for files of the worker's own disk.
LOCAL = "(local files)"
_SHOWN = 60


@dataclass(frozen=True)
class FilesRead:
    """The files of a source as they go on record; see :class:`~..extracted.Asked`."""

    files: tuple[FetchedFile, ...]
    business_date: date

    @property
    def text(self) -> str:
        """One JSON object a file: its path, size, SHA-256 and time of the last change."""
        return "\n".join(
            json.dumps(
                {
                    "path": file.found.path,
                    "bytes": file.found.bytes,
                    "sha256": file.sha256,
                    "modified": file.found.modified,
                },
                ensure_ascii=False,
            )
            for file in self.files
        )

    @property
    def sha256(self) -> str:
        """Hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def used(self) -> Mapping[str, Value | tuple[Value, ...]]:
        """The business date, with which the path was filled in."""
        return {BUSINESS_DATE: self.business_date}


class FileExtraction:
    """The extraction of one file source for one business date.

    Args:
        spec: the source's section of the spec.
        business_date: filled into the path.
        opens: gives the place where the files lie.
        scratch: local folder for files that lie elsewhere; the system's when not given.
    """

    def __init__(
        self,
        spec: SourceSpec,
        business_date: date,
        opens: Callable[[], AbstractContextManager[Place]],
        *,
        scratch: Path | None = None,
    ) -> None:
        assert spec.file is not None  # noqa: S101 - for the type checker
        self._spec = spec
        self._file: FileSpec = spec.file
        self._business_date = business_date
        self._opens = opens
        self._scratch = scratch
        self._forms = TextForms(spec.file, spec.columns)
        self._path = spec.file.path_on(business_date)
        self._stopped = False
        self._deadline = 0.0

    def cancel(self) -> None:
        """Stop a running extraction at its next batch."""
        self._stopped = True

    def run(self, path: Path) -> Extracted:
        """Write what the files hold to a Parquet file.

        Raises:
            SourceError: a file is not what it should be, or a value does not fit its type.
            SourceUnavailableError: a file is not there yet, or cannot be had now.
            OSError: the Parquet file cannot be written.
        """
        started, started_at = time.monotonic(), datetime.now(UTC)
        log.info("Reading %s as %s", self._path, self._file.format)
        meter = Meter(self._spec, what="the file", where=self._path, started=started)
        with self._fetched() as (place, files):
            rows = _Rows(self._spec, self._forms, files)
            shape = rows.shape()
            with ParquetSink(path, shape.schema) as sink:
                for batch in rows.batches(shape):
                    self._check_stop()
                    meter.count(batch)
                    sink.write(batch)
            self._check_unchanged(place, files)
            read = FilesRead(tuple(files), self._business_date)
            done = Extracted(
                rows=meter.rows,
                columns=columns_of(shape.schema),
                connection=self._file.connection or LOCAL,
                server=place.server,
                query=read,
                mark=None,
                started_at=started_at,
                seconds=time.monotonic() - started,
            )
        for line in read.text.splitlines():
            log.info("Read %s", line)
        size = path.stat().st_size
        log.info(
            "%s rows, %s bytes of Parquet in %.2f s", f"{done.rows:,}", f"{size:,}", done.seconds
        )
        return done

    def head(self, rows: int) -> Head:
        """Read the first rows; nothing is written.

        Raises:
            SourceError: a file is not what it should be, or a value does not fit its type.
            SourceUnavailableError: a file is not there yet, or cannot be had now.
        """
        with self._fetched() as (place, files):
            source = _Rows(self._spec, self._forms, files)
            shape = source.shape()
            batches: list[pa.RecordBatch] = []
            found = 0
            for batch in source.batches(shape):
                batches.append(batch.slice(0, rows + 1 - found))
                found += batches[-1].num_rows
                if found > rows:
                    break
            table = pa.Table.from_batches(batches, shape.schema)
            return Head(
                table=table.slice(0, rows),
                columns=source.columns,
                server=place.server,
                more=found > rows,
            )

    @contextmanager
    def _fetched(self) -> Iterator[tuple[Place, list[FetchedFile]]]:
        self._deadline = time.monotonic() + self._spec.timeout_seconds
        with (
            scratch_folder(self._scratch) as folder,
            self._opens() as place,
        ):
            files = []
            for found in find(place, self._file, self._path):
                self._check_stop()
                files.append(place.fetch(found, folder, self._check_stop))
            yield place, files

    def _check_unchanged(self, place: Place, files: list[FetchedFile]) -> None:
        """Refuse files that were still written to: what was hashed and what was read differ."""
        for file in files:
            now = place.stat(file.found.path)
            if now is None or now.version != file.found.version:
                raise changed(file.found, now)

    def _check_stop(self) -> None:
        if self._stopped:
            message = "the task was stopped, and the file was not read to its end"
            raise SourceUnavailableError(message, where=self._path)
        if time.monotonic() > self._deadline:
            message = f"after {self._spec.timeout_seconds} seconds the file was not read to its end"
            hint = "Raise `timeout_seconds`."
            raise SourceUnavailableError(message, where=self._path, hint=hint)


class _Rows:
    """The rows of all files of a source, one file after the other."""

    def __init__(self, spec: SourceSpec, forms: TextForms, files: list[FetchedFile]) -> None:
        assert spec.file is not None  # noqa: S101 - for the type checker
        self._spec = spec
        self._file: FileSpec = spec.file
        self._forms = forms
        self._files = files
        self._name = files[0].found.path
        self._table: FileTable | None = None
        self._before = 0
        with self._open(files[0]) as table:
            self.columns = table.columns

    def shape(self) -> Shape:
        """The shape of the first file, which all must have."""
        return Shape(self.columns, self._spec.columns, file=self._name, place=self._place)

    def batches(self, shape: Shape) -> Iterator[pa.RecordBatch]:
        """The rows in the shape.

        Raises:
            SourceError: a value does not fit, or a file has other columns than the first.
        """
        rows = 0
        for file in self._files:
            self._name = file.found.path
            with self._open(file) as table:
                self._check_same(table)
                self._table, self._before = table, rows
                for batch in table.batches():
                    yield shape.convert(self._plain(batch, rows), rows_before=rows)
                    rows += batch.num_rows

    def _open(self, file: FetchedFile) -> AbstractContextManager[FileTable]:
        return open_table(file.local, file.found.path, self._file, self._spec.columns)

    def _check_same(self, table: FileTable) -> None:
        if [(c.name, c.type) for c in table.columns] != [(c.name, c.type) for c in self.columns]:
            first = self._files[0].found.path
            message = f"{self._name} has other columns than {first}"
            hint = "All files of a source have the same columns in the same order."
            raise SourceError(message, where=self._name, hint=hint)

    def _plain(self, batch: pa.RecordBatch, rows: int) -> pa.RecordBatch:
        names = batch.schema.names
        arrays = []
        for name, array in zip(names, batch.columns, strict=True):
            try:
                arrays.append(self._forms.plain(name, array))
            except MisspelledError as error:
                value = str(array[error.index].as_py())[:_SHOWN]
                message = f"the value {value!r} is not {error.expected}"
                where = self._place(name, rows + error.index)
                hint = "Correct the data, or `formats:` and `decimal_mark:`."
                raise SourceError(message, where=where, hint=hint) from error
        return pa.RecordBatch.from_arrays(arrays, names=names)

    def _place(self, column: str, row: int) -> str:
        assert self._table is not None  # noqa: S101 - asked for a row that was read
        return f"{self._name}, column {column}, {self._table.place(row - self._before)}"
