"""The section of an artifact of ``format: csv``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from openreg_airflow.artifacts.formats.spec_base import (
    ArtifactBase,
    Character,
    ColumnBase,
    Encoding,
    LineEnd,
    RunLine,
)
from openreg_airflow.artifacts.values import placeholder
from openreg_airflow.artifacts.values.placeholder import SUM_PREFIX


class CsvColumn(ColumnBase):
    """How one column is written."""


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
    line_end: LineEnd = Field(default="lf", description="How lines end.")
    header: bool = Field(default=True, description="Whether a line names the columns.")
    header_records: tuple[RunLine, ...] = Field(
        default=(),
        description="Lines before the names of the columns, e.g. "
        "H;{run.business_date:%Y%m%d};{run.filename}. {run.records}, {run.lines} (all lines of "
        "the file), {run.report_id}, {run.artifact} and {sum.COLUMN:.2f} are filled in too.",
    )
    trailer_records: tuple[RunLine, ...] = Field(
        default=(),
        description="Lines after the last record, e.g. T;{run.records};{sum.amount:.2f}.",
    )
    decimal_mark: Literal[".", ","] = Field(
        default=".", description="Between whole number and decimals."
    )
    null: str = Field(
        default="",
        description="What stands for NULL. A value that is written the same is quoted, to tell "
        "them apart, or refused where quoting is none and null is not empty.",
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
        if self.delimiter == self.decimal_mark and (broken := self._unquoted_numbers()):
            message = (
                f"delimiter and decimal_mark are both {self.delimiter!r}, and {broken}: "
                "write another delimiter, or another decimal_mark"
            )
            raise ValueError(message)
        return self

    def _unquoted_numbers(self) -> str:
        """Where numbers stand that nothing tells from the delimiter; empty where they do not."""
        if self.quoting == "none":
            return "quoting is none"
        lines = (*self.header_records, *self.trailer_records)
        told = next((line for line in lines if _has_sum(line)), None)
        return f"no quotes stand around the sums in {told!r}" if told else ""


def _has_sum(line: str) -> bool:
    parts = placeholder.parse(line)
    return any(not isinstance(p, str) and p.name.startswith(SUM_PREFIX) for p in parts)
