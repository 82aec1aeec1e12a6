"""How many failing rows a rule puts up with, and what its pass rate is to be."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from openreg_airflow.section import Section


def _as_written(value: object) -> object:
    """A number as its author wrote it, not the binary fraction next to it."""
    return str(value) if isinstance(value, float) else value


#: A percentage, exactly as it was written.
Percent = Annotated[Decimal, BeforeValidator(_as_written), Field(ge=0, le=100)]


class QualityThresholds(Section):
    """What the data quality indicators of a report are to be, beside what stops a run."""

    rules_pass: Percent | None = Field(
        default=None, description="At least so many percent of the rules pass on a business date."
    )
    at_least: Percent | None = Field(
        default=None,
        description="At least so many percent of the rows pass each rule that has no "
        "quality_at_least of its own.",
    )


class Threshold(Section):
    """The most failing rows with which a run goes on; when both are given, both must hold."""

    rows: int | None = Field(default=None, ge=0, description="At most so many failing rows.")
    percent: Annotated[Decimal, BeforeValidator(_as_written)] | None = Field(
        default=None, ge=0, le=100, description="At most so many percent of the table's rows."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.rows is None and self.percent is None:
            message = "a threshold has rows, percent, or both"
            raise ValueError(message)
        return self

    def allows(self, failed: int, checked: int) -> bool:
        """Whether so many failing rows of a table of ``checked`` rows are put up with."""
        few = self.rows is None or failed <= self.rows
        return few and (self.percent is None or failed * 100 <= checked * self.percent)

    def __str__(self) -> str:
        parts = []
        if self.rows is not None:
            parts.append(f"{self.rows:,} rows")
        if self.percent is not None:
            parts.append(f"{self.percent:f} % of rows")
        return f"at most {' and '.join(parts)}"
