"""Writes delimited values, streaming and a column at a time."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts import value_format
from openreg_airflow.artifacts.spec import CsvArtifact, CsvColumn
from openreg_airflow.artifacts.writer import Job, Progress, unknown_column
from openreg_airflow.errors import ArtifactError
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

#: Rows rendered at a time.
BATCH_ROWS = 8192
_LINE_ENDS = {"lf": "\n", "crlf": "\r\n"}


class CsvWriter:
    """The writer of ``format: csv``."""

    def tables(self, spec: CsvArtifact, folder: Path) -> frozenset[str]:  # noqa: ARG002
        """Only the artifact's own table."""
        return frozenset({spec.table})

    def write(self, job: Job, target: Path) -> str:
        """Write the file; see :class:`~openreg_airflow.artifacts.writer.Writer`."""
        import pyarrow.parquet as pq

        spec: CsvArtifact = job.spec
        encoder = codecs.getincrementalencoder(spec.encoding)()
        progress = Progress(job.filename, job.rows[spec.table])
        with pq.ParquetFile(job.tables[spec.table]) as table, target.open("wb") as file:
            columns = _columns(spec, table.schema_arrow)
            lines = _Lines(spec, columns)
            if spec.header:
                file.write(_encode(encoder, lines.header(), spec.encoding, "header"))
            first = 1
            names = [column.name for column in columns]
            for batch in table.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                text = lines.of(batch, first)
                if codecs.lookup(spec.encoding).name == "utf-8":
                    file.write(text)
                else:
                    file.write(_reencode(encoder, text, spec, batch, first))
                first += batch.num_rows
                progress.at(first - 1)
            file.write(encoder.encode("", final=True))
        return "not checked: CSV has no schema"

    def check(self, spec: CsvArtifact, folder: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Titles that would stand twice in the header."""
        seen: set[str] = set()
        for name, column in (spec.columns or {}).items():
            title = column.title or name
            if spec.header and title in seen:
                message = f"the header would name {title!r} twice"
                yield Problem(message=message, keys=("columns", name))
            seen.add(title)


@dataclass(frozen=True)
class _Column:
    name: str
    title: str
    form: value_format.Format
    required: bool


def _columns(spec: CsvArtifact, schema: pa.Schema) -> list[_Column]:
    """The columns to write, in their order.

    Raises:
        ArtifactError: the spec names a column that the table does not have.
    """
    wanted = spec.columns or {name: CsvColumn() for name in schema.names}
    for name in wanted:
        if name not in schema.names:
            raise unknown_column(spec.table, name, schema.names)
    return [
        _Column(name, column.title or name, value_format.parse(column.format), column.required)
        for name, column in wanted.items()
    ]


class _Lines:
    """Turns batches into lines of UTF-8 text."""

    def __init__(self, spec: CsvArtifact, columns: list[_Column]) -> None:
        self._spec = spec
        self._columns = columns
        self._end = _LINE_ENDS[spec.line_end]
        special = re.escape(spec.delimiter + spec.quote)
        self._special = f"[{special}\\r\\n]"

    def header(self) -> str:
        import pyarrow as pa

        titles = [pa.array([column.title]) for column in self._columns]
        try:
            texts = [self._quoted(title, text=True)[0].as_py() for title in titles]
        except ValueError as error:
            raise ArtifactError(str(error), where="header") from error
        return self._spec.delimiter.join(texts) + self._end

    def of(self, batch: pa.RecordBatch, first: int) -> memoryview:
        """The lines of a batch, of which the first is record number ``first``."""
        import pyarrow.compute as pc

        from openreg_airflow.artifacts.value_text import UnwritableValueError, joined_bytes

        parts: list[Any] = []
        for column in self._columns:
            try:
                texts = self._texts(column, batch.column(column.name))
            except UnwritableValueError as error:
                record = "" if error.row is None else f"record {first + error.row}, "
                raise ArtifactError(
                    str(error),
                    where=f"{record}column {column.name}",
                    hint="Mend the data or the transform, or the column's format.",
                ) from error
            parts += [texts, self._spec.delimiter]
        parts[-1] = self._end
        return joined_bytes(pc.binary_join_element_wise(*parts, ""))

    def _texts(self, column: _Column, values: pa.Array) -> pa.StringArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        from openreg_airflow.artifacts import value_text

        if column.required and values.null_count:
            message = "the column is required and is NULL here"
            row = pc.index(pc.is_null(values), pa.scalar(True)).as_py()
            raise value_text.UnwritableValueError(message, row)
        texts = value_text.text_of(values, column.form)
        if self._spec.decimal_mark != "." and value_text.is_number(values.type):
            texts = pc.replace_substring(texts, ".", self._spec.decimal_mark)
        return self._quoted(texts, text=value_text.is_text(values.type))

    def _quoted(self, texts: pa.StringArray, *, text: bool) -> pa.StringArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        from openreg_airflow.artifacts.value_text import UnwritableValueError

        spec = self._spec
        needs = pc.fill_null(pc.match_substring_regex(texts, self._special), False)
        if spec.quoting == "none":
            if (row := pc.index(needs, pa.scalar(True)).as_py()) >= 0:
                message = f"{texts[row].as_py()!r} would need quotes, and quoting is none"
                raise UnwritableValueError(message, row)
            texts = pc.fill_null(texts, spec.null)
            row = pc.index(texts, pa.scalar("")).as_py() if len(self._columns) == 1 else -1
            if row >= 0:
                message = "an empty line would be no record, and quoting is none"
                raise UnwritableValueError(message, row)
            return texts
        everything = spec.quoting == "all" or (spec.quoting == "text" and text)
        if not everything:
            # A text that looks like NULL is quoted, so that a reader can tell the two apart; so is
            # a lonely empty value, because an empty line is no record to most readers.
            needs = pc.or_(needs, pc.fill_null(pc.equal(texts, spec.null), False))
        if everything or pc.any(needs).as_py():
            inside = pc.replace_substring(texts, spec.quote, spec.quote * 2)
            quoted = pc.binary_join_element_wise(spec.quote, inside, spec.quote, "")
            texts = quoted if everything else pc.if_else(needs, quoted, texts)
        null = spec.null
        if spec.quoting == "all" or (not null and len(self._columns) == 1):
            null = f"{spec.quote}{null}{spec.quote}"
        return pc.fill_null(texts, null)


def _encode(encoder: codecs.IncrementalEncoder, text: str, encoding: str, where: str) -> bytes:
    try:
        return encoder.encode(text)
    except UnicodeEncodeError as error:
        message = f"{error.object[error.start]!r} cannot be written in {encoding}"
        raise ArtifactError(message, where=where, hint="Mend the data or the encoding.") from error


def _reencode(
    encoder: codecs.IncrementalEncoder,
    text: memoryview,
    spec: CsvArtifact,
    batch: pa.RecordBatch,
    first: int,
) -> bytes:
    try:
        return encoder.encode(str(text, "utf-8"))
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        message = f"{character!r} (U+{ord(character):04X}) cannot be written in {spec.encoding}"
        where = f"records {first} to {first + batch.num_rows - 1}"
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            for row, value in enumerate(values.to_pylist()):
                if isinstance(value, str) and character in value:
                    where = f"record {first + row}, column {name}"
                    break
        raise ArtifactError(message, where=where, hint="Mend the data or the encoding.") from error
