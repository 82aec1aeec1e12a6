"""The ``deadline`` section of a report spec: by when the authority wants the report."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints

from openreg_airflow.calendars.business_days import Calendar
from openreg_airflow.section import Section


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        message = f"{name!r} is not a time zone of the IANA database, such as Europe/Berlin"
        raise ValueError(message) from error
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]
CutOff = Annotated[
    str, StringConstraints(pattern=r"^T(\+[0-9]{1,3})? ([01][0-9]|2[0-3]):[0-5][0-9]$")
]


class DeadlineSection(Section):
    """The cut-off: a run that has not ended well by then is late, and receivers can be told."""

    by: CutOff = Field(
        description="Business days after the business date, and a time: T+1 23:59 is 23:59 on the "
        "next business day, T 18:00 the same evening."
    )
    timezone: TimeZone | None = Field(
        default=None, description="IANA zone of that time; the schedule's when left out."
    )
    calendar: Calendar = Field(
        default="WEEKDAYS", description="Which days are business days: weekdays, or TARGET's."
    )
    holidays: tuple[date, ...] = Field(
        default=(), description="More days that are none, such as the authority's own holidays."
    )
