"""The ``artifacts`` section of a report spec: the files that a report gives."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, JsonValue, StringConstraints, Tag

from openreg_airflow.artifacts.formats.csv_spec import CsvArtifact, CsvColumn
from openreg_airflow.artifacts.formats.excel_spec import ExcelArtifact
from openreg_airflow.artifacts.formats.fixed_spec import FixedArtifact
from openreg_airflow.artifacts.formats.json_spec import JsonArtifact, JsonLinesArtifact
from openreg_airflow.artifacts.formats.parquet_spec import ParquetArtifact
from openreg_airflow.artifacts.formats.spec_base import ArtifactBase
from openreg_airflow.artifacts.formats.xbrl_spec import XbrlCsvArtifact
from openreg_airflow.artifacts.formats.xml_spec import SchemaSpec, XmlArtifact

__all__ = [
    "ArtifactBase",
    "ArtifactSpec",
    "CsvArtifact",
    "CsvColumn",
    "ExcelArtifact",
    "FixedArtifact",
    "JsonArtifact",
    "JsonLinesArtifact",
    "OtherArtifact",
    "ParquetArtifact",
    "SchemaSpec",
    "XbrlCsvArtifact",
    "XmlArtifact",
]

BUILT_IN = ("csv", "excel", "fixed", "json", "jsonl", "parquet", "xbrl-csv", "xml")


def _installed(name: str) -> str:
    from openreg_airflow.artifacts.writer import known_formats

    if name not in (known := known_formats()):
        message = f"no writer for format {name!r} is installed; known are {', '.join(known)}"
        raise ValueError(message)
    return name


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
    | Annotated[ExcelArtifact, Tag("excel")]
    | Annotated[FixedArtifact, Tag("fixed")]
    | Annotated[JsonArtifact, Tag("json")]
    | Annotated[JsonLinesArtifact, Tag("jsonl")]
    | Annotated[ParquetArtifact, Tag("parquet")]
    | Annotated[XbrlCsvArtifact, Tag("xbrl-csv")]
    | Annotated[XmlArtifact, Tag("xml")]
    | Annotated[OtherArtifact, Tag("other")],
    Discriminator(_format),
]
