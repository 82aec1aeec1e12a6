"""What a script has looked up in mapping sets, as the runner tells it."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from openreg_airflow.mapping_records import MappingUse, UnmappedValue
from openreg_airflow.transform.script_log import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.transform.job import Job

_PLACE = "transform"
_LONGEST = 200
_MOST_COUNTED = 1 << 62


def uses_of(event: dict[str, Any], job: Job) -> tuple[MappingUse, ...]:
    """The uses that an event tells of; what is not in the form of one is left out.

    The script can disturb what is told of it, so only counts and harmless text are taken over.

    Args:
        event: the runner's ``looked_up``; empty when there was none.
        job: the job that it belongs to.
    """
    uses = event.get("uses")
    if not isinstance(uses, list):
        return ()
    told = {use.get("set"): use for use in uses if isinstance(use, dict)}
    return tuple(
        MappingUse(
            place=_PLACE,
            name=name,
            rows=_count(told[name].get("rows")),
            blank=_count(told[name].get("blank")),
            unmapped=_count(told[name].get("unmapped")),
            distinct=_count(told[name].get("distinct")),
            fallback="script",
            values=tuple(_values(told[name].get("values"), len(job.mappings[name].snapshot.keys))),
        )
        for name in job.mappings
        if name in told
    )


def _values(listed: object, keys: int) -> Iterator[UnmappedValue]:
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, list) or len(one) != 3:
            continue
        key, rows, first = one
        if not isinstance(key, list) or len(key) != keys or not isinstance(first, str):
            continue
        try:
            day = date.fromisoformat(first)
        except ValueError:
            continue
        text = tuple(printable(str(part)[:_LONGEST]) for part in key)
        yield UnmappedValue(key=text, rows=_count(rows), first=day)


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < _MOST_COUNTED else 0
