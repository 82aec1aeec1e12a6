"""What the sections of all formats have in common."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from openreg_airflow.artifacts import filename
from openreg_airflow.artifacts.filename import FilenameTemplate
from openreg_airflow.artifacts.submission_spec import (
    PackageSpec,
    SenderCode,
    SequenceSpec,
    SplitSpec,
)
from openreg_airflow.artifacts.values import placeholder, run_values, value_format
from openreg_airflow.artifacts.values.value_format import ValueFormat
from openreg_airflow.references.spec import ReferencesSpec
from openreg_airflow.section import Name, RelativeFile, Section

#: What header and trailer records know of the file beside what every format does.
LINE_VALUES = (*run_values.NAMES, "lines")


def _one_character(text: str) -> str:
    if len(text) != 1 or text in "\r\n\0":
        message = f"expected one character that is not a line end, found {text!r}"
        raise ValueError(message)
    return text


def _text_encoding(name: str) -> str:
    try:
        "x".encode(name)
        codecs.getincrementalencoder(name)
    except (LookupError, ValueError) as error:
        message = f"{name!r} is not a text encoding that Python knows"
        raise ValueError(message) from error
    return name


def _about_the_run(text: str) -> str:
    if any(character in text for character in "\r\n"):
        message = "a record is one line: write each as an entry of its own"
        raise ValueError(message)
    for part in placeholder.parse(text):
        if isinstance(part, str):
            continue
        if not part.of_run:
            message = f"{part} speaks of a record; write {{run.records}}, {{sum.{part.name}}}"
            raise ValueError(message)
        if wrong := run_values.fault(part, LINE_VALUES):
            raise ValueError(wrong)
        value_format.parse(part.format)
    return text


Character = Annotated[str, AfterValidator(_one_character)]
Encoding = Annotated[str, AfterValidator(_text_encoding)]
LineEnd = Literal["lf", "crlf"]
#: A line with placeholders that speak of the run, e.g. ``T;{run.records};{sum.amount:.2f}``.
RunLine = Annotated[str, AfterValidator(_about_the_run)]


ColumnName = Annotated[str, StringConstraints(min_length=1)]


class ArtifactBase(Section):
    """What every artifact has, whatever its format."""

    table: Name = Field(
        description="The table that is written, one record a row, in the table's order."
    )
    filename: FilenameTemplate = Field(
        description="Name of the finished file. {business_date:%Y%m%d}, {report_id}, {artifact}, "
        "{sender}, {sequence}, {version}, {part} and {parts} are filled in; {part:3} is 001."
    )
    when_empty: Literal["write", "fail", "skip"] = Field(
        default="fail",
        description="When the table has no rows: fail stops the run, write gives a file "
        "without records, skip gives no file, so that nothing is delivered.",
    )
    sender: SenderCode | None = Field(
        default=None, description="What {sender} stands for in names, such as the firm's LEI."
    )
    split: SplitSpec | None = Field(
        default=None, description="When several files are made of it; one file when left out."
    )
    sequence: SequenceSpec | None = Field(
        default=None, description="The authority's sequence that its files take numbers from."
    )
    package: PackageSpec = Field(
        default=PackageSpec(), description="Packing, encryption, signature and checksums."
    )
    key: tuple[ColumnName, ...] = Field(
        default=(),
        description="The columns that tell records apart; a diff of two runs goes by them.",
    )
    references: ReferencesSpec | None = Field(
        default=None, description="What names a record at the authority, so that none is reused."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        used = filename.fields(self.filename)
        for name, given in (("sequence", self.sequence), ("sender", self.sender)):
            if name in used and given is None:
                message = f"filename has {{{name}}}, but the artifact has no {name}"
                raise ValueError(message)
        numbered = self.sequence is not None and self.sequence.per == "file"
        if self.split is not None and not ("part" in used or (numbered and "sequence" in used)):
            message = "the parts would all have the same name: put {part} into filename"
            raise ValueError(message)
        return self


class ColumnBase(Section):
    """How one column is written, in a format whose records are rows of fields."""

    title: str | None = Field(
        default=None, description="Its name in the file, instead of the column's own."
    )
    format: ValueFormat = Field(
        default="",
        description=".2f for a number with exactly two decimals, %d.%m.%Y for a date, Y/N for a "
        "boolean. Left out: exact and without trailing zeros, or in the ISO spelling.",
    )
    required: bool = Field(default=False, description="A NULL stops the run.")


class SchemaFile(Section):
    """A schema that a finished file is held against."""

    file: RelativeFile = Field(
        description="Its name, looked for in the report's folder and then in the folders of "
        "[openreg] schema_folders."
    )
    required: bool = Field(
        default=True, description="Whether the run stops when a schema is not found."
    )
