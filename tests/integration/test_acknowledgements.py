"""Waiting for the authority's answer: fetched, matched, kept, and never taken for a yes wrongly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from typer.testing import CliRunner

from openreg_airflow.cli import app
from openreg_airflow.deliver.acknowledgement import fetching
from openreg_airflow.deliver.acknowledgement.operator import AcknowledgeOperator
from openreg_airflow.errors import AcknowledgementError
from openreg_airflow.exception_queue.balance import balances
from openreg_airflow.exception_queue.claims import settle
from openreg_airflow.exception_queue.listing import Wanted, find
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.set_aside import set_aside
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.records import Artifact, ArtifactFile, Column, Dataset
from openreg_airflow.references import guard
from openreg_airflow.references.spec import ReferencesSpec
from openreg_airflow.store.acknowledgements import Acknowledgements
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.numbering import Numbering
from openreg_airflow.store_records import DeliveryAttempt
from openreg_airflow.workspace import Workspace
from tests.channel_sites import SITES
from tests.delivery_house import RUN, route
from tests.feedback_files import auth031
from tests.new_store import new_store

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.records import RunKey

STEM = "SND_DATTRA_DE_000017"
SENT = f"{STEM}.xml"
RECORDS = {"transactions": RecordTable(key=("reference",))}


@dataclass
class Desk:
    """A delivered artifact of five transactions, and the folder where the answer appears."""

    folder: Path
    outbox: Path
    artifact: Artifact
    table: Dataset

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self.folder / 'store.db'}"

    @property
    def store(self) -> Acknowledgements:
        return Acknowledgements(self.store_url)

    def answer(self, text: str, name: str = f"{STEM}_FDB_1.xml") -> None:
        (self.outbox / "out").mkdir(exist_ok=True)
        (self.outbox / "out" / name).write_text(text)

    def look(
        self,
        *,
        delivered: datetime | None = None,
        stand_in: str | None = None,
        last: str = "skipped",
        resumed: bool = False,
        run: RunKey = RUN,
        **spec: Any,
    ) -> Any:
        """What the task does when it looks now: returns, defers or fails.

        Args:
            delivered: when; now when left out.
            resumed: it has waited, and was not started by anybody.
            run: whose task.
            stand_in: how the task ended that delivers instead, and nothing was delivered.
            last: how the task ended that delivers instead of that one.
            spec: of the acknowledgement.
        """
        answer = {"pattern": "{stem}_FDB_*.xml", "folder": "out", "reference": "reference"}
        operator = AcknowledgeOperator(
            task_id="acknowledge",
            report_id=run.report_id,
            business_date=run.business_date.isoformat(),
            route="regulator",
            spec=route(channel="folder", connection="outbox", acknowledgement=answer | spec),
            artifact=self.artifact.model_dump(mode="json"),
            receipts=None
            if stand_in
            else [{"delivered_at": (delivered or datetime.now(UTC)).isoformat()}],
            stand_ins=("spare", "last") if stand_in else (),
            tables={"transactions": self.table.model_dump(mode="json")},
            records=RECORDS,
        )
        states = {run.run_id: {"spare": stand_in, "last": last}}
        ti = SimpleNamespace(get_task_states=lambda **_: states)
        begin: Any = operator.look_again if resumed else operator.execute
        return begin({"dag_run": SimpleNamespace(run_id=run.run_id), "ti": ti})

    def validate(self, run: RunKey) -> None:
        """What the validation of a report with records leaves, and the delivery after it."""
        with ReasonWriter(self.folder / "reasons.parquet"):
            pass
        set_aside(
            run=run,
            stage="validate",
            origin="rule",
            records=RECORDS,
            tables={"transactions": self.table},
            reasons=self.folder / "reasons.parquet",
            workspace=Workspace(self.folder / "workspace"),
            store_url=self.store_url,
        )
        settle(self.store_url, run)

    def waits(self, **spec: Any) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as caught:
            self.look(**spec)
        return caught.value

    @property
    def standing(self) -> tuple[str, int, int, int]:
        [one] = self.store.of_run(RUN, "regulator", "transactions")
        assert one.sent == one.accepted + one.rejected + one.pending
        return one.state, one.accepted, one.rejected, one.pending

    @property
    def refused(self) -> list[str]:
        files = self.store.files(RUN, "regulator", "transactions")
        return [file.reason for file in files if file.result == "refused"]

    @property
    def queue(self) -> dict[str, tuple[str, str]]:
        """State and reasons of the exception queue's items by reference."""
        found = find(self.store_url, Wanted(report_id=RUN.report_id))
        return {str(item.key[0]): (item.state, item.reasons[0].message) for item in found}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    workspace = Workspace(tmp_path / "workspace")
    table = pa.table({"reference": [f"T{n}" for n in range(1, 6)], "price": [1, 2, 3, 4, 5]})
    with workspace.folder(RUN, "validate").writing("transactions.parquet") as pending:
        pq.write_table(table, pending.path)
    columns = tuple(Column(name=f.name, type=str(f.type)) for f in table.schema)
    dataset = Dataset(**dict(pending.ref), rows=5, columns=columns)
    with workspace.folder(RUN, "artifact").writing("a.xml") as written:
        written.path.write_text("<a/>")
    file = ArtifactFile(**dict(written.ref), filename=SENT, records=5)
    artifact = Artifact(
        name="transactions",
        format="xml",
        records=5,
        schema_check="valid",
        files=(file,),
        metadata={"table": "transactions"},
    )
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    desk = Desk(tmp_path, outbox, artifact, dataset)
    new_store(tmp_path)
    desk.validate(RUN)
    fs = {"conn_type": "fs", "extra": {"path": str(outbox)}}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", desk.store_url)
    return desk


