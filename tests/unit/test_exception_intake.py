"""Any number of records enters the exception queue in bounded memory, all of them or none."""

from __future__ import annotations

import sqlite3
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from sqlalchemy import event
from sqlalchemy.engine import make_url

from openreg_airflow.deliver.acknowledgement.rejected import keyed
from openreg_airflow.exception_queue import (
    changes,
    claims,
    decisions,
    intake,
    parting,
    resubmission,
)
from openreg_airflow.exception_queue.aside_rows import AsideRows
from openreg_airflow.exception_queue.intake import Intake
from openreg_airflow.exception_queue.left_out import left_out
from openreg_airflow.exception_queue.listing import Wanted, find
from openreg_airflow.exception_queue.parting import AsideRecord, Parting
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.rejections import Rejection
from openreg_airflow.exception_queue.rows import queue_transaction
from openreg_airflow.exception_queue.set_aside import set_aside
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.exception_queue.take_back import take_back
from openreg_airflow.store import audit
from openreg_airflow.store.acknowledgement_records import RecordAnswer
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.audit_trail import verify
from tests.exception_runs import Desk, trades

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.records import Dataset, RunKey


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def many(records: int, size: int = 10) -> Iterator[AsideRecord]:
    for number in range(records):
        yield AsideRecord(
            table="trades",
            key=(f"{number:0{size}}",),
            occurrence=1,
            position=number,
            values={"id": f"{number:0{size}}"},
            reasons=[{"rule": "CON-412", "message": "unknown", "table": "trades"}],
        )


def taken_back(desk: Desk, records: Iterator[AsideRecord]) -> int:
    with queue_transaction(desk.url, write=True) as connection:
        return Intake(connection, desk.key("run"), "acknowledge", "authority").take_back(records)


def items(desk: Desk) -> list[Any]:
    with sqlite3.connect(str(make_url(desk.url).database)) as connection:
        return connection.execute("SELECT id, record_key FROM openreg_exception").fetchall()


def test_what_is_noted_of_each_record_does_not_stay_in_memory(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_IN_MEMORY", 20_000)
    monkeypatch.setattr(audit, "_BATCH", 20)
    monkeypatch.setattr(intake, "_CHUNK", 20)
    taken_back(desk, many(1))
    tracemalloc.start()
    try:
        assert taken_back(desk, many(600, size=5000)) == 600
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All of the keys are 3 MB.
    assert peak < 2_000_000
    assert verify(desk.url).entries == 601


def test_a_task_that_dies_leaves_none_of_its_records_and_the_next_try_takes_all(desk: Desk) -> None:
    def dying() -> Iterator[AsideRecord]:
        yield from many(1200)
        message = "killed"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="killed"):
        taken_back(desk, dying())
    assert items(desk) == []
    assert taken_back(desk, many(1200)) == 1200
    before = items(desk)
    assert taken_back(desk, many(1200)) == 0
    assert items(desk) == before


def test_items_are_looked_up_by_their_keys_and_not_among_all_of_the_date(desk: Desk) -> None:
    """Else the time for a million records would grow with their square."""
    asked: list[tuple[str, Any]] = []
    with queue_transaction(desk.url, write=True) as connection:
        event.listen(
            connection.engine,
            "before_cursor_execute",
            lambda *given: asked.append((given[2], given[3])),
        )
        Intake(connection, desk.key("run"), "acknowledge", "authority").take_back(many(3))
    queries = [one for one in asked if one[0].startswith("SELECT") and "key_sha256 IN" in one[0]]
    assert len(queries) == 1
    with sqlite3.connect(str(make_url(desk.url).database)) as connection:
        [plan] = connection.execute(f"EXPLAIN QUERY PLAN {queries[0][0]}", queries[0][1])
    assert "table_name=? AND key_sha256=?" in plan[-1]


