"""Batches of records as lines of fields of fixed widths, in the encoding that the spec asks for."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.formats.fixed_spec import (
    AnyField,
    FixedField,
    FixedFiller,
    FixedRunField,
    FixedText,
    width_of,
)
from openreg_airflow.artifacts.formats.fixed_text import set_into_place
from openreg_airflow.artifacts.values import condition, field_error
from openreg_airflow.artifacts.values.placeholder import RUN_PREFIX
from openreg_airflow.artifacts.values.value_text import UnwritableValueError, joined_bytes
from openreg_airflow.artifacts.writer import unknown_column
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openreg_airflow.artifacts.formats.fixed_spec import FixedArtifact

_LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "none": ""}


class FixedLines:
    """Turns batches into records.

    Args:
        spec: the fields and their places.
        schema: the table's columns.

    Raises:
        ArtifactError: the spec names a column that the table does not have.
    """

    def __init__(self, spec: FixedArtifact, schema: pa.Schema) -> None:
        self._spec = spec
        self._kinds: list[tuple[condition.Condition | None, Sequence[AnyField]]] = []
        if spec.fields is not None:
            self._kinds.append((None, spec.fields))
        for kind in spec.record_types or ():
            self._kinds.append((condition.parse(kind.when), kind.fields))
        for name in self.names:
            if name not in schema.names:
                raise unknown_column(spec.table, name, schema.names)
        self._end = _LINE_ENDS[spec.line_end]
        self._is_utf8 = codecs.lookup(spec.encoding).name == "utf-8"
        self._encoder = codecs.getincrementalencoder(spec.encoding)()

    @property
    def names(self) -> list[str]:
        """The columns that are written or decide the type of a record."""
        found: dict[str, None] = {}
        for when, fields in self._kinds:
            found |= dict.fromkeys(sorted(when.columns) if when else ())
            found |= dict.fromkeys(f.column for f in fields if isinstance(f, FixedField))
        return list(found)

    def header(self, values: Mapping[str, Any]) -> bytes:
        """The header records, from :func:`openreg_airflow.artifacts.values.run_values.of`."""
        return self._run_records(self._spec.header_records, values, "header record")

    def trailer(self, values: Mapping[str, Any]) -> bytes:
        """The trailer records."""
        return self._run_records(self._spec.trailer_records, values, "trailer record")

    def of(self, batch: pa.RecordBatch, first: int) -> bytes | memoryview:
        """The records of a batch, of which the first is record number ``first``.

        Raises:
            ArtifactError: a value that does not fit its field; ``where`` names record and column.
        """
        lines = joined_bytes(self._records(batch, first))
        if self._is_utf8:
            return lines
        try:
            return self._encoder.encode(str(lines, "utf-8"))
        except UnicodeEncodeError as error:
            where = field_error.place_of(error, batch, first)
            raise field_error.outside(error, self._spec.encoding, where) from error

    def _records(self, batch: pa.RecordBatch, first: int) -> pa.StringArray:
        if self._spec.fields is not None:
            return self._joined(self._spec.fields, batch, first, None)
        left = pa.repeat(pa.scalar(True), batch.num_rows)
        whole = pa.nulls(batch.num_rows, pa.string())
        for when, fields in self._kinds:
            try:
                mine = pc.and_(left, when.holds(batch)) if when else left
            except ValueError as error:
                raise ArtifactError(str(error), where="record_types") from error
            left = pc.and_not(left, mine)
            rows = pc.indices_nonzero(mine)
            if len(rows):
                lines = self._joined(fields, batch.filter(mine), first, rows)
                whole = pc.replace_with_mask(whole, mine, lines)
        if (row := pc.index(left, True).as_py()) >= 0:
            message = "the record is of none of the record types"
            raise ArtifactError(
                message,
                where=f"record {first + row}",
                hint="Mend the data, or add a type to record_types.",
            )
        return whole

    def _joined(
        self, fields: Sequence[AnyField], batch: pa.RecordBatch, first: int, rows: Any
    ) -> pa.StringArray:
        parts: list[Any] = []
        for field in fields:
            if isinstance(field, FixedField):
                try:
                    parts.append(_column(field, batch.column(field.column)))
                except UnwritableValueError as error:
                    if error.row is not None and rows is not None:
                        error.row = rows[error.row].as_py()
                    raise field_error.unwritable(error, first, field.column) from error
            else:
                parts.append(_constant(field))
        whole = pc.binary_join_element_wise(*parts, self._filler(fields) + self._end, "")
        return pa.repeat(whole, batch.num_rows) if isinstance(whole, pa.Scalar) else whole

    def _filler(self, fields: Sequence[AnyField]) -> str:
        return " " * ((self._spec.record_length or 0) - sum(map(width_of, fields)))

    def _run_records(
        self, records: Sequence[Sequence[AnyField]], values: Mapping[str, Any], what: str
    ) -> bytes:
        spec = self._spec
        around = len(spec.header_records) + len(spec.trailer_records)
        values = {**values, "lines": values["records"] + around}
        data = b""
        for number, fields in enumerate(records, 1):
            text = "".join(_run_text(field, values, f"{what} {number}") for field in fields)
            try:
                data += self._encoder.encode(text + self._filler(fields) + self._end)
            except UnicodeEncodeError as error:
                raise field_error.outside(error, spec.encoding, f"{what} {number}") from error
        return data


def _column(field: FixedField, values: pa.Array) -> pa.StringArray:
    if field.required:
        field_error.refuse_null(values)
    text = set_into_place(field, values)
    if len(field.null) > field.width:
        message = f"{field.null!r} is longer than the {field.width} characters of its field"
        raise UnwritableValueError(message)
    return pc.fill_null(text, field.null.ljust(field.width)) if text.null_count else text


def _constant(field: AnyField) -> str:
    return field.text if isinstance(field, FixedText) else " " * width_of(field)


def _run_text(field: AnyField, values: Mapping[str, Any], where: str) -> str:
    if isinstance(field, FixedText | FixedFiller):
        return _constant(field)
    assert isinstance(field, FixedRunField)  # noqa: S101 - no other field stands there
    value = values[field.value.removeprefix(RUN_PREFIX)]
    try:
        return str(set_into_place(field, pa.array([value]))[0])
    except UnwritableValueError as error:
        raise ArtifactError(str(error), where=f"{where}, {field.value}") from error
