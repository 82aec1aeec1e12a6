"""What a demonstration run left behind, gathered from Airflow and checked against the inbox."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from openreg_airflow.records import Artifact, Dataset, Receipt, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.demo.client import AirflowClient, TaskState


@dataclass(frozen=True)
class Failure:
    """A task that failed, for good or until its next try, and the end of its log."""

    task_id: str
    log: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """One finished run of one report.

    Attributes:
        sources: what was read, by source.
        tables: what the transform made, by table.
        mapped: what was filled from mapping sets, by table.
        delivered: each receipt, with whether the received file is byte for byte the artifact.
    """

    report_id: str
    run_id: str
    state: str
    sources: dict[str, Dataset] = field(default_factory=dict)
    tables: dict[str, Dataset] = field(default_factory=dict)
    mapped: dict[str, Dataset] = field(default_factory=dict)
    verdict: Verdict | None = None
    artifacts: tuple[Artifact, ...] = ()
    delivered: tuple[tuple[Receipt, bool], ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def proven(self) -> bool:
        """The run succeeded and every file of every artifact is in the inbox, byte for byte."""
        received = {(r.artifact, r.filename) for r, same in self.delivered if same}
        wanted = {(a.name, file.filename) for a in self.artifacts for file in a.files}
        return self.state == "success" and bool(wanted) and wanted <= received


def gather(
    client: AirflowClient, report_id: str, run_id: str, tasks: list[TaskState], inbox: Path
) -> Outcome:
    """Read the records that the tasks of a finished run handed on.

    Args:
        client: a session with the Airflow that ran it.
        report_id: the report, which is also the Dag's id.
        run_id: the run.
        tasks: the final states of its tasks.
        inbox: the local folder behind the regulator's server.
    """
    results: dict[str, dict[str, Any]] = {}
    failures = []
    for task in tasks:
        stage, _, name = task.task_id.partition(".")
        if task.state == "success":
            value = client.result(report_id, run_id, task.task_id)
            results.setdefault(stage, {})[name] = value
        elif task.state in ("failed", "up_for_retry"):
            log = client.log(report_id, run_id, task)
            failures.append(Failure(task.task_id, tuple(log[-12:])))
    artifacts = tuple(Artifact.model_validate(v) for v in results.get("artifact", {}).values())
    by_name = {artifact.name: artifact for artifact in artifacts}
    receipts = [
        Receipt.model_validate(receipt)
        for each in results.get("deliver", {}).values()
        for receipt in each
    ]
    verdict = results.get("validate", {}).get("")
    return Outcome(
        report_id=report_id,
        run_id=run_id,
        state=client.run_state(report_id, run_id),
        sources=_datasets(_each(results.get("extract", {}))),
        tables=_datasets(results.get("transform", {}).get("") or {}),
        mapped=_datasets(results.get("map", {}).get("") or {}),
        verdict=Verdict.model_validate(verdict) if verdict else None,
        artifacts=artifacts,
        delivered=tuple((r, _same(by_name.get(r.artifact), r, inbox)) for r in receipts),
        failures=tuple(failures),
    )


def _each(results: dict[str, Any]) -> dict[str, Any]:
    """The datasets of a stage's tasks; one that reads several sources hands on all of them."""
    each: dict[str, Any] = {}
    for name, value in results.items():
        each.update({name: value} if "uri" in value else value)
    return each


def _datasets(found: dict[str, Any]) -> dict[str, Dataset]:
    datasets = {name: Dataset.model_validate(value) for name, value in found.items()}
    # The only task of a stage is not named by what it made; its file is.
    return {name or PurePath(d.uri).stem: d for name, d in datasets.items()}


def _same(artifact: Artifact | None, receipt: Receipt, inbox: Path) -> bool:
    """Compare what the regulator holds with what we made, not with what we say of it."""
    files = artifact.files if artifact else ()
    made = [file for file in files if file.filename == receipt.filename]
    found = [path for path in inbox.rglob(receipt.filename) if path.is_file()]
    if (len(found), len(made)) != (1, 1):
        return False
    return filecmp.cmp(found[0], made[0].uri.removeprefix("file://"), shallow=False)
