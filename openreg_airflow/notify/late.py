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
        delivered: what has been delivered all the same; None when that is not known. A run that
            waits for an answer of the authority has not ended either.
    """

    key: RunKey
    state: str
    deadline: datetime
    delivered: tuple[str, ...] | None = None

    @property
    def outcome(self) -> str:
        """What is known of its deliveries."""
        if self.delivered is None:
            return "the report may not have been delivered"
        if not self.delivered:
            return "nothing has been delivered"
        return f"delivered so far: {', '.join(self.delivered)}"


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
        text=f"Run {run.run_id} is {late.state}; {late.outcome}.",
        link=link,
        data={
            "event": "late",
            "report": run.report_id,
            "business_date": run.business_date.isoformat(),
            "run": run.run_id,
            "state": late.state,
            "delivered": late.delivered,
            "deadline": late.deadline.isoformat(),
            "link": link,
            "summary": subject,
        },
    )
