from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from openreg_airflow.cli import app
from openreg_airflow.extract.readers.sqlite import SqliteSession
from tests.extraction import active
from tests.services import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.postgres import PostgresServer
    from tests.services.sshd import SshServer

SPEC = """\
openreg: 1
id: prices
title: Prices
extract:
  sources:
    prices:
      connection: prices_source
      sql: prices.sql
      columns: {price: "decimal(9,2)"}
    venues: {connection: venues_source, sql: venues.sql}
artifacts: {prices: {format: csv, table: prices, filename: prices.csv}}
deliver: {routes: {regulator: {channel: sftp, connection: regulator_sftp}}}
"""
QUERY = "SELECT id, price FROM prices WHERE day <= :business_date ORDER BY id"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "test")  # leave the metadata database alone
    monkeypatch.setenv("COLUMNS", "120")
    source = tmp_path / "prices.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            "CREATE TABLE prices (id INTEGER, day DATE, price TEXT, note TEXT);"
            "INSERT INTO prices VALUES (1, '2026-03-02', '1.5', NULL), "
            "(2, '2026-03-02', '12345.67', 'a' || char(10) || char(27) || '[31mb'),"
            " (3, '2026-03-03', '9', '');"
        )
    define("prices_source", monkeypatch, conn_type="sqlite", host=str(source))
    folder = tmp_path / "prices"
    folder.mkdir()
    (folder / "report.yaml").write_text(SPEC)
    (folder / "prices.sql").write_text(QUERY)
    (folder / "venues.sql").write_text("SELECT 1 AS venue")
    return folder


