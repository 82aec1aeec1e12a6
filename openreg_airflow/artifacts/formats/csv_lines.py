"""Batches of records as lines of delimited text, in the encoding that the spec asks for."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.formats.csv_spec import CsvColumn
from openreg_airflow.artifacts.values import field_error, run_line, value_format
from openreg_airflow.artifacts.values.value_text import (
    ByteSearch,
    UnwritableValueError,
    is_number,
    is_text,
    joined_bytes,
    text_of,
)
from openreg_airflow.artifacts.writer import unknown_column
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openreg_airflow.artifacts.formats.csv_spec import CsvArtifact

_LINE_ENDS = {"lf": "\n", "crlf": "\r\n"}
#: What numbers, dates, times and booleans are spelled with when no format says otherwise.
_PLAIN = frozenset("0123456789.:-TZtruefalse ")


@dataclass(frozen=True)
class _Field:
    name: str
    title: str
    form: value_format.Format
    required: bool


class CsvLines:
    """Turns batches into lines.

    Args:
        spec: how values are delimited, quoted and spelled.
        schema: the table's columns.

    Raises:
        ArtifactError: the spec names a column that the table does not have.
    """

    def __init__(self, spec: CsvArtifact, schema: pa.Schema) -> None:
        self._spec = spec
        self._fields = _fields(spec, schema)
        self._end = _LINE_ENDS[spec.line_end]
        special = f"{spec.delimiter}{spec.quote}\r\n"
        self._special = f"[{re.escape(special)}]"
        self._search = ByteSearch(special)
        self._bears_plain = not (_PLAIN | {spec.decimal_mark}) & set(special)
        self._is_utf8 = codecs.lookup(spec.encoding).name == "utf-8"
        self._encoder = codecs.getincrementalencoder(spec.encoding)()

    @property
    def names(self) -> list[str]:
        """The columns that are written, in their order."""
        return [field.name for field in self._fields]

    def header(self, values: Mapping[str, Any]) -> bytes:
        """The header records and the line of the columns' names, as far as the spec wants them.

        Args:
            values: from :func:`openreg_airflow.artifacts.values.run_values.of`.
        """
        records = self._run_lines(self._spec.header_records, values, "header record")
        return records + (self._titles() if self._spec.header else b"")

    def trailer(self, values: Mapping[str, Any]) -> bytes:
        """The trailer records."""
        return self._run_lines(self._spec.trailer_records, values, "trailer record")

    def _run_lines(self, lines: Sequence[str], values: Mapping[str, Any], what: str) -> bytes:
        spec = self._spec
        values = {**values, "lines": self._count(values["records"])}
        forbidden = f"{spec.delimiter}{spec.quote}\r\n"
        data = b""
        for number, line in enumerate(lines, 1):
            text = run_line.fill(line, values, decimal_mark=spec.decimal_mark, forbidden=forbidden)
            try:
                data += self._encoder.encode(text + self._end)
            except UnicodeEncodeError as error:
                raise self._outside(error, f"{what} {number}") from error
        return data

    def _count(self, records: int) -> int:
        """The lines of the file, a record counting as one."""
        spec = self._spec
        return records + len(spec.header_records) + len(spec.trailer_records) + spec.header

    def _titles(self) -> bytes:
        try:
            titles = [
                self._quoted(pa.array([field.title]), text=True)[0].as_py()
                for field in self._fields
            ]
            return self._encoder.encode(self._spec.delimiter.join(titles) + self._end)
        except UnwritableValueError as error:
            raise ArtifactError(str(error), where="header") from error
        except UnicodeEncodeError as error:
            raise self._outside(error, "header") from error

    def of(self, batch: pa.RecordBatch, first: int) -> bytes | memoryview:
        """The lines of a batch, of which the first is record number ``first``.

        Raises:
            ArtifactError: a value that cannot be written; ``where`` names record and column.
        """
        parts: list[Any] = []
        for field in self._fields:
            try:
                texts = self._texts(field, batch.column(field.name))
            except UnwritableValueError as error:
                raise field_error.unwritable(error, first, field.name) from error
            parts += [texts, self._spec.delimiter]
        parts[-1] = self._end
        lines = joined_bytes(pc.binary_join_element_wise(*parts, ""))
        if self._is_utf8:
            return lines
        try:
            return self._encoder.encode(str(lines, "utf-8"))
        except UnicodeEncodeError as error:
            raise self._outside(error, field_error.place_of(error, batch, first)) from error

    def _outside(self, error: UnicodeEncodeError, where: str) -> ArtifactError:
        return field_error.outside(error, self._spec.encoding, where)

    def _texts(self, field: _Field, values: pa.Array) -> pa.StringArray:
        if field.required:
            field_error.refuse_null(values)
        texts = text_of(values, field.form)
        if self._spec.decimal_mark != "." and is_number(values.type):
            texts = pc.replace_substring(texts, ".", self._spec.decimal_mark)
        text = is_text(values.type)
        plain = self._bears_plain and not text and isinstance(field.form, value_format.Plain)
        return self._quoted(texts, text=text, plain=plain)

    def _quoted(self, texts: pa.StringArray, *, text: bool, plain: bool = False) -> pa.StringArray:
        spec = self._spec
        needs = None
        if not plain and self._search.finds(texts):
            needs = pc.fill_null(pc.match_substring_regex(texts, self._special), False)
        if spec.quoting == "none":
            if spec.null:
                alike = pc.fill_null(pc.equal(texts, spec.null), False)
                needs = alike if needs is None else pc.or_(needs, alike)
            return self._bare(texts, needs)
        everything = spec.quoting == "all" or (spec.quoting == "text" and text)
        if not everything and (text or spec.null):
            # What looks like NULL is quoted, so that a reader can tell the two apart.
            alike = pc.fill_null(pc.equal(texts, spec.null), False)
            needs = alike if needs is None else pc.or_(needs, alike)
        if everything or (needs is not None and pc.any(needs).as_py()):
            inside = pc.replace_substring(texts, spec.quote, spec.quote * 2)
            quoted = pc.binary_join_element_wise(spec.quote, inside, spec.quote, "")
            texts = quoted if everything else pc.if_else(needs, quoted, texts)
        null = spec.null
        # An empty line is no record to most readers.
        if spec.quoting == "all" or (not null and len(self._fields) == 1):
            null = f"{spec.quote}{null}{spec.quote}"
        return pc.fill_null(texts, null) if texts.null_count else texts

    def _bare(self, texts: pa.StringArray, needs: pa.BooleanArray | None) -> pa.StringArray:
        """Texts without quotes.

        Raises:
            UnwritableValueError: a text cannot do without.
        """
        row = -1 if needs is None else pc.index(needs, True).as_py()
        if row >= 0:
            message = f"{texts[row].as_py()!r} would need quotes, and quoting is none"
            raise UnwritableValueError(message, row)
        texts = pc.fill_null(texts, self._spec.null)
        row = pc.index(texts, "").as_py() if len(self._fields) == 1 else -1
        if row >= 0:
            message = "an empty line would be no record, and quoting is none"
            raise UnwritableValueError(message, row)
        return texts


def _fields(spec: CsvArtifact, schema: pa.Schema) -> list[_Field]:
    wanted = spec.columns or {name: CsvColumn() for name in schema.names}
    for name in wanted:
        if name not in schema.names:
            raise unknown_column(spec.table, name, schema.names)
    return [
        _Field(name, column.title or name, value_format.parse(column.format), column.required)
        for name, column in wanted.items()
    ]
