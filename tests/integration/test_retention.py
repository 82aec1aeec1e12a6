from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from sqlalchemy import select, update
from typer.testing import CliRunner

from dag_factory.build import build_dag
from dag_factory.load import load
from dag_factory.scaffold import scaffold
from openreg_airflow.artifacts.publishing import retention
from openreg_airflow.cli import app
from openreg_airflow.mapping_records import MappingSnapshot
from openreg_airflow.records import Artifact, ArtifactFile, RunKey
from openreg_airflow.store.acknowledgement_records import Acknowledgement, FeedbackFile
from openreg_airflow.store.acknowledgements import Acknowledgements
from openreg_airflow.store.artifact_history import ArtifactHistory, unsettled
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.mapping_run_models import SnapshotRow
from openreg_airflow.store.mapping_runs import MappingRuns
from openreg_airflow.store.models import ArtifactRow, AuditRow
from openreg_airflow.store_records import DeliveryAttempt
from openreg_airflow.workspace import Workspace
from tests.new_store import new_store

if TYPE_CHECKING:
    from openreg_airflow.store.acknowledgement_records import AckState
    from openreg_airflow.store_records import AttemptResult

RUN = RunKey(report_id="mifir", business_date=date(2026, 3, 2), run_id="manual__1")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    return url


def route(**changes: Any) -> dict[str, Any]:
    return {"when": None, "instead_of": None, "acknowledged": False, "names": []} | changes


def artifact(folder: Path, routes: dict[str, Any] | None) -> Artifact:
    files = []
    stage = Workspace(folder / "workspace").folder(RUN, "artifact", "out")
    for part in (1, 2):
        with stage.writing(f"out_{part}.csv") as pending:
            pending.path.write_text(f"part {part}\n")
        files.append(
            ArtifactFile(**dict(pending.ref), filename=f"out_{part}.csv", part=part, records=1)
        )
    with stage.writing("out.metadata.json") as side:
        side.path.write_text("{}\n")
    return Artifact(
        name="out",
        format="csv",
        records=2,
        schema_check="",
        files=tuple(files),
        sidecar=side.ref,
        metadata={} if routes is None else {"routes": routes},
    )


def attempt(file: ArtifactFile, way: str, result: AttemptResult) -> DeliveryAttempt:
    return DeliveryAttempt(
        route=way,
        artifact="out",
        attempt=1,
        position=file.part,
        channel="sftp",
        destination="sftp://x",
        filename=file.filename,
        sha256=file.sha256,
        started_at=datetime(2026, 3, 2, tzinfo=UTC),
        result=result,
    )


def holds(condition: str) -> bool:
    return condition == "records > 1"


@pytest.mark.parametrize(
    ("routes", "delivered", "reason"),
    [
        ({}, [], None),
        (None, [], "it is not known over which routes it goes"),
        ({"esma": route()}, [(1, "esma", "delivered"), (2, "esma", "already-there")], None),
        ({"esma": route()}, [(1, "esma", "delivered")], "out_2.csv was not delivered over route"),
        (
            {"esma": route()},
            [(1, "esma", "delivered"), (2, "esma", "failed")],
            "out_2.csv was not delivered over route esma",
        ),
        (
            {"esma": route()},
            [(1, "esma", "delivered"), (2, "esma", "started")],
            "out_2.csv was not delivered over route esma",
        ),
        (
            {"esma": route(), "bafin": route()},
            [(1, "esma", "delivered"), (2, "esma", "delivered")],
            "out_1.csv was not delivered over route bafin",
        ),
        (
            {"esma": route(acknowledged=True)},
            [(1, "esma", "delivered"), (2, "esma", "delivered")],
            "what went over route esma is not acknowledged",
        ),
        (
            {"esma": route(), "mail": route(instead_of="esma")},
            [(1, "esma", "failed"), (1, "mail", "delivered"), (2, "mail", "delivered")],
            None,
        ),
        (
            {"esma": route(), "mail": route(instead_of="esma")},
            [(1, "esma", "delivered"), (1, "mail", "failed"), (2, "mail", "delivered")],
            "out_2.csv was not delivered over route esma",
        ),
        ({"esma": route(when="records > 9")}, [], None),
        ({"esma": route(when="records > 1")}, [], "out_1.csv was not delivered over route esma"),
        (
            {"esma": route(when="records > 9")},
            [(1, "esma", "failed")],
            "out_1.csv was not delivered over route esma",
        ),
    ],
)
def test_what_is_not_delivered_and_acknowledged_stays(
    tmp_path: Path, routes: dict[str, Any] | None, delivered: list[Any], reason: str | None
) -> None:
    made = artifact(tmp_path, routes)
    attempts = [attempt(made.files[part - 1], way, how) for part, way, how in delivered]
    found = unsettled(made, attempts, holds, lambda _: False)
    assert (found or "").startswith(reason or "")
    assert (found is None) == (reason is None)