def define(conn_id: str, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def fields_of(postgres: PostgresServer) -> dict[str, Any]:
    return {
        "conn_type": "postgres",
        "host": postgres.host,
        "port": postgres.port,
        "login": postgres.user,
        "password": postgres.password,
        "schema": postgres.database,
    }


def preview(folder: Path, *arguments: str) -> Any:
    given = ["extract", str(folder), *arguments, "--business-date", "2026-03-02"]
    return CliRunner().invoke(app, given)


def test_preview_shows_exact_values_under_their_types(folder: Path) -> None:
    done = preview(folder, "prices")

    assert done.exit_code == 0, done.output
    assert "decimal(9,2)" in done.output
    assert "integer" in done.output
    assert " 1.50 │" in done.output
    assert " 12345.67 │" in done.output
    assert "2 rows, all there are; SQLite" in done.output


def test_preview_says_that_there_are_more_rows(folder: Path) -> None:
    done = preview(folder, "prices", "--limit", "1")

    assert "the first 1 rows" in done.output
    assert "12345.67" not in done.output


def test_preview_keeps_values_from_steering_the_terminal(folder: Path) -> None:
    (folder / "prices.sql").write_text("SELECT price, note FROM prices ORDER BY id")

    done = preview(folder, "prices")

    assert "a\\n\\x1b[31mb" in done.output
    assert "\x1b" not in done.output
    assert "NULL" in done.output


def test_preview_of_many_columns_goes_down_the_page(folder: Path) -> None:
    columns = ", ".join(f"'value {n}' AS column_number_{n}" for n in range(40))
    (folder / "prices.sql").write_text(f"SELECT price, {columns} FROM prices ORDER BY id")

    done = preview(folder, "prices", "--limit", "2")

    assert "row 2" in done.output
    for n in range(40):
        assert done.output.count(f"column_number_{n} ") == 2


def test_preview_of_no_rows_shows_the_columns(folder: Path) -> None:
    (folder / "prices.sql").write_text("SELECT price, id FROM prices WHERE 1 = 0")

    done = preview(folder, "prices")

    assert "in the database" in done.output
    assert "decimal(9,2)" in done.output
    assert "0 rows" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "The report has prices, venues"),
        (("nothere",), "there is no source 'nothere'"),
        (("venues",), "there is no Airflow connection 'venues_source'"),
    ],
)
def test_preview_that_cannot_be_is_exit_status_2(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = preview(folder, *arguments)

    assert done.exit_code == 2
    assert said in done.output


def test_preview_reads_no_more_than_it_shows(
    folder: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    define("venues_source", monkeypatch, **fields_of(postgres))
    (folder / "venues.sql").write_text(
        "SELECT g AS id, repeat('x', 1000) AS f FROM generate_series(1, 5000000) AS g"
    )
    started = time.monotonic()

    done = preview(folder, "venues", "--limit", "3")

    assert done.exit_code == 0, done.output
    assert "the first 3 rows; PostgreSQL" in done.output
    assert time.monotonic() - started < 20
    wait_until(lambda: active(postgres) == 0)


def test_connections_that_answer_are_named_with_what_answered(
    folder: Path, postgres: PostgresServer, sshd: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    define("venues_source", monkeypatch, **fields_of(postgres))
    define_inbox(sshd, monkeypatch)

    done = CliRunner().invoke(app, ["connections", "test", str(folder)])

    assert done.exit_code == 0, done.output
    for said in ("prices_source", "venues_source", "regulator_sftp", "PostgreSQL", "SQLite"):
        assert said in done.output
    assert "3 connections, 0 failed" in done.output


def define_inbox(sshd: SshServer, monkeypatch: pytest.MonkeyPatch, **extra: Any) -> None:
    inbox = sshd.connection(extra=extra)
    fields = {"host": inbox.host, "port": inbox.port, "login": inbox.login, "extra": inbox.extra}
    define("regulator_sftp", monkeypatch, conn_type="sftp", **fields)


def test_every_connection_that_fails_says_why(
    folder: Path, postgres: PostgresServer, sshd: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = fields_of(postgres) | {"password": "not-to-be-seen"}
    define("venues_source", monkeypatch, **wrong)
    define("prices_source", monkeypatch, conn_type="sqlite", host="/nowhere/prices.db")
    define_inbox(sshd, monkeypatch, host_key=None)

    done = CliRunner().invoke(app, ["connections", "test", str(folder)])

    assert done.exit_code == 1
    assert "password authentication failed" in done.output
    assert "there is no SQLite file /nowhere/prices.db" in done.output
    assert "pins no host key" in done.output
    assert "3 connections, 3 failed" in done.output
    assert "not-to-be-seen" not in done.output


def test_monitoring_reads_the_outcome_as_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define("venues_source", monkeypatch, conn_type="postgres", host="127.0.0.1", port=free_port())

    done = CliRunner().invoke(app, ["connections", "test", str(folder), "--json"])

    assert done.exit_code == 1
    found = {entry["connection"]: entry for entry in json.loads(done.output)}
    assert found["prices_source"]["ok"] is True
    assert found["prices_source"]["reports"] == ["prices"]
    assert "cannot be reached" in found["venues_source"]["error"]
    assert "no Airflow connection" in found["regulator_sftp"]["error"]
    assert found["regulator_sftp"]["kind"] == "destination"


def test_source_whose_driver_keeps_results_is_told_what_to_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteSession, "keeps_results", True, raising=False)
    venues = "{connection: venues_source, sql: venues.sql"
    (folder / "report.yaml").write_text(
        SPEC.replace(venues, f"{venues}, partition: {{column: venue}}")
    )
    define("venues_source", monkeypatch, conn_type="sqlite", host=str(folder.parent / "prices.db"))

    done = CliRunner().invoke(app, ["connections", "test", str(folder)])

    assert "keeps a whole result in memory" in done.output
    assert "For those of prices/prices: Write" in " ".join(done.output.split())
    assert "prices/venues" not in done.output


def test_connection_that_hangs_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        define("venues_source", monkeypatch, conn_type="postgres", host="127.0.0.1", port=port)

        done = CliRunner().invoke(
            app, ["connections", "test", str(folder), "--json", "--timeout", "1"]
        )

    found = {entry["connection"]: entry for entry in json.loads(done.output)}
    assert found["venues_source"]["error"] == "no answer within 1 seconds"
    assert found["prices_source"]["ok"] is True
