"""A real Airflow with the example reports and some that go wrong, started once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from rich.console import Console

from openreg_airflow.demo.client import FINAL, AirflowClient, TaskState
from openreg_airflow.demo.inbox import make_key_pair
from openreg_airflow.demo.outcome import Outcome, gather
from openreg_airflow.demo.site import Site
from openreg_airflow.demo.up import down, up
from tests.e2e import reports
from tests.services import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.demo.local_airflow import LocalAirflow

PROJECT = Path(__file__).resolve().parents[2]
DAY = date(2026, 9, 30)


@dataclass(frozen=True)
class Stack:
    """A running demonstration: its site, its Airflow and a session with its API."""

    site: Site
    airflow: LocalAirflow
    client: AirflowClient

    def run(self, report_id: str, day: date = DAY) -> Outcome:
        """Start a run, wait for its end and gather what it left."""
        self.client.wait_for_dags({report_id})
        return self.finish(report_id, self.client.trigger(report_id, day))

    def parse_again(self) -> None:
        """Have a report seen that was written just now, as the UI's button to reparse does."""
        self.client.wait_for_dags({"right"})
        token = self.client.dag("right")["file_token"]
        answer = httpx.put(
            f"{self.airflow.url}/api/v2/parseDagFile/{token}",
            headers={"Authorization": f"Bearer {self.client.token}"},
            trust_env=False,
        )
        answer.raise_for_status()

    def finish(self, report_id: str, run_id: str, seconds: float = 240) -> Outcome:
        """Wait for the end of a run and gather what it left."""
        wait_until(lambda: self.client.run_state(report_id, run_id) in FINAL, seconds, every=0.3)
        tasks = self.tasks(report_id, run_id)
        return gather(self.client, report_id, run_id, list(tasks.values()), self.site.inbox)

    def tasks(self, report_id: str, run_id: str) -> dict[str, TaskState]:
        """The states of a run's tasks by task id."""
        return {task.task_id: task for task in self.client.tasks(report_id, run_id)}

    def log(self, report_id: str, run_id: str, task_id: str) -> str:
        """All that a task logged in its last try."""
        task = self.tasks(report_id, run_id)[task_id]
        return "\n".join(self.client.log(report_id, run_id, task))


@pytest.fixture(scope="package")
def in_sandbox(request: pytest.FixtureRequest) -> Iterator[None]:
    """Transforms run in containers where there is an engine, else in subprocesses."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            environment = request.getfixturevalue("sandbox_environment")
        except pytest.skip.Exception:
            environment = {}
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, in_sandbox: None) -> Iterator[Stack]:
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "dags", project / "dags")
    specs = project / "report_specs"
    shutil.copytree(PROJECT / "report_specs", specs)
    _wrong_reports(specs)
    reports.make_source(project / "source.db")
    site = Site(project / ".demo", project)
    port = free_port()
    console = Console(force_terminal=False)
    up(site, console, port)
    try:
        airflow = site.airflow(port, "docker")
        with AirflowClient(airflow.url, "admin", airflow.password) as client:
            _connections(client, project, site)
            # A page of a Dag that is not parsed yet says so, and is not loaded again by itself.
            client.wait_for_dags({folder.name for folder in specs.iterdir()})
            yield Stack(site, airflow, client)
    finally:
        down(site, console)


def _wrong_reports(specs: Path) -> None:
    reports.write(specs, "right")
    reports.write(specs, "missing_sql", sql=None)
    reports.write(specs, "empty_sql", sql="\n")
    reports.write(specs, "query_error", sql="SELECT no_such_column FROM trades\n")
    reports.write(specs, "source_gone", source="e2e_gone")
    raising = "def transform(inputs, context):\n    trades = inputs['trades']\n"
    reports.write(specs, "raises", script=raising + "    return trades['colour'] / 0\n")
    reports.write(specs, "no_table", script="def transform(inputs, context):\n    return 7\n")
    reports.write(specs, "blocked", severity="blocking")
    reports.write_correctable(specs, "corrected")
    reports.write_rerouted(specs, "rerouted")
    reports.write(specs, "wrong_host_key", inbox="e2e_wrong_host_key")
    waiting = "import time\n\n\ndef transform(inputs, context):\n    print('waiting')\n"
    waiting += "    time.sleep(600)\n    return inputs['trades']\n"
    reports.write(specs, "killed", script=waiting, retries=2)
    hook = {"kind": "webhook", "connection": "e2e_hook", "endpoint": "late", "on": ["late"]}
    late = {"deadline": {"by": "T+1 23:59"}, "notify": {"targets": {"ops": hook}}}
    reports.write(specs, "late", script=raising + "    return 1 / 0\n", more=late)
    reports.write_incremental(specs, "only_new")
    reports.write_broken(specs, "broken_spec")


def _connections(client: AirflowClient, project: Path, site: Site) -> None:
    source = {"conn_type": "sqlite", "host": str(project / "source.db")}
    client.add_connection("e2e_source", source)
    gone = {"conn_type": "postgres", "host": "127.0.0.1", "port": free_port(), "login": "nobody"}
    client.add_connection("e2e_gone", {**gone, "password": "secret-of-the-source", "schema": "x"})
    down = {"conn_type": "ftp", "host": "127.0.0.1", "port": free_port(), "login": "nobody"}
    client.add_connection("e2e_down", {**down, "password": "secret-of-the-regulator"})
    (project / "outbox").mkdir()
    client.add_connection(
        "e2e_outbox", {"conn_type": "fs", "extra": {"path": str(project / "outbox")}}
    )
    other = project / "other_host_key"
    make_key_pair(other, "not the key of the inbox")
    inbox = client.connection("openreg_demo_inbox")
    client.add_connection(
        "e2e_wrong_host_key",
        {
            "conn_type": "sftp",
            "host": "127.0.0.1",
            "port": inbox["port"],
            "login": inbox["login"],
            "extra": {
                "key_file": str(site.inbox / "client_key"),
                "host_key": other.with_suffix(".pub").read_text().strip(),
            },
        },
    )
