"""File sources against a real sshd and an S3 API, through the operator and the commands."""

from __future__ import annotations

import json
import tempfile
from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG
from typer.testing import CliRunner

from openreg_airflow.cli import app
from openreg_airflow.errors import PermanentError, SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract.connections import file_connection
from openreg_airflow.extract.files import extraction, place, s3
from openreg_airflow.extract.operator import ExtractOperator
from openreg_airflow.extract.spec import SourceSpec
from openreg_airflow.records import Dataset, RunKey
from openreg_airflow.store import Store, schema
from openreg_airflow.workspace import Workspace
from tests.file_sources import Inbox
from tests.services import free_port
from tests.services.sshd import other_host_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.s3 import S3Server
    from tests.services.sshd import SshServer

RUN = RunKey(report_id="positions", business_date=date(2026, 3, 2), run_id="manual__1")
CONTEXT: Any = {"dag_run": SimpleNamespace(run_id=RUN.run_id)}
SPEC = """\
openreg: 1
id: prices
title: Prices
extract:
  sources:
    prices:
      file: {connection: house, path: "%s", format: csv}
      columns: {price: "decimal(9,2)"}
artifacts: {prices: {format: csv, table: prices, filename: prices.csv}}
"""


@pytest.fixture(autouse=True)
def _no_metadata_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "test")
    monkeypatch.setenv("COLUMNS", "200")


