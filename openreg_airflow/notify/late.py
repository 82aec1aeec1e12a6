"""What people are told of a run that has not ended well by its deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from openreg_airflow.calendars.cut_off import standing
from openreg_airflow.notify.message import Message

if TYPE_CHECKING:
    from datetime import datetime

    from openreg_airflow.records import RunKey


@dataclass(frozen=True)
class LateRun:
    """A run at the moment when its deadline has passed.

    Attributes:
        key: the run.
        state: Airflow's word for how it stands.
        deadline: when it should have ended well.
    """

    key: RunKey
    state: str
    deadline: datetime


def late_message(late: LateRun, now: datetime, zone: str, base: str) -> Message:
    """Put it into words.

    Args:
        late: the run.
        now: the instant at which it is told.
        zone: time zone in which the deadline is shown.
        base: address of Airflow; no link when empty.
    """
    run = late.key
    subject = f"{run.report_id} {run.business_date}: {standing(late.deadline, now, zone)}"
    link = f"{base}/dags/{quote(run.report_id)}/runs/{quote(run.run_id)}" if base else None
    return Message(
        event="late",
        subject=subject,
        text=f"Run {run.run_id} is {late.state}: it has not ended well, so the report may not have "
        "been delivered.",
        link=link,
        data={
            "event": "late",
            "report": run.report_id,
            "business_date": run.business_date.isoformat(),
            "run": run.run_id,
            "state": late.state,
            "deadline": late.deadline.isoformat(),
            "link": link,
            "summary": subject,
        },
    )
