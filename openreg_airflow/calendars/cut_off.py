"""The instant by which a report must have arrived, and how far away it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from openreg_airflow.calendars.business_days import later

if TYPE_CHECKING:
    from openreg_airflow.calendars.spec import DeadlineSection


@dataclass(frozen=True)
class Deadline:
    """A report's deadline, for each of its business dates.

    Args:
        section: the report's ``deadline``.
        zone: the schedule's time zone.
    """

    section: DeadlineSection
    zone: str

    def instant(self, business_date: date) -> datetime:
        """When the report of a day is late, in UTC."""
        return cut_off(self.section, business_date, self.zone)

    def standing(self, business_date: date, now: datetime) -> str:
        """How the report of a day stands at an instant; see :func:`standing`."""
        shown = self.section.timezone or self.zone
        return standing(self.instant(business_date), now, shown)


def cut_off(section: DeadlineSection, business_date: date, zone: str) -> datetime:
    """When the report of a day is late.

    Args:
        section: the report's ``deadline``.
        business_date: the day that is reported.
        zone: the schedule's time zone, which counts when the section names none.

    Returns:
        The instant in UTC. A time that a clock passes twice is the first of the two, and one that
        it skips is what the clock would have shown.
    """
    offset, _, clock = section.by.partition(" ")
    day = later(
        business_date, int(offset[1:] or "0"), section.calendar, frozenset(section.holidays)
    )
    local = datetime.combine(day, time.fromisoformat(clock), ZoneInfo(section.timezone or zone))
    return local.astimezone(UTC)


def standing(deadline: datetime, now: datetime, zone: str) -> str:
    """How a run stands at an instant, as ``3 h 12 min before its deadline of ...``.

    Args:
        deadline: when it is late.
        now: the instant.
        zone: in which the deadline is shown.
    """
    shown = deadline.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")
    if now <= deadline:
        return f"{span(deadline - now)} before its deadline of {shown}"
    return f"LATE by {span(now - deadline)}: its deadline was {shown}"


def span(length: timedelta) -> str:
    """A length of time in the two largest units that it has."""
    minutes = int(length.total_seconds() // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = ((days, "d"), (hours, "h"), (minutes, "min"))
    said = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(said[:2]) or "less than a minute"