def define_sftp(sshd: SshServer, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    extra = {"key_file": str(sshd.key_file), "host_key": sshd.host_key} | changes.pop("extra", {})
    fields = {"conn_type": "sftp", "host": sshd.host, "port": sshd.port, "login": sshd.login}
    monkeypatch.setenv("AIRFLOW_CONN_HOUSE", json.dumps(fields | {"extra": extra} | changes))


def define_s3(server: S3Server, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    given = json.loads(server.connection_uri) | changes
    monkeypatch.setenv("AIRFLOW_CONN_HOUSE", json.dumps(given))


def house(tmp_path: Path) -> Inbox:
    """What the connection named house leads to."""
    return Inbox(tmp_path, tmp_path / "out.parquet", file_connection("house"))


def test_files_on_sftp_are_read(
    sshd: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_sftp(sshd, monkeypatch)
    (sshd.inbox / "in").mkdir()
    big = b"n,s\n" + b"".join(b"%d,%s\n" % (i, b"x" * 200) for i in range(50_000))
    (sshd.inbox / "in" / "p_20260302.csv").write_bytes(big)
    (sshd.inbox / "in" / "p_20260302b.csv").write_bytes(b"n,s\n-1,y\n")
    (sshd.inbox / "in" / "p_20260303.csv").write_bytes(b"n,s\n-2,y\n")
    reader = house(tmp_path)

    done = reader.done("in/p_{business_date:%Y%m%d}*.csv", {"n": "integer"}, format="csv")

    table = pq.read_table(reader.output)
    assert table.column("n").to_pylist() == [*range(50_000), -1]
    assert (done.connection, done.server) == ("house", f"SFTP 127.0.0.1:{sshd.port}")
    first, second = map(json.loads, done.query.text.splitlines())
    assert (first["path"], first["bytes"]) == ("in/p_20260302.csv", len(big))
    assert second["path"] == "in/p_20260302b.csv"


def test_files_on_s3_are_read(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_s3(s3, monkeypatch)
    for name, value in (("p-2", "2"), ("p-1", "1"), ("q-1", "9"), ("deeper/p-3", "9")):
        s3.put(f"in/{name}.jsonl", b'{"n": %s}\n' % value.encode())
    reader = house(tmp_path)

    done = reader.done(f"s3://{s3.bucket}/in/p-*.jsonl", {"n": "integer"}, format="jsonl")

    assert pq.read_table(reader.output).column("n").to_pylist() == [1, 2]
    assert done.server == f"S3 {s3.url}"
    assert json.loads(done.query.text.splitlines()[0])["path"] == f"s3://{s3.bucket}/in/p-1.jsonl"


def test_file_that_has_not_come_is_waited_for(
    sshd: SshServer, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_sftp(sshd, monkeypatch)
    for path in ("late.csv", "no/such/late.csv", "no/such/*.csv"):
        with pytest.raises(SourceUnavailableError, match=r"late\.csv is not there|0 files match"):
            house(tmp_path).done(path, format="csv")
    define_s3(s3, monkeypatch)
    for key in ("late.csv", "*.csv"):
        with pytest.raises(SourceUnavailableError, match=r"late\.csv is not there|0 files match"):
            house(tmp_path).done(f"s3://{s3.bucket}/{key}", format="csv")


def test_missing_bucket_and_a_path_that_is_not_s3_are_final(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_s3(s3, monkeypatch)

    with pytest.raises(SourceError, match="there is no bucket not-there"):
        house(tmp_path).done("s3://not-there/f.csv", format="csv")
    with pytest.raises(SourceError, match="NoSuchBucket"):
        house(tmp_path).done("s3://not-there/*.csv", format="csv")
    with pytest.raises(SourceError, match="not a path on S3"):
        house(tmp_path).done("f.csv", format="csv")


def test_object_replaced_while_it_is_fetched_is_read_again(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_s3(s3, monkeypatch)
    s3.put("f.csv", b"a\n1\n")
    fetch = s3_files().fetch

    def fetch_late(self: Any, *args: Any) -> Any:
        s3.put("f.csv", b"a\n2\n")
        return fetch(self, *args)

    monkeypatch.setattr(s3_files(), "fetch", fetch_late)

    with pytest.raises(SourceUnavailableError, match="changed while it was read"):
        house(tmp_path).done(f"s3://{s3.bucket}/f.csv", format="csv")


def s3_files() -> type[s3.S3Files]:
    from openreg_airflow.extract.files.s3 import S3Files

    return S3Files


def test_download_of_another_size_is_fetched_again(tmp_path: Path) -> None:
    found = place.FoundFile(path="f.csv", bytes=10, version="1", modified="")
    for blocks in ([b"12345"], [b"123456789", b"12"]):
        with pytest.raises(SourceUnavailableError, match="has 10 bytes, but"):
            place.receive(found, blocks, tmp_path / f"f{len(blocks)}", lambda: None)


def test_file_that_comes_too_slowly_ends_at_its_time_limit_and_leaves_no_copy(
    sshd: SshServer, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"n\n" + b"1\n" * 8_000_000
    (sshd.inbox / "f.csv").write_bytes(content)
    s3.put("f.csv", content)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    clock = Hasty(scratch)
    monkeypatch.setattr(extraction, "time", clock)

    define_sftp(sshd, monkeypatch)
    with pytest.raises(SourceUnavailableError, match="after 7 seconds"):
        house(tmp_path).done("f.csv", format="csv", timeout_seconds=7)
    assert 0 < clock.copied < len(content)

    define_s3(s3, monkeypatch)
    with pytest.raises(SourceUnavailableError, match="after 7 seconds"):
        house(tmp_path).done(f"s3://{s3.bucket}/f.csv", format="csv", timeout_seconds=7)
    assert 0 < clock.copied < len(content)
    assert list(scratch.iterdir()) == []


def test_full_disk_for_copies_is_told_as_such(
    sshd: SshServer, s3: S3Server, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    content = b"n\n" + b"1\n" * 600_000
    (sshd.inbox / "f.csv").write_bytes(content)
    s3.put("f.csv", content)

    define_sftp(sshd, monkeypatch)
    with pytest.raises(SourceUnavailableError, match=r"cannot be copied to .*: No space") as caught:
        house(tmp_path).done("f.csv", format="csv")
    assert "TMPDIR" in str(caught.value.hint)

    define_s3(s3, monkeypatch)
    with pytest.raises(SourceUnavailableError, match=r"cannot be copied to .*: No space"):
        house(tmp_path).done(f"s3://{s3.bucket}/f.csv", format="csv")
    assert list(small_disk.iterdir()) == []


class Hasty:
    """A clock on which hours pass as soon as bytes come."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self.copied = 0

    def monotonic(self) -> float:
        self.copied = sum(path.stat().st_size for path in self._scratch.glob("*/*"))
        return 3600.0 if self.copied else 0.0


def test_refused_logins_are_final_and_unreachable_servers_are_not(
    sshd: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define_sftp(sshd, monkeypatch, extra={"host_key": other_host_key()})
    with pytest.raises(SourceError, match="is not the pinned one"):
        house(tmp_path).done("f.csv", format="csv")
    define_sftp(sshd, monkeypatch, extra={"host_key": ""})
    with pytest.raises(SourceError, match="pins no host key"):
        house(tmp_path).done("f.csv", format="csv")
    define_sftp(sshd, monkeypatch, extra={"key_file": str(sshd.folder / "other_key")})
    with pytest.raises(SourceError, match="refuses the login"):
        house(tmp_path).done("f.csv", format="csv")
    define_sftp(sshd, monkeypatch, port=free_port())
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        house(tmp_path).done("f.csv", format="csv")


def test_s3_that_does_not_answer_is_tried_again(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"endpoint_url": f"http://127.0.0.1:{free_port()}", "region_name": "eu-central-1"}
    define_s3(s3, monkeypatch, extra=nobody)

    with pytest.raises(SourceUnavailableError, match="Could not connect"):
        house(tmp_path).done(f"s3://{s3.bucket}/f.csv", format="csv")


def test_connection_that_leads_to_no_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HOUSE", json.dumps({"conn_type": "postgres", "host": "h"}))

    with pytest.raises(SpecError, match="of type 'postgres', which has no files"):
        house(tmp_path).done("f.csv", format="csv")


def operator(tmp_path: Path, **file: Any) -> ExtractOperator:
    with DAG("positions"):
        task = ExtractOperator(
            task_id="extract",
            report_id=RUN.report_id,
            folder=tmp_path,
            source="positions",
            spec=SourceSpec.model_validate({"file": {"format": "csv"} | file}),
        )
    task.business_date = RUN.business_date.isoformat()
    return task


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation whose admin opened one folder."""
    store = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", store)
    monkeypatch.setenv("AIRFLOW__OPENREG__SOURCE_FOLDERS", str(tmp_path / "in"))
    schema.upgrade(store)
    (tmp_path / "in").mkdir()
    return tmp_path


def test_task_hands_on_the_table_and_leaves_evidence(site: Path) -> None:
    (site / "in" / "p_2026-03-02.csv").write_text("n\n1\n")

    returned = operator(site, path="p_{business_date}.csv").execute(CONTEXT)

    found = Dataset.model_validate(json.loads(json.dumps(returned)))
    with Workspace(site / "workspace").open_local(found) as path:
        assert pq.read_table(path).to_pylist() == [{"n": "1"}]
    [extract] = Store(f"sqlite:///{site / 'store.db'}").extracts(RUN)
    assert json.loads(extract.query)["path"] == "p_2026-03-02.csv"
    assert extract.parameters == {"business_date": "2026-03-02"}
    assert (extract.connection, extract.server) == ("(local files)", "local disk")


def test_failing_task_leaves_no_table_and_says_where(site: Path) -> None:
    (site / "in" / "f.csv").write_text("n,m\n1\n")

    with pytest.raises(PermanentError) as caught:
        operator(site, path="f.csv").execute(CONTEXT)

    assert "report positions, stage extract, f.csv, line 2" in str(caught.value)
    assert not list((site / "workspace").rglob("*.parquet"))


def test_preview_and_connection_test_cover_files(
    s3: S3Server, sshd: SshServer, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = site / "prices"
    folder.mkdir()
    (folder / "report.yaml").write_text(SPEC % f"s3://{s3.bucket}/p.csv")
    define_s3(s3, monkeypatch)
    s3.put("p.csv", b"id,price\n1,2.50\n2,3\n")

    shown = CliRunner().invoke(app, ["extract", str(folder), "--business-date", "2026-03-02"])
    assert shown.exit_code == 0, shown.output
    assert "decimal(9,2)" in shown.output
    assert f"2 rows, all there are; S3 {s3.url}, connection house, s3://" in shown.output

    for define, server in ((define_s3, s3), (define_sftp, sshd)):
        define(server, monkeypatch)
        tried = CliRunner().invoke(app, ["connections", "test", str(folder), "--json"])
        [outcome] = json.loads(tried.stdout)
        assert (tried.exit_code, outcome["kind"], outcome["ok"]) == (0, "files", True)
    define_sftp(sshd, monkeypatch, extra={"host_key": other_host_key()})
    failed = CliRunner().invoke(app, ["connections", "test", str(folder)])
    assert failed.exit_code == 1
    assert "is not the pinned one" in failed.output
