"""What Airflow calls, in the triggerer, when a run has not ended well by its deadline."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from dag_factory.business_date import business_date
from dag_factory.report import Schedule
from openreg_airflow.errors import OpenRegError
from openreg_airflow.notify.late import LateRun, late_message
from openreg_airflow.notify.send import tell_all
from openreg_airflow.notify.spec import NotifySection
from openreg_airflow.records import RunKey

log = logging.getLogger(__name__)


@dataclass
class _Run:
    logical_date: datetime | None
    run_after: datetime


async def tell_late(
    *,
    report_id: str,
    schedule: dict[str, Any],
    zone: str,
    notify: dict[str, Any] | None,
    context: dict[str, Any],
) -> str:
    """Tell the receivers that want to know of late runs; that one is not told is only logged.

    Args:
        report_id: the report.
        schedule: its ``schedule`` as JSON data.
        zone: time zone in which the deadline is shown.
        notify: its ``notify`` section likewise.
        context: what Airflow gives: the run as its API shows it, and the deadline.

    Returns:
        What was told, which Airflow keeps with the callback.
    """
    from airflow.sdk.configuration import conf

    late = _late_run(report_id, Schedule.model_validate(schedule), context)
    delivered = await asyncio.to_thread(_delivered, late.key)
    late = replace(late, delivered=delivered)
    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    told = late_message(late, datetime.now(UTC), zone, base)
    log.warning("%s", told.subject)
    if notify is not None:
        # Notifiers wait for their servers, and must not hold up what else the triggerer does.
        await asyncio.to_thread(tell_all, NotifySection.model_validate(notify), told)
    return told.subject


def _late_run(report_id: str, schedule: Schedule, context: dict[str, Any]) -> LateRun:
    run = context["dag_run"]
    logical = run.get("logical_date")
    dated = _Run(_instant(logical) if logical else None, _instant(run["run_after"]))
    day = date.fromisoformat(business_date(schedule, dated, run.get("conf") or {}))
    return LateRun(
        key=RunKey(report_id=report_id, business_date=day, run_id=run["dag_run_id"]),
        state=str(run.get("state") or "unknown"),
        deadline=_instant(context["deadline"]["deadline_time"]),
    )


def _delivered(run: RunKey) -> tuple[str, ...] | None:
    """What the run has delivered, by artifact and route; None when the store does not say."""
    from openreg_airflow import settings
    from openreg_airflow.store import Store

    try:
        attempts = Store(settings.load().store_url).attempts(run)
    except OpenRegError as error:
        log.warning("what run %s has delivered is not known: %s", run.run_id, error)
        return None
    done = (one for one in attempts if one.result in ("delivered", "already-there"))
    return tuple(dict.fromkeys(f"{one.artifact} over {one.route}" for one in done))


def _instant(value: Any) -> datetime:
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
