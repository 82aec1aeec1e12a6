from __future__ import annotations

from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.artifacts.spec import CsvArtifact
from openreg_airflow.errors import BlockingRulesError, SpecError
from openreg_airflow.exception_queue import decisions
from openreg_airflow.exception_queue.balance import balances
from openreg_airflow.exception_queue.listing import Wanted, find, get
from openreg_airflow.exception_queue.operator import (
    ResubmitOperator,
    SettleOperator,
    skip_in_resubmission,
    skip_without_records,
)
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.records import Artifact, Column, Dataset, RunKey, Verdict
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.history import row_counts, rule_outcomes
from openreg_airflow.validate.operator import ValidateOperator
from openreg_airflow.validate.spec import ValidateSection
from openreg_airflow.workspace import Workspace
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = date(2026, 3, 31)
ANNA = Actor("anna", "test")
RECORDS = {
    "trades": RecordTable(key=("id",)),
    "parties": RecordTable(parent="trades", on={"trade_id": "id"}),
}
PRICE: dict[str, Any] = {
    "title": "Prices are positive",
    "table": "trades",
    "severity": "correctable",
    "condition": "price > 0",
    "message": "price {price} of {id}",
    "reference": "Field 33",
}
UNIQUE: dict[str, Any] = {
    "title": "Ids occur once",
    "table": "trades",
    "severity": "correctable",
    "unique": ["id"],
    "message": "{id} is there {times} times",
}
LEI: dict[str, Any] = {
    "title": "Parties have a LEI",
    "table": "parties",
    "severity": "correctable",
    "sql": "SELECT * FROM parties WHERE lei IS NULL",
    "message": "a party of {trade_id} has no LEI",
}
COUNT: dict[str, Any] = {
    "title": "There are trades",
    "table": "trades",
    "row_count": {"min": 3},
    "message": "only {rows} rows",
}
VENUE: dict[str, Any] = {
    "title": "Venues are known",
    "table": "trades",
    "condition": "venue == 'XETR'",
    "message": "venue {venue} of {id}",
}
ROWS = [("A", "1"), ("B", "0"), ("C", "2.5"), ("C", "3"), ("D", "4"), ("E", "5")]