def test_the_task_holds_no_worker_while_it_waits(desk: Desk) -> None:
    deferred = desk.waits(poll_seconds=60)
    assert deferred.method_name == "look_again"
    moment = deferred.trigger.serialize()[1]["moment"]
    assert 55 < (moment - datetime.now(UTC)).total_seconds() <= 60
    assert desk.standing == ("awaited", 0, 0, 5)


@pytest.mark.parametrize(
    ("state", "last", "error"),
    [
        ("success", "skipped", AirflowSkipException),
        ("skipped", "skipped", AirflowSkipException),
        ("failed", "success", AirflowSkipException),
        ("failed", "skipped", AcknowledgementError),
        ("failed", "failed", AcknowledgementError),
        ("upstream_failed", "upstream_failed", AcknowledgementError),
    ],
)
def test_nobody_answers_to_what_another_route_delivered(
    desk: Desk, state: str, last: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match="nothing was delivered"):
        desk.look(stand_in=state, last=last)


def test_an_accepted_file_ends_the_wait(desk: Desk) -> None:
    desk.answer(auth031("ACPT", original=STEM, total=5))
    [standing] = desk.look()
    assert standing["state"] == "accepted"
    assert desk.standing == ("accepted", 5, 0, 0)
    assert desk.queue == {}


def test_rejected_records_land_in_the_exception_queue_with_the_reason(desk: Desk) -> None:
    counts = {"ACPT": 3, "RJCT": 2}
    records = [("T2", "RJCT", "CON-412", "not in data"), ("T4", "RJCT", "CON-023", "used already")]
    desk.answer(auth031("PART", original=SENT, total=5, counts=counts, records=records))
    desk.look()
    assert desk.standing == ("partly accepted", 3, 2, 0)
    assert desk.queue == {
        "T2": ("pending", "not in data"),
        "T4": ("pending", "used already"),
    }
    [balance] = balances(desk.store_url, RUN.report_id, RUN.business_date)
    assert (balance.records, balance.reported, balance.waiting) == (5, 3, 2)
    assert balance.holds
    desk.look()
    assert len(desk.queue) == 2, "looking again changes nothing"


