"""The ``validate`` section of a report spec: rules over the report's tables."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from openreg_airflow.records import Severity
from openreg_airflow.section import Name, RelativeFile, Section
from openreg_airflow.validate.body import RuleBody, Text
from openreg_airflow.validate.finished.spec import ReadBack
from openreg_airflow.validate.message import MessageTemplate
from openreg_airflow.validate.threshold import Percent, QualityThresholds, Threshold


def _check_message(text: str) -> str:
    MessageTemplate(text)
    return text


#: Ids of rules: a name, or an authority's own spelling such as ``CON-412`` or ``T27.1``.
RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.\-]{0,62}$")]


class RuleSpec(RuleBody):
    """One rule: what it demands of a table, and what follows when a row breaks it."""

    title: Text = Field(description="What the rule demands, in one line.")
    table: Name = Field(description="The table that the rule speaks of.")
    severity: Severity = Field(
        default="blocking",
        description="blocking: a failing row stops artifact and delivery. "
        "warning: the run goes on. correctable: the failing row's record is set aside in the "
        "exception queue, and the run goes on without it.",
    )
    at_most: Threshold | None = Field(
        default=None,
        description="How many failing rows a blocking rule puts up with: up to so many it only "
        "warns. A correctable rule sets up to so many aside; more are blocking.",
    )
    quality_at_least: Percent | None = Field(
        default=None,
        description="The pass rate, in percent of rows, below which openreg quality complains; it "
        "stops no run.",
    )
    phase: Literal["source", "transformed", "artifact"] = Field(
        default="transformed",
        description="source: the rule speaks of an extracted table, as it was before the "
        "transform. transformed: of a table of the report. artifact: of an artifact's finished "
        "files, read back before they are delivered; see read_back.",
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

    @model_validator(mode="after")
    def _warnings_have_no_threshold(self) -> Self:
        if self.at_most is not None and self.severity == "warning":
            message = "at_most goes with severity: blocking or correctable"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _correctable_rules_speak_of_rows(self) -> Self:
        if self.severity != "correctable":
            return self
        if self.phase != "transformed":
            message = "a correctable rule speaks of a table of the report: phase: transformed"
            raise ValueError(message)
        if self.of_whole_table:
            message = f"{self.way} speaks of a whole table, of which no row can be set aside"
            raise ValueError(message)
        return self


class Include(Section):
    """A rule pack that the report takes part in."""

    pack: Text | None = Field(
        default=None, description="A pack of this product or of an installed package, by its name."
    )
    file: RelativeFile | None = Field(
        default=None, description="A pack's file, below the folder of all reports."
    )
    table: Name | None = Field(
        default=None, description="The table that the pack's rules speak of, if not the pack's own."
    )
    severity: dict[RuleId, Severity] = Field(
        default_factory=dict, description="Severities that differ from the pack's, by rule."
    )
    leave_out: tuple[RuleId, ...] = Field(
        default=(), description="Rules of the pack that are not evaluated."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.pack is None) == (self.file is None):
            message = "an include has either pack or file"
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

    include: tuple[Include, ...] = Field(
        default=(), description="Rule packs whose rules are evaluated before the report's own."
    )
    rules: dict[RuleId, RuleSpec] = Field(
        default_factory=dict, description="The rules by id, evaluated in this order."
    )
    sources: tuple[Name, ...] = Field(
        default=(),
        description="Sources whose tables rules may read beside the report's own, for example to "
        "look values up.",
    )
    read_back: dict[Name, ReadBack] = Field(
        default_factory=dict,
        description="What rules of the phase artifact see of the finished files, by artifact.",
    )
    quality: QualityThresholds = Field(
        default=QualityThresholds(), description="Below which indicators openreg quality complains."
    )
    failing_rows: int = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="Most failing rows that are kept of each rule; all are counted.",
    )
    limits: ValidateLimits = ValidateLimits()
