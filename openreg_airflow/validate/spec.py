"""The ``validate`` section of a report spec: rules over the report's tables."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from openreg_airflow.section import Name, RelativeFile, Section
from openreg_airflow.validate.message import MessageTemplate


def _check_message(text: str) -> str:
    MessageTemplate(text)
    return text


#: Ids of rules: a name, or an authority's own spelling such as ``CON-412`` or ``T27.1``.
RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.\-]{0,62}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class RuleSpec(Section):
    """One rule: SQL that returns the rows which break it."""

    title: Text = Field(description="What the rule demands, in one line.")
    table: Name = Field(description="The table that the rule speaks of.")
    severity: Literal["blocking", "warning"] = Field(
        default="blocking",
        description="blocking: a failing row stops artifact and delivery. "
        "warning: the run goes on.",
    )
    fields: tuple[Text, ...] = Field(
        default=(), description="The columns that the rule speaks of; samples show only these."
    )
    message: Annotated[Text, AfterValidator(_check_message)] = Field(
        description="What is wrong with a failing row. {column} stands for its value."
    )
    reference: Text | None = Field(
        default=None, description="The paragraph of regulation that the rule comes from."
    )
    sql: Text | None = Field(
        default=None,
        description="One SELECT in DuckDB's SQL that returns the failing rows. It reads the "
        "report's tables by name; $business_date is the business date.",
    )
    sql_file: RelativeFile | None = Field(
        default=None, description="A file in the report's folder with the SELECT, instead of sql."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.sql is None) == (self.sql_file is None):
            message = "a rule has either sql or sql_file"
            raise ValueError(message)
        return self


class ValidateLimits(Section):
    """What all rules of a report together may use; the installation's maxima hold as well."""

    memory_mb: int = Field(
        default=512, ge=64, description="Memory for the rules' data, in MiB; more goes to disk."
    )
    disk_mb: int = Field(default=10_240, ge=0, description="Temporary files, in MiB.")
    threads: int = Field(default=2, ge=1, le=256, description="Processors used at once.")
    seconds: int = Field(default=600, ge=1, description="Wall time of the whole stage.")


class ValidateSection(Section):
    """Rules that the report's tables must meet before anything is written or delivered."""

    rules: dict[RuleId, RuleSpec] = Field(
        default_factory=dict, description="The rules by id, evaluated in this order."
    )
    failing_rows: int = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="Most failing rows that are kept of each rule; all are counted.",
    )
    limits: ValidateLimits = ValidateLimits()
