"""Versions of the MiFIR example go out one after the other, and the authority answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lxml import etree

from dag_factory import read_back
from dag_factory.load import load
from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.column_types import arrow_type
from openreg_airflow.deliver.acknowledgement.operator import AcknowledgeOperator
from openreg_airflow.deliver.again import dry_run, send_again
from openreg_airflow.deliver.delivery import Delivery
from openreg_airflow.deliver.operator import DeliverOperator, airflow_connection
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.errors import ReferenceReuseError
from openreg_airflow.records import Artifact, Column, Dataset, RunKey
from openreg_airflow.store import Store
from openreg_airflow.store.acknowledgements import Acknowledgements
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.deliveries import Deliveries
from openreg_airflow.validate.finished.operator import CheckArtifactsOperator
from openreg_airflow.workspace import Workspace
from tests.feedback_files import auth031
from tests.new_store import new_store
from tests.unit.test_example_reports import NS, SPECS, schema_folder

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = SPECS / "mifir_transactions"
DAY = date(2026, 3, 2)
LEI = "999900OPENREG0000147"
ROW = {
    "action": "NEW",
    "executing_lei": LEI,
    "submitting_lei": LEI,
    "investment_firm": True,
    "buyer_lei": LEI,
    "seller_lei": LEI,
    "order_transmitted": False,
    "executed_at": datetime(2026, 3, 2, 9, tzinfo=UTC),
    "capacity": "DEAL",
    "quantity": Decimal("5.0000"),
    "currency": "EUR",
    "venue": "XETR",
    "isin": "DE000A1EWWW0",
    "execution_algorithm": "ALGO1",
    "securities_financing": False,
}


@dataclass
class Firm:
    """Runs of the example by its operators, without the stages before."""

    folder: Path
    corrections: str = "cancel_and_new"
    runs: int = 0

    @property
    def outbox(self) -> Path:
        return self.folder / "outbox"

    def run(self, **prices: int) -> tuple[RunKey, Artifact]:
        """Write the artifact of transactions by reference and price."""
        self.runs += 1
        run = RunKey(report_id="mifir_transactions", business_date=DAY, run_id=f"run-{self.runs}")
        spec = load(FOLDER)
        artifact = spec.artifacts["transactions"]
        assert artifact.references is not None
        about = artifact.references.model_copy(update={"corrections": self.corrections})
        artifact = artifact.model_copy(update={"references": about})
        tables = {"transactions": self._table(run, prices).model_dump(mode="json")}
        task = ArtifactOperator(
            task_id="artifact",
            report_id=run.report_id,
            business_date=DAY.isoformat(),
            folder=FOLDER,
            artifact="transactions",
            spec=artifact,
            tables=tables,
        )
        made = task.execute(context(run))
        assert spec.validate_ is not None
        CheckArtifactsOperator(
            task_id="check",
            report_id=run.report_id,
            business_date=DAY.isoformat(),
            folder=FOLDER,
            spec=spec.validate_,
            forms=read_back.forms(spec),
            artifacts={"transactions": made},
            tables=tables,
        ).execute(context(run))
        return run, Artifact.model_validate(json.loads(json.dumps(made)))

    def _table(self, run: RunKey, prices: dict[str, int]) -> Dataset:
        spec = load(FOLDER)
        assert spec.transform is not None
        columns = spec.transform.tables["transactions"].columns
        rows = [
            ROW | {"transaction_id": name, "price": Decimal(price)}
            for name, price in prices.items()
        ]
        fields = [(name, arrow_type(kind)) for name, kind in columns.items()]
        table = pa.Table.from_pylist(rows, pa.schema(fields))
        folder = Workspace(self.folder / "workspace").folder(run, "transform")
        with folder.writing("transactions.parquet") as pending:
            pq.write_table(table, pending.path)
        return Dataset(
            **dict(pending.ref),
            rows=len(rows),
            columns=tuple(Column(name=f.name, type=str(f.type)) for f in table.schema),
        )

    def deliver(self, run: RunKey, artifact: Artifact, **spec: Any) -> list[Any]:
        """Bring it to the folder; the receipts."""
        task = DeliverOperator(
            task_id="deliver",
            report_id=run.report_id,
            business_date=DAY.isoformat(),
            route="regulator",
            spec=RouteSpec(channel="folder", connection="outbox", folder="in", **spec),
            artifact=artifact.model_dump(mode="json"),
        )
        receipts: list[Any] = task.execute(context(run))
        return receipts

    def answer(self, run: RunKey, artifact: Artifact, receipts: Any, text: str) -> Any:
        """Let the authority answer, and read it."""
        (self.outbox / "out").mkdir(exist_ok=True)
        (self.outbox / "out" / f"FDB_{run.run_id}.xml").write_text(text)
        answer = {"pattern": "FDB_*.xml", "folder": "out", "reference": "transaction_id"}
        task = AcknowledgeOperator(
            task_id="acknowledge",
            report_id=run.report_id,
            business_date=DAY.isoformat(),
            route="regulator",
            spec=RouteSpec.model_validate(
                {"channel": "folder", "connection": "outbox", "acknowledgement": answer}
            ),
            artifact=artifact.model_dump(mode="json"),
            receipts=receipts,
            tables={},
        )
        return task.execute(context(run))

    def sent(self, artifact: Artifact) -> list[tuple[str, str]]:
        """What the delivered file cancels and reports."""
        [file] = artifact.files
        document = etree.parse(self.outbox / "in" / file.filename)
        if (folder := schema_folder()) is not None:
            etree.XMLSchema(etree.parse(folder / "auth.016.001.01.xsd")).assertValid(document)
        return [
            (etree.QName(kind).localname, kind.findtext("d:TxId", namespaces=NS))
            for [kind] in document.getroot().iterfind("d:FinInstrmRptgTxRpt/d:Tx", NS)
        ]


def context(run: RunKey) -> Any:
    ti = SimpleNamespace(try_number=1, max_tries=3)
    return {"dag_run": SimpleNamespace(run_id=run.run_id), "ti": ti}


@pytest.fixture
def firm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Firm:
    url = new_store(tmp_path)
    (tmp_path / "outbox").mkdir()
    fs = {"conn_type": "fs", "extra": {"path": str(tmp_path / "outbox")}}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    return Firm(tmp_path)


def test_correction_goes_out_as_cancellation_and_new_report(firm: Firm) -> None:
    first = firm.run(T1=100, T2=101, T3=102)
    receipts = firm.deliver(*first)
    assert firm.sent(first[1]) == [("New", "T1"), ("New", "T2"), ("New", "T3")]
    # The authority refuses T3, so nothing of it stands that could be cancelled.
    counts = {"ACPT": 2, "RJCT": 1}
    rejected = [("T3", "RJCT", "CON-412", "not in data")]
    stem = first[1].files[0].filename.removesuffix(".xml")
    text = auth031("PART", original=stem, total=3, counts=counts, records=rejected)
    firm.answer(*first, receipts, text)

    second = firm.run(T1=100, T2=99, T3=103)

    receipts = firm.deliver(*second)
    assert firm.sent(second[1]) == [("Cxl", "T2"), ("New", "T2"), ("New", "T3")]
    # An answer to T2 means its new report: it counts once.
    rejected = [("T2", "RJCT", "CON-412", "not in data")]
    stem = second[1].files[0].filename.removesuffix(".xml")
    text = auth031("PART", original=stem, total=3, counts=counts, records=rejected)
    [standing] = firm.answer(*second, receipts, text)
    assert (standing["accepted"], standing["rejected"]) == (2, 1)
    third = firm.run(T2=98)
    firm.deliver(*third)
    assert firm.sent(third[1]) == [("Cxl", "T1"), ("Cxl", "T3"), ("New", "T2")]


@pytest.mark.parametrize("taken_away", [True, False])
def test_earlier_answers_count_no_more_for_a_file_that_is_sent_again(
    firm: Firm, taken_away: bool
) -> None:
    run, artifact = firm.run(T1=100, T2=101)
    receipts = firm.deliver(run, artifact)
    [file] = artifact.files
    told = {"original": file.filename, "total": 2}
    rejected = [("T1", "RJCT", "CON-412", "not in data")]
    counts = {"ACPT": 1, "RJCT": 1}
    firm.answer(run, artifact, receipts, auth031("PART", counts=counts, records=rejected, **told))
    if taken_away:
        (firm.outbox / "in" / file.filename).unlink()
    answer = {"pattern": "FDB_*.xml", "folder": "out"}
    spec = {"channel": "folder", "connection": "outbox", "folder": "in", "acknowledgement": answer}
    url = f"sqlite:///{firm.folder / 'store.db'}"
    send_again(
        Delivery(
            run=run,
            route="regulator",
            spec=RouteSpec.model_validate(spec),
            artifact=artifact,
        ),
        connect=airflow_connection,
        workspace=Workspace(firm.folder / "workspace"),
        store=Deliveries(url),
        actor=Actor("ada", "command line"),
        reason="they lost it",
    )
    [standing] = Acknowledgements(url).of_run(run, "regulator", "transactions")
    second = firm.run(T1=99, T2=101)
    if not taken_away:
        # Nothing was sent: the rejection stands as it did.
        assert (standing.state, standing.rejected) == ("partly accepted", 1)
        firm.deliver(*second)
        assert firm.sent(second[1]) == [("New", "T1")]
        return
    assert (standing.state, standing.pending) == ("awaited", 2)
    [found] = firm.answer(run, artifact, receipts, auth031("ACPT", **told))
    assert (found["accepted"], found["rejected"]) == (2, 0)
    firm.deliver(*second)
    assert firm.sent(second[1]) == [("Cxl", "T1"), ("New", "T1")]


def test_reused_reference_is_stopped_before_delivery(firm: Firm) -> None:
    firm.corrections = "as_written"
    firm.deliver(*firm.run(T1=100))
    run, artifact = firm.run(T1=99, T2=101)

    with pytest.raises(ReferenceReuseError, match="'T1' was reported by report mifir_transactions"):
        firm.deliver(run, artifact)

    assert len(list((firm.outbox / "in").iterdir())) == 1
    [attempt] = Store(f"sqlite:///{firm.folder / 'store.db'}").attempts(run)
    assert (attempt.result, attempt.error_class) == ("failed", "ReferenceReuseError")


def test_dry_run_says_that_a_reference_stands(firm: Firm) -> None:
    firm.corrections = "as_written"
    firm.deliver(*firm.run(T1=100))
    run, artifact = firm.run(T1=99)
    spec = RouteSpec(channel="folder", connection="outbox", folder="in")
    [finding] = dry_run(
        [Delivery(run=run, route="regulator", spec=spec, artifact=artifact)],
        connect=airflow_connection,
        workspace=Workspace(firm.folder / "workspace"),
        store=Deliveries(f"sqlite:///{firm.folder / 'store.db'}"),
    )
    assert finding.refused
    assert "'T1' was reported" in finding.said


def test_repeated_delivery_is_not_stopped_by_itself(firm: Firm) -> None:
    first = firm.run(T1=100)
    firm.deliver(*first)
    assert firm.deliver(*first)[0]["already_there"]
    again = firm.run(T1=100)
    assert again[1].files[0].sha256 == first[1].files[0].sha256
    assert firm.deliver(*again)[0]["already_there"]


def test_failed_delivery_leaves_its_references_free(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = {"conn_type": "fs", "extra": {"path": str(firm.folder / "missing")}}
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
        with pytest.raises(Exception, match="missing"):
            firm.deliver(*firm.run(T1=100))
    second = firm.run(T1=99)
    firm.deliver(*second)
    assert firm.sent(second[1]) == [("New", "T1")]


def test_data_that_comes_back_while_a_correction_is_not_delivered_sends_nothing_again(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = firm.run(T1=100, T2=101)
    firm.deliver(*first)
    fs = {"conn_type": "fs", "extra": {"path": str(firm.folder / "missing")}}
    second = firm.run(T1=99, T2=101)
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
        with pytest.raises(Exception, match="missing"):
            firm.deliver(*second)

    third = firm.run(T1=100, T2=101)

    assert third[1].version == first[1].version
    assert firm.deliver(*third)[0]["already_there"]
    assert len(list((firm.outbox / "in").iterdir())) == 1
    # The correction goes out after all, when somebody clears its delivery, and can be taken back.
    firm.deliver(*second)
    assert firm.sent(second[1]) == [("Cxl", "T1"), ("New", "T1")]
    fourth = firm.run(T1=100, T2=101)
    firm.deliver(*fourth)
    assert firm.sent(fourth[1]) == [("Cxl", "T1"), ("New", "T1")]


def test_another_version_of_the_same_content_is_held_against_the_first(firm: Firm) -> None:
    firm.corrections = "as_written"
    firm.deliver(*firm.run(T1=100))
    firm.run(T1=99)
    third = firm.run(T1=100)
    assert third[1].version == 3

    with pytest.raises(ReferenceReuseError, match="'T1' was reported by report mifir_transactions"):
        firm.deliver(*third)

    assert len(list((firm.outbox / "in").iterdir())) == 1


def test_an_archive_does_not_count_as_reported(firm: Firm) -> None:
    firm.deliver(*firm.run(T1=100), reports=False)
    second = firm.run(T1=99)
    firm.deliver(*second)
    assert firm.sent(second[1]) == [("New", "T1")]
