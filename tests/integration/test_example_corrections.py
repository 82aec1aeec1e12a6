"""The examples in ISO 20022 are corrected under the rules of their formats, by their operators."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lxml import etree

from dag_factory.load import load
from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.deliver.operator import DeliverOperator
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.demo.trades import make_database
from openreg_airflow.errors import ReferenceReuseError
from openreg_airflow.extract.engine import Extraction
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.records import Artifact, RunKey
from openreg_airflow.store import Store
from tests.artifact_files import dataset
from tests.new_store import new_store
from tests.unit.test_example_reports import BUSINESS_DATE, SPECS, schema_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Tables = dict[str, pa.Table]
REPORTS = ("mifir_all_fields", "emir_refit", "sftr_transactions")
RECORDS = {"mifir_all_fields": "FinInstrmRptgTxRpt/{*}Tx"}
NAMES = {
    "mifir_all_fields": "TxId",
    "emir_refit": "UnqTxIdr",
    "sftr_transactions": "UnqTradIdr",
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tables]:
    """The tables of the reports, from the sample database."""
    database: Path = tmp_path_factory.mktemp("source") / "source.db"
    make_database(database, trades=50, business_date=BUSINESS_DATE)
    connection = SourceConnection(
        conn_id="openreg_demo_source", conn_type="sqlite", host=str(database)
    )
    found: dict[str, Tables] = {}
    for report_id in REPORTS:
        found[report_id] = {}
        for name, source in load(SPECS / report_id).extract.sources.items():
            file = database.with_name(f"{report_id}.{name}.parquet")
            Extraction(source, SPECS / report_id, connection, BUSINESS_DATE).run(file)
            found[report_id][name] = pq.read_table(file)
    return found


@dataclass
class Firm:
    """Runs of a report by its operators, without the stages before."""

    folder: Path
    report_id: str
    changes: dict[str, Any] = field(default_factory=dict)
    runs: int = 0

    def run(self, tables: Tables) -> tuple[RunKey, Artifact]:
        """Write the artifact."""
        self.runs += 1
        run = RunKey(
            report_id=self.report_id, business_date=BUSINESS_DATE, run_id=f"run-{self.runs}"
        )
        [(name, spec)] = load(SPECS / self.report_id).artifacts.items()
        spec = spec.model_copy(
            update={"references": spec.references.model_copy(update=self.changes)}
        )
        into = self.folder / "tables" / str(self.runs)
        task = ArtifactOperator(
            task_id="artifact",
            report_id=self.report_id,
            business_date=BUSINESS_DATE.isoformat(),
            folder=SPECS / self.report_id,
            artifact=name,
            spec=spec,
            tables={
                table: dataset(rows, into / f"{table}.parquet").model_dump(mode="json")
                for table, rows in tables.items()
            },
        )
        made = Artifact.model_validate(json.loads(json.dumps(task.execute(context(run)))))
        assert schema_folder() is None or not made.files or made.schema_check.startswith("valid")
        return run, made

    def report(self, tables: Tables) -> list[tuple[str, str]]:
        """Write and deliver it; what the delivered file says of which reference."""
        return self.deliver(*self.run(tables))

    def deliver(self, run: RunKey, artifact: Artifact) -> list[tuple[str, str]]:
        """Deliver it; what the delivered file says of which reference."""
        DeliverOperator(
            task_id="deliver",
            report_id=self.report_id,
            business_date=BUSINESS_DATE.isoformat(),
            route="regulator",
            spec=RouteSpec(channel="folder", connection="outbox", folder="in"),
            artifact=artifact.model_dump(mode="json"),
        ).execute(context(run))
        path = RECORDS.get(self.report_id, "TradData/{*}Rpt")
        return [
            (etree.QName(kind).localname, kind.findtext(".//{*}" + NAMES[self.report_id]))
            for file in artifact.files
            for [kind] in etree.parse(self.folder / "outbox" / "in" / file.filename).iterfind(
                ".//{*}" + path
            )
        ]


def context(run: RunKey) -> Any:
    ti = SimpleNamespace(try_number=1, max_tries=3)
    return {"dag_run": SimpleNamespace(run_id=run.run_id), "ti": ti}


@pytest.fixture
def firm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Firm]:
    (tmp_path / "outbox").mkdir()
    fs = {"conn_type": "fs", "extra": {"path": str(tmp_path / "outbox")}}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", new_store(tmp_path))
    if (folder := schema_folder()) is not None:
        monkeypatch.setenv("AIRFLOW__OPENREG__SCHEMA_FOLDERS", str(folder))
    return lambda report_id: Firm(tmp_path, report_id)


def without(tables: Tables, key: str, value: str) -> Tables:
    """The tables without a record and all that belongs to it."""
    return {
        name: rows.filter(pc.not_equal(rows[key], value)) if key in rows.column_names else rows
        for name, rows in tables.items()
    }


def changed(tables: Tables, table: str, column: str, row: int, value: Any) -> Tables:
    """The tables with another value in one row."""
    rows = tables[table]
    values = rows[column].to_pylist()
    values[row] = value
    place = rows.column_names.index(column)
    array = pa.array(values, rows.schema.field(column).type)
    return tables | {table: rows.set_column(place, rows.schema.field(column), array)}


def person(tables: Tables) -> int:
    """The row of a party who is a person."""
    names = tables["parties"]["surname"].to_pylist()
    return next(n for n, name in enumerate(names) if name is not None)


def test_changed_party_cancels_its_transaction_and_reports_it_anew(
    samples: dict[str, Tables], firm: Callable[[str], Firm]
) -> None:
    tables, mifir = samples["mifir_all_fields"], firm("mifir_all_fields")
    first = mifir.report(tables)
    assert len(first) == 15
    row = person(tables)
    whose = tables["parties"]["transaction_id"][row].as_py()
    gone = next(name for kind, name in first if kind == "New" and name != whose)

    second = without(changed(tables, "parties", "surname", row, "MUELLER"), "transaction_id", gone)

    expected = sorted([("Cxl", gone), ("Cxl", whose)], key=lambda one: one[1])
    assert mifir.report(second) == [*expected, ("New", whose)]
    [*_, file] = sorted((mifir.folder / "outbox" / "in").iterdir())
    assert b"MUELLER" in file.read_bytes()
    # A new header alone is nothing to report.
    assert mifir.report(changed(second, "header", "message_id", 0, "OTHER")) == []


def test_reference_of_a_nested_record_is_not_used_again(
    samples: dict[str, Tables], firm: Callable[[str], Firm]
) -> None:
    tables, mifir = samples["mifir_all_fields"], firm("mifir_all_fields")
    mifir.report(tables)
    mifir.changes = {"corrections": "as_written"}
    with pytest.raises(ReferenceReuseError, match="was reported by report mifir_all_fields"):
        mifir.report(changed(tables, "parties", "surname", person(tables), "MUELLER"))
    assert len(list((mifir.folder / "outbox" / "in").iterdir())) == 1
    run = RunKey(report_id="mifir_all_fields", business_date=BUSINESS_DATE, run_id="run-2")
    [attempt] = Store(f"sqlite:///{mifir.folder / 'store.db'}").attempts(run)
    assert (attempt.result, attempt.error_class) == ("failed", "ReferenceReuseError")


def test_changed_derivative_goes_out_as_a_correction(
    samples: dict[str, Tables], firm: Callable[[str], Firm]
) -> None:
    tables, emir = samples["emir_refit"], firm("emir_refit")
    utis = tables["reports"]["uti"].to_pylist()
    assert len(emir.report(tables)) == 11
    second = changed(tables, "reports", "first_leg_notional", 0, 12_000_000)
    second = changed(second, "reports", "first_leg_notional", 4, 13_000_000)
    second = changed(second, "reports", "valuation", 8, 7)
    assert [kind for kind, _ in emir.report(without(second, "uti", utis[1]))] == [
        "Err", "Crrctn", "Crrctn", "ValtnUpd",
    ]  # fmt: skip
    # Reported in error, in error: it stands again.
    assert [kind for kind, _ in emir.report(second)] == ["Rvv"]


def test_changed_collateral_goes_out_as_a_correction(
    samples: dict[str, Tables], firm: Callable[[str], Firm]
) -> None:
    tables, sftr = samples["sftr_transactions"], firm("sftr_transactions")
    utis = tables["reports"]["uti"].to_pylist()
    assert len(sftr.report(tables)) == 10
    whose = tables["securities"]["uti"][0].as_py()
    second = changed(tables, "securities", "market_value", 0, 9)
    assert sftr.report(without(second, "uti", utis[3])) == [("Err", utis[3]), ("Crrctn", whose)]
    with pytest.raises(ReferenceReuseError, match="is reported anew"):
        sftr.report(second)
