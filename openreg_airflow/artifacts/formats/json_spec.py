"""The sections of artifacts of ``format: json`` and ``format: jsonl``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from openreg_airflow.artifacts.formats.spec_base import ArtifactBase, ColumnBase, SchemaFile
from openreg_airflow.section import RelativeFile


class JsonSchemaFile(SchemaFile):
    """The JSON Schema that a finished file, or each of its lines, is held against."""


class JsonColumn(ColumnBase):
    """How one column is written as a member of an object."""


class JsonBase(ArtifactBase):
    """What documents and lines of JSON have in common. Both are UTF-8."""

    nulls: Literal["omit", "null"] = Field(
        default="omit", description="Whether a member that is NULL is left out or written as null."
    )
    decimals: Literal["number", "text"] = Field(
        default="number",
        description="Whether exact decimals are JSON numbers or texts. Many readers take numbers "
        "for binary fractions.",
    )
    json_schema: JsonSchemaFile | None = Field(
        default=None,
        alias="schema",
        description="The JSON Schema that the file must meet; unchecked when left out.",
    )


class JsonArtifact(JsonBase):
    """A JSON document, written as its template shows it."""

    format: Literal["json"]
    template: RelativeFile = Field(
        description="A JSON file in the report's folder that shows the document, with "
        "placeholders in its texts and $each in the object of one record."
    )


class JsonLinesArtifact(JsonBase):
    """One JSON object a line."""

    format: Literal["jsonl"]
    columns: dict[str, JsonColumn] | None = Field(
        default=None,
        min_length=1,
        description="The columns to write, in this order; all of the table when left out.",
    )
    template: RelativeFile | None = Field(
        default=None,
        description="Instead of columns: a JSON file in the report's folder that shows the object "
        "of one record.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.columns is not None and self.template is not None:
            message = "either columns or template says what a line holds"
            raise ValueError(message)
        return self
