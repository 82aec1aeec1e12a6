from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG
from typer.testing import CliRunner

from openreg_airflow.cli import app
from openreg_airflow.errors import (
    PermanentError,
    SourceError,
    SourceUnavailableError,
    SpecError,
    StorageError,
)
from openreg_airflow.extract.operator import ExtractOperator, SnapshotOperator
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.extract.shared_session import snapshot
from openreg_airflow.extract.spec import ExtractSection, SourceSpec
from openreg_airflow.records import Dataset, RunKey
from openreg_airflow.store import Store
from openreg_airflow.workspace import Workspace
from tests.extraction import Database, active
from tests.new_store import new_store
from tests.services import free_port, unavailable
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.postgres import PostgresServer

RUN = RunKey(report_id="positions", business_date=date(2026, 3, 2), run_id="manual__1")
CONTEXT: Any = {"dag_run": SimpleNamespace(run_id=RUN.run_id)}
QUERY = "SELECT id, price FROM trades WHERE day = :business_date ORDER BY id"


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A report's folder with a query, and a SQLite source that answers it."""
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", store_url(tmp_path))
    new_store(tmp_path)
    source = tmp_path / "trades.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            "CREATE TABLE trades (id INTEGER, day DATE, price TEXT);"
            "INSERT INTO trades VALUES (2, '2026-03-02', '1.5'), (1, '2026-03-02', '7.25'),"
            " (3, '2026-03-03', '9');"
        )
    define("sqlite", monkeypatch, host=str(source))
    folder = tmp_path / "positions"
    folder.mkdir()
    (folder / "trades.sql").write_text(QUERY)
    return folder


