"""The section of an artifact of ``format: parquet``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from openreg_airflow.artifacts.formats.spec_base import ArtifactBase
from openreg_airflow.column_types import ColumnType
from openreg_airflow.section import Section


class ParquetColumn(Section):
    """How one column is written."""

    title: str | None = Field(
        default=None, description="Its name in the file, instead of the column's own."
    )
    type: ColumnType | None = Field(
        default=None,
        description="The type in the file, such as decimal(18,2); the column's own when left out. "
        "A value that it cannot hold exactly stops the run.",
    )
    required: bool = Field(
        default=False, description="A NULL stops the run, and the file says that there is none."
    )


class ParquetArtifact(ArtifactBase):
    """A Parquet file."""

    format: Literal["parquet"]
    compression: Literal["zstd", "snappy", "gzip", "none"] = Field(
        default="zstd", description="How columns are compressed."
    )
    row_group: int = Field(
        default=65_536, ge=1_000, le=1_000_000, description="Records in a row group, at most."
    )
    columns: dict[str, ParquetColumn] | None = Field(
        default=None,
        min_length=1,
        description="The columns to write, in this order; all of the table when left out.",
    )
