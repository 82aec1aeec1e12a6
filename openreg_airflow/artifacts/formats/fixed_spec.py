"""The section of an artifact of ``format: fixed``: records of fields of fixed widths."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from openreg_airflow.artifacts.formats.spec_base import (
    LINE_VALUES,
    ArtifactBase,
    Character,
    Encoding,
)
from openreg_airflow.artifacts.values import condition, run_values
from openreg_airflow.artifacts.values.placeholder import Placeholder
from openreg_airflow.artifacts.values.value_format import ValueFormat
from openreg_airflow.section import Section

Width = Annotated[int, Field(ge=1, le=10_000)]


def _condition(text: str) -> str:
    condition.parse(text)
    return text


def _run_value(text: str) -> str:
    if wrong := run_values.fault(Placeholder(text), LINE_VALUES):
        raise ValueError(wrong)
    return text


class FixedFieldBase(Section):
    """How a value is set into its place."""

    width: Width = Field(description="How many characters it takes.")
    format: ValueFormat = Field(
        default="", description="%Y%m%d for a date, Y/N for a boolean, .2f for a number."
    )
    align: Literal["left", "right"] | None = Field(
        default=None, description="Numbers stand right and everything else left when left out."
    )
    pad: Character | None = Field(
        default=None,
        description="What fills the rest: 0 for numbers that stand right, else a space, when left "
        "out.",
    )
    decimals: int | None = Field(
        default=None,
        ge=0,
        le=38,
        description="Numbers have exactly that many decimals; nothing is rounded.",
    )
    decimal_mark: Literal[".", ",", ""] = Field(
        default="", description="Between whole number and decimals; implied when left out."
    )
    sign: Literal["none", "leading", "trailing", "overpunch"] = Field(
        default="none",
        description="Where the sign of a number stands: leading or trailing, each in a place of "
        "its own, or overpunch, in the last digit. none refuses negative numbers.",
    )
    plus: Literal["+", " ", "0", ""] = Field(
        default=" ", description="What stands in the sign's place of numbers that are not negative."
    )
    truncate: bool = Field(
        default=False, description="Cut off texts that are too long, instead of refusing them."
    )


class FixedField(FixedFieldBase):
    """A column of the table."""

    column: str = Field(description="The column.")
    required: bool = Field(default=False, description="A NULL stops the run.")
    null: str = Field(
        default="", description="What stands for NULL, filled up with spaces on its right."
    )


class FixedRunField(FixedFieldBase):
    """A value of the run, in a header or trailer record."""

    value: Annotated[str, AfterValidator(_run_value)] = Field(
        description="run.business_date, run.records, run.lines, run.filename, run.report_id, "
        "run.artifact or sum.COLUMN."
    )


class FixedText(Section):
    """A constant, such as a record type."""

    text: Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\r\n]*$")] = Field(
        description="What stands there."
    )


class FixedFiller(Section):
    """Space between fields."""

    filler: Width = Field(description="How many spaces.")


def _kind(value: Any) -> str:
    known = value if isinstance(value, dict) else value.model_fields_set
    return next((name for name in ("column", "value", "text", "filler") if name in known), "column")


_Still = Annotated[FixedText, Tag("text")] | Annotated[FixedFiller, Tag("filler")]
#: What may stand in a record of a row, and in a header or trailer record.
RecordField = Annotated[Annotated[FixedField, Tag("column")] | _Still, Discriminator(_kind)]
RunRecordField = Annotated[Annotated[FixedRunField, Tag("value")] | _Still, Discriminator(_kind)]


class FixedRecordType(Section):
    """One of several types of records."""

    when: Annotated[str, AfterValidator(_condition)] = Field(
        description="Which rows are such records, e.g. kind = 'A'. The first type that holds "
        "counts; a row of no type stops the run."
    )
    fields: tuple[RecordField, ...] = Field(min_length=1, description="Its fields in order.")


class FixedArtifact(ArtifactBase):
    """A file of records of fields of fixed widths."""

    format: Literal["fixed"]
    encoding: Encoding = Field(
        default="ascii",
        description="One of Python's text encodings. Widths count characters.",
    )
    line_end: Literal["lf", "crlf", "none"] = Field(
        default="lf", description="What stands between records; none puts them end to end."
    )
    record_length: Width | None = Field(
        default=None,
        description="Shorter records are filled with spaces up to it; a longer one is an error.",
    )
    fields: tuple[RecordField, ...] | None = Field(
        default=None, min_length=1, description="The fields of each record, in order."
    )
    record_types: tuple[FixedRecordType, ...] | None = Field(
        default=None, min_length=1, description="Instead of fields: records of several types."
    )
    header_records: tuple[tuple[RunRecordField, ...], ...] = Field(
        default=(), description="Records before the first one, each a list of fields."
    )
    trailer_records: tuple[tuple[RunRecordField, ...], ...] = Field(
        default=(), description="Records after the last one, with counts and control sums."
    )

    @model_validator(mode="after")
    def _described_once(self) -> Self:
        if (self.fields is None) == (self.record_types is None):
            message = "either fields or record_types says what a record holds"
            raise ValueError(message)
        for name, fields in self.all_records():
            length = sum(map(width_of, fields))
            if self.record_length is not None and length > self.record_length:
                message = f"{name} is {length} characters long, record_length {self.record_length}"
                raise ValueError(message)
        return self

    def all_records(self) -> list[tuple[str, tuple[AnyField, ...]]]:
        """The fields of every kind of record, with what messages call it."""
        found: list[tuple[str, tuple[AnyField, ...]]] = []
        for name, records in (("header", self.header_records), ("trailer", self.trailer_records)):
            found += [(f"{name} record {n}", fields) for n, fields in enumerate(records, 1)]
        if self.fields is not None:
            found.append(("a record", self.fields))
        for kind in self.record_types or ():
            found.append((f"a record with {kind.when}", kind.fields))
        return found


AnyField = FixedField | FixedRunField | FixedText | FixedFiller


def width_of(field: AnyField) -> int:
    """How many characters a field takes."""
    if isinstance(field, FixedText):
        return len(field.text)
    return field.filler if isinstance(field, FixedFiller) else field.width
