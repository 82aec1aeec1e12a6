from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseOperator

from openreg_airflow.deliver.operator import DeliverOperator
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.errors import DeliveryRefusedError
from openreg_airflow.records import Artifact, ArtifactFile, Receipt, RunKey
from openreg_airflow.store import Store
from openreg_airflow.workspace import Workspace
from tests.new_store import new_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.sshd import SshServer

RUN = RunKey(report_id="positions", business_date=date(2026, 3, 2), run_id="manual__1")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    return Store(url)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    folder = Workspace(tmp_path / "workspace").folder(RUN, "artifact", "positions")
    with folder.writing("positions.csv") as pending:
        pending.path.write_text("isin;quantity\nDE0001234567;5\n")
    file = ArtifactFile(**dict(pending.ref), filename="POSITIONS_20260302.csv", records=1)
    return Artifact(name="positions", format="csv", records=1, schema_check="none", files=(file,))


def operator(artifact: Artifact) -> DeliverOperator:
    with DAG("positions"):
        task = DeliverOperator(
            task_id="deliver",
            report_id=RUN.report_id,
            route="regulator",
            spec=RouteSpec(channel="sftp", connection="regulator_sftp", folder="in"),
            artifact=artifact.model_dump(mode="json"),
        )
    # What rendering the templates makes of the macro.
    task.business_date = RUN.business_date.isoformat()
    return task


def context(number: int = 1) -> Any:
    return {
        "dag_run": SimpleNamespace(run_id=RUN.run_id),
        "ti": SimpleNamespace(try_number=number),
    }


def define_connection(sshd: SshServer, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    plain = sshd.connection()
    fields = {
        "conn_type": "sftp",
        "host": plain.host,
        "port": plain.port,
        "login": plain.login,
        "extra": dict(plain.extra),
    }
    monkeypatch.setenv("AIRFLOW_CONN_REGULATOR_SFTP", json.dumps(fields | changes))


def test_task_delivers_over_the_airflow_connection_and_returns_the_receipt(
    sshd: SshServer, store: Store, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_connection(sshd, monkeypatch)

    returned = operator(artifact).execute(context())

    receipt = Receipt.model_validate(json.loads(json.dumps(returned))[0])
    assert receipt.destination == f"sftp://127.0.0.1:{sshd.port}/in/POSITIONS_20260302.csv"
    assert receipt.sha256 == artifact.files[0].sha256
    assert sshd.files() == {"in/POSITIONS_20260302.csv": b"isin;quantity\nDE0001234567;5\n"}
    assert [a.result for a in store.attempts(RUN)] == ["delivered"]


def test_repeated_task_is_recorded_under_its_own_number(
    sshd: SshServer, store: Store, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_connection(sshd, monkeypatch)
    operator(artifact).execute(context())

    assert operator(artifact).execute(context(2))[0]["already_there"]

    assert [(a.attempt, a.result) for a in store.attempts(RUN)] == [
        (1, "delivered"),
        (2, "already-there"),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extra": {"no_host_key_check": True}}, "no_host_key_check"),
        ({"extra": "{not json"}, "not a JSON object"),
        ({"conn_type": "http"}, "type 'http'"),
        (None, "no Airflow connection regulator_sftp"),
    ],
)
def test_connection_that_cannot_be_used_fails_at_once_and_is_on_record(
    *,
    sshd: SshServer,
    store: Store,
    artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any] | None,
    said: str,
) -> None:
    if changes is not None:
        define_connection(sshd, monkeypatch, **changes)

    with pytest.raises(DeliveryRefusedError, match=said) as caught:
        operator(artifact).execute(context())

    assert str(caught.value).startswith("report positions, stage deliver: ")
    [attempt] = store.attempts(RUN)
    assert (attempt.result, attempt.error_class) == ("failed", "DeliveryRefusedError")
    assert said in (attempt.error or "")
    assert sshd.files() == {}


def test_task_waits_for_the_task_that_makes_its_artifact() -> None:
    with DAG("positions"):
        maker = BaseOperator(task_id="artifact")
        task = DeliverOperator(
            task_id="deliver",
            report_id=RUN.report_id,
            route="regulator",
            spec=RouteSpec(channel="sftp", connection="regulator_sftp"),
            artifact=maker.output,
        )

    assert task.upstream_task_ids == {"artifact"}


def test_parsing_a_dag_does_not_import_the_channels() -> None:
    code = (
        "import sys, openreg_airflow.deliver.operator\n"
        "print([n for n in ('asyncssh', 'pyarrow', 'alembic') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
