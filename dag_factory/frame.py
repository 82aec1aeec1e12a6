"""A report's Dag without its tasks: schedule, parameters, retries and deadline."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk import (
    DAG,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
)

from dag_factory.business_date import business_date
from dag_factory.deadline import alert
from dag_factory.mapping_sets import used_sets
from openreg_airflow.errors import PermanentError
from openreg_airflow.exception_queue.operator_names import RESUBMIT
from openreg_airflow.mappings.operator import FIRST_RUN, KNOWN_AT

if TYPE_CHECKING:
    from dag_factory.report import ReportSpec

#: Every Dag of this factory carries it, so that the UI can show them alone.
TAG = "openreg"

#: A permanent error fails its task at once; everything else uses up the task's retries.
FAIL_AT_ONCE = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PermanentError,
            action=RetryAction.FAIL,
            reason="permanent: a retry without a change would fail again",
        )
    ]
)


def empty_dag(spec: ReportSpec) -> DAG:
    """The Dag of a report as it is before it has tasks."""
    schedule = spec.schedule
    zone = ZoneInfo(schedule.timezone)
    retries = spec.retries
    # A run of an incremental source begins where the one before it ended.
    one_at_a_time: dict[str, Any] = {"max_active_runs": 1} if spec.extract.incremental else {}
    return DAG(
        dag_id=spec.id,
        dag_display_name=spec.title,
        description=spec.description.split("\n", 1)[0] or spec.title,
        doc_md=spec.description or None,
        tags={TAG, *spec.tags},
        schedule=CronTriggerTimetable(schedule.cron, timezone=schedule.timezone)
        if schedule.cron
        else None,
        start_date=datetime.combine(schedule.start_date, time(), zone).astimezone(UTC),
        catchup=schedule.catchup,
        deadline=alert(spec),
        **one_at_a_time,
        params=_params(spec),
        user_defined_macros={"business_date": partial(business_date, schedule)},
        default_args={
            "owner": spec.owner,
            "retries": retries.count,
            "retry_delay": timedelta(seconds=retries.delay_seconds),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(seconds=retries.max_delay_seconds),
            "retry_policy": FAIL_AT_ONCE,
        },
    )


def _params(spec: ReportSpec) -> dict[str, Param]:
    params = {"business_date": _business_date_param(spec.schedule.timezone)}
    if used_sets(spec):
        params[KNOWN_AT] = Param(
            None,
            type=["null", "string"],
            title="Mapping entries known at",
            description="See mapping sets as they were known at this date and time with zone, or "
            f"as the first run of the business date knew them: {FIRST_RUN}. When empty: as known "
            "when this run begins.",
        )
    if spec.records:
        params[RESUBMIT] = Param(
            False,
            type="boolean",
            title="Resubmission",
            description="Report the records of the business date that were amended or released in "
            "the exception queue, and do not read the source.",
        )
    return params


def _business_date_param(zone: str) -> Param:
    return Param(
        None,
        type=["null", "string"],
        format="date",
        title="Business date",
        description=f"The day to report. When empty: the date of the run in {zone}.",
    )