def test_rejected_rows_of_a_correction_are_those_of_the_report(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(desk.folder / "workspace")
    rows = {"reference": ["T9", "T4", "T2"], "action": ["EROR", "NEWT", "CORR"]}
    staged = {"position": [0, 1, 2], "origin": [None, 3, 1]}
    tables = {}
    for name, columns in (("written", rows), ("records", staged)):
        with workspace.folder(RUN, "correction").writing(f"{name}.parquet") as pending:
            pq.write_table(pa.table(columns), pending.path)
        there = tuple(Column(name=column, type="any") for column in columns)
        tables[name] = Dataset(**dict(pending.ref), rows=3, columns=there)
    about = ReferencesSpec(column="reference", action="action", corrections="cancel_and_new")
    told = guard.told(about, inner={}, target="t", resubmission=0, **tables)
    [file] = desk.artifact.files
    desk.artifact = desk.artifact.model_copy(
        update={
            "files": (file.model_copy(update={"records": 3}),),
            "metadata": {"table": "transactions", "references": told},
        }
    )
    records = [("T9", "RJCT", "C1", "no such trade"), ("T2", "RJCT", "C2", "no price")]
    counts = {"ACPT": 1, "RJCT": 2}
    desk.answer(auth031("PART", original=STEM, total=3, counts=counts, records=records))
    desk.look(reference=None)
    assert desk.standing == ("partly accepted", 1, 2, 0)
    assert desk.queue == {"T2": ("pending", "no price")}
    assert "the cancellation of T9 was rejected" in caplog.text


def test_pending_records_are_followed_up_by_later_files(desk: Desk) -> None:
    counts = {"ACPT": 2, "PDNG": 3}
    records = [(f"T{n}", "PDNG", "CON-411", "instrument pending") for n in (1, 2, 3)]
    desk.answer(auth031("PART", original=STEM, total=5, counts=counts, records=records))
    desk.waits()
    assert desk.standing == ("partly accepted", 2, 0, 3)
    second = [("T1", "ACPT", "", ""), ("T2", "RJCT", "CON-412", "unknown")]
    desk.answer(auth031("PART", original=STEM, records=second), f"{STEM}_FDB_2.xml")
    desk.waits()
    assert desk.standing == ("partly accepted", 3, 1, 1)
    third = [("T3", "ACPT", "", "")]
    desk.answer(auth031("PART", original=STEM, records=third), f"{STEM}_FDB_3.xml")
    desk.look()
    assert desk.standing == ("partly accepted", 4, 1, 0)
    assert list(desk.queue) == ["T2"]


def test_records_that_are_accepted_one_by_one_add_up_over_several_files(desk: Desk) -> None:
    form = {"reference": "ref", "status": "state", "text": "why"}
    declared = {"parser": "csv", "form": form, "pattern": "{stem}_*.csv"}
    desk.answer("ref;state;why\nT1;ok;\nT2;rejected;no such venue\n", f"{STEM}_1.csv")
    desk.waits(**declared)
    assert desk.standing == ("received", 1, 1, 3)
    desk.answer("ref;state;why\nT3;ok;\nT4;ok;\n", f"{STEM}_2.csv")
    desk.waits(**declared)
    assert desk.standing == ("received", 3, 1, 1)
    desk.answer("ref;state;why\nT5;ok;\n", f"{STEM}_3.csv")
    desk.look(**declared)
    assert desk.standing == ("partly accepted", 4, 1, 0)
    assert desk.queue == {"T2": ("pending", "no such venue")}


def test_answer_in_pages_is_open_until_all_are_there(desk: Desk) -> None:
    pages: dict[str, Any] = {"pattern": "{stem}_{page}of{pages}.xml", "wait_hours": 2}
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    desk.answer(auth031("PART", records=T2), f"{STEM}_1of3.xml")
    desk.answer(auth031("PART", records=[("T4", "RJCT", "Y", "")]), f"{STEM}_3of3.xml")
    desk.waits(delivered=long_ago, pending_hours=24, **pages)
    assert desk.standing == ("received", 0, 2, 3)
    assert set(desk.queue) == {"T2", "T4"}
    shown = CliRunner().invoke(app, ["acks"], env={"COLUMNS": "300"}).stdout
    assert "received: page 2 is missing" in shown
    assert listed(desk)[0]["untold"] == "page 2 is missing"
    with pytest.raises(AcknowledgementError, match="3 pending, page 2 is missing"):
        desk.look(delivered=long_ago, pending_hours=0.5, **pages)
    desk.answer(auth031("PART"), f"{STEM}_2of3.xml")
    desk.look(**pages)
    assert desk.standing == ("partly accepted", 3, 2, 0)
    assert (listed(desk), desk.refused) == ([], [])


def test_same_answer_under_another_name_says_nothing_new(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    pending = auth031("PART", records=[("T1", "PDNG", "", ""), ("T3", "PDNG", "", "")])
    desk.answer(pending)
    desk.waits()
    desk.answer(auth031("PART", records=[("T1", "RJCT", "X", "")]), f"{STEM}_FDB_2.xml")
    desk.waits()
    desk.answer(pending, f"{STEM}_FDB_3.xml")
    desk.waits()
    assert desk.standing == ("partly accepted", 3, 1, 1)
    caplog.clear()
    desk.waits()
    assert "fetched" not in caplog.text
    desk.answer(auth031("PART", records=[("T3", "ACPT", "", "")]), f"{STEM}_FDB_4.xml")
    desk.look()
    assert desk.standing == ("partly accepted", 4, 1, 0)


def test_answer_that_is_written_over_under_its_name_is_read_also_when_no_longer_than_before(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    pending, accepted = (
        auth031("PART", records=[("T1", "PDNG", "", ""), ("T3", code, "", "")])
        for code in ("PDNG", "ACPT")
    )
    assert len(pending) == len(accepted)
    desk.answer(pending)
    desk.waits()
    desk.answer(accepted)
    desk.waits()
    assert desk.standing == ("partly accepted", 4, 0, 1)
    caplog.clear()
    desk.answer(accepted)  # the same once more, at another time
    desk.waits()
    assert caplog.text.count("fetched") == 1
    desk.waits()
    assert caplog.text.count("fetched") == 1
    desk.answer(accepted.replace("PDNG", "RJCT"))
    desk.look()
    assert desk.standing == ("partly accepted", 4, 1, 0)


def test_answer_whose_name_cannot_be_fetched_is_told_and_left(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.answer(auth031("ACPT", total=5), f"{STEM}_FDB_\u00a01.xml")
    desk.waits()
    assert r"FDB_\xa01.xml' is no name of a file that can be fetched" in caplog.text


def test_answer_that_was_read_stays_read_when_its_bytes_are_refused_under_another_name(
    desk: Desk,
) -> None:
    pages: dict[str, Any] = {"pattern": "{stem}_{page}of{pages}.xml"}
    text = auth031("PART", records=T2)
    desk.answer(text, f"{STEM}_1of2.xml")
    desk.waits(**pages)
    desk.answer(text, f"{STEM}_9of2.xml")
    desk.waits(**pages)
    assert desk.refused == []
    desk.answer(auth031("PART"), f"{STEM}_2of2.xml")
    desk.look(**pages)
    assert desk.standing == ("partly accepted", 4, 1, 0)
    assert {a.row for a in desk.store.answers(RUN, "regulator", "transactions")} == {1}


@pytest.mark.parametrize(("code", "state"), [("RJCT", "rejected"), ("CRPT", "corrupted")])
def test_a_file_that_was_refused_as_a_whole_fails_the_task(
    desk: Desk, code: str, state: str
) -> None:
    desk.answer(auth031(code, original=STEM, total=5))
    with pytest.raises(AcknowledgementError, match=f"{SENT} is {state}") as caught:
        desk.look()
    assert desk.standing == (state, 0, 5, 0)
    assert "run the business date again" in (caught.value.hint or "")


def test_each_part_of_an_artifact_is_answered_by_itself(desk: Desk) -> None:
    [file] = desk.artifact.files
    parts = [
        file.model_copy(update={"filename": f"{STEM}_{n}.xml", "records": records, "part": n})
        for n, records in ((1, 3), (2, 2))
    ]
    desk.artifact = desk.artifact.model_copy(update={"files": tuple(parts)})
    first = auth031("PART", original=f"{STEM}_1", records=[("T1", "RJCT", "CON-412", "x")])
    desk.answer(first, f"{STEM}_1_FDB_1.xml")
    desk.waits()
    foreign = auth031("PART", original=f"{STEM}_2", records=[("T1", "RJCT", "CON-412", "x")])
    desk.answer(foreign, f"{STEM}_2_FDB_1.xml")
    desk.waits()
    assert "which it does not answer" in desk.refused[0]
    second = auth031("PART", original=f"{STEM}_2", records=[("T5", "RJCT", "CON-412", "x")])
    desk.answer(second, f"{STEM}_2_FDB_2.xml")
    desk.look()
    standings = desk.store.of_run(RUN, "regulator", "transactions")
    assert [(s.state, s.accepted, s.rejected) for s in standings] == [
        ("partly accepted", 2, 1),
        ("partly accepted", 1, 1),
    ]
    assert set(desk.queue) == {"T1", "T5"}


def test_a_receipt_that_is_read_late_takes_nothing_back(desk: Desk) -> None:
    pending = [("T1", "PDNG", "CON-411", "instrument pending")]
    desk.answer(auth031("PART", original=STEM, records=pending))
    desk.answer(auth031("RCVD", original=STEM), f"{STEM}_FDB_2.xml")
    desk.waits()
    assert desk.standing == ("partly accepted", 4, 0, 1)


def test_answers_of_a_version_that_kept_them_in_the_store_are_gone_on_with(desk: Desk) -> None:
    records = [(f"T{n}", "PDNG", "CON-411", "instrument pending") for n in (1, 2)]
    desk.answer(auth031("PART", original=STEM, records=records))
    desk.waits()
    with transaction(connect_engine(parse_url(desk.store_url)), write=True) as connection:
        connection.execute(sa.text("UPDATE openreg_feedback_file SET words = NULL"))
        connection.execute(sa.text('UPDATE openreg_record_answer SET "row" = -1'))
    final = [("T1", "ACPT", "", "")]
    desk.answer(auth031("PART", original=STEM, records=final), f"{STEM}_FDB_2.xml")
    desk.waits()
    assert desk.standing == ("partly accepted", 4, 0, 1)
    known = desk.store.answers(RUN, "regulator", "transactions")
    assert [(a.reference, a.row, a.status) for a in known] == [
        ("T1", 0, "accepted"),
        ("T2", -1, "pending"),
    ]


def test_refused_file_is_read_when_the_spec_was_mended_and_the_task_cleared(desk: Desk) -> None:
    records = [("T2", "RJCT", "CON-412", "unknown"), ("T3", "PDNG", "CON-411", "")]
    desk.answer(auth031("PART", original=STEM, records=records))
    desk.waits(reference="price")
    assert len(desk.refused) == 1
    desk.waits(original="{stem}", resumed=True)
    assert desk.standing == ("awaited", 0, 0, 5)
    desk.answer(auth031("RCVD", original=STEM), f"{STEM}_FDB_0.xml")
    desk.waits(resumed=True)
    desk.waits()
    assert (desk.standing, desk.refused) == (("partly accepted", 3, 1, 1), [])
    final = [("T3", "ACPT", "", "")]
    desk.answer(auth031("PART", original=STEM, records=final), f"{STEM}_FDB_2.xml")
    desk.look()
    assert desk.standing == ("partly accepted", 4, 1, 0)


def test_tenth_answer_is_read_after_the_second(desk: Desk) -> None:
    pending = [("T1", "PDNG", "CON-411", "instrument pending")]
    desk.answer(auth031("PART", original=STEM, records=pending), f"{STEM}_FDB_2.xml")
    rejected = [("T1", "RJCT", "CON-412", "unknown")]
    desk.answer(auth031("PART", original=STEM, records=rejected), f"{STEM}_FDB_10.xml")
    desk.look()
    assert desk.standing == ("partly accepted", 4, 1, 0)


def test_rules_of_one_record_on_several_lines_are_one_answer(desk: Desk) -> None:
    form = {"reference": "ref", "status": "state", "rule": "rule", "text": "why"}
    lines = "T2;nok;R7;bad price\nT2;nok;R3;no venue\nT2;nok;R7;bad price\n"
    desk.answer(f"ref;state;rule;why\n{lines}", f"{STEM}_1.csv")
    words = {"rejected": ["nok"]}
    desk.waits(parser="csv", form=form | {"words": words}, pattern="{stem}_*.csv")
    [answer] = desk.store.answers(RUN, "regulator", "transactions")
    assert (answer.rules, answer.text) == ("R3 R7", "bad price; no venue")


def test_a_file_that_is_still_being_written_is_taken_when_it_is_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openreg_airflow.deliver.channels.folder import FolderSession

    desk.answer(auth031("ACPT", original=STEM, total=5))
    size = FolderSession.size
    with monkeypatch.context() as patched:
        patched.setattr(FolderSession, "size", lambda *args: (size(*args) or 0) - 10)
        desk.waits()
    assert desk.store.files(RUN, "regulator", "transactions") == ()
    desk.look()
    assert desk.standing == ("accepted", 5, 0, 0)


def test_a_line_that_may_be_half_written_is_watched_before_it_is_believed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"accepted": ["ok"], "rejected": ["nok"]}
    form = {"reference": "ref", "status": "state", "words": words}
    given: dict[str, Any] = {"parser": "csv", "form": form, "pattern": "{stem}_*.csv"}

    def write_on(seconds: float) -> None:
        assert seconds > 0
        desk.answer("state;ref\nnok;T1\nok;T2\n", f"{STEM}_1.csv")

    desk.answer("state;ref\nnok;T", f"{STEM}_1.csv")
    with monkeypatch.context() as patched:
        patched.setattr(fetching.time, "sleep", write_on)
        desk.waits(**given)
    assert desk.store.files(RUN, "regulator", "transactions") == ()

    desk.waits(**given)
    assert desk.standing == ("received", 1, 1, 3)

    desk.answer("state;ref\nok;T3", f"{STEM}_2.csv")  # ends so, and stays as it is
    with monkeypatch.context() as patched:
        patched.setattr(fetching.time, "sleep", lambda _: None)
        desk.waits(**given)
    assert [file.filename for file in desk.store.files(RUN, "regulator", "transactions")] == [
        f"{STEM}_1.csv",
        f"{STEM}_2.csv",
    ]


def test_a_name_that_leads_elsewhere_is_no_feedback(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openreg_airflow.deliver.channels.folder import FolderSession

    (desk.outbox / f"{STEM}_FDB_9.xml").write_text(auth031("ACPT", original=STEM, total=5))
    names = [f"x/../../{STEM}_FDB_9.xml", "..", ".", f"{STEM}_FDB_\n.xml"]
    monkeypatch.setattr(FolderSession, "names", lambda *_: names)
    desk.waits(pattern="*")
    assert desk.store.files(RUN, "regulator", "transactions") == ()


T2 = [("T2", "RJCT", "X", "")]
T9 = [("T9", "RJCT", "X", "")]
LONG = [("T" * 251, "ACPT", "", "")]
TWICE = [("T1", "RJCT", "X", ""), ("T1", "PDNG", "X", "")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (auth031("ACPT", original="SOMEBODY_ELSE"), "answers 'SOMEBODY_ELSE'"),
        (auth031("ACPT", original=STEM, total=4), "counts 4 records"),
        (auth031("PART", original=STEM, records=T9), "not sent, such as 'T9'"),
        (auth031("PART", original=STEM, records=LONG), "has 251 characters"),
        (auth031("PART", original=STEM, records=TWICE), "two different states"),
        (auth031("ACPT", original=STEM, records=TWICE[:1]), "accepts .* lists rejected"),
        (
            auth031("PART", original=STEM, total=5, counts={"ACPT": 5}, records=T2),
            "counts of .* 5 accepted, 0 rejected, 0 pending records, and .* 1 rejected",
        ),
        (
            auth031("ACPT", original=STEM, total=5, counts={"ACPT": 4, "RJCT": 1}),
            "accepts .* and counts 1 rejected",
        ),
        (
            auth031("PART", original=STEM, total=5, counts={"ACPT": 3, "RJCT": 1}, records=T2),
            "counts of .* 3 accepted records, where 4 are left",
        ),
        (
            auth031("RJCT", original=STEM, total=5, counts={"ACPT": 2, "RJCT": 3}),
            "rejects .*, of which 2 records are accepted",
        ),
        (
            auth031("RJCT", original=STEM, records=[("T1", "ACPT", "", "")]),
            "rejects .*, of which 1 records are accepted",
        ),
        (auth031("ACPT")[:-20], "not well-formed"),
        ("<!DOCTYPE x [<!ENTITY y 'z'>]><x>&y;</x>", "document type"),
    ],
)
def test_a_malformed_or_foreign_file_is_refused_and_kept_and_never_a_yes(
    desk: Desk, text: str, said: str
) -> None:
    import re

    desk.answer(text)
    desk.waits()
    [reason] = desk.refused
    assert re.search(said, reason)
    assert desk.standing == ("awaited", 0, 0, 5)
    [file] = desk.store.files(RUN, "regulator", "transactions")
    assert (desk.folder / "workspace").joinpath(
        file.uri.split("/workspace/")[1]
    ).read_text() == text
    desk.waits()
    assert len(desk.refused) == 1, "it is not read again"

    desk.answer(auth031("ACPT", original=STEM, total=5), f"{STEM}_FDB_2.xml")
    desk.look()
    assert desk.standing == ("accepted", 5, 0, 0)


def test_a_file_that_is_too_large_stays_where_it_is(desk: Desk, caplog: Any) -> None:
    desk.answer("x" * 1_100_000)
    desk.waits(most_mib=1)
    assert "more than most_mib" in caplog.text
    assert desk.store.files(RUN, "regulator", "transactions") == ()


def test_silence_beyond_the_time_fails_and_a_late_answer_is_read_after_clearing(
    desk: Desk,
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    with pytest.raises(AcknowledgementError, match="no final answer by"):
        desk.look(delivered=long_ago, wait_hours=2)
    assert listed(desk)[0]["overdue"] is True
    desk.answer(auth031("ACPT", original=STEM, total=5))
    desk.look(delivered=long_ago, wait_hours=2)
    assert listed(desk) == []


def test_pending_records_have_more_time_than_the_file(desk: Desk) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    records = [("T1", "PDNG", "CON-411", "")]
    desk.answer(auth031("PART", original=STEM, records=records))
    desk.waits(delivered=long_ago, wait_hours=2, pending_hours=24)


def listed(desk: Desk) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["acks", "--json"])
    found: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == any(one["overdue"] for one in found)
    return found


def test_what_is_outstanding_is_listed(desk: Desk) -> None:
    desk.waits(wait_hours=5)
    [one] = listed(desk)
    assert (one["filename"], one["state"], one["pending"]) == (SENT, "awaited", 5)
    shown = CliRunner().invoke(app, ["acks"], env={"COLUMNS": "40"}).stdout
    assert "awaited, due in 4 h 59 min" in shown
    assert f"{SENT}: 5 sent, 0 accepted, 0 rejected, 5 pending" in shown
    other = CliRunner().invoke(app, ["acks", "--report", "other"])
    assert "no answer is outstanding" in other.stdout


def test_what_is_outstanding_is_listed_with_what_came_and_was_refused(desk: Desk) -> None:
    desk.answer("ACCEPTED")
    desk.waits()
    [one] = listed(desk)
    [(name, reason)] = one["refused"].items()
    assert name == f"{STEM}_FDB_1.xml"
    assert "not well-formed" in reason
    shown = CliRunner().invoke(app, ["acks"], env={"COLUMNS": "40"}).stdout
    assert f"{name} came and was refused: {reason}" in shown
    # A person has it mended, and the answer counts.
    desk.answer(auth031("ACPT", original=STEM, total=5), f"{STEM}_FDB_2.xml")
    desk.look()
    assert "refused" not in CliRunner().invoke(app, ["acks", "--all"]).stdout


def test_a_task_that_dies_after_the_queue_gives_the_records_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [("T2", "RJCT", "CON-412", "unknown")]
    desk.answer(auth031("PART", original=STEM, records=records))
    with monkeypatch.context() as patched:

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        patched.setattr(Acknowledgements, "apply", die)
        with pytest.raises(KeyboardInterrupt):
            desk.look()
    assert desk.standing == ("awaited", 0, 0, 5)
    desk.look()
    assert desk.standing == ("partly accepted", 4, 1, 0)
    assert list(desk.queue) == ["T2"]


@pytest.mark.parametrize("kind", ["sftp", "ftps-explicit", "s3"])
def test_feedback_is_fetched_over_every_channel_that_has_files(
    desk: Desk, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openreg_airflow.deliver import operator

    with SITES[kind]() as site:
        text = auth031("ACPT", original=STEM, total=5)
        site.put(f"out/{STEM}_FDB_1.xml", text.encode())
        site.put("out/another.xml", b"not ours")
        monkeypatch.setattr(operator, "airflow_connection", lambda _: site.connection())
        desk.look(channel=site.channel, connection="there", folder=f"{site.root}out")
    assert desk.standing == ("accepted", 5, 0, 0)


def test_answers_hold_for_another_run_of_the_same_content(desk: Desk) -> None:
    desk.artifact = desk.artifact.model_copy(update={"content": "c" * 64, "version": 1})
    again, third, other = (RUN.model_copy(update={"run_id": f"again-{n}"}) for n in (1, 2, 3))
    for run in (RUN, again, third):
        Numbering(desk.store_url).record_artifact(run, desk.artifact)
    pending = {"original": STEM, "total": 5}
    desk.answer(
        auth031("PART", **pending, counts={"ACPT": 4, "PDNG": 1}, records=[("T2", "PDNG", "", "")])
    )
    desk.waits()
    # As long as records are pending, another run looks for itself.
    desk.validate(again)
    desk.waits(run=again)
    desk.answer(
        auth031(
            "PART", **pending, counts={"ACPT": 4, "RJCT": 1}, records=[("T2", "RJCT", "R1", "no")]
        ),
        f"{STEM}_FDB_2.xml",
    )
    desk.look()
    # Both files still lie there, and the older one is not taken for news.
    desk.validate(third)
    [standing] = desk.look(run=third)
    assert (standing["rejected"], standing["pending"]) == (1, 0)
    for file in (desk.outbox / "out").iterdir():
        file.unlink()

    # A later run of the same data: nothing is sent, and the authority has cleared its folder.
    desk.validate(other)
    Numbering(desk.store_url).record_artifact(other, desk.artifact)
    assert desk.queue["T2"][0] == "superseded"
    [standing] = desk.look(run=other)
    assert (standing["state"], standing["accepted"], standing["rejected"]) == (
        "partly accepted",
        4,
        1,
    )
    assert desk.queue == {"T2": ("pending", "no")}
    assert [one.run_id for one in desk.store.outstanding()] == ["again-1"]
    desk.look(run=again)
    assert desk.store.outstanding() == ()


def test_another_version_of_a_cleared_run_is_answered_by_itself(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    [file] = desk.artifact.files
    parts = [
        file.model_copy(update={"filename": f"{STEM}_{n}.xml", "records": records, "part": n})
        for n, records in ((1, 2), (2, 3))
    ]
    whole = desk.artifact
    desk.artifact = whole.model_copy(update={"files": tuple(parts)})
    desk.answer(auth031("ACPT", original=f"{STEM}_1", total=2), f"{STEM}_1_FDB_1.xml")
    rejected = [("T4", "RJCT", "CON-412", "x"), ("T5", "PDNG", "", "")]
    desk.answer(auth031("PART", original=f"{STEM}_2", records=rejected), f"{STEM}_2_FDB_1.xml")
    desk.waits()
    later = file.model_copy(update={"filename": f"{STEM}_v2.xml"})
    desk.artifact = whole.model_copy(update={"files": (later,)})
    desk.waits()
    assert desk.standing == ("awaited", 0, 0, 5)
    assert desk.store.answers(RUN, "regulator", "transactions") == ()
    told = [record for record in caplog.records if "another version since" in record.getMessage()]
    assert [record.levelname for record in told] == ["INFO", "WARNING"]
    rejected = [("T1", "RJCT", "CON-412", "not in data")]
    desk.answer(auth031("PART", original=f"{STEM}_v2", records=rejected), f"{STEM}_v2_FDB_1.xml")
    desk.look()
    assert desk.standing == ("partly accepted", 4, 1, 0)
    answers = desk.store.answers(RUN, "regulator", "transactions")
    assert [(one.reference, one.status) for one in answers] == [("T1", "rejected")]
    assert desk.queue["T1"] == ("pending", "not in data")
    assert len(desk.store.files(RUN, "regulator", "transactions")) == 3, "what came stays"


def test_answers_hold_only_for_runs_of_the_same_content_that_sent_nothing(desk: Desk) -> None:
    desk.artifact = desk.artifact.model_copy(update={"content": "c" * 64, "version": 1})
    Numbering(desk.store_url).record_artifact(RUN, desk.artifact)
    desk.answer(auth031("ACPT", original=STEM, total=5))
    desk.look()
    (desk.outbox / "out" / f"{STEM}_FDB_1.xml").unlink()
    other, resent, again = (RUN.model_copy(update={"run_id": name}) for name in "abc")
    made = desk.artifact
    desk.artifact = made.model_copy(update={"content": "d" * 64})
    desk.waits(run=other)
    desk.artifact = made
    # A person has it sent once more by the later run: the authority answers anew.
    [file] = made.files
    attempt = DeliveryAttempt(
        route="regulator",
        artifact="transactions",
        attempt=1,
        channel="folder",
        destination="file:///outbox",
        filename=file.filename,
        sha256=file.sha256,
        started_at=datetime.now(UTC),
        result="already-there",
    )
    store = Numbering(desk.store_url)
    store.record_attempt(resent, attempt)
    store.record_attempt(resent, attempt.model_copy(update={"attempt": 2, "result": "delivered"}))
    desk.waits(run=resent)
    store.record_attempt(again, attempt)
    # It sent another version before somebody cleared it.
    earlier = {"attempt": 2, "result": "delivered", "sha256": "0" * 64}
    store.record_attempt(again, attempt.model_copy(update=earlier))
    desk.look(run=again)
    # The run that sent it does so once more: earlier answers hold for nobody.
    desk.store.await_again(RUN, "regulator", "transactions", {1}, datetime.now(UTC))
    desk.waits(run=RUN.model_copy(update={"run_id": "d"}))
