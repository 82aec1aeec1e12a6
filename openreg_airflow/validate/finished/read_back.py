"""From the files of an artifact to two tables: its records, and the files themselves."""

from __future__ import annotations

import logging
import time
import zlib
from gzip import BadGzipFile
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow import parquet_rows
from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import ArtifactError
from openreg_airflow.validate.finished import form as forms
from openreg_airflow.validate.finished.excel_files import read_excel
from openreg_airflow.validate.finished.fixed_files import read_fixed
from openreg_airflow.validate.finished.json_files import read_json
from openreg_airflow.validate.finished.opening import opened
from openreg_airflow.validate.finished.records import BATCH, RecordWriter
from openreg_airflow.validate.finished.text_files import Lines, read_csv, read_json_lines
from openreg_airflow.validate.finished.xml_files import read_xml
from openreg_airflow.validate.job import TableFile

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.records import Artifact, ArtifactFile
    from openreg_airflow.validate.finished.form import FileForm
    from openreg_airflow.validate.finished.spec import ReadBack
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)

#: What broken text and broken packing raise.
_UNREADABLE = (UnicodeDecodeError, EOFError, BadGzipFile, BadZipFile, zlib.error)


def read_back(
    artifact: Artifact, form: FileForm, reading: ReadBack, *, workspace: Workspace, into: Path
) -> dict[str, TableFile]:
    """Read the files of an artifact as their receiver would.

    Args:
        artifact: what was written.
        form: how.
        reading: what is wanted of it.
        workspace: where the files are; each is held against its recorded hash first.
        into: a folder for the tables.

    Returns:
        The two tables by name; see :class:`~openreg_airflow.validate.finished.spec.ReadBack`.

    Raises:
        ArtifactError: a file cannot be read, or a value is not of its declared type.
        IntegrityError: a file is not the one that was recorded.
    """
    if why := forms.fault(form, reading):
        raise ArtifactError(why, where=f"artifact {artifact.name}")
    began = time.monotonic()
    path = into / f"{artifact.name}_records.parquet"
    files: list[dict[str, Any]] = []
    types = {name: kind for name, kind in reading.columns.items() if name not in reading.document}
    with RecordWriter(path, types, form.decimal_mark) as records:
        if reading.fields:
            records.names = tuple(reading.fields)
        for file in artifact.reports:
            with workspace.open_local(file) as local:
                files.append(_about(file) | _read(local, file.filename, form, reading, records))
    about = into / f"{artifact.name}_files.parquet"
    pq.write_table(_typed(pa.Table.from_pylist(files, schema=_schema(reading)), reading), about)
    log.info(
        "read %d records back from %d files of %s in %.1f s",
        records.rows,
        len(files),
        artifact.name,
        time.monotonic() - began,
    )
    return {
        f"{artifact.name}_records": TableFile(path=path.absolute(), rows=records.rows),
        f"{artifact.name}_files": TableFile(path=about.absolute(), rows=len(files)),
    }


def _read(
    path: Path, name: str, form: FileForm, reading: ReadBack, into: RecordWriter
) -> dict[str, Any]:
    if form.format == "parquet":
        return {"found": _read_parquet(path, name, reading, into)}
    try:
        if form.format == "excel":
            return {"found": read_excel(path, name, form, reading, into)}
        with opened(path, name) as stream:
            if form.format in ("json", "xml"):
                read = read_xml if form.format == "xml" else read_json
                found, document = read(stream, name, reading, into)
                return {"found": found, **document}
            if form.format == "fixed":
                return read_fixed(stream, name, form, reading, into)
            lines = Lines(stream, form.encoding if form.format == "csv" else "utf-8")
            if form.format == "csv":
                found = read_csv(lines, name, form, reading, into)
            else:
                found = read_json_lines(lines, name, reading, into)
            return {"found": found, "first_line": lines.first, "last_line": lines.last}
    except _UNREADABLE as error:
        message = f"{name} cannot be read back: {error}"
        raise ArtifactError(message) from error


def _read_parquet(path: Path, name: str, reading: ReadBack, into: RecordWriter) -> int:
    count = 0
    with parquet_rows.opened(path) as file:
        wanted = list(reading.fields.values()) or file.schema_arrow.names
        if missing := [column for column in wanted if column not in file.schema_arrow.names]:
            message = f"{name} lacks the columns {', '.join(missing)}"
            raise ArtifactError(message)
        names = list(reading.fields) or wanted
        for batch in file.iter_batches(batch_size=BATCH, columns=wanted):
            table = pa.Table.from_batches([batch]).select(wanted).rename_columns(names)
            into.table(name, count + 1, table.replace_schema_metadata(None))
            count += len(table)
    return count


def _about(file: ArtifactFile) -> dict[str, Any]:
    return {
        "file": file.filename,
        "part": file.part,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "declared": file.records,
    }


def _schema(reading: ReadBack) -> pa.Schema:
    return pa.schema(
        [
            ("file", pa.string()),
            ("part", pa.int64()),
            ("bytes", pa.int64()),
            ("sha256", pa.string()),
            ("declared", pa.int64()),
            ("found", pa.int64()),
            ("first_line", pa.string()),
            ("last_line", pa.string()),
            *((name, pa.string()) for name in reading.document),
        ]
    )


def _typed(files: pa.Table, reading: ReadBack) -> pa.Table:
    """The values of documents with their declared types."""
    for name in reading.document:
        if (declared := reading.columns.get(name)) is None:
            continue
        place = files.schema.get_field_index(name)
        try:
            values = files.column(name).cast(arrow_type(declared))
        except pa.ArrowException as error:
            message = f"{name} of a document of {files['file'][0].as_py()}: {error}"
            raise ArtifactError(message) from error
        files = files.set_column(place, name, values)
    return files
