"""A firm that reports nested records by the operators, and an authority behind a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.deliver.acknowledgement.operator import AcknowledgeOperator
from openreg_airflow.deliver.operator import DeliverOperator
from openreg_airflow.exception_queue import claims, decisions, resubmission
from openreg_airflow.exception_queue.balance import Balance, balances
from openreg_airflow.exception_queue.listing import Wanted, find
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.set_aside import set_aside
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.records import Artifact, RunKey, Verdict
from openreg_airflow.store.actor import Actor
from openreg_airflow.workspace import Workspace
from tests.artifact_files import RUN, dataset, spec_of
from tests.delivery_house import route
from tests.feedback_files import auth031
from tests.nested_house import LAYOUT, Row, records, tables
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pytest

    from openreg_airflow.exception_queue.item import Item

ANNA = Actor("anna", "test")
RECORDS = {
    "rows": RecordTable(key=("id",)),
    "parties": RecordTable(parent="rows", on={"id": "id"}),
    "accounts": RecordTable(parent="parties", on={"party": "party"}),
}
ROUTE: dict[str, Any] = {
    "channel": "folder",
    "connection": "outbox",
    "folder": "in",
    "acknowledgement": {"pattern": "{stem}_FDB*.xml", "folder": "out", "reference": "id"},
}


@dataclass(frozen=True)
class Sent:
    """One delivery: the run and its artifact, and what the receiver found in its file."""

    run: RunKey
    verdict: Verdict
    artifact: Artifact
    rows: list[Row]


class Firm:
    """Runs of a report by its operators, and an authority behind a folder."""

    def __init__(self, folder: Path, rules: dict[str, Any] | None) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'store.db'}"
        self.workspace = Workspace(folder / "workspace")
        self.runs = 0
        self.route = ROUTE
        (folder / "layout.xml").write_text(LAYOUT)
        names = {"column": "id", "action": "action", "scope": "authority"}
        self.made: dict[str, Any] = {
            "format": "xml",
            "filename": "out_{version}_{part}.xml",
            "layout": "layout.xml",
            "references": None if rules is None else names | rules,
        }

    @property
    def spec(self) -> Any:
        """The artifact's section."""
        return spec_of(**self.made)

    def run(self) -> RunKey:
        self.runs += 1
        return RUN.model_copy(update={"run_id": f"run-{self.runs}"})

    def report(self, rows: Sequence[Row], *, fail: Collection[str] = ()) -> Sent:
        """A run that reads the source; some of its records fail a rule."""
        run = self.run()
        made = {
            name: dataset(table, self.folder / "tables" / str(self.runs) / f"{name}.parquet")
            for name, table in tables(rows, "1", "noon").items()
        }
        done = set_aside(
            run=run,
            stage="validate",
            origin="rule",
            records=RECORDS,
            tables=made,
            reasons=self.reasons(fail),
            workspace=self.workspace,
            store_url=self.url,
        )
        return self.send(run, Verdict(results=(), tables=done.tables))

    def resubmit(self) -> Sent:
        """A run that takes what was mended."""
        run = self.run()
        taken = resubmission.take(run, RECORDS, self.workspace, self.url)
        assert taken is not None
        done = resubmission.go_on(
            run=run,
            stage="validate",
            records=RECORDS,
            tables=taken.tables,
            reasons=self.reasons(),
            workspace=self.workspace,
            store_url=self.url,
        )
        verdict = Verdict(results=(), tables=done.tables, resubmission=taken.number)
        return self.send(run, verdict)

    def send(self, run: RunKey, verdict: Verdict) -> Sent:
        """Write and deliver what the validation left."""
        common: Any = {"report_id": run.report_id, "business_date": run.business_date.isoformat()}
        write = ArtifactOperator(
            task_id="artifact",
            folder=self.folder,
            artifact="out",
            spec=self.spec,
            tables={},
            verdict=verdict.model_dump(mode="json"),
            **common,
        )
        artifact = Artifact.model_validate(json.loads(json.dumps(write.execute(context(run)))))
        DeliverOperator(
            task_id="deliver",
            route="regulator",
            spec=route(**self.route),
            artifact=artifact.model_dump(mode="json"),
            **common,
        ).execute(context(run))
        claims.settle(self.url, run)
        arrived = [self.folder / "outbox" / "in" / file.filename for file in artifact.files]
        return Sent(run, verdict, artifact, [row for path in arrived for row in records(path)])

    def answer(self, sent: Sent, *rejected: str) -> None:
        """The authority refuses some records and takes the others; the task reads its file."""
        [file] = sent.artifact.files
        total = file.records or 0
        counts = {"ACPT": total - len(rejected), "RJCT": len(rejected)}
        self.say(
            f"{Path(file.filename).stem}_FDB.xml",
            auth031(
                "PART" if rejected else "ACPT",
                original=file.filename,
                total=total,
                counts=counts,
                records=[(name, "RJCT", "CON-412", "not in the data") for name in rejected],
            ),
        )
        for _ in range(2):  # A task that is cleared reads the same again.
            self.acknowledge(sent)

    def say(self, name: str, text: str) -> None:
        """The authority leaves a file."""
        (self.folder / "outbox" / "out" / name).write_text(text)

    def reject_whole(self, sent: Sent, *positions: int, code: str = "RJCT") -> None:
        """The authority takes nothing of some files, all when none is named."""
        for position in positions or range(1, len(sent.artifact.files) + 1):
            file = sent.artifact.files[position - 1]
            said = auth031(code, original=file.filename, rule=("FILE-105", "number used before"))
            self.say(f"{Path(file.filename).stem}_FDB.xml", said)

    def acknowledge(self, sent: Sent) -> None:
        """The task looks for answers, as it does when it is cleared."""
        AcknowledgeOperator(
            task_id="acknowledge",
            report_id=sent.run.report_id,
            business_date=sent.run.business_date.isoformat(),
            route="regulator",
            spec=route(**self.route),
            artifact=sent.artifact.model_dump(mode="json"),
            receipts=[{"delivered_at": datetime.now(UTC).isoformat()}],
            tables={},
            verdict=sent.verdict.model_dump(mode="json"),
            records=RECORDS,
        ).execute(context(sent.run))

    def reasons(self, fail: Collection[str] = ()) -> Path:
        """Why records are set aside."""
        path = self.folder / "reasons.parquet"
        with ReasonWriter(path) as writer:
            for name in fail:
                writer.add("rows", "too_large", f"{name} is too large", key=[name])
        return path

    def item(self, name: str) -> Item:
        [one] = [i for i in find(self.url, Wanted(report_id=RUN.report_id)) if i.key == (name,)]
        return one

    def amend(self, name: str, values: dict[str, Any]) -> None:
        one = self.item(name)
        decisions.amend(self.url, {one.id: values}, {one.id: one.version}, ANNA, "typo")

    @property
    def inbox(self) -> list[str]:
        """The files that the authority has."""
        return sorted(path.name for path in (self.folder / "outbox" / "in").iterdir())

    @property
    def balance(self) -> tuple[int, int, int, int]:
        """In, reported, left out, and pending."""
        found: Balance
        [found] = balances(self.url, RUN.report_id, RUN.business_date)
        assert found.holds, found.line()
        return found.records, found.reported, found.rejected, found.pending


def context(run: RunKey) -> Any:
    ti = SimpleNamespace(try_number=1, max_tries=3)
    return {"dag_run": SimpleNamespace(run_id=run.run_id), "ti": ti}


def new_firm(folder: Path, rules: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> Firm:
    """A firm with a new store, and its settings in the environment.

    Args:
        folder: for everything.
        rules: of the artifact's references; None for an artifact without.
        monkeypatch: takes the settings back.
    """
    (folder / "outbox" / "out").mkdir(parents=True)
    fs = {"conn_type": "fs", "extra": {"path": str(folder / "outbox")}}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(folder / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", new_store(folder))
    return Firm(folder, rules)
