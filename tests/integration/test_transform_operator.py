"""The operator as Airflow runs it, with settings and connections from Airflow."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import certifi
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.errors import (
    IntegrityError,
    PermanentError,
    SandboxUnavailableError,
    SpecError,
    TransformError,
)
from openreg_airflow.records import Dataset, RunKey
from openreg_airflow.transform.image_contract import checked_image
from openreg_airflow.transform.operator import TransformOperator
from openreg_airflow.transform.ownership import OURS
from openreg_airflow.transform.spec import TransformSection
from openreg_airflow.workspace import Workspace
from tests.services.engine_proxy import remote_engine
from tests.transform_bench import SLEEP, TRADES, terminated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.services.docker_engine import DockerEngine

RUN_ID = "scheduled__2026-03-02T20:00:00+00:00"
DAY = "2026-03-02"
DOUBLE = """
def transform(inputs, context):
    trades = inputs["trades"]
    trades["doubled"] = trades["price"] * 2
    return trades
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report_specs" / "demo_report"
    folder.mkdir(parents=True)
    (folder / "transform.py").write_text(DOUBLE)
    return folder


@pytest.fixture
def environment(
    tmp_path: Path, sandbox_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    for name, value in sandbox_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    return monkeypatch


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    run = RunKey(report_id="demo_report", business_date=DAY, run_id=RUN_ID)
    folder = Workspace(tmp_path / "workspace").folder(run, "extract")
    with folder.writing("trades.parquet") as pending:
        pq.write_table(TRADES, pending.path)
    dataset = Dataset(**pending.ref.model_dump(), rows=3, columns=())
    return {"trades": dataset.model_dump(mode="json")}


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "openreg_airflow")


@pytest.fixture
def operator(report: Path, inputs: dict[str, Any]) -> Callable[..., TransformOperator]:
    def make(**spec: Any) -> TransformOperator:
        return TransformOperator(
            task_id="transform",
            report_id="demo_report",
            business_date=DAY,
            folder=report,
            spec=TransformSection.model_validate(spec),
            inputs=inputs,
        )

    return make


def run(operator: TransformOperator) -> dict[str, Any]:
    context: Any = {"dag_run": SimpleNamespace(run_id=RUN_ID)}
    result: dict[str, Any] = operator.execute(context)
    return result


def ours(engine: DockerEngine) -> list[Any]:
    return list(engine.client.containers(all=True, filters={"label": OURS}))


def test_task_returns_references_to_what_the_script_made(
    operator: Callable[..., TransformOperator], environment: None, tmp_path: Path
) -> None:
    returned = run(operator(tables={"transactions": {}}))

    assert json.loads(json.dumps(returned)) == returned
    dataset = Dataset.model_validate(returned["transactions"])
    with Workspace(tmp_path / "workspace").open_local(dataset) as path:
        table = pq.read_table(path)
    assert table["doubled"].type == pa.decimal128(38, 5)
    assert dataset.rows == 3
    assert dataset.uri.startswith(str(tmp_path / "workspace" / "demo_report" / DAY))


def test_retry_gives_the_same_bytes(
    operator: Callable[..., TransformOperator], environment: None
) -> None:
    assert run(operator()) == run(operator())


def test_evidence_names_image_script_inputs_and_tables(
    operator: Callable[..., TransformOperator],
    environment: pytest.MonkeyPatch,
    inputs: dict[str, Any],
    tmp_path: Path,
    docker_engine: DockerEngine,
) -> None:
    returned = run(operator(parameters={"threshold": 5}))

    (file,) = (tmp_path / "workspace").rglob("sandbox.json")
    evidence = json.loads(file.read_text())
    image = os.environ["AIRFLOW__OPENREG__SANDBOX_IMAGE"]
    assert evidence["report_id"] == "demo_report"
    assert evidence["image"] == checked_image(docker_engine.client, image)
    assert evidence["script"]["sha256"] == hashlib.sha256(DOUBLE.encode()).hexdigest()
    assert evidence["transform"]["parameters"] == {"threshold": 5}
    assert evidence["inputs"]["trades"]["sha256"] == inputs["trades"]["sha256"]
    assert evidence["tables"]["trades"]["sha256"] == returned["trades"]["sha256"]

    first, raw = evidence, file.read_bytes()
    run(operator(parameters={"threshold": 5}))
    assert file.read_bytes() == raw
    run(operator(parameters={"threshold": 6}))
    assert json.loads(file.read_text())["transform_sha256"] != first["transform_sha256"]

    environment.setenv("AIRFLOW__OPENREG__SANDBOX", "unsafe-subprocess")
    run(operator())
    assert json.loads(file.read_text())["image"] is None


