"""Nested records that the authority rejects are mended, go out again, and the counts add up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.deliver.acknowledgement.operator import AcknowledgeOperator
from openreg_airflow.deliver.operator import DeliverOperator
from openreg_airflow.exception_queue import claims, decisions, resubmission
from openreg_airflow.exception_queue.balance import Balance, balances
from openreg_airflow.exception_queue.listing import Wanted, find
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.set_aside import set_aside
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.records import Artifact, RunKey, Verdict
from openreg_airflow.store.actor import Actor
from openreg_airflow.workspace import Workspace
from tests.artifact_files import RUN, dataset, spec_of
from tests.delivery_house import route
from tests.feedback_files import auth031
from tests.nested_house import BY_ACTION, CANCEL_AND_NEW, LAYOUT, Parties, Row, records, tables
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openreg_airflow.exception_queue.item import Item

ANNA = Actor("anna", "test")
RECORDS = {
    "rows": RecordTable(key=("id",)),
    "parties": RecordTable(parent="rows", on={"id": "id"}),
    "accounts": RecordTable(parent="parties", on={"party": "party"}),
}
ROUTE = route(
    channel="folder",
    connection="outbox",
    folder="in",
    acknowledgement={"pattern": "{stem}_FDB*.xml", "folder": "out", "reference": "id"},
)
BUYER: Parties = {"BUYER": ["DE1", "DE2"], "SELLER": ["FR1"]}
E_MENDED: Parties = {"BUYER": ["DE1", "DE2"], "SELLER": ["FR9"]}
ROWS: list[Row] = [("NEWT", name, n, BUYER) for n, name in enumerate("ABCD", 1)]


@dataclass(frozen=True)
class Sent:
    """One delivery: the run and its artifact, and what the receiver found in its file."""

    run: RunKey
    verdict: Verdict
    artifact: Artifact
    rows: list[Row]


class Firm:
    """Runs of a report by its operators, and an authority behind a folder."""

    def __init__(self, folder: Path, rules: dict[str, Any]) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'store.db'}"
        self.workspace = Workspace(folder / "workspace")
        self.runs = 0
        (folder / "layout.xml").write_text(LAYOUT)
        self.spec = spec_of(
            format="xml",
            filename="out_{version}_{part}.xml",
            layout="layout.xml",
            references={"column": "id", "action": "action", "scope": "authority"} | rules,
        )

    def run(self) -> RunKey:
        self.runs += 1
        return RUN.model_copy(update={"run_id": f"run-{self.runs}"})

    def report(self, rows: Sequence[Row]) -> Sent:
        """A run that reads the source."""
        run = self.run()
        made = {
            name: dataset(table, self.folder / "tables" / str(self.runs) / f"{name}.parquet")
            for name, table in tables(rows, "1", "noon").items()
        }
        done = set_aside(
            run=run,
            stage="validate",
            origin="rule",
            records=RECORDS,
            tables=made,
            reasons=self.no_reasons(),
            workspace=self.workspace,
            store_url=self.url,
        )
        return self.send(run, Verdict(results=(), tables=done.tables))

    def resubmit(self) -> Sent:
        """A run that takes what was mended."""
        run = self.run()
        taken = resubmission.take(run, RECORDS, self.workspace, self.url)
        assert taken is not None
        done = resubmission.go_on(
            run=run,
            stage="validate",
            records=RECORDS,
            tables=taken.tables,
            reasons=self.no_reasons(),
            workspace=self.workspace,
            store_url=self.url,
        )
        verdict = Verdict(results=(), tables=done.tables, resubmission=taken.number)
        return self.send(run, verdict)

    def send(self, run: RunKey, verdict: Verdict) -> Sent:
        """Write and deliver what the validation left."""
        common: Any = {"report_id": run.report_id, "business_date": run.business_date.isoformat()}
        write = ArtifactOperator(
            task_id="artifact",
            folder=self.folder,
            artifact="out",
            spec=self.spec,
            tables={},
            verdict=verdict.model_dump(mode="json"),
            **common,
        )
        artifact = Artifact.model_validate(json.loads(json.dumps(write.execute(context(run)))))
        DeliverOperator(
            task_id="deliver",
            route="regulator",
            spec=ROUTE,
            artifact=artifact.model_dump(mode="json"),
            **common,
        ).execute(context(run))
        claims.settle(self.url, run)
        arrived = [self.folder / "outbox" / "in" / file.filename for file in artifact.files]
        return Sent(run, verdict, artifact, [row for path in arrived for row in records(path)])

    def answer(self, sent: Sent, *rejected: str) -> None:
        """The authority refuses some records and takes the others; the task reads its file."""
        [file] = sent.artifact.files
        total = file.records or 0
        counts = {"ACPT": total - len(rejected), "RJCT": len(rejected)}
        out = self.folder / "outbox" / "out"
        out.mkdir(exist_ok=True)
        (out / f"{Path(file.filename).stem}_FDB.xml").write_text(
            auth031(
                "PART" if rejected else "ACPT",
                original=file.filename,
                total=total,
                counts=counts,
                records=[(name, "RJCT", "CON-412", "not in the data") for name in rejected],
            )
        )
        for _ in range(2):  # A task that is cleared reads the same again.
            self.acknowledge(sent)

    def acknowledge(self, sent: Sent) -> None:
        """The task looks for answers, as it does when it is cleared."""
        AcknowledgeOperator(
            task_id="acknowledge",
            report_id=sent.run.report_id,
            business_date=sent.run.business_date.isoformat(),
            route="regulator",
            spec=ROUTE,
            artifact=sent.artifact.model_dump(mode="json"),
            receipts=[{"delivered_at": "2026-03-03T08:00:00+00:00"}],
            tables={},
            verdict=sent.verdict.model_dump(mode="json"),
            records=RECORDS,
        ).execute(context(sent.run))

    def no_reasons(self) -> Path:
        path = self.folder / "reasons.parquet"
        with ReasonWriter(path):
            pass
        return path

    def item(self, name: str) -> Item:
        [one] = [i for i in find(self.url, Wanted(report_id=RUN.report_id)) if i.key == (name,)]
        return one

    def amend(self, name: str, values: dict[str, Any]) -> None:
        one = self.item(name)
        decisions.amend(self.url, {one.id: values}, {one.id: one.version}, ANNA, "typo")

    @property
    def balance(self) -> tuple[int, int, int, int]:
        """In, reported, left out, and pending."""
        found: Balance
        [found] = balances(self.url, RUN.report_id, RUN.business_date)
        assert found.holds, found.line()
        return found.records, found.reported, found.rejected, found.pending


def context(run: RunKey) -> Any:
    ti = SimpleNamespace(try_number=1, max_tries=3)
    return {"dag_run": SimpleNamespace(run_id=run.run_id), "ti": ti}


@pytest.fixture(params=[CANCEL_AND_NEW, BY_ACTION], ids=["cancel_and_new", "by_action"])
def firm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Firm:
    (tmp_path / "outbox").mkdir()
    fs = {"conn_type": "fs", "extra": {"path": str(tmp_path / "outbox")}}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", new_store(tmp_path))
    return Firm(tmp_path, request.param)


def test_rejected_records_with_inner_rows_are_mended_and_it_adds_up(firm: Firm) -> None:
    first = firm.report(ROWS)
    assert first.rows == ROWS
    firm.answer(first, "B", "D")
    assert firm.balance == (4, 2, 0, 2)
    b = firm.item("B")
    assert (b.state, b.origin, b.reasons[0].rule) == ("pending", "authority", "CON-412")
    assert [row["name"] for row in b.children["parties"]] == ["BUYER", "SELLER"]
    assert [row["iban"] for row in b.children["accounts"]] == ["DE1", "DE2", "FR1"]

    # One is mended in a row two levels down, the other one is left out.
    firm.amend("B", {"n": 20, "accounts.2.iban": "DE7"})
    d = firm.item("D")
    decisions.reject(firm.url, {d.id: d.version}, ANNA, "a double")
    assert firm.balance == (4, 2, 1, 1)
    mended: Row = ("NEWT", "B", 20, {"BUYER": ["DE1", "DE7"], "SELLER": ["FR1"]})
    second = firm.resubmit()
    assert second.rows == [mended]
    assert firm.balance == (4, 3, 1, 0)

    # It is refused once more, mended once more, and accepted.
    firm.answer(second, "B")
    assert firm.balance == (4, 2, 1, 1)
    firm.amend("B", {"n": 21})
    third = firm.resubmit()
    assert third.rows == [("NEWT", "B", 21, mended[3])]
    firm.answer(third)
    assert firm.balance == (4, 3, 1, 0)


def test_rejected_part_of_a_correction_is_mended_and_it_adds_up(firm: Firm) -> None:
    by_action = firm.spec.references.corrections == "by_action"
    first = firm.report(ROWS)
    firm.answer(first)
    assert firm.balance == (4, 4, 0, 0)

    # B has other values, C is gone, E is new.
    changed: Row = ("NEWT", "B", 2, {"BUYER": ["DE9"]})
    new: Row = ("NEWT", "E", 5, BUYER)
    second = firm.report([ROWS[0], changed, ROWS[3], new])
    said = [(action, name) for action, name, _, _ in second.rows]
    if by_action:
        assert said == [("EROR", "C"), ("CORR", "B"), ("NEWT", "E")]
    else:
        assert said == [("CANCEL", "B"), ("CANCEL", "C"), ("NEWT", "B"), ("NEWT", "E")]
    firm.answer(second, "B", "E")
    assert firm.balance == (4, 2, 0, 2)

    firm.amend("B", {"n": 22})
    firm.amend("E", {"accounts.3.iban": "FR9"})
    third = firm.resubmit()
    word = "CORR" if by_action else "NEWT"
    assert sorted(third.rows, key=lambda row: row[1]) == [
        (word, "B", 22, {"BUYER": ["DE9"]}),
        ("NEWT", "E", 5, E_MENDED),
    ]
    firm.answer(third)
    assert firm.balance == (4, 4, 0, 0)

    # The source was mended as well; what stands with the authority is all that counts.
    source = [ROWS[0], (*changed[:2], 22, changed[3]), ROWS[3], (*new[:3], E_MENDED)]
    assert firm.report(source).rows == []
    assert firm.balance == (4, 4, 0, 0)


def test_rejected_cancellation_is_no_record_of_the_report_and_goes_out_again(firm: Firm) -> None:
    firm.answer(firm.report(ROWS))
    second = firm.report([*ROWS[:2], ROWS[3]])
    assert [row[1] for row in second.rows] == ["C"]
    firm.answer(second, "C")
    assert firm.balance == (3, 3, 0, 0)
    third = firm.report([*ROWS[:2], ROWS[3]])
    assert [(row[0], row[1]) for row in third.rows] == [(second.rows[0][0], "C")]
    firm.answer(third)
    assert firm.balance == (3, 3, 0, 0)


MAY_MEAN = "not in the data (the answer names only the reference: it may mean the cancellation"


@pytest.fixture
def half(firm: Firm) -> tuple[Firm, Sent]:
    """The authority refused one of the two records of a correction, and names the reference."""
    firm.answer(firm.report(ROWS))
    second = firm.report([("NEWT", "A", 10, BUYER), *ROWS[1:]])
    assert [row[:3] for row in second.rows] == [("CANCEL", "A", 0), ("NEWT", "A", 10)]
    firm.answer(second, "A")
    assert firm.item("A").reasons[0].message.startswith(MAY_MEAN)
    return firm, second


@pytest.mark.parametrize("firm", [CANCEL_AND_NEW], indirect=True)
def test_half_of_a_correction_is_refused_and_it_was_the_report(half: tuple[Firm, Sent]) -> None:
    firm, _ = half
    firm.amend("A", {"n": 11})
    again = firm.resubmit()
    assert [row[:3] for row in again.rows] == [("NEWT", "A", 11)]
    firm.answer(again)
    assert firm.balance == (4, 4, 0, 0)


@pytest.mark.parametrize("firm", [CANCEL_AND_NEW], indirect=True)
def test_half_of_a_correction_is_refused_and_it_was_the_cancellation(
    half: tuple[Firm, Sent],
) -> None:
    firm, second = half
    # The authority confirms that it has the report; its file is read when the task is cleared.
    [file] = second.artifact.files
    out = firm.folder / "outbox" / "out" / f"{Path(file.filename).stem}_FDB_late.xml"
    out.write_text(auth031("PART", original=file.filename, records=[("A", "ACPT", "", "")]))
    firm.acknowledge(second)
    # Nothing is sent again of what it has, and what changes is cancelled first.
    item = firm.item("A")
    decisions.reject(firm.url, {item.id: item.version}, ANNA, "the authority has it, ticket 4711")
    again = firm.report([("NEWT", "A", 10, BUYER), *ROWS[1:]])
    assert [f.filename for f in again.artifact.files] == [file.filename]
    assert len(list((firm.folder / "outbox" / "in").iterdir())) == 2
    third = firm.report([("NEWT", "A", 12, BUYER), *ROWS[1:]])
    assert [row[:3] for row in third.rows] == [("CANCEL", "A", 0), ("NEWT", "A", 12)]
    firm.answer(third)
    assert firm.balance == (4, 4, 0, 0)


@pytest.mark.parametrize("firm", [CANCEL_AND_NEW], indirect=True)
def test_half_of_a_correction_is_refused_and_the_other_half_too(half: tuple[Firm, Sent]) -> None:
    firm, second = half
    [file] = second.artifact.files
    out = firm.folder / "outbox" / "out" / f"{Path(file.filename).stem}_FDB_late.xml"
    twice = [("A", "RJCT", "CON-410", "no such report")] * 2
    out.write_text(auth031("PART", original=file.filename, records=twice))
    firm.acknowledge(second)
    # What the authority had before stands, and is cancelled first.
    firm.amend("A", {"n": 11})
    again = firm.resubmit()
    assert [row[:3] for row in again.rows] == [("CANCEL", "A", 0), ("NEWT", "A", 11)]
    firm.answer(again)
    assert firm.balance == (4, 4, 0, 0)
