"""The section of an artifact of ``format: xml``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from openreg_airflow.artifacts.formats.spec_base import ArtifactBase, SchemaFile
from openreg_airflow.section import RelativeFile


class SchemaSpec(SchemaFile):
    """The XML schema that a finished file is held against."""

    envelope: tuple[RelativeFile, ...] = Field(
        default=(),
        description="Schemas of what stands around the document, such as a business envelope and "
        "its header; looked for in the same folders.",
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
