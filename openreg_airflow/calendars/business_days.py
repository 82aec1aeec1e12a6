"""Business days: weekdays, or the days on which TARGET settles."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

Calendar = Literal["WEEKDAYS", "TARGET"]
#: First and last day of the calendars.
BEGINS = date(1999, 1, 1)
ENDS = date(2099, 12, 31)
_SATURDAY = 5


def target_holidays() -> list[date]:
    """Days on which the Eurosystem's settlement is closed beside weekends.

    They are New Year's Day and Christmas since 1999; Good Friday, Easter Monday, 1 May and 26
    December since 2000 (ECB, long-term calendar for TARGET closing days); 31 December 1999 and
    2001 were closed too.
    """
    days = [date(1999, 12, 31), date(2001, 12, 31)]
    for year in range(BEGINS.year, ENDS.year + 1):
        days += [date(year, 1, 1), date(year, 12, 25)]
        if year >= 2000:
            easter = _easter(year)
            days += [easter - timedelta(2), easter + timedelta(1)]
            days += [date(year, 5, 1), date(year, 12, 26)]
    return sorted(days)


def is_business_day(day: date, calendar: Calendar, holidays: Collection[date] = ()) -> bool:
    """Whether a day is one; ``holidays`` are none in addition to the calendar's."""
    if day.weekday() >= _SATURDAY or day in holidays:
        return False
    return calendar == "WEEKDAYS" or day not in _target()


def later(day: date, count: int, calendar: Calendar, holidays: Collection[date] = ()) -> date:
    """The ``count``-th business day after a day; the day itself when it is 0."""
    while count:
        day += timedelta(1)
        count -= is_business_day(day, calendar, holidays)
    return day


def before(day: date, calendar: Calendar, holidays: Collection[date] = ()) -> date:
    """The last business day before a day."""
    day -= timedelta(1)
    while not is_business_day(day, calendar, holidays):
        day -= timedelta(1)
    return day


@cache
def _target() -> frozenset[date]:
    return frozenset(target_holidays())


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (the method of Meeus, Jones and Butcher)."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, day = divmod(h + k - 7 * m + 114, 31)
    return date(year, month, day + 1)
