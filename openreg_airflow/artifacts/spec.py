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
    """What every artifact has, whatever its format.

    Attributes:
        table: the table that is written, one record a row, in the table's order.
        filename: name of the finished file; ``{business_date:%Y%m%d}``, ``{report_id}`` and
            ``{artifact}`` are filled in.
        when_empty: what happens when the table has no rows: ``fail`` stops the run, ``write``
            gives a file without records.
    """

    table: Name
    filename: FilenameTemplate
    when_empty: Literal["write", "fail"] = "fail"


class CsvColumn(Section):
    """How one column is written.

    Attributes:
        title: its name in the header line; the column's own name when not given.
        format: such as ``.2f``, ``%d.%m.%Y`` or ``Y/N``.
        required: a NULL stops the run.
    """

    title: str | None = None
    format: ValueFormat = ""
    required: bool = False


class CsvArtifact(ArtifactBase):
    """A file of delimited values.

    Attributes:
        delimiter, quote: one character each.
        quoting: ``minimal`` quotes what needs it, ``text`` all text values, ``all`` everything;
            ``none`` quotes nothing and refuses a value that would need it.
        encoding: any of Python's text encodings; ``utf-8-sig`` writes a byte order mark.
        line_end: ``lf`` or ``crlf``.
        header: whether the first line names the columns.
        decimal_mark: between whole number and decimals.
        null: what stands for NULL. A text that is the same is quoted to tell the two apart.
        columns: the columns to write and their order; all of the table when not given.
    """

    format: Literal["csv"]
    delimiter: Character = ","
    quote: Character = '"'
    quoting: Literal["minimal", "text", "all", "none"] = "minimal"
    encoding: Encoding = "utf-8"
    line_end: Literal["lf", "crlf"] = "lf"
    header: bool = True
    decimal_mark: Literal[".", ","] = "."
    null: str = ""
    columns: dict[str, CsvColumn] | None = Field(default=None, min_length=1)

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
    """The XML schema that a finished file is held against.

    Attributes:
        file: its name, looked for in the report's folder and then in the folders of
            ``[openreg] schema_folders``.
        required: whether a schema that is not found stops the run.
    """

    file: RelativeFile
    required: bool = True


class XmlArtifact(ArtifactBase):
    """An XML document, written as its layout file shows it.

    Attributes:
        layout: the layout file; see :mod:`openreg_airflow.artifacts.layout`.
        xsd: ``schema`` in a spec.
    """

    format: Literal["xml"]
    layout: RelativeFile
    xsd: SchemaSpec | None = Field(default=None, alias="schema")


class OtherArtifact(ArtifactBase):
    """A format of another installed package, found in the entry points ``openreg.writers``.

    Attributes:
        options: what that package's writer understands.
    """

    format: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$"),
        AfterValidator(_installed),
        Field(json_schema_extra={"not": {"enum": list(BUILT_IN)}}),
    ]
    options: dict[str, JsonValue] = Field(default_factory=dict)


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
