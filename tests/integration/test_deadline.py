"""Deadlines as Airflow keeps and evaluates them, and the callback that it makes."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert
from airflow.triggers.callback import CallbackTrigger

from dag_factory.build import build_dag
from dag_factory.deadline import BusinessDateDeadline
from dag_factory.load import load
from openreg_airflow.calendars.cut_off import Deadline
from openreg_airflow.calendars.spec import DeadlineSection
from openreg_airflow.notify.message import message
from openreg_airflow.records import RunKey, Verdict
from openreg_airflow.store_records import DeliveryAttempt
from tests.integration.test_validate_operator import (  # noqa: F401 - fixtures
    RUN,
    execute,
    folder,
    operator,
    positions,
    store,
    workspace,
)
from tests.services.receivers import webhook_server
from tests.unit.test_verdict_summary import FAILED

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.store import Store
    from openreg_airflow.workspace import Workspace

REPORT = """\
openreg: 1
id: positions
title: Positions
schedule:
  cron: "0 6 * * 1-5"
  timezone: Europe/Paris
  business_date: previous_weekday
deadline: {by: T+1 23:59, holidays: [2026-03-03]}
extract:
  sources:
    trades: {connection: warehouse, sql: trades.sql}
artifacts:
  trades: {format: csv, table: trades, filename: "trades.csv"}
notify:
  seconds: 5
  targets:
    ops: {kind: webhook, connection: hook, endpoint: late, on: [late]}
    desk: {kind: webhook, connection: hook, endpoint: blocked}
"""
# 06:00 in Paris on 3 March: the run of 2 March.
SCHEDULED = datetime(2026, 3, 3, 5, tzinfo=UTC)
CUT_OFF = datetime(2026, 3, 4, 22, 59, tzinfo=UTC)


@pytest.fixture
def alert(tmp_path: Path) -> Any:
    report = tmp_path / "positions"
    report.mkdir()
    (report / "report.yaml").write_text(REPORT)
    (report / "trades.sql").write_text("SELECT 1")
    [found] = build_dag(load(report), report).deadline or []
    return found


class Session:
    """Of a database session only what the reference asks: the columns of one run."""

    def __init__(self, conf: Any, logical_date: datetime | None) -> None:
        self.row = SimpleNamespace(conf=conf, logical_date=logical_date, run_after=SCHEDULED)

    def execute(self, _: Any) -> Any:
        return SimpleNamespace(one=lambda: self.row)


def evaluate(kept: Any, conf: Any, logical_date: datetime | None = SCHEDULED) -> datetime | None:
    found: datetime | None = kept.reference.evaluate_with(
        session=Session(conf, logical_date),
        interval=kept.interval,
        dag_id="positions",
        run_id="scheduled__1",
    )
    return found


def test_airflow_keeps_the_deadline_and_evaluates_it_for_each_run(alert: Any) -> None:
    kept = decode_deadline_alert(json.loads(json.dumps(encode_deadline_alert(alert))))

    assert evaluate(kept, {}) == CUT_OFF
    assert evaluate(kept, None, logical_date=None) == CUT_OFF
    given = datetime(2026, 3, 6, 22, 59, tzinfo=UTC)
    assert evaluate(kept, {"business_date": "2026-03-05"}) == given


@pytest.mark.parametrize("wrong", ["2026-02-30", "yesterday", 7])
def test_run_with_a_wrong_business_date_comes_about_without_a_deadline(
    alert: Any, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert evaluate(alert_kept(alert), {"business_date": wrong}) is None
    assert "gets no deadline" in caplog.text


def alert_kept(alert: Any) -> Any:
    return decode_deadline_alert(encode_deadline_alert(alert))


def test_report_without_a_deadline_has_none(tmp_path: Path) -> None:
    report = tmp_path / "positions"
    report.mkdir()
    without = "\n".join(line for line in REPORT.splitlines() if not line.startswith("deadline"))
    (report / "report.yaml").write_text(without)
    (report / "trades.sql").write_text("SELECT 1")
    assert not build_dag(load(report), report).deadline


def missed(alert: Any) -> CallbackTrigger:
    """The trigger that the scheduler makes when a deadline has passed."""
    callback = alert_kept(alert).callback
    context = {
        "dag_run": {
            "dag_id": "positions",
            "dag_run_id": "scheduled__1",
            "logical_date": SCHEDULED.isoformat(),
            "run_after": SCHEDULED.isoformat(),
            "conf": {},
            "state": "running",
        },
        "deadline": {"id": "1", "deadline_time": CUT_OFF},
    }
    kwargs = callback.kwargs if hasattr(callback, "kwargs") else callback["kwargs"]
    path = callback.path if hasattr(callback, "path") else callback["path"]
    return CallbackTrigger(path, {**kwargs, "context": context})


async def run(trigger: CallbackTrigger) -> list[dict[str, Any]]:
    return [event.payload async for event in trigger.run()]


def test_who_asked_is_told_of_a_late_run(
    alert: Any,
    monkeypatch: pytest.MonkeyPatch,
    store: Store,  # noqa: F811
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/")
    key = RunKey(report_id="positions", business_date="2026-03-02", run_id="scheduled__1")
    attempt = DeliveryAttempt(
        route="regulator", artifact="trades", attempt=1, channel="sftp", destination="sftp://x/y",
        filename="y", sha256="0" * 64, started_at=SCHEDULED, result="delivered",
    )  # fmt: skip
    store.record_attempt(key, attempt)
    with webhook_server() as (port, inbox):
        connection = {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": port}
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(connection))
        events = asyncio.run(run(missed(alert)))

    [(path, body)] = inbox
    assert path == "/late"
    assert (body["event"], body["report"], body["business_date"], body["state"]) == (
        "late",
        "positions",
        "2026-03-02",
        "running",
    )
    assert body["deadline"] == CUT_OFF.isoformat()
    assert body["link"] == "https://airflow.example/dags/positions/runs/scheduled__1"
    assert body["delivered"] == ["trades over regulator"]
    assert events[-1]["state"] == "success"
    assert "LATE by" in events[-1]["body"]


def test_receiver_that_fails_fails_nothing_else(
    alert: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": 9}
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(connection))
    with caplog.at_level(logging.WARNING):
        events = asyncio.run(run(missed(alert)))
    assert events[-1]["state"] == "success"
    assert "Receiver ops (webhook) was not told" in caplog.text


def test_plugin_registers_the_reference() -> None:
    from airflow import plugins_manager

    found = plugins_manager.get_deadline_references_plugins()
    assert found["dag_factory.deadline.BusinessDateDeadline"] is BusinessDateDeadline


def test_summary_of_the_rules_says_how_the_run_stands(
    workspace: Workspace,  # noqa: F811
    store: Store,  # noqa: F811
    folder: Path,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = operator(folder, positions(workspace, 1, 2))
    section = DeadlineSection(by="T+1 23:59", timezone="Europe/Berlin")
    task.deadline = Deadline(section, "UTC")
    with caplog.at_level(logging.INFO):
        execute(task)
    assert re.search(r"The run is .* deadline (of|was) 2026-04-01 23:59 CEST", caplog.text)


def test_message_of_a_verdict_says_how_the_run_stands() -> None:
    told = message(RUN, Verdict(results=(FAILED,)), "blocked", None, "LATE by 5 min")
    assert "LATE by 5 min" in told.text
    assert told.data["standing"] == "LATE by 5 min"