class House:
    """An installation of one report whose tasks are run one by one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url = new_store(folder)
        monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", self.url)
        monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(folder / "workspace"))
        self.folder = folder
        self.workspace = Workspace(folder / "workspace")

    def dataset(self, run_id: str, name: str, table: pa.Table) -> dict[str, Any]:
        run = RunKey(report_id="desk", business_date=DAY, run_id=run_id)
        with self.workspace.folder(run, "transform").writing(f"{name}.parquet") as pending:
            pq.write_table(table, pending.path)
        columns = tuple(Column(name=f.name, type=str(f.type)) for f in table.schema)
        found = Dataset(**pending.ref.model_dump(), rows=table.num_rows, columns=columns)
        return found.model_dump(mode="json")

    def tables(self, run_id: str, rows: list[tuple[str, str]], **venues: str) -> dict[str, Any]:
        trades = pa.table(
            {
                "id": [trade for trade, _ in rows],
                "price": pa.array([Decimal(p) for _, p in rows], pa.decimal128(18, 5)),
                "venue": [venues.get(trade, "XETR") for trade, _ in rows],
            }
        )
        ids = sorted({trade for trade, _ in rows})
        leis = [None if trade == "D" else f"LEI-{trade}" for trade in ids]
        parties = pa.table({"trade_id": ids, "lei": pa.array(leis, pa.string())})
        made = {"trades": trades, "parties": parties}
        return {name: self.dataset(run_id, name, table) for name, table in made.items()}

    def execute(self, task: Any, run_id: str, **params: Any) -> Any:
        task.business_date = DAY.isoformat()
        context = {"dag_run": SimpleNamespace(run_id=run_id), "params": params, "task": task}
        if task._pre_execute_hook is not None:
            task._pre_execute_hook(context)
        return task.execute(context)

    def validate(self, run_id: str, rules: dict[str, Any], **given: Any) -> Verdict:
        with DAG("desk"):
            task = ValidateOperator(
                task_id="validate",
                report_id="desk",
                folder=self.folder,
                spec=ValidateSection.model_validate({"rules": rules}),
                records=RECORDS,
                **({"tables": {}} | given),
            )
        return Verdict.model_validate(self.execute(task, run_id))

    def resubmit(self, run_id: str, rules: dict[str, Any]) -> Verdict:
        with DAG("desk"):
            task = ResubmitOperator(task_id="resubmit", report_id="desk", records=RECORDS)
        taken = self.execute(task, run_id, resubmit=True)
        return self.validate(run_id, rules, resubmission=taken)

    def artifact(self, run_id: str, verdict: Verdict) -> Artifact:
        spec = {"format": "csv", "table": "trades", "filename": "desk_{business_date}.csv"}
        with DAG("desk"):
            task = ArtifactOperator(
                task_id="artifact",
                report_id="desk",
                folder=self.folder,
                artifact="trades",
                spec=CsvArtifact.model_validate(spec),
                tables={},
                verdict=verdict.model_dump(mode="json"),
            )
        return Artifact.model_validate(self.execute(task, run_id))

    def settle(self, run_id: str) -> None:
        with DAG("desk"):
            task = SettleOperator(task_id="settle", report_id="desk")
        self.execute(task, run_id)

    def settle_after(self, run_id: str, **states: str) -> None:
        """Settle where tasks ended so."""
        with DAG("desk"):
            task = SettleOperator(task_id="settle", report_id="desk", one_of=sorted(states))
        task.business_date = DAY.isoformat()
        ti = SimpleNamespace(get_task_states=lambda **_: {run_id: states})
        task.execute({"dag_run": SimpleNamespace(run_id=run_id), "ti": ti})  # type: ignore[typeddict-item]

    def ids(self, verdict: Verdict, table: str = "trades", column: str = "id") -> list[str]:
        with self.workspace.open_local(verdict.tables[table]) as path:
            found: list[str] = pq.read_table(path)[column].to_pylist()
        return found

    def items(self) -> list[Any]:
        return list(find(self.url, Wanted(report_id="desk")))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


def test_correctable_rules_set_records_aside_with_all_their_rows(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="openreg_airflow")
    rules = {"price": PRICE, "unique": UNIQUE, "lei": LEI}
    verdict = house.validate("first", rules, tables=house.tables("first", ROWS))

    assert house.ids(verdict) == ["A", "E"]
    assert house.ids(verdict, "parties", "trade_id") == ["A", "E"]
    assert verdict.set_aside == {"trades": 4}
    assert not verdict.blocking
    assert [(i.name, [(r.rule, r.message) for r in i.reasons]) for i in house.items()] == [
        ("B", [("price", "price 0.00000 of B")]),
        ("C", [("unique", "C is there 2 times")]),
        ("C (2)", [("unique", "C is there 2 times")]),
        ("D", [("lei", "a party of D has no LEI")]),
    ]
    assert house.items()[0].reasons[0].reference == "Field 33"
    assert "3 warned, 0 blocked, 4 records set aside" in caplog.text
    assert "Set aside: 4 records of trades" in caplog.text
    assert "trades: in 6 = reported 0 + rejected 0 + pending 6 (2 under way, 4 undec" in caplog.text


def test_a_record_that_fails_several_rules_is_one_item(house: House) -> None:
    also = PRICE | {"condition": "price != 0", "message": "no price"}
    house.validate("first", {"price": PRICE, "also": also}, tables=house.tables("first", ROWS))
    [item] = house.items()
    assert [r.rule for r in item.reasons] == ["price", "also"]


def test_blocking_wins_and_sets_nothing_aside(house: House) -> None:
    rules = {"price": PRICE, "venue": VENUE}
    with pytest.raises(BlockingRulesError, match="venue XPAR of B"):
        house.validate("first", rules, tables=house.tables("first", ROWS, B="XPAR"))
    assert house.items() == []
    assert balances(house.url, "desk", DAY) == ()


@pytest.mark.parametrize(
    ("at_most", "blocks"),
    [({"rows": 1}, False), ({"rows": 0}, True), ({"percent": 17}, False), ({"percent": 16}, True)],
)
def test_more_than_the_threshold_blocks(
    house: House, at_most: dict[str, int], blocks: bool
) -> None:
    rules = {"price": PRICE | {"at_most": at_most}}
    tables = house.tables("first", ROWS)
    if blocks:
        with pytest.raises(BlockingRulesError, match="more than at most"):
            house.validate("first", rules, tables=tables)
        assert house.items() == []
    else:
        assert house.validate("first", rules, tables=tables).set_aside == {"trades": 1}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (PRICE | {"condition": "1 / price > 0"}, "could not be evaluated"),
        (
            {k: v for k, v in PRICE.items() if k != "condition"}
            | {"sql": "SELECT price, 'x' AS other FROM trades WHERE price <= 0", "message": "no"},
            "returns no column id",
        ),
    ],
)
def test_a_correctable_rule_whose_rows_are_not_known_blocks(
    house: House, rule: dict[str, Any], words: str
) -> None:
    with pytest.raises(BlockingRulesError, match=words):
        house.validate("first", {"rule": rule}, tables=house.tables("first", ROWS))
    assert house.items() == []


def test_rows_are_set_aside_only_where_something_names_them(house: House) -> None:
    with DAG("desk"):
        task = ValidateOperator(
            task_id="validate",
            report_id="desk",
            folder=house.folder,
            spec=ValidateSection.model_validate({"rules": {"price": PRICE}}),
            tables=house.tables("first", ROWS),
        )
    with pytest.raises(SpecError, match="nothing names a record of trades"):
        house.execute(task, "first")


def test_a_resubmission_reports_what_was_amended_in_a_file_of_its_own(house: House) -> None:
    rules = {"price": PRICE, "lei": LEI, "count": COUNT}
    first = house.validate("first", rules, tables=house.tables("first", ROWS))
    made = house.artifact("first", first)
    house.settle("first")
    b, d = house.items()
    new = {b.id: {"price": "7"}, d.id: {"parties.1.lei": "LEI-D"}}
    decisions.amend(house.url, new, decisions.numbered([b, d]), ANNA, "late data")

    again = house.resubmit("again", rules)
    second = house.artifact("again", again)
    house.settle("again")

    assert (first.resubmission, again.resubmission) == (0, 1)
    assert [r.rule_id for r in again.results] == ["price", "lei"]
    assert house.ids(again) == ["B", "D"]
    assert [f.filename for f in (*made.files, *second.files)] == [
        "desk_2026-03-31.csv",
        "desk_2026-03-31_R1.csv",
    ]
    [counts] = balances(house.url, "desk", DAY)
    assert (counts.records, counts.reported, counts.holds) == (6, 6, True)
    # A resubmission says nothing of the day's quality.
    assert {one.run_id for one in rule_outcomes(house.url, "desk")} == {"first"}
    assert {one.rows for one in row_counts(house.url, "desk", DAY, date(2026, 4, 1))} == {6, 5}
    # The report itself, run once more, is still its first version.
    repeated = house.validate("third", rules, tables=house.tables("third", ROWS))
    assert house.artifact("third", repeated).version == made.version == 1


def test_what_fails_again_is_pending_and_what_was_released_goes_out(house: House) -> None:
    rules = {"price": PRICE, "lei": LEI}
    house.validate("first", rules, tables=house.tables("first", ROWS))
    b, d = house.items()
    decisions.amend(house.url, {b.id: {"price": "-1"}}, {b.id: None}, ANNA, "late data")
    decisions.release(house.url, {d.id: None}, ANNA, "it has none")

    again = house.resubmit("again", rules)

    assert house.ids(again) == ["D"]
    assert again.set_aside == {"trades": 1}
    assert [(get(house.url, n.id).state) for n in (b, d)] == ["pending", "released"]
    # A rule that it did not fail when it was released still holds for it.
    house.settle("again")


def test_a_rule_that_a_released_record_did_not_fail_before_still_holds(house: House) -> None:
    house.validate("first", {"lei": LEI}, tables=house.tables("first", ROWS))
    [d] = house.items()
    decisions.release(house.url, {d.id: None}, ANNA, "it has none")
    cheap = PRICE | {"condition": "price > 100"}
    again = house.resubmit("again", {"lei": LEI, "price": cheap})
    assert house.ids(again) == []
    assert get(house.url, d.id).state == "pending"
    assert house.artifact("again", again).files == ()


def test_a_blocked_resubmission_gives_its_records_back(house: House) -> None:
    rules = {"price": PRICE, "venue": VENUE}
    house.validate("first", rules, tables=house.tables("first", ROWS))
    [b] = house.items()
    new = {b.id: {"price": "1", "venue": "XPAR"}}
    decisions.amend(house.url, new, {b.id: None}, ANNA, "late data")
    with pytest.raises(BlockingRulesError):
        house.resubmit("again", rules)
    b = get(house.url, b.id)
    assert (b.state, b.claimed_by) == ("amended", None)


@pytest.mark.parametrize("hook", [skip_in_resubmission, skip_without_records])
def test_tasks_that_a_resubmission_does_not_need_are_skipped(hook: Callable[[Any], None]) -> None:
    task = SimpleNamespace(resubmission=None)
    with pytest.raises(AirflowSkipException):
        hook({"params": {"resubmit": True}, "task": task})
    hook({"params": {"resubmit": False}, "task": task})
    hook({"params": {}, "task": task})


def test_a_run_without_anything_to_resubmit_is_skipped(house: House) -> None:
    with DAG("desk"):
        task = ResubmitOperator(task_id="resubmit", report_id="desk", records=RECORDS)
    with pytest.raises(AirflowSkipException, match="amended or released"):
        house.execute(task, "again", resubmit=True)
    with pytest.raises(AirflowSkipException, match="reads the source"):
        house.execute(task, "again", resubmit=False)


def test_records_count_as_reported_when_one_route_delivered_and_others_were_skipped(
    house: House,
) -> None:
    house.validate("first", {"lei": LEI}, tables=house.tables("first", ROWS))
    with pytest.raises(AirflowSkipException, match="Nothing was reported"):
        house.settle_after("first", regulator="skipped", spare="skipped")
    [before] = balances(house.url, "desk", DAY)
    assert (before.reported, before.under_way) == (0, 5)
    house.settle_after("first", regulator="success", spare="skipped")
    [after] = balances(house.url, "desk", DAY)
    assert (after.reported, after.under_way) == (5, 0)
