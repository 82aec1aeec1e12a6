from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

import psutil
import pytest

from dag_factory.scaffold import scaffold
from openreg_airflow.demo.site import BUSINESS_DATE, REPORTS
from openreg_airflow.records import RunKey
from openreg_airflow.store import Store
from tests.e2e import reports
from tests.e2e.conftest import DAY
from tests.services.receivers import webhook_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from openreg_airflow.demo.outcome import Outcome
    from tests.e2e.conftest import Stack


def test_no_dag_file_has_an_import_error(stack: Stack) -> None:
    assert stack.client.import_errors() == []


def test_every_server_listens_on_this_machine_only(stack: Stack) -> None:
    noted = json.loads((stack.airflow.home / "processes.json").read_text())
    parents = [psutil.Process(process["pid"]) for process in noted]
    addresses = {address for parent in parents for address in _listening(parent)}
    for child in (child for parent in parents for child in parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # a task, say, that has ended meanwhile
            addresses |= _listening(child)
    assert ("127.0.0.1", stack.airflow.port) in addresses
    assert {ip for ip, _ in addresses} == {"127.0.0.1"}


def _listening(process: psutil.Process) -> set[tuple[str, int]]:
    """The addresses on which a process listens."""
    return {
        (connection.laddr.ip, connection.laddr.port)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_scaffolded_report_runs_as_it_is(stack: Stack) -> None:
    scaffold("scaffolded", stack.site.project / "report_specs")
    stack.parse_again()
    outcome = stack.run("scaffolded", BUSINESS_DATE)
    assert outcome.proven, outcome.failures
    assert outcome.artifacts[0].records == outcome.sources["trades"].rows > 0


@pytest.mark.parametrize("report_id", REPORTS)
def test_an_example_report_arrives_byte_for_byte(stack: Stack, report_id: str) -> None:
    outcome = stack.run(report_id, BUSINESS_DATE)
    assert outcome.proven, outcome.failures
    assert outcome.verdict is not None
    assert not outcome.verdict.blocking


def test_a_run_that_has_missed_its_deadline_is_told_of(stack: Stack) -> None:
    stack.client.wait_for_dags({"late"})
    with webhook_server() as (port, inbox):
        hook = {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": port}
        stack.client.add_connection("e2e_hook", hook)
        # The deadline of a business date in the past has passed before its run begins.
        run_id = stack.client.trigger("late", date(2026, 3, 2))
        wait_until(lambda: bool(inbox), 120, every=0.3)

    [(path, body)] = inbox
    assert path == "/late"
    assert (body["report"], body["run"]) == ("late", run_id)
    assert body["deadline"] == "2026-03-03T23:59:00+00:00"
    assert "LATE by" in body["summary"]


def hashes(outcome: Outcome) -> list[str]:
    return [file.sha256 for artifact in outcome.artifacts for file in artifact.files]


def test_a_second_run_gives_the_same_bytes_and_sends_nothing_twice(stack: Stack) -> None:
    first, second = stack.run("right"), stack.run("right")
    assert first.proven
    assert second.proven
    assert hashes(first) == hashes(second)
    assert [receipt.already_there for receipt, _ in second.delivered] == [True]


def test_a_warning_lets_the_run_go_on_and_is_counted(stack: Stack) -> None:
    outcome = stack.run("right")
    assert outcome.verdict is not None
    assert [(w.rule_id, w.failed) for w in outcome.verdict.warnings] == [("price_positive", 1)]
    (receipt, _) = outcome.delivered[0]
    (found,) = stack.site.inbox.rglob(receipt.filename)
    with found.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "price"],
            ["1", "10.5"],
            ["2", "0"],
            ["3", "7.25"],
        ]


def test_a_blocking_rule_stops_artifact_and_delivery(stack: Stack) -> None:
    outcome = stack.run("blocked")
    assert outcome.state == "failed"
    tasks = stack.tasks("blocked", outcome.run_id)
    assert tasks["validate"].state == "failed"
    assert tasks["artifact"].state == tasks["deliver"].state == "upstream_failed"
    assert not list(stack.site.inbox.rglob("blocked_*"))
    log = stack.log("blocked", outcome.run_id, "validate")
    assert "price 0.00 of trade 2" in log


#: Reports that fail, the task that does, and what its log must say.
FAULTS = {
    "missing_sql": ("extract", ["report missing_sql", "stage extract", "trades.sql"]),
    "empty_sql": ("extract", ["report empty_sql", "stage extract", "trades.sql"]),
    "query_error": ("extract", ["report query_error", "stage extract", "no_such_column"]),
    "source_gone": ("extract", ["report source_gone", "stage extract", "e2e_gone"]),
    "raises": ("transform", ["report raises", "transform.py", "line 3", "colour"]),
    "no_table": ("transform", ["report no_table", "stage transform", "int"]),
    "wrong_host_key": ("deliver", ["report wrong_host_key", "stage deliver", "host key"]),
}


@pytest.fixture(scope="module")
def fault_runs(stack: Stack) -> dict[str, str]:
    """All reports that fail, started together."""
    stack.client.wait_for_dags(set(FAULTS))
    return {report_id: stack.client.trigger(report_id, DAY) for report_id in FAULTS}


@pytest.mark.parametrize("report_id", FAULTS)
def test_each_fault_fails_its_own_task_and_says_why(
    stack: Stack, fault_runs: dict[str, str], report_id: str
) -> None:
    task_id, words = FAULTS[report_id]
    outcome = stack.finish(report_id, fault_runs[report_id])
    assert outcome.state == "failed"
    failed = [t for t, s in stack.tasks(report_id, outcome.run_id).items() if s.state == "failed"]
    assert failed == [task_id]
    log = stack.log(report_id, outcome.run_id, task_id)
    assert [word for word in words if word not in log] == [], log
    assert "secret-of-the-source" not in log
    assert not list(stack.site.inbox.rglob(f"{report_id}_*"))


def test_a_cleared_task_succeeds_once_the_cause_is_gone(
    stack: Stack, fault_runs: dict[str, str]
) -> None:
    outcome = stack.finish("missing_sql", fault_runs["missing_sql"])
    assert outcome.state == "failed"
    sql = stack.site.project / "report_specs" / "missing_sql" / "trades.sql"
    sql.write_text("SELECT id, price FROM trades ORDER BY id\n")
    try:
        stack.client.clear("missing_sql", outcome.run_id, ["extract"])
        again = stack.finish("missing_sql", outcome.run_id)
    finally:
        sql.unlink()
    assert again.proven


def test_a_broken_spec_stays_visible_and_fails_with_its_error(stack: Stack) -> None:
    stack.client.wait_for_dags({"broken_spec"})
    dag = stack.client.dag("broken_spec")
    assert "openreg-broken" in {tag["name"] for tag in dag["tags"]}
    assert dag["timetable_summary"] is None
    assert "artefacts: unknown key" in dag["doc_md"]
    outcome = stack.run("broken_spec")
    assert outcome.state == "failed"
    log = stack.log("broken_spec", outcome.run_id, "spec_error")
    assert "report.yaml:" in log
    assert "Did you mean artifacts?" in log


def kill_the_task(stack: Stack, report_id: str, run_id: str) -> None:
    """Kill the process of the transform while the author's script runs."""
    wait_until(lambda: "waiting" in transform_log(stack, report_id, run_id), 120, every=0.2)
    pid = stack.tasks(report_id, run_id)["transform"].pid
    assert pid
    # The first try waits for its end for ever; the next one finds a script that returns.
    script = stack.site.project / "report_specs" / report_id / "transform.py"
    script.write_text(reports.GOOD_SCRIPT)
    os.kill(pid, signal.SIGKILL)


def transform_log(stack: Stack, report_id: str, run_id: str) -> str:
    task = stack.tasks(report_id, run_id).get("transform")
    if task is None or task.state != "running":
        return ""
    return stack.log(report_id, run_id, "transform")


def test_a_killed_task_is_retried_and_gives_the_same_bytes(stack: Stack) -> None:
    reference = stack.run("right")
    stack.client.wait_for_dags({"killed"})
    run_id = stack.client.trigger("killed", DAY)
    kill_the_task(stack, "killed", run_id)
    outcome = stack.finish("killed", run_id)
    assert outcome.proven, outcome.failures
    assert stack.tasks("killed", run_id)["transform"].try_number > 1
    assert hashes(outcome) == hashes(reference)
    assert outcome.delivered[0][0].already_there is False


def test_connections_kept_in_airflow_are_found_by_the_command_line(stack: Stack) -> None:
    folders = [str(stack.site.project / "report_specs" / name) for name in ("right", "source_gone")]
    done = subprocess.run(
        [sys.executable, "-m", "openreg_airflow.cli", "connections", "test", *folders, "--json"],
        env=stack.airflow.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    outcome = {entry["connection"]: entry for entry in json.loads(done.stdout)}
    assert done.returncode == 1
    assert outcome["e2e_source"]["ok"]
    assert outcome["openreg_demo_inbox"]["ok"]
    assert "cannot be reached" in outcome["e2e_gone"]["error"]


def test_an_incremental_report_moves_its_mark_when_it_has_succeeded(stack: Stack) -> None:
    outcome = stack.run("only_new")
    assert outcome.proven, outcome.failures
    tasks = stack.tasks("only_new", outcome.run_id)
    assert {task_id: task.state for task_id, task in tasks.items()} == dict.fromkeys(
        ("extract", "artifact", "deliver", "move_marks"), "success"
    )
    store = Store(stack.site.store_url)
    run = RunKey(report_id="only_new", business_date=DAY, run_id=outcome.run_id)
    assert {found.source: found.rows for found in store.extracts(run)} == {
        "all_trades": 1,
        "trades": 2,
    }
    assert store.window(run, "trades") == ("1", "3")
