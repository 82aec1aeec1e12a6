"""The report spec: what a ``report.yaml`` may say."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from openreg_airflow.artifacts.spec import ArtifactSpec
from openreg_airflow.calendars.spec import DeadlineSection, TimeZone
from openreg_airflow.deliver.spec import DeliverSection
from openreg_airflow.exception_queue.spec import Records
from openreg_airflow.extract.spec import ExtractSection
from openreg_airflow.mappings.spec import MappingsSection, MapStep, steps_of
from openreg_airflow.notify.spec import NotifySection
from openreg_airflow.section import Name, Section
from openreg_airflow.transform.spec import TransformSection
from openreg_airflow.validate.spec import ValidateSection

#: The version of the schema that this package reads.
VERSION = 1


class Schedule(Section):
    """When Airflow starts a run by itself, and which business date that run reports.

    Attributes:
        cron: five fields; runs start only by hand or by backfill when it is left out.
        timezone: IANA zone in which ``cron`` is read and the business date is taken.
        start_date: no scheduled run before this day.
        catchup: whether runs missed while the Dag was paused are made up for.
        business_date: ``run_date`` reports the day on which the run falls;
            ``previous_weekday`` the weekday before it, for T+1 reports.
    """

    cron: str | None = None
    timezone: TimeZone = "UTC"
    start_date: date = date(2024, 1, 1)
    catchup: bool = False
    business_date: Literal["run_date", "previous_weekday"] = "run_date"

    @model_validator(mode="after")
    def _cron_is_readable(self) -> Self:
        if self.cron is not None:
            from croniter import croniter

            if len(self.cron.split()) != 5 or not croniter.is_valid(self.cron):
                message = f"{self.cron!r} is not a cron line of five fields"
                raise ValueError(message)
        return self


class Retries(Section):
    """How often a task is tried again after a transient error.

    The wait doubles from ``delay_seconds`` up to ``max_delay_seconds``. A permanent error, such
    as a refused login or a failed blocking rule, is never retried.
    """

    count: Annotated[int, Field(ge=0, le=20)] = 3
    delay_seconds: Annotated[int, Field(ge=1, le=86_400)] = 30
    max_delay_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600


class ReportSpec(Section):
    """One regulatory report: a section for each stage, and what Airflow needs to know.

    Attributes:
        openreg: version of this schema.
        id: the report's folder and its Dag are named by it.
        title: shown to people in the Airflow UI.
        description: Markdown, shown on the Dag's page.
        owner: the team that answers for the report.
        tags: for filtering in the Airflow UI; ``openreg`` is always added.
    """

    openreg: Literal[1]
    id: Name
    title: Annotated[str, Field(min_length=1, max_length=200)]
    description: str = ""
    owner: Annotated[str, Field(min_length=1, max_length=100)] = "openreg"
    tags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    schedule: Schedule = Schedule()
    deadline: DeadlineSection | None = None
    retries: Retries = Retries()
    mappings: MappingsSection | None = None
    extract: ExtractSection
    map_: dict[Name, MapStep] = Field(
        default_factory=dict,
        alias="map",
        description="Columns filled from mapping sets, by a name for each step and in this order.",
    )
    transform: TransformSection | None = None
    records: Records = Field(
        default_factory=dict,
        description="Which rows make one record, for the exception queue: by table.",
    )
    validate_: ValidateSection | None = Field(default=None, alias="validate")
    artifacts: Annotated[dict[Name, ArtifactSpec], Field(min_length=1)]
    deliver: DeliverSection | None = None
    notify: NotifySection | None = None

    def columns(self) -> dict[str, dict[str, str] | None] | None:
        """The types of the columns by table, None for a table whose columns are not declared.

        None stands for all when only the script knows which tables there are.
        """
        tables = self.tables()
        if tables is None:
            return None
        declared = self.transform.tables if self.transform is not None else {}
        found = {
            name: dict(declared[name].columns) or None if name in declared else None
            for name in tables
        }
        for _, step in steps_of(self.map_, "transformed"):
            columns = found.get(step.table)
            if columns is not None:
                # Only the set knows the type, and only the run knows the set.
                columns.update(dict.fromkeys(step.fill, "any"))
        return found

    def tables(self) -> tuple[str, ...] | None:
        """The tables that rules and artifacts can name; None when only the script knows them."""
        sources = tuple(self.extract.sources)
        if self.transform is None:
            return sources
        if self.transform.tables:
            return tuple(self.transform.tables)
        return None
