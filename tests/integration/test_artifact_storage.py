from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from airflow.sdk import DAG
from typer.testing import CliRunner

from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.cli import app
from openreg_airflow.records import Artifact, RuleResult, Verdict
from openreg_airflow.settings import load
from openreg_airflow.stage import open_workspace
from openreg_airflow.store import Store
from tests.artifact_files import RUN, dataset, spec_of
from tests.new_store import new_store

if TYPE_CHECKING:
    from tests.services.s3 import S3Server

SPEC: dict[str, Any] = {"format": "csv", "filename": "out_{part}.csv", "split": {"records": 2}}
PLACE = "daily/2026-09-30/manual-1-9bd6e7f9/artifact/out"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    return Store(url)


def on_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", s3.connection_uri)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", f"s3://{s3.bucket}/runs")
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE_CONN_ID", "bucket")


def made(folder: Path, *, verdict: Verdict | None = None, rows: int = 3, **fields: Any) -> Artifact:
    """Run the artifact's task; its table lies in the workspace, as a stage leaves it."""
    workspace = open_workspace(load())
    table = pa.table({"a": list(range(rows))})
    local = dataset(table, folder / "rows.parquet")
    with workspace.folder(RUN, "extract").writing("rows.parquet") as pending:
        pending.path.write_bytes((folder / "rows.parquet").read_bytes())
    stored = local.model_copy(update=dict(pending.ref))
    with DAG("daily"):
        task = ArtifactOperator(
            task_id="artifact",
            report_id=RUN.report_id,
            folder=folder,
            artifact="out",
            spec=spec_of(**(SPEC | fields)),
            tables={"rows": stored.model_dump(mode="json")},
            verdict=verdict and verdict.model_dump(mode="json"),
        )
    task.business_date = RUN.business_date.isoformat()
    context: Any = {"dag_run": SimpleNamespace(run_id=RUN.run_id)}
    return Artifact.model_validate(json.loads(json.dumps(task.execute(context))))


def verified(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["verify", *arguments])
    return done.exit_code, done.output


def test_files_land_on_s3_with_their_metadata_as_tags(
    tmp_path: Path, store: Store, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_s3(s3, monkeypatch)
    rule = RuleResult(
        rule_id="r", title="R", severity="warning", table="rows", failed=1, checked=3,
        seconds=0.1, message="",
    )  # fmt: skip
    artifact = made(tmp_path, verdict=Verdict(results=(rule,)), package={"compress": "gzip"})
    keys = sorted(key for key in s3.objects() if "/artifact/" in key)
    assert [key.rsplit("/", 1)[-1] for key in keys] == [
        "out.metadata.json",
        "out_1.csv.gz",
        "out_2.csv.gz",
    ]
    assert [file.sha256 for file in store.artifacts(RUN)[0].files] == [
        file.sha256 for file in artifact.files
    ]
    for key in keys:
        found = s3.client.get_object_tagging(Bucket=s3.bucket, Key=key)["TagSet"]
        tags = {tag["Key"]: tag["Value"] for tag in found}
        assert len(tags) == 10
        assert tags["report"] == "daily"
        assert tags["business_date"] == "2026-09-30"
        assert tags["run"] == RUN.run_id
        assert tags["records"] == "3"
        assert tags["rules"] == "1 rules: 0 blocking and 1 warning failed"
        assert tags["schema"] == "not checked: CSV has no schema"
        assert tags["software"].startswith("openreg-airflow ")
    assert verified() == (0, verified()[1])
    s3.put(keys[1], s3.objects()[keys[1]][:-1] + b"!")
    code, said = verified(RUN.run_id)
    assert code == 1
    assert "changed  daily 2026-09-30 manual__1: out_1.csv.gz: it has" in said


def test_killed_upload_shows_no_part_on_s3(
    tmp_path: Path, store: Store, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_s3(s3, monkeypatch)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import s3fs\n"
        "from tests.integration import test_artifact_storage as t\n"
        "plain = s3fs.S3FileSystem._put_file\n"
        "async def put(self, local, remote, **kwargs):\n"
        "    if remote.endswith('out_1.csv'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return await plain(self, local, remote, **kwargs)\n"
        "s3fs.S3FileSystem._put_file = put\n"
        "t.made(Path(sys.argv[1]))\n"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ, check=False)
    assert died.returncode == -signal.SIGKILL
    assert not [key for key in s3.objects() if key.endswith("out_1.csv")]
    assert store.artifacts(RUN) == ()
    artifact = made(tmp_path)
    assert store.artifacts(RUN) == (artifact,)
    assert verified()[0] == 0


def test_verify_finds_a_changed_byte_and_a_file_that_is_gone(tmp_path: Path, store: Store) -> None:
    artifact = made(tmp_path, package={"checksums": ["md5"]})
    code, said = verified()
    assert code == 0
    assert said.endswith("5 files, 0 changed\n")
    path = Path(artifact.files[0].uri)
    whole = path.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        code, said = verified("--quiet")
        assert code == 1
        assert "out_1.csv: it has" in said
        assert said.endswith("5 files, 1 changed\n")
    path.unlink()
    code, said = verified(RUN.run_id)
    assert code == 1
    assert "out_1.csv" in said
    assert "is gone" in said
    path.write_bytes(whole)
    assert verified("--report", "daily", "--date", "2026-09-30")[0] == 0


def test_verify_without_anything_to_verify_is_no_success(store: Store) -> None:
    assert verified()[0] == 2
    assert verified("no_such_run")[0] == 2