def test_records_with_the_same_key_are_told_apart_and_others_are_not_counted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parting, "_RECORDS", 2)
    monkeypatch.setattr(parting, "_MAPPED", 2)
    table = trades({"A": "1", "B": "1", "C": "1", "D": "1", "E": "1"})
    names = pa.array(["same", "own", None, "same", None])
    made = desk.dataset(desk.key("run"), "trades", table.append_column("name", names))
    reasons = desk.folder / "reasons.parquet"
    with ReasonWriter(reasons) as writer:
        for row in range(5):
            writer.add("trades", "CON-412", "unknown", row=row)
    scratch = desk.folder / "scratch"
    scratch.mkdir()
    with (
        desk.workspace.open_local(made) as path,
        Parting(
            AsideRows({"trades": RecordTable(key=("name",))}, {"trades": path}, reasons, scratch)
        ) as part,
    ):
        found = [(one.values["id"], one.key, one.occurrence) for one in part.records()]
    assert found == [
        ("A", ("same",), 1),
        ("B", ("own",), 1),
        ("C", (None,), 1),
        ("D", ("same",), 2),
        ("E", (None,), 2),
    ]


def test_rejected_resubmission_is_found_by_a_key_of_any_type(desk: Desk) -> None:
    """An instant, a number and a boolean are other texts in an item than in the file's table."""
    records = {"trades": RecordTable(key=("id", "at", "sure", "size", "price"))}
    table = trades({"A": "1.50", "B": "2"}).drop(["at"])
    for name, values in {
        "at": pa.array([datetime(2026, 3, 31, 22, 5, tzinfo=UTC)] * 2),
        "sure": pa.array([True, None]),
        "size": pa.array([1e20, 0.1]),
    }.items():
        table = table.append_column(name, values)
    run, again = desk.key("run"), desk.key("again")
    made = desk.dataset(run, "trades", table)
    with ReasonWriter(desk.folder / "reasons.parquet"):
        pass
    common: dict[str, Any] = {
        "records": records,
        "workspace": desk.workspace,
        "store_url": desk.url,
    }
    set_aside(
        run=run,
        stage="validate",
        origin="rule",
        tables={"trades": made},
        reasons=desk.folder / "reasons.parquet",
        **common,
    )

    def rejected(by: RunKey, sent: Dataset) -> int:
        word = RecordAnswer(
            route="regulator", artifact="a", reference="A", position=1, status="rejected", row=0
        )
        with desk.workspace.open_local(sent) as path:
            said = [
                Rejection(table="trades", key=key, rule="CON-412", message="unknown")
                for _, key, _ in keyed(path, records["trades"].naming, [(0, word), (1, word)])
            ]
        return take_back(run=by, rejections=said, **common)

    assert rejected(run, made) == 2
    waiting = list(find(desk.url, Wanted(report_id="desk")))
    decisions.release(desk.url, decisions.numbered(waiting), Actor("anna", "test"), "their error")
    taken = resubmission.take(again, records, desk.workspace, desk.url)
    assert taken is not None
    claims.settle(desk.url, again)
    assert rejected(again, taken.tables["trades"]) == 2
    assert rejected(again, taken.tables["trades"]) == 0


def test_rows_that_tables_do_not_have_are_told_as_they_stand(desk: Desk) -> None:
    prices = {"A": "0", "B": "-1", "C": "0", "D": "7"}
    desk.source_run("run", prices)
    found = {one.key[0]: one for one in find(desk.url, Wanted())}
    a, b, c = (found[name] for name in "ABC")
    anna = Actor("anna", "test")
    decisions.reject(desk.url, {b.id: b.version}, anna, "no trade of ours")
    decisions.amend(desk.url, {c.id: {"id": "C2", "price": "5"}}, {c.id: c.version}, anna, "typo")

    def told(table: str, column: str) -> list[str]:
        return [
            one for batch in left_out(desk.url, desk.key("run"), table, column) for one in batch
        ]

    assert told("trades", "id") == ["A", "C"], "not what is left out for good"
    assert told("parties", "lei") == ["A-buyer", "A-seller", "C-buyer", "C-seller"]
    assert desk.resubmit("again") == ["C2"]
    assert told("trades", "id") == ["A", "C2"], "what was reported, as it was reported"
    desk.rejected("run", "D")
    assert told("trades", "id") == ["A", "C2"], "D is in the tables of the next run"
    assert a.state == "pending"
