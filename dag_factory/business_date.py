"""Which business date a run reports."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dag_factory.report import Schedule

_FIRST_DAY_OF_WEEKEND = 5


class DatedRun(Protocol):
    """The part of an Airflow Dag run that says when it runs."""

    logical_date: datetime | None
    run_after: datetime


def business_date(schedule: Schedule, dag_run: DatedRun, params: Mapping[str, Any]) -> str:
    """The business date of a run, as ``YYYY-MM-DD``.

    A date given by the person who started the run comes first. Otherwise it is the run's logical
    date (its start, where it has none) in the schedule's time zone, or the weekday before it when
    the schedule says ``previous_weekday``.
    """
    if given := params.get("business_date"):
        return str(given)
    moment = dag_run.logical_date or dag_run.run_after
    day = moment.astimezone(ZoneInfo(schedule.timezone)).date()
    return (
        _weekday_before(day) if schedule.business_date == "previous_weekday" else day
    ).isoformat()


def _weekday_before(day: date) -> date:
    day -= timedelta(days=1)
    while day.weekday() >= _FIRST_DAY_OF_WEEKEND:
        day -= timedelta(days=1)
    return day
