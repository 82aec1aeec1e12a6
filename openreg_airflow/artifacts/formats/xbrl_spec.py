"""The section of an artifact of ``format: xbrl-csv``: an XBRL report package of CSV tables."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from openreg_airflow.artifacts.formats.spec_base import ArtifactBase, ColumnBase, RunLine
from openreg_airflow.section import Name, RelativeFile, Section

ENDINGS = (".zip", ".xbr")
_Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
_TableFile = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
_Code = Annotated[str, StringConstraints(pattern=r"^[^\s,\"]+$")]


class XbrlColumn(ColumnBase):
    """How one column is written; its title is the column's code in the taxonomy."""


class XbrlTable(Section):
    """One table of the package."""

    table: Name = Field(description="The table of the run that is written.")
    template: _Code | None = Field(
        default=None,
        description="The template that the table belongs to. FilingIndicators.csv says whether "
        "any table of a template has rows.",
    )
    columns: dict[str, XbrlColumn] | None = Field(
        default=None,
        min_length=1,
        description="The columns to write, in this order; all of the table when left out.",
    )


class TaxonomyFiles(Section):
    """The taxonomy packages that a finished report is held against, by Arelle."""

    packages: tuple[RelativeFile, ...] = Field(
        min_length=1,
        description="Zip files of the authority, looked for in the report's folder and then in "
        "the folders of [openreg] schema_folders.",
    )
    required: bool = Field(
        default=True,
        description="Whether the run stops when a package is not found or Arelle is not installed.",
    )


class XbrlCsvArtifact(ArtifactBase):
    """An XBRL report package: CSV tables in a zip file, described by the authority's taxonomy."""

    format: Literal["xbrl-csv"]
    extends: tuple[_Address, ...] = Field(
        min_length=1, description="The taxonomy's entry points, which report.json names."
    )
    parameters: dict[_Code, RunLine] = Field(
        default_factory=dict,
        description="The lines of parameters.csv, e.g. refPeriod: '{run.business_date}'.",
    )
    tables: dict[_TableFile, XbrlTable] = Field(
        min_length=1, description="The tables by the names of their files, without .csv."
    )
    filing_indicators: dict[_Code, bool] = Field(
        default_factory=dict,
        description="Templates that are said to be reported, or not, whatever their tables hold.",
    )
    empty_tables: Literal["leave_out", "write"] = Field(
        default="leave_out", description="What becomes of a table without rows."
    )
    root: RunLine | None = Field(
        default=None,
        description="The folder inside the zip file; the file's name without its ending when left "
        "out.",
    )
    taxonomy: TaxonomyFiles | None = Field(
        default=None, description="What the finished report is held against."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.filename.endswith(ENDINGS):
            message = f"filename {self.filename!r} of a report package ends in .zip or .xbr"
            raise ValueError(message)
        if self.root and (not self.root.strip(".") or set(self.root) & set("/\\")):
            message = f"root {self.root!r} is not the name of one folder"
            raise ValueError(message)
        if self.table not in {table.table for table in self.tables.values()}:
            message = f"table {self.table} is in none of the tables"
            raise ValueError(message)
        return self
