"""The section of an artifact of ``format: excel``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from openreg_airflow.artifacts.formats.spec_base import ArtifactBase, ColumnBase

#: What Excel takes for the name of a sheet.
SheetName = Annotated[str, StringConstraints(pattern=r"^[^\[\]:*?/\\'][^\[\]:*?/\\]{0,30}$")]


class ExcelColumn(ColumnBase):
    """How one column is written. With a format for dates or booleans, cells are texts."""

    as_text: bool = Field(
        default=False,
        description="Numbers become texts, with all their digits. Excel itself holds 15 digits; a "
        "number with more stops the run.",
    )


class ExcelArtifact(ArtifactBase):
    """An Excel workbook with one sheet. No text ever becomes a formula."""

    format: Literal["excel"]
    sheet: SheetName = Field(default="Report", description="The name of the sheet.")
    header: bool = Field(default=True, description="Whether the first row names the columns.")
    columns: dict[str, ExcelColumn] | None = Field(
        default=None,
        min_length=1,
        description="The columns to write, in this order; all of the table when left out.",
    )
