"""The few calls of Airflow's REST API that the demonstration needs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from datetime import date
    from types import TracebackType

FINAL = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})


class AirflowClientError(Exception):
    """Airflow's API answered with an error, or not in time."""


@dataclass(frozen=True)
class TaskState:
    """How far one task has come.

    Attributes:
        seconds: its running time, once it has ended.
        pid: the process that runs it or ran it last.
    """

    task_id: str
    state: str | None
    try_number: int
    seconds: float | None
    pid: int | None


class AirflowClient:
    """A session with one Airflow, logged in as one user.

    Args:
        url: base address of the API server.
        username: a user of the FAB auth manager.
        password: that user's password.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        answer = self._http.post("/auth/token", json={"username": username, "password": password})
        #: Sent with every request; also what a script of one's own needs.
        self.token = str(_checked(answer)["access_token"])
        self._http.headers["Authorization"] = f"Bearer {self.token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def wait_for_dags(self, dag_ids: set[str], *, seconds: float = 120.0) -> None:
        """Return when Airflow has parsed all these Dags and runs of them can be started.

        On a busy machine the parsing of a file may take too long, which is an import error until it
        is parsed again; no run can be started meanwhile.

        Raises:
            AirflowClientError: some are still missing when the time is over.
        """
        end = time.monotonic() + seconds
        missing = set(dag_ids)
        while missing and time.monotonic() < end:
            found = _checked(self._http.get("/api/v2/dags", params={"limit": 1000}))
            missing -= {d["dag_id"] for d in found["dags"] if not d["has_import_errors"]}
            if missing:
                time.sleep(0.5)
        if missing:
            message = f"Airflow does not show these Dags: {', '.join(sorted(missing))}"
            raise AirflowClientError("\n".join([message, *self.import_errors()]))

    def trigger(self, dag_id: str, business_date: date) -> str:
        """Unpause a Dag and start one run for a business date; return the run's id."""
        _checked(self._http.patch(f"/api/v2/dags/{quote(dag_id)}", json={"is_paused": False}))
        body = {"logical_date": None, "conf": {"business_date": business_date.isoformat()}}
        answer = _checked(self._http.post(f"/api/v2/dags/{quote(dag_id)}/dagRuns", json=body))
        return str(answer["dag_run_id"])

    def runs(self, dag_id: str) -> list[str]:
        """The ids of a Dag's runs, at most the newest hundred."""
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns"
        found = _checked(self._http.get(path, params={"limit": "100", "order_by": "-run_after"}))
        return [str(run["dag_run_id"]) for run in found["dag_runs"]]

    def pause(self, dag_id: str) -> None:
        """Stop a Dag from being scheduled."""
        _checked(self._http.patch(f"/api/v2/dags/{quote(dag_id)}", json={"is_paused": True}))

    def clear(self, dag_id: str, run_id: str, task_ids: list[str]) -> None:
        """Let tasks of a finished run, and all that come after them, run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "only_failed": False,
            "reset_dag_runs": True,
            "include_downstream": True,
        }
        path = f"/api/v2/dags/{quote(dag_id)}/clearTaskInstances"
        _checked(self._http.post(path, json=body))

    def add_connection(self, conn_id: str, fields: dict[str, Any]) -> None:
        """Make a connection; ``fields`` as in Airflow's JSON form, ``extra`` being a mapping."""
        body = {"connection_id": conn_id, **fields}
        if "extra" in body:
            body["extra"] = json.dumps(body["extra"])
        _checked(self._http.post("/api/v2/connections", json=body))

    def connection(self, conn_id: str) -> dict[str, Any]:
        """A connection as Airflow shows it: secrets are masked."""
        found: dict[str, Any] = _checked(self._http.get(f"/api/v2/connections/{quote(conn_id)}"))
        return found

    def dag(self, dag_id: str) -> dict[str, Any]:
        """What Airflow knows of a Dag, with its description and documentation."""
        found: dict[str, Any] = _checked(self._http.get(f"/api/v2/dags/{quote(dag_id)}/details"))
        return found

    def import_errors(self) -> list[str]:
        """The errors of Dag files that could not be parsed."""
        found = _checked(self._http.get("/api/v2/importErrors"))
        return [str(error["stack_trace"]) for error in found["import_errors"]]

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The state of a run: ``queued``, ``running``, ``success`` or ``failed``."""
        return str(_checked(self._http.get(_run(dag_id, run_id)))["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """The states of a run's tasks, in the order in which they started."""
        found = _checked(self._http.get(f"{_run(dag_id, run_id)}/taskInstances"))
        instances = sorted(found["task_instances"], key=lambda t: t["start_date"] or "9999")
        return [
            TaskState(
                task["task_id"],
                task["state"],
                task["try_number"],
                task["duration"] if task["state"] in FINAL else None,
                task["pid"],
            )
            for task in instances
        ]

    def result(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task returned, or None when it returned nothing."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/return_value"
        answer = self._http.get(path, params={"deserialize": "false"})
        return None if answer.status_code == httpx.codes.NOT_FOUND else _checked(answer)["value"]

    def log(self, dag_id: str, run_id: str, task: TaskState) -> list[str]:
        """The lines that a task logged in its last try."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task.task_id)}/logs/{task.try_number}"
        answer = self._http.get(path, headers={"Accept": "application/json"})
        content = _checked(answer).get("content", [])
        return [_log_line(entry) for entry in content]


def _log_line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    details = entry.get("error_detail") or []
    causes = [f"{cause.get('exc_type')}: {cause.get('exc_value')}" for cause in details]
    return "\n".join([str(entry.get("event", "")), *causes])


def _run(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _checked(answer: httpx.Response) -> Any:
    if answer.is_error:
        request = answer.request
        message = f"{request.method} {request.url.path}: {answer.status_code} {answer.text[:500]}"
        raise AirflowClientError(message)
    return answer.json()
