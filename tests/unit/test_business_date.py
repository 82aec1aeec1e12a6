from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from dag_factory.business_date import business_date
from dag_factory.report import Schedule


@dataclass
class Run:
    logical_date: datetime | None
    run_after: datetime


def at(text: str) -> Run:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Run(moment, moment)


def test_the_date_that_a_person_gives_comes_first() -> None:
    run = at("2026-09-30T20:00")
    assert business_date(Schedule(), run, {"business_date": "2026-01-05"}) == "2026-01-05"


def test_the_date_is_taken_in_the_schedules_time_zone() -> None:
    run = at("2026-09-30T22:30")
    assert business_date(Schedule(timezone="Europe/Berlin"), run, {}) == "2026-10-01"
    assert business_date(Schedule(), run, {"business_date": None}) == "2026-09-30"


def test_a_run_without_logical_date_reports_the_day_it_starts() -> None:
    run = Run(None, datetime(2026, 9, 30, 12, tzinfo=UTC))
    assert business_date(Schedule(), run, {}) == "2026-09-30"


@pytest.mark.parametrize(
    ("day", "reported"),
    [
        ("2026-10-01T05:00", "2026-09-30"),
        ("2026-10-05T05:00", "2026-10-02"),  # Monday reports Friday
        ("2026-10-04T05:00", "2026-10-02"),  # so does a run on Sunday
        ("2027-01-01T05:00", "2026-12-31"),
        ("2028-03-01T05:00", "2028-02-29"),
    ],
)
def test_previous_weekday_passes_over_the_weekend(day: str, reported: str) -> None:
    assert business_date(Schedule(business_date="previous_weekday"), at(day), {}) == reported