def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def define(kind: str, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    value = json.dumps({"conn_type": kind} | fields)
    monkeypatch.setenv("AIRFLOW_CONN_TRADES_SOURCE", value)


def operator(folder: Path, **changes: Any) -> ExtractOperator:
    given = {
        "connection": "trades_source",
        "sql": "trades.sql",
        "columns": {"price": "decimal(9,2)"},
    }
    with DAG("positions"):
        task = ExtractOperator(
            task_id="extract",
            report_id=RUN.report_id,
            folder=folder,
            source="trades",
            spec=SourceSpec.model_validate(given | changes),
        )
    # What rendering the templates makes of the macro.
    task.business_date = RUN.business_date.isoformat()
    return task


def dataset(returned: Any) -> Dataset:
    """The record as the next task gets it, through JSON."""
    return Dataset.model_validate(json.loads(json.dumps(returned)))


def test_task_hands_on_a_reference_to_the_table(report: Path, tmp_path: Path) -> None:
    found = dataset(operator(report).execute(CONTEXT))

    assert found.rows == 2
    assert [(c.name, c.type) for c in found.columns] == [
        ("id", "int64"),
        ("price", "decimal128(9, 2)"),
    ]
    assert "/positions/2026-03-02/" in found.uri
    assert found.uri.endswith("/extract/trades/trades.parquet")
    with Workspace(tmp_path / "workspace").open_local(found) as path:
        rows = pq.read_table(path).to_pylist()
    assert [(row["id"], str(row["price"])) for row in rows] == [(1, "7.25"), (2, "1.50")]


def test_origin_of_the_table_is_on_record(report: Path, tmp_path: Path) -> None:
    operator(report).execute(CONTEXT)
    handed_on = dataset(operator(report).execute({**CONTEXT, "ti": SimpleNamespace(try_number=2)}))

    [found] = Store(store_url(tmp_path)).extracts(RUN)
    assert (found.uri, found.bytes, found.sha256) == (
        handed_on.uri,
        handed_on.bytes,
        handed_on.sha256,
    )
    assert (found.source, found.connection) == ("trades", "trades_source")
    assert found.server == f"SQLite {sqlite3.sqlite_version}"
    assert found.query == QUERY
    assert found.query_sha256 == hashlib.sha256(QUERY.encode()).hexdigest()
    assert found.parameters == {"business_date": "2026-03-02"}
    assert (found.rows, found.columns, found.attempt) == (2, handed_on.columns, 2)
    assert found.seconds > 0


def test_repeated_task_gives_the_same_file(report: Path) -> None:
    first = operator(report).execute(CONTEXT)

    assert operator(report).execute(CONTEXT) == first


@pytest.mark.parametrize(
    ("sql", "error", "said"),
    [
        (None, SpecError, "is missing"),
        ("", SpecError, "is empty"),
        ("DROP TABLE trades", SpecError, "DROP is not a query that reads"),
        ("SELECT * FROM nothere", SourceError, "no such table: nothere"),
        ("SELECT id, '1.234' AS price FROM trades", SourceError, "does not fit decimal(9,2)"),
    ],
)
def test_bad_input_fails_at_once_and_a_retry_after_mending_succeeds(
    report: Path, tmp_path: Path, sql: str | None, error: type[PermanentError], said: str
) -> None:
    if sql is None:
        (report / "trades.sql").unlink()
    else:
        (report / "trades.sql").write_text(sql)

    with pytest.raises(error) as caught:
        operator(report).execute(CONTEXT)

    assert isinstance(caught.value, PermanentError)
    assert str(caught.value).startswith("report positions, stage extract, trades.sql")
    assert said in str(caught.value)
    assert caught.value.hint
    assert not list((tmp_path / "workspace").rglob("*.parquet*"))

    (report / "trades.sql").write_text(QUERY)
    assert dataset(operator(report).execute(CONTEXT)).rows == 2


def test_log_begins_with_the_business_date_and_an_error_tells_how_to_try_the_query(
    report: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "openreg_airflow")
    (report / "trades.sql").write_text("SELECT 1 AS one FROM nothing_of_that_name")
    with pytest.raises(SourceError, match="no such table") as caught:
        operator(report).execute(CONTEXT)
    assert caplog.messages[0] == "Report positions, business date 2026-03-02: extract"
    command = "`openreg extract positions --business-date 2026-03-02`"
    assert command in str(caught.value.hint)


def test_run_with_a_misspelt_parameter_reads_nothing(report: Path) -> None:
    run = SimpleNamespace(run_id="manual__1", conf={"busines_date": "2026-03-01"})
    known = SimpleNamespace(params={"business_date": None})
    with pytest.raises(SpecError, match="started with busines_date, which is no") as caught:
        operator(report).execute({"dag_run": run, "dag": known})
    assert caught.value.hint == "Start a run anew; the parameters are business_date."

    run.conf = {"business_date": "2026-03-02"}
    assert dataset(operator(report).execute({"dag_run": run, "dag": known})).rows == 2


def test_connection_that_does_not_exist_is_named(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_TRADES_SOURCE")

    with pytest.raises(SpecError, match="there is no Airflow connection 'trades_source'"):
        operator(report).execute(CONTEXT)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "openreg-test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        unavailable(f"a small file system cannot be mounted: {done.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk_is_worth_another_try(
    report: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(small_disk / "workspace"))
    (report / "trades.sql").write_text(
        "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) "
        "SELECT id, 1 AS price, hex(randomblob(100)) AS noise FROM n LIMIT 10000"
    )

    with pytest.raises(StorageError, match="No space left on device"):
        operator(report).execute(CONTEXT)

    assert not [path for path in small_disk.rglob("*") if path.is_file()]
    (report / "trades.sql").write_text(QUERY)
    assert dataset(operator(report).execute(CONTEXT)).rows == 2


def test_postgres_is_read_over_the_airflow_connection(
    report: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute(
        "CREATE TABLE trades AS SELECT 1 AS id, date '2026-03-02' AS day, 7.25::numeric AS price"
    )
    extra = {"cursor": "dictcursor", "connect_timeout": 5, "sslmode": "prefer"}
    define(
        "postgres",
        monkeypatch,
        host=postgres.host,
        port=postgres.port,
        login=postgres.user,
        password=postgres.password,
        schema=postgres.database,
        extra=extra,
    )

    assert dataset(operator(report).execute(CONTEXT)).rows == 1


def test_source_that_cannot_be_reached_is_worth_another_try(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define("postgres", monkeypatch, host="127.0.0.1", port=free_port(), password="not-to-be-seen")  # noqa: S106

    with pytest.raises(SourceUnavailableError, match="cannot be reached") as caught:
        operator(report).execute(CONTEXT)

    assert "not-to-be-seen" not in str(caught.value)


def test_killed_process_leaves_no_file_and_no_query(
    report: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    (report / "trades.sql").write_text(
        "SELECT g AS id, 1 AS price, pg_sleep(0.01)::text AS s, repeat('x', 3000) AS f "
        "FROM generate_series(1, 1000000) AS g"
    )
    code = f"""
import signal, sys
from pathlib import Path
sys.path.insert(0, {str(sys.path[0])!r})
from tests.integration.test_extract_operator import CONTEXT, operator
task = operator(Path({str(report)!r}))
signal.signal(signal.SIGTERM, lambda *_: task.on_kill())  # as Airflow's task runner does
print("ready", flush=True)
task.execute(CONTEXT)
"""
    connection = {
        "conn_type": "postgres",
        "host": postgres.host,
        "port": postgres.port,
        "login": postgres.user,
        "password": postgres.password,
        "schema": postgres.database,
    }
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"AIRFLOW_CONN_TRADES_SOURCE": json.dumps(connection)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: active(postgres) > 0, 60)
        child.terminate()
        _, said = child.communicate(timeout=30)
    finally:
        child.kill()

    assert child.returncode == 1
    assert "the task was stopped" in said
    wait_until(lambda: active(postgres) == 0)
    assert not list((tmp_path / "workspace").rglob("*.parquet*"))


def test_sources_of_a_snapshot_are_read_by_one_task(report: Path, tmp_path: Path) -> None:
    (report / "count.sql").write_text("SELECT count(*) AS n FROM trades")
    section = ExtractSection.model_validate(
        {
            "snapshot": True,
            "sources": {
                "trades": {"connection": "trades_source", "sql": "trades.sql"},
                "count": {"connection": "trades_source", "sql": "count.sql"},
                "other": {"connection": "elsewhere", "sql": "count.sql"},
            },
        }
    )
    groups = section.groups()
    assert list(groups) == ["trades_and_count", "other"]
    with DAG("positions"):
        task = SnapshotOperator(
            task_id="extract",
            report_id=RUN.report_id,
            folder=report,
            sources=groups["trades_and_count"],
        )
    task.business_date = RUN.business_date.isoformat()

    returned = task.execute(CONTEXT)

    assert task.multiple_outputs
    assert {name: dataset(found).rows for name, found in returned.items()} == {
        "trades": 2,
        "count": 1,
    }
    recorded = Store(store_url(tmp_path)).extracts(RUN)
    assert [found.source for found in recorded] == ["count", "trades"]


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_queries_of_a_snapshot_see_one_state(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    insert = "INSERT INTO positions VALUES (1)"
    file = tmp_path / "source.db"
    fields: dict[str, Any] = {"host": str(file)}
    if kind != "sqlite":
        server = request.getfixturevalue({"postgres": "postgres", "mysql": "mariadb"}[kind])
        fields = {
            "host": server.host,
            "port": server.port,
            "login": server.user,
            "password": server.password,
            "database": server.database,
        }
        write = server.execute
    else:

        def write(sql: str) -> Any:
            with closing(sqlite3.connect(file)) as writer:
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute(sql)
                writer.commit()

    connection = SourceConnection(conn_id="c", conn_type=kind, **fields)
    write("CREATE TABLE positions (id INTEGER)")
    write(insert)
    database = Database(tmp_path, connection)
    sql = "SELECT id, :business_date AS day FROM positions ORDER BY id"

    with snapshot(connection, timeout_seconds=60) as reader:
        first = database.extract(sql, reader=reader).num_rows
        write(insert)
        again = database.extract(sql, reader=reader).num_rows

    assert (first, again) == (1, 1)
    assert database.extract(sql).num_rows == 2


def test_parsing_a_dag_imports_neither_databases_nor_arrow() -> None:
    heavy = "('pyarrow', 'sqlglot', 'numpy', 'adbc_driver_manager', 'duckdb', 'pandas')"
    code = (
        "import sys, openreg_airflow.extract.operator, openreg_airflow.extract.check\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_cached_result_is_on_record_with_the_run_that_read_it(report: Path, tmp_path: Path) -> None:
    cached = {"cache": {"minutes": 5}}
    first = dataset(operator(report, **cached).execute(CONTEXT))
    later = {"dag_run": SimpleNamespace(run_id="manual__2")}

    second = dataset(operator(report, **cached).execute(later))

    assert second.sha256 == first.sha256
    assert second.uri != first.uri
    other = RUN.model_copy(update={"run_id": "manual__2"})
    [found] = Store(store_url(tmp_path)).extracts(other)
    assert found.cache is not None
    assert (found.cache.run_id, found.cache.source) == (RUN.run_id, "trades")
    [read] = Store(store_url(tmp_path)).extracts(RUN)
    assert read.cache is None

    listed = CliRunner().invoke(app, ["cache", "list"])
    assert "1 results" in listed.stdout
    dropped = CliRunner().invoke(app, ["cache", "drop", "--connection", "trades_source"])
    assert dropped.stdout == "1 results dropped\n"
    assert not list((tmp_path / "workspace" / "_source_cache").glob("*"))
