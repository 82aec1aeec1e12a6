from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from openreg_airflow.calendars.business_days import BEGINS, before, is_business_day, later
from openreg_airflow.calendars.cut_off import cut_off, span, standing
from openreg_airflow.calendars.spec import DeadlineSection
from openreg_airflow.language.library import install
from openreg_airflow.notify.late import LateRun, late_message
from openreg_airflow.records import RunKey

DAYS = st.dates(date(2024, 1, 1), date(2030, 12, 31))


def section(by: str, **more: object) -> DeadlineSection:
    return DeadlineSection.model_validate({"by": by, **more})


@pytest.mark.parametrize(
    ("by", "more", "day", "expected"),
    [
        ("T+1 23:59", {}, date(2026, 3, 2), "2026-03-03T22:59"),
        ("T 18:00", {}, date(2026, 3, 2), "2026-03-02T17:00"),
        # Over the weekend, and over Easter where TARGET is closed.
        ("T+1 12:00", {}, date(2026, 3, 6), "2026-03-09T11:00"),
        ("T+1 12:00", {"calendar": "TARGET"}, date(2026, 4, 2), "2026-04-07T10:00"),
        ("T+1 12:00", {"calendar": "WEEKDAYS"}, date(2026, 4, 2), "2026-04-03T10:00"),
        ("T+2 12:00", {"holidays": ["2026-03-03"]}, date(2026, 3, 2), "2026-03-05T11:00"),
        # A business date that is no business day counts from where it is.
        ("T+1 12:00", {}, date(2026, 3, 7), "2026-03-09T11:00"),
        ("T+1 12:00", {"timezone": "America/New_York"}, date(2026, 3, 2), "2026-03-03T17:00"),
        # Over the night in which New York's clocks change, and over New Year and a leap day.
        ("T+1 23:59", {"timezone": "America/New_York"}, date(2026, 3, 6), "2026-03-10T03:59"),
        ("T+1 23:59", {"timezone": "America/New_York"}, date(2026, 10, 30), "2026-11-03T04:59"),
        ("T+1 12:00", {"calendar": "TARGET"}, date(2026, 12, 31), "2027-01-04T11:00"),
        ("T+1 23:59", {"timezone": "Europe/Madrid"}, date(2028, 2, 28), "2028-02-29T22:59"),
        # 02:30 is skipped on 29 March and comes twice on 25 October.
        ("T 02:30", {}, date(2026, 3, 29), "2026-03-29T01:30"),
        ("T 02:30", {}, date(2026, 10, 25), "2026-10-25T00:30"),
    ],
)
def test_cut_off_is_an_instant_of_the_business_date(
    by: str, more: dict[str, object], day: date, expected: str
) -> None:
    found = cut_off(section(by, **more), day, "Europe/Berlin")
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "T+1"},
        {"by": "23:59"},
        {"by": "T-1 23:59"},
        {"by": "T+1 24:00"},
        {"by": "T+1 9:00"},
        {"by": "T+1 23:59\n"},
        {"by": "T+1 23:59", "timezone": "Europe/Nowhere"},
        {"by": "T+1 23:59", "calendar": "NYSE"},
        {"by": "T+1 23:59", "holidays": ["2026-02-30"]},
    ],
)
def test_wrong_deadline_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DeadlineSection.model_validate(wrong)


@given(DAYS, st.integers(0, 30))
def test_the_next_business_days_are_counted_and_found_again(day: date, count: int) -> None:
    found = later(day, count, "TARGET")
    between = [day + timedelta(n) for n in range(1, (found - day).days + 1)]
    assert sum(is_business_day(one, "TARGET") for one in between) == count
    if count:
        assert is_business_day(found, "TARGET")
        assert before(found + timedelta(1), "TARGET") == found


def test_rules_and_deadlines_know_the_same_business_days() -> None:
    with duckdb.connect() as connection:
        install(connection)
        rows = connection.execute(
            "SELECT openreg_calendar, openreg_day, openreg_is_open FROM openreg_days"
        ).fetchall()
    assert min(day for _, day, _ in rows) == BEGINS
    wrong = [day for calendar, day, opened in rows if is_business_day(day, calendar) != opened]
    assert wrong == []


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(0, "less than a minute"), (59, "59 min"), (192, "3 h 12 min"), (1440, "1 d"),
     (1440 + 61, "1 d 1 h"), (1500 + 1440, "2 d 1 h")],
)  # fmt: skip
def test_lengths_of_time_are_told_in_two_units(minutes: int, expected: str) -> None:
    assert span(timedelta(minutes=minutes)) == expected


def test_summary_says_how_much_time_is_left_or_by_how_much_it_is_late() -> None:
    deadline = datetime(2026, 3, 3, 22, 59, tzinfo=UTC)
    before_it = standing(deadline, deadline - timedelta(hours=2), "Europe/Berlin")
    assert before_it == "2 h before its deadline of 2026-03-03 23:59 CET"
    after_it = standing(deadline, deadline + timedelta(minutes=5), "Europe/Berlin")
    assert after_it == "LATE by 5 min: its deadline was 2026-03-03 23:59 CET"


def test_people_are_told_which_run_is_late_and_how_it_stands() -> None:
    key = RunKey(report_id="positions", business_date=date(2026, 3, 2), run_id="manual__a+b")
    late = LateRun(key, "running", datetime(2026, 3, 3, 22, 59, tzinfo=UTC))
    told = late_message(late, late.deadline + timedelta(minutes=5), "UTC", "https://air.example")

    assert told.subject.startswith("positions 2026-03-02: LATE by 5 min")
    assert "manual__a+b is running; the report may not have been delivered" in told.text
    assert told.link == "https://air.example/dags/positions/runs/manual__a%2Bb"
    assert told.data["deadline"] == "2026-03-03T22:59:00+00:00"


@pytest.mark.parametrize(
    ("delivered", "expected"),
    [
        ((), "nothing has been delivered"),
        (("trades over regulator",), "delivered so far: trades over regulator"),
    ],
)
def test_people_are_told_what_has_been_delivered_all_the_same(
    delivered: tuple[str, ...], expected: str
) -> None:
    key = RunKey(report_id="positions", business_date=date(2026, 3, 2), run_id="r")
    deadline = datetime(2026, 3, 3, 22, 59, tzinfo=UTC)
    told = late_message(LateRun(key, "running", deadline, delivered), deadline, "UTC", "")
    assert expected in told.text
    assert told.data["delivered"] == delivered
    assert told.link is None
