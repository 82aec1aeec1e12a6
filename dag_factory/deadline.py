"""A report's cut-off as an Airflow deadline: which instant it is for a run, and who is told."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from openreg_airflow.calendars.cut_off import Deadline

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from dag_factory.report import ReportSpec

log = logging.getLogger(__name__)

#: What Airflow calls, in the triggerer, when a run is late.
_CALLBACK = "dag_factory.late.tell_late"


@dataclass(eq=False)
class BusinessDateDeadline(BaseDeadlineReference):
    """The cut-off that belongs to a run's business date.

    Airflow keeps it with the Dag and evaluates it, in the scheduler or the API server, whenever it
    makes a run. The plugin registers it.

    Args:
        schedule: the report's ``schedule`` as JSON data.
        deadline: its ``deadline`` likewise.
    """

    schedule: Any = None
    deadline: Any = None

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def serialize_reference(self) -> dict[str, Any]:
        """What Airflow keeps."""
        return {
            "reference_type": self.reference_name,
            "schedule": self.schedule,
            "deadline": self.deadline,
        }

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> BusinessDateDeadline:
        """From what Airflow kept."""
        return cls(reference_data["schedule"], reference_data["deadline"])

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        """The instant, or None when the run has no business date: it is made all the same."""
        from airflow.models import DagRun
        from sqlalchemy import select

        columns = (DagRun.conf, DagRun.logical_date, DagRun.run_after)
        query = select(*columns).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        run: Any = session.execute(query).one()
        try:
            return self.of_run(run, run.conf if isinstance(run.conf, dict) else {})
        except Exception:  # the edge: a run must come about whatever its parameters are
            log.exception("run %s of %s gets no deadline", run_id, dag_id)
            return None

    def of_run(self, run: Any, given: dict[str, Any]) -> datetime:
        """The cut-off of a run.

        Args:
            run: with its ``logical_date`` and ``run_after``.
            given: the parameters that it was started with.

        Raises:
            ValueError: the business date that was given is no date.
        """
        from datetime import date

        from dag_factory.business_date import business_date
        from dag_factory.report import Schedule
        from openreg_airflow.calendars.cut_off import cut_off
        from openreg_airflow.calendars.spec import DeadlineSection

        schedule = Schedule.model_validate(self.schedule)
        section = DeadlineSection.model_validate(self.deadline)
        day = date.fromisoformat(business_date(schedule, run, given))
        return cut_off(section, day, schedule.timezone)


def alert(spec: ReportSpec) -> DeadlineAlert | None:
    """Airflow's alert for a report; None when it has no deadline."""
    from datetime import timedelta

    if spec.deadline is None:
        return None
    schedule = spec.schedule.model_dump(mode="json")
    deadline = spec.deadline.model_dump(mode="json")
    return DeadlineAlert(
        reference=BusinessDateDeadline(schedule, deadline),
        interval=timedelta(0),
        callback=AsyncCallback(
            _CALLBACK,
            kwargs={
                "report_id": spec.id,
                "schedule": schedule,
                "zone": spec.deadline.timezone or spec.schedule.timezone,
                "notify": spec.notify.model_dump(mode="json") if spec.notify else None,
            },
        ),
        name=f"late after {spec.deadline.by}",
    )


def deadline_of(spec: ReportSpec) -> Deadline | None:
    """The report's deadline for the tasks that tell how a run stands; None when it has none."""
    return Deadline(spec.deadline, spec.schedule.timezone) if spec.deadline else None
