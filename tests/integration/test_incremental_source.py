from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG

from openreg_airflow.deliver.operator import DeliverOperator
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.deliver.windows import RowsOnce
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError, SourceError, SpecError
from openreg_airflow.extract.operator import ExtractOperator, MoveMarksOperator
from openreg_airflow.extract.spec import SourceSpec
from openreg_airflow.records import Artifact, ArtifactFile, RunKey
from openreg_airflow.store import Store
from openreg_airflow.store_records import DeliveryAttempt
from openreg_airflow.workspace import Workspace
from tests.new_store import new_store
from tests.services import free_port

if TYPE_CHECKING:
    from pathlib import Path

QUERY = "SELECT id FROM trades WHERE id > :since AND id <= :until ORDER BY id"


class Report:
    """A report with one incremental source; its runs as Airflow would do them."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        self.database = database
        self.incremental: dict[str, Any] = {"column": "id", "type": "integer", "start": 0}

    def insert(self, *ids: int) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executemany("INSERT INTO trades VALUES (?)", [(i,) for i in ids])
            connection.commit()

    def read(self, day: int, run_id: str = "scheduled") -> list[Any]:
        """The rows that the extract task of a business date reads."""
        spec = {"connection": "trades_source", "sql": "trades.sql", "incremental": self.incremental}
        with DAG("positions"):
            task = ExtractOperator(
                task_id="extract",
                report_id="positions",
                folder=self.folder,
                source="trades",
                spec=SourceSpec.model_validate(spec),
            )
        found = self.execute(task, day, run_id)
        return pq.read_table(found["uri"]).column(0).to_pylist()

    def succeed(self, day: int, run_id: str = "scheduled") -> Any:
        """The last task of a run, which everything before it let come."""
        with DAG("positions"):
            task = MoveMarksOperator(task_id="move_marks", report_id="positions")
        return self.execute(task, day, run_id)

    def deliver(
        self,
        day: int,
        route: str = "regulator",
        run_id: str = "scheduled",
        connection: str = "outbox",
    ) -> Any:
        """Deliver a file of a run as a spec says it whose routes are regulator, spare, archive."""
        name = f"{day}.csv"
        run = self.run(day, run_id)
        workspace = Workspace(self.folder / "files")
        with workspace.folder(run, "artifact").writing(name) as pending:
            pending.path.write_text(f"{day}")
        file = ArtifactFile(**dict(pending.ref), filename=name, records=1)
        made = Artifact(
            name="report", format="csv", records=1, schema_check="no schema", files=(file,)
        )
        receiver = ("archive",) if route == "archive" else ("regulator", "spare")
        wanted = {"channel": "folder", "connection": connection, "folder": route}
        if connection == "down":
            wanted["channel"] = "ftp"
        with DAG("positions"):
            task = DeliverOperator(
                task_id="deliver",
                report_id="positions",
                route=route,
                spec=RouteSpec.model_validate(wanted),
                artifact=made.model_dump(mode="json"),
                rows_once=RowsOnce(types={"trades": "integer"}, routes=receiver),
            )
        return self.execute(task, day, run_id)

    def begin(self, day: int) -> None:
        """What is on record of a run while it sends."""
        attempt = DeliveryAttempt(
            route="regulator",
            artifact="report",
            attempt=1,
            channel="folder",
            destination="outbox",
            filename="x",
            sha256="0" * 64,
            started_at=datetime.now(UTC),
            result="started",
        )
        Store(os.environ["AIRFLOW__OPENREG__STORE_URL"]).record_attempt(self.run(day), attempt)

    def delivered(self) -> list[str]:
        outbox = self.folder / "outbox"
        return sorted(str(p.relative_to(outbox)) for p in outbox.rglob("*") if p.is_file())

    @staticmethod
    def run(day: int, run_id: str = "scheduled") -> RunKey:
        return RunKey(
            report_id="positions", business_date=date(2026, 3, day), run_id=f"{run_id}__{day}"
        )

    @staticmethod
    def execute(task: Any, day: int, run_id: str) -> Any:
        task.business_date = date(2026, 3, day).isoformat()
        return task.execute({"dag_run": SimpleNamespace(run_id=f"{run_id}__{day}")})


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    database = tmp_path / "trades.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE trades (id INTEGER)")
    fields = {"conn_type": "sqlite", "host": str(database)}
    monkeypatch.setenv("AIRFLOW_CONN_TRADES_SOURCE", json.dumps(fields))
    folder = tmp_path / "positions"
    folder.mkdir()
    (folder / "trades.sql").write_text(QUERY)
    (folder / "outbox").mkdir()
    outbox = {"conn_type": "fs", "extra": {"path": str(folder / "outbox")}}
    down = {"conn_type": "ftp", "host": "127.0.0.1", "port": free_port(), "login": "a"}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(outbox))
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", json.dumps(down | {"password": "p"}))
    return Report(folder, database)


def test_run_reads_what_is_new_since_the_last_that_succeeded(report: Report) -> None:
    report.insert(1, 2)
    assert report.read(2) == [1, 2]
    assert report.succeed(2) == {"trades": "2"}
    report.insert(3)

    assert report.read(3) == [3]


def test_failed_run_leaves_the_mark_where_it_was(report: Report) -> None:
    report.insert(1, 2)
    report.read(2)
    report.insert(3)

    assert report.read(3) == [1, 2, 3]


def test_business_date_that_succeeded_reads_its_own_window_again(report: Report) -> None:
    report.insert(1, 2)
    report.read(2)
    report.succeed(2)
    report.insert(3)
    report.read(3)
    report.succeed(3)
    report.insert(4)

    assert report.read(2, "backfill") == [1, 2]
    assert report.read(3, "backfill") == [3]
    report.succeed(3, "backfill")
    assert report.read(4) == [4]


def test_missed_business_date_repeats_no_row_of_a_later_one(report: Report) -> None:
    report.insert(1)
    report.read(2)
    report.succeed(2)
    report.insert(2)
    report.read(4)
    report.succeed(4)

    assert report.read(3) == []
    assert report.succeed(3) == {"trades": "1"}
    assert report.read(5) == []


def test_run_without_rows_keeps_the_mark(report: Report) -> None:
    assert report.read(2) == []
    assert report.succeed(2) == {"trades": "0"}
    report.insert(1)

    assert report.read(3) == [1]


def test_runs_that_read_the_same_rows_at_the_same_time_are_said(report: Report) -> None:
    report.insert(1)
    report.read(2)
    report.read(3)
    report.succeed(2)

    with pytest.raises(SourceError, match="rows between were read by both"):
        report.succeed(3)


def test_no_two_business_dates_deliver_the_same_rows(report: Report) -> None:
    report.insert(1, 2)
    assert report.read(2) == [1, 2]
    assert report.read(3) == [1, 2], "beside it, as a scheduled run beside a backfill"
    assert report.deliver(2)
    for route in ("regulator", "spare"):
        with pytest.raises(DeliveryRefusedError, match=r"run scheduled__2 of 2026-03-02 has read"):
            report.deliver(3, route)
    assert report.delivered() == ["regulator/2.csv"]
    # Its own task, when it is cleared, and another run of the date send what they have.
    assert report.deliver(2)
    report.read(2, "again")
    assert report.deliver(2, run_id="again")
    report.succeed(2)
    report.insert(3)
    assert report.read(3) == [3], "cleared, it reads what is left"
    assert report.deliver(3)
    assert report.delivered() == ["regulator/2.csv", "regulator/3.csv"]


def test_a_later_business_date_takes_the_rows_of_one_that_could_not_deliver(
    report: Report,
) -> None:
    report.insert(1)
    report.read(2)
    report.deliver(2, "archive")
    with pytest.raises(DeliveryError):
        report.deliver(2, connection="down")
    report.insert(2)
    assert report.read(3) == [1, 2]
    assert report.deliver(3)
    with pytest.raises(DeliveryRefusedError, match="rows would go out twice"):
        report.deliver(2)
    report.succeed(3)
    assert report.read(2) == [], "as after a business date that was missed"
    assert report.deliver(2)


def test_no_rows_are_delivered_while_another_business_date_is_sending_them(
    report: Report,
) -> None:
    report.insert(1)
    report.read(2)
    report.read(3)
    report.begin(2)
    with pytest.raises(DeliveryRefusedError, match="has delivered or is about to"):
        report.deliver(3)
    assert report.delivered() == []


def test_timestamps_are_compared_as_text(report: Report) -> None:
    report.incremental = {"column": "at", "type": "string", "start": "2026-01-01 00:00:00"}
    with closing(sqlite3.connect(report.database)) as connection:
        connection.executescript(
            "CREATE TABLE events (at TIMESTAMP);"
            "INSERT INTO events VALUES ('2026-03-02 10:00:00'), ('2026-03-02 10:00:00.000001');"
        )
    (report.folder / "trades.sql").write_text(
        "SELECT at FROM events WHERE at > :since AND at <= :until ORDER BY at"
    )

    assert len(report.read(2)) == 2
    assert report.succeed(2) == {"trades": "2026-03-02 10:00:00.000001"}
    assert report.read(3) == []


def test_timestamps_that_compare_otherwise_as_text_are_not_read_twice(report: Report) -> None:
    report.incremental = {"column": "at", "type": "string", "start": "2026-01-01 00:00:00"}
    with closing(sqlite3.connect(report.database)) as connection:
        connection.executescript(
            "CREATE TABLE events (at TIMESTAMP); INSERT INTO events VALUES ('2026-03-02T10:00:00');"
        )
    (report.folder / "trades.sql").write_text(
        "SELECT at FROM events WHERE at > :since AND at <= :until ORDER BY at"
    )
    report.read(2)
    report.succeed(2)

    with pytest.raises(SourceError, match=r"10:00:00, which is not after :since = .* 10:00:00"):
        report.read(3)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (QUERY.replace("id > :since", "id >= :since"), "returns 2, which is not after :since = 2"),
        (QUERY.replace("id > :since", "id > :since - 1"), "not after :since = 2"),
        (QUERY.replace("id <= :until", ":until > 0"), "returns 4, which is after :until = 3"),
    ],
)
def test_query_that_leaves_its_window_is_refused(report: Report, sql: str, said: str) -> None:
    report.insert(1, 2)
    report.read(2)
    report.succeed(2)
    report.insert(3)
    report.read(3)
    report.succeed(3)
    report.insert(4)
    (report.folder / "trades.sql").write_text(sql)

    with pytest.raises(SourceError, match=said):
        report.read(3, "backfill")


def test_row_without_a_mark_is_refused_since_every_run_would_read_it(report: Report) -> None:
    report.insert(1, 2)
    (report.folder / "trades.sql").write_text(
        "SELECT id FROM trades WHERE (id > :since AND id <= :until) OR id IS NULL"
    )
    assert report.read(2) == [1, 2]
    with closing(sqlite3.connect(report.database)) as connection:
        connection.execute("INSERT INTO trades VALUES (NULL)")
        connection.commit()

    with pytest.raises(SourceError, match="a row without id: every run reads that row"):
        report.read(3)


@pytest.mark.parametrize(
    ("sql", "error", "said"),
    [
        ("SELECT id FROM trades WHERE id > :since", SpecError, "does not use :until"),
        (QUERY.replace("id FROM", "id AS n FROM"), SourceError, "id is not in the result"),
        (QUERY.replace("id FROM", "'1' AS id FROM"), SourceError, "its bounds are of type integer"),
    ],
)
def test_query_that_cannot_be_incremental_is_refused(
    report: Report, sql: str, error: type[Exception], said: str
) -> None:
    (report.folder / "trades.sql").write_text(sql)

    with pytest.raises(error, match=said):
        report.read(2)