def test_delivery_of_an_earlier_content_does_not_count(tmp_path: Path) -> None:
    made = artifact(tmp_path, {"esma": route()})
    other = made.files[0].model_copy(update={"sha256": "0" * 64})
    attempts = [attempt(other, "esma", "delivered"), attempt(made.files[1], "esma", "delivered")]
    assert (
        unsettled(made, attempts, holds, lambda _: False)
        == "out_1.csv was not delivered over route esma"
    )


def aged(url: str, days: int) -> None:
    then = datetime.now(UTC) - timedelta(days=days)
    with transaction(connect_engine(parse_url(url)), write=True) as connection:
        connection.execute(update(ArtifactRow).values(recorded_at=then))


def run_command(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["retention", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_old_delivered_files_go_and_their_evidence_stays(tmp_path: Path, url: str) -> None:
    history = ArtifactHistory(url)
    made = artifact(tmp_path, {"esma": route()})
    history.record_artifact(RUN, made)
    files = [Path(file.uri) for file in made.files]
    assert run_command("--days", "30") == "0 artifacts removed, 0 bytes; 0 old ones stay\n"
    aged(url, 31)
    assert "stays    mifir 2026-03-02 manual__1: out: out_1.csv was not" in run_command(
        "--days", "30"
    )
    for file in made.files:
        history.record_attempt(RUN, attempt(file, "esma", "delivered"))
    said = run_command("--days", "30", "--dry-run")
    assert "would go mifir 2026-03-02 manual__1: out: 2 files, 14 bytes" in said
    assert all(path.exists() for path in files)

    assert "1 artifacts removed, 14 bytes" in run_command("--days", "30")
    assert not any(path.exists() for path in files)
    assert made.sidecar is not None
    assert Path(made.sidecar.uri).exists()
    [kept] = history.find()
    assert kept.artifact == made
    assert kept.removed_at is not None
    assert len(history.attempts(RUN)) == 2
    assert run_command("--days", "30").startswith("0 artifacts removed")
    verified = CliRunner().invoke(app, ["verify"])
    assert verified.exit_code == 0
    assert "removed  mifir 2026-03-02 manual__1: out" in verified.output
    with transaction(connect_engine(parse_url(url)), write=False) as connection:
        assert connection.scalars(select(AuditRow.action)).all() == ["remove"]


def test_snapshots_of_mapping_sets_go_after_the_last_run_that_needs_them(
    tmp_path: Path, url: str
) -> None:
    file = tmp_path / "workspace" / "_mappings" / "venues" / "x.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"entries")
    seen = MappingSnapshot(
        uri=str(file),
        bytes=7,
        sha256="0" * 64,
        name="venues",
        set_id=1,
        version=1,
        known_at=datetime(2026, 3, 2, tzinfo=UTC),
        keys=(),
        values=(),
        rows=1,
    )
    MappingRuns(url).record_snapshots(RUN, [seen])
    assert "snapshot" not in run_command("--days", "30")
    then = datetime.now(UTC) - timedelta(days=31)
    with transaction(connect_engine(parse_url(url)), write=True) as connection:
        connection.execute(update(SnapshotRow).values(recorded_at=then))

    said = f"snapshot of mapping set venues: {file}, 7 bytes"
    assert "snapshot" not in run_command("--days", "30", "--report", "mifir")
    assert f"would go {said}" in run_command("--days", "30", "--dry-run")
    assert file.exists()
    assert f"removed  {said}" in run_command("--days", "30")
    assert not file.exists()
    assert "snapshot" not in run_command("--days", "30")
    with transaction(connect_engine(parse_url(url)), write=False) as connection:
        assert connection.scalars(select(AuditRow.action)).all() == ["remove"]


def test_interrupted_removal_is_finished_by_the_next(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = ArtifactHistory(url)
    made = artifact(tmp_path, {})
    history.record_artifact(RUN, made)
    aged(url, 31)
    Path(made.files[0].uri).unlink()
    monkeypatch.setenv("AIRFLOW__OPENREG__RETENTION_DAYS", "30")
    assert "1 artifacts removed" in run_command()
    assert history.find()[0].removed_at is not None


def answer(file: ArtifactFile, state: AckState, pending: int = 0) -> Acknowledgement:
    return Acknowledgement(
        route="esma",
        artifact="out",
        position=file.part,
        filename=file.filename,
        sent=1,
        accepted=1 - pending,
        pending=pending,
        due_at=datetime(2026, 3, 3, tzinfo=UTC),
        state=state,
    )


def test_acknowledgement_lets_the_files_go(tmp_path: Path, url: str) -> None:
    history, answers = ArtifactHistory(url), Acknowledgements(url)
    made = artifact(tmp_path, {"esma": route(acknowledged=True)})
    history.record_artifact(RUN, made)
    aged(url, 31)
    for file in made.files:
        history.record_attempt(RUN, attempt(file, "esma", "delivered"))
    waits = "what went over route esma is not acknowledged"
    first, second = made.files
    assert waits in run_command("--days", "30")
    answers.await_files(RUN, [answer(first, "accepted"), answer(second, "awaited", pending=1)])
    assert waits in run_command("--days", "30")
    waiting: list[tuple[AckState, int]]
    waiting = [("received", 1), ("rejected", 0), ("partly accepted", 1)]
    for state, pending in waiting:
        read = FeedbackFile(
            route="esma", artifact="out", filename=f"{state}.xml", sha256=state, bytes=1, uri="/f",
            result="read",
        )  # fmt: skip
        answers.apply(RUN, read, [answer(second, state, pending)], [])
        assert waits in run_command("--days", "30")
    answers.apply(RUN, read, [answer(second, "partly accepted")], [])
    assert "1 artifacts removed" in run_command("--days", "30")


def test_condition_of_a_route_is_asked(tmp_path: Path, url: str) -> None:
    history = ArtifactHistory(url)
    routes = {"esma": route(when="records > 9"), "bafin": route(when="nothing > 9")}
    history.record_artifact(RUN, artifact(tmp_path, routes))
    aged(url, 31)
    said = run_command("--days", "30", "--dry-run")
    assert "out_1.csv was not delivered over route bafin" in said
    routes["bafin"]["when"] = "version > 1"
    history.record_artifact(RUN, artifact(tmp_path, routes))
    aged(url, 31)
    assert "1 artifacts would be removed" in run_command("--days", "30", "--dry-run")


def test_without_a_setting_nothing_goes(tmp_path: Path, url: str) -> None:
    history = ArtifactHistory(url)
    made = artifact(tmp_path, {})
    history.record_artifact(RUN, made)
    aged(url, 10_000)
    assert run_command().startswith("Nothing is removed")
    found = retention.decide(
        history, datetime.now(UTC), taken=lambda *_: True, acknowledged=lambda *_: False
    )
    assert [decision.reason for decision in found] == [None]
    assert Path(made.files[0].uri).exists()


def test_artifact_knows_the_routes_of_its_report(tmp_path: Path) -> None:
    scaffold("positions", tmp_path)
    report = tmp_path / "positions"
    text = yaml.safe_load((report / "report.yaml").read_text())
    out = {"channel": "folder", "connection": "outbox"}
    text["deliver"] = {
        "routes": {
            "esma": out,
            "copy": out | {"folder": "b", "when": "records > 9"},
            "spare": out | {"folder": "c", "instead_of": "esma"},
        }
    }
    (report / "report.yaml").write_text(yaml.safe_dump(text))
    task: Any = build_dag(load(report), report).get_task("artifact")
    assert task.routes == {
        "esma": route(),
        "copy": route(when="records > 9"),
        "spare": route(instead_of="esma"),
    }
