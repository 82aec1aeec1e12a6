from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.engine import make_url

from openreg_airflow.errors import DecisionError, PermanentError, SpecError, StoreUnavailableError
from openreg_airflow.exception_queue import decisions
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.store import engine
from tests.exception_contract import ANNA, PRICES, ExceptionContract, balance, numbers, waiting
from tests.exception_runs import Desk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


class TestSqlite(ExceptionContract):
    """The contract in SQLite."""


@pytest.mark.parametrize(
    ("amendment", "words"),
    [
        ({"prize": "1"}, "has no column 'prize'"),
        ({"parties.3.lei": "X"}, "has no column 'parties.3.lei'"),
        ({"price": "cheap"}, r"column price: 'cheap' is no decimal\(18,5\)"),
        ({"price": "1.000001"}, r"is no decimal\(18,5\)"),
        ({"price": "NaN"}, r"is no decimal\(18,5\)"),
        ({"lots": "1.5"}, "is no integer"),
        ({"lots": str(2**63)}, "is no integer"),
        ({"day": "31.03.2026"}, "is no date"),
        ({"at": "2026-03-31T10:00:00"}, "has no time zone"),
        ({"id": "x" * 1_000_001}, "1,000,001 characters"),
        ({}, "nothing is amended"),
    ],
)
def test_a_wrong_amendment_is_refused_and_changes_nothing(
    desk: Desk, amendment: dict[str, Any], words: str
) -> None:
    desk.source_run("first", PRICES)
    b, d = waiting(desk)
    new = {b.id: {"price": "1"}, d.id: amendment}
    with pytest.raises(DecisionError, match=words):
        decisions.amend(desk.url, new, {b.id: 1, d.id: 1}, ANNA, "typo")
    assert [i.state for i in waiting(desk)] == ["pending", "pending"]


def test_thousands_are_decided_at_once_or_not_at_all(desk: Desk) -> None:
    prices = {f"T{n:04}": "0" for n in range(2500)}
    desk.source_run("first", prices)
    seen = decisions.numbered(waiting(desk))
    last = max(seen)
    with pytest.raises(DecisionError, match="version 9 was seen"):
        decisions.reject(desk.url, {**seen, last: 9}, ANNA, "all")
    assert numbers(balance(desk)) == (2500, 0, 0, 2500)

    assert decisions.reject(desk.url, seen, ANNA, "all") == 2500
    assert numbers(balance(desk)) == (2500, 0, 2500, 0)


def test_a_store_that_goes_away_leaves_nothing_half_done(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trail of the last items cannot be written: none of the others may have changed."""
    desk.source_run("first", PRICES)
    seen = decisions.numbered(waiting(desk))
    file = str(make_url(desk.url).database)
    with sqlite3.connect(file) as connection:
        connection.execute(
            "CREATE TRIGGER gone BEFORE INSERT ON openreg_audit "
            "WHEN NEW.action IN ('reject', 'set aside again') "
            "BEGIN SELECT RAISE(ROLLBACK, 'the disk is gone'); END"
        )
    for broken in (
        lambda: decisions.reject(desk.url, seen, ANNA, "all"),
        lambda: desk.source_run("second", PRICES | {"B": "-9"}),
    ):
        with pytest.raises(Exception, match="the disk is gone"):
            broken()
    assert [(i.state, i.version, i.run_id) for i in waiting(desk)] == [("pending", 1, "first")] * 2
    assert numbers(balance(desk)) == (4, 2, 0, 2)
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.1)
    with sqlite3.connect(file) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            decisions.release(desk.url, seen, ANNA, "all")
        writer.rollback()


def test_a_value_of_a_megabyte_waits_and_goes_out_as_it_is(desk: Desk) -> None:
    long = "x" * 1_200_000
    desk.source_run("first", {long: "0"})
    [one] = waiting(desk)
    decisions.release(desk.url, {one.id: one.version}, ANNA, "so be it")
    assert desk.resubmit("again") == [long]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"trades": {}}, "either key, or parent"),
        ({"trades": {"key": ["id"], "parent": "x", "on": ["id"]}}, "either key, or parent"),
        ({"trades": {"parent": "x"}}, "parent and on go together"),
        ({"trades": {"parent": "x", "on": ["id"]}}, "none of the records' tables"),
        (
            {"a": {"parent": "b", "on": ["id"]}, "b": {"parent": "a", "on": ["id"]}},
            "it belongs to itself",
        ),
    ],
)
def test_records_that_cannot_be_are_refused(tables: dict[str, Any], words: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from openreg_airflow.exception_queue.spec import Records

    with pytest.raises(ValidationError, match=words):
        TypeAdapter(Records).validate_python(tables)


@pytest.mark.parametrize(
    ("records", "key", "error", "words"),
    [
        ({"trades": RecordTable(key=("ident",))}, ["B"], SpecError, "has no column 'ident'"),
        ({"deals": RecordTable(key=("id",))}, ["B"], SpecError, "there is no table deals"),
        ({"parties": RecordTable(key=("lei",))}, ["B"], SpecError, "is no table of records"),
        ({"trades": RecordTable(key=("id",))}, ["Z"], PermanentError, "belongs to no record"),
    ],
)
def test_what_cannot_be_set_aside_stops_the_run(
    desk: Desk, records: Any, key: list[str], error: type[Exception], words: str
) -> None:
    from openreg_airflow.exception_queue.reasons import ReasonWriter
    from openreg_airflow.exception_queue.set_aside import set_aside
    from tests.exception_runs import parties, trades

    run = desk.key("first")
    made = {"trades": trades(PRICES), "parties": parties(PRICES)}
    path = desk.folder / "reasons.parquet"
    with ReasonWriter(path) as writer:
        writer.add("trades", "rule", "wrong", key=key)
    with pytest.raises(error, match=words):
        set_aside(
            run=run,
            stage="validate",
            origin="rule",
            records=records,
            tables={name: desk.dataset(run, name, table) for name, table in made.items()},
            reasons=path,
            workspace=desk.workspace,
            store_url=desk.url,
        )
    assert waiting(desk) == []
