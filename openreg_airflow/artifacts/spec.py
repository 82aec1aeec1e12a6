"""The ``artifacts`` section of a report spec: the files that a report gives."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    model_validator,
)

from openreg_airflow.artifacts.filename import FilenameTemplate
from openreg_airflow.artifacts.value_format import ValueFormat
from openreg_airflow.section import Name, RelativeFile, Section

BUILT_IN = ("csv", "xml")


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


def _installed(name: str) -> str:
    from openreg_airflow.artifacts.writer import known_formats

    if name not in (known := known_formats()):
        message = f"no writer for format {name!r} is installed; known are {', '.join(known)}"
        raise ValueError(message)
    return name


Character = Annotated[str, AfterValidator(_one_character)]
Encoding = Annotated[str, AfterValidator(_text_encoding)]


class ArtifactBase(Section):
    """What every artifact has, whatever its format."""

    table: Name = Field(
        description="The table that is written, one record a row, in the table's order."
    )
    filename: FilenameTemplate = Field(
        description="Name of the finished file. {business_date:%Y%m%d}, {report_id} and "
        "{artifact} are filled in."
    )
    when_empty: Literal["write", "fail"] = Field(
        default="fail",
        description="When the table has no rows: fail stops the run, write gives a file "
        "without records.",
    )


class CsvColumn(Section):
    """How one column is written."""

    title: str | None = Field(
        default=None, description="Its name in the header line, instead of the column's own."
    )
    format: ValueFormat = Field(
        default="",
        description=".2f for a number with exactly two decimals, %d.%m.%Y for a date, Y/N for a "
        "boolean. Left out: exact and without trailing zeros, or in the ISO spelling.",
    )
    required: bool = Field(default=False, description="A NULL stops the run.")


class CsvArtifact(ArtifactBase):
    """A file of delimited values."""

    format: Literal["csv"]
    delimiter: Character = Field(default=",", description="One character between values.")
    quote: Character = Field(default='"', description="One character around values.")
    quoting: Literal["minimal", "text", "all", "none"] = Field(
        default="minimal",
        description="minimal quotes what needs it, text all text values, all everything; none "
        "quotes nothing and refuses a value that would need it.",
    )
    encoding: Encoding = Field(
        default="utf-8",
        description="One of Python's text encodings; utf-8-sig begins with a byte order mark.",
    )
    line_end: Literal["lf", "crlf"] = Field(default="lf", description="How lines end.")
    header: bool = Field(default=True, description="Whether the first line names the columns.")
    decimal_mark: Literal[".", ","] = Field(
        default=".", description="Between whole number and decimals."
    )
    null: str = Field(
        default="",
        description="What stands for NULL. A text that is the same is quoted, to tell them apart.",
    )
    columns: dict[str, CsvColumn] | None = Field(
        default=None,
        min_length=1,
        description="The columns to write, in this order; all of the table when left out.",
    )

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.delimiter == self.quote:
            message = f"delimiter and quote are both {self.quote!r}"
            raise ValueError(message)
        if any(mark in self.null for mark in (self.delimiter, self.quote, "\r", "\n")):
            message = f"null {self.null!r} holds the delimiter, the quote or a line end"
            raise ValueError(message)
        return self


class SchemaSpec(Section):
    """The XML schema that a finished file is held against."""

    file: RelativeFile = Field(
        description="Its name, looked for in the report's folder and then in the folders of "
        "[openreg] schema_folders."
    )
    envelope: tuple[RelativeFile, ...] = Field(
        default=(),
        description="Schemas of what stands around the document, such as a business envelope and "
        "its header; looked for in the same folders.",
    )
    required: bool = Field(
        default=True, description="Whether the run stops when a schema is not found."
    )


class XmlArtifact(ArtifactBase):
    """An XML document, written as its layout file shows it."""

    format: Literal["xml"]
    layout: RelativeFile = Field(description="The layout, a file in the report's folder.")
    xsd: SchemaSpec | None = Field(
        default=None,
        alias="schema",
        description="The XML schema that the finished file must meet; unchecked when left out.",
    )


class OtherArtifact(ArtifactBase):
    """A format of another installed package, found in the entry points ``openreg.writers``."""

    format: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$"),
        AfterValidator(_installed),
        Field(json_schema_extra={"not": {"enum": list(BUILT_IN)}}),
    ]
    options: dict[str, JsonValue] = Field(
        default_factory=dict, description="What that package's writer understands."
    )


def _format(value: Any) -> str:
    name = value.get("format") if isinstance(value, dict) else getattr(value, "format", None)
    return name if name in BUILT_IN else "other"


#: One artifact; its ``format`` says which.
ArtifactSpec = Annotated[
    Annotated[CsvArtifact, Tag("csv")]
    | Annotated[XmlArtifact, Tag("xml")]
    | Annotated[OtherArtifact, Tag("other")],
    Discriminator(_format),
]