def test_failure_names_report_stage_and_line_and_goes_away_with_its_cause(
    operator: Callable[..., TransformOperator], environment: None, report: Path
) -> None:
    (report / "transform.py").write_text("def transform(inputs, context):\n    return missing\n")
    with pytest.raises(TransformError) as caught:
        run(operator())

    text = str(caught.value)
    assert "report demo_report, stage transform, transform.py line 2: NameError" in text
    assert "`openreg transform demo_report --business-date " in text
    assert isinstance(caught.value, PermanentError)

    (report / "transform.py").write_text(DOUBLE)
    assert run(operator())["trades"]["rows"] == 3


def test_missing_script_fails_at_once(
    operator: Callable[..., TransformOperator], environment: None, report: Path
) -> None:
    (report / "transform.py").unlink()

    with pytest.raises(SpecError, match=r"stage transform: there is no file transform\.py"):
        run(operator())


def test_changed_input_is_refused(
    operator: Callable[..., TransformOperator], environment: None, inputs: dict[str, Any]
) -> None:
    with open(inputs["trades"]["uri"], "ab") as file:  # noqa: PTH123
        file.write(b"x")

    with pytest.raises(IntegrityError):
        run(operator())


def test_limit_above_the_admin_s_is_refused(
    operator: Callable[..., TransformOperator], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AIRFLOW__OPENREG__MAX_MEMORY_MB", "512")

    with pytest.raises(SpecError, match=r"limits\.memory_mb is 1024; .* at most 512"):
        run(operator())


def test_no_engine_is_never_a_reason_to_run_without_a_fence(
    operator: Callable[..., TransformOperator], environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(SandboxUnavailableError, match=r"none\.sock does not answer"):
        run(operator())


def test_development_mode_needs_no_engine_and_warns_loudly(
    operator: Callable[..., TransformOperator],
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fenced = run(operator())
    environment.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    environment.setenv("AIRFLOW__OPENREG__SANDBOX", "unsafe-subprocess")

    assert run(operator()) == fenced
    warning = next(r for r in caplog.records if r.levelno == logging.WARNING)
    assert "runs WITHOUT ANY FENCE" in warning.getMessage()


def test_engine_at_a_distance_gets_copies(
    operator: Callable[..., TransformOperator],
    environment: pytest.MonkeyPatch,
    docker_engine: DockerEngine,
) -> None:
    near = run(operator())

    with remote_engine(docker_engine.url.removeprefix("unix://")) as remote:
        environment.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{remote.port}")
        assert run(operator()) == near

    assert ours(docker_engine) == []
    assert not docker_engine.client.volumes(filters={"label": OURS})["Volumes"]


def test_engine_with_tls_is_reached_through_an_airflow_connection(
    operator: Callable[..., TransformOperator],
    environment: pytest.MonkeyPatch,
    docker_engine: DockerEngine,
    tmp_path: Path,
) -> None:
    near = run(operator())
    environment.delenv("DOCKER_HOST")
    # What a company's workers often have; the engine's own authority must win.
    environment.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    environment.setenv("AIRFLOW__OPENREG__DOCKER_CONN_ID", "sandbox_engine")

    with remote_engine(docker_engine.url.removeprefix("unix://"), tmp_path) as remote:
        connection = {
            "conn_type": "docker",
            "host": "localhost",
            "port": remote.port,
            "extra": {
                "tls_ca_cert": str(remote.ca_cert),
                "tls_client_cert": str(remote.client_cert),
                "tls_client_key": str(remote.client_key),
            },
        }
        environment.setenv("AIRFLOW_CONN_SANDBOX_ENGINE", json.dumps(connection))
        assert run(operator()) == near

        connection["extra"] = {}
        environment.setenv("AIRFLOW_CONN_SANDBOX_ENGINE", json.dumps(connection))
        with pytest.raises(SandboxUnavailableError):
            run(operator())


def test_killed_task_stops_its_container(
    operator: Callable[..., TransformOperator],
    environment: None,
    report: Path,
    docker_engine: DockerEngine,
) -> None:
    (report / "transform.py").write_text(SLEEP)
    task = operator()
    with terminated(task), pytest.raises(SandboxUnavailableError, match="its task was killed"):
        run(task)

    assert ours(docker_engine) == []


def test_kill_before_anything_runs_is_harmless(
    operator: Callable[..., TransformOperator], environment: None
) -> None:
    operator().on_kill()
