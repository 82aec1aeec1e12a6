"""The reports of the repository, from the sample database to the finished file, without Airflow."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lxml import etree

from dag_factory.load import load
from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.produce import produce
from openreg_airflow.column_types import arrow_type
from openreg_airflow.demo.site import Site
from openreg_airflow.demo.trades import make_database
from openreg_airflow.mappings.entries import Entries as MappingEntries
from openreg_airflow.mappings.fill import Filling
from openreg_airflow.mappings.search import search
from openreg_airflow.mappings.snapshot import write
from openreg_airflow.mappings.stored_sets import StoredSets
from openreg_airflow.records import Artifact, Column, Dataset, RuleResult, RunKey
from openreg_airflow.store.actor import Actor
from openreg_airflow.transform.runner.lookup import Entries
from openreg_airflow.validate.engine import run_rules
from openreg_airflow.validate.job import Job, TableFile
from openreg_airflow.validate.prepare import read_rules
from openreg_airflow.validate.spec import ValidateLimits
from openreg_airflow.workspace import Workspace, describe

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "report_specs"
BUSINESS_DATE = date(2026, 9, 30)
REPORTS = ("mifir_transactions", "positions_return")
NS = {"d": "urn:iso:std:iso:20022:tech:xsd:auth.016.001.01"}


def schema_folder() -> Path | None:
    """Where this machine has the schema of ISO 20022, if it has it."""
    named = os.environ.get("OPENREG_SCHEMAS")
    folders = [Path(part) for part in named.split(os.pathsep)] if named else []
    folders.append(ROOT.parent / "shared" / "xsd")
    return next((f for f in folders if (f / "auth.016.001.01.xsd").is_file()), None)


@dataclass
class Prepared:
    """A report up to its tables."""

    folder: Path
    spec: Any
    run: RunKey
    tables: dict[str, pa.Table]

    def evaluated(self, folder: Path) -> tuple[RuleResult, ...]:
        """The results of the report's rules over its tables."""
        files = {}
        for name, table in self.tables.items():
            files[name] = TableFile(path=folder / f"{name}.parquet", rows=table.num_rows)
            pq.write_table(table, files[name].path)
        work = Job(
            rules=read_rules(self.spec.validate_, self.folder),
            tables=files,
            business_date=self.run.business_date,
            limits=ValidateLimits(),
            failing_rows=10,
            failures=folder / "failing_rows.parquet",
            scratch=folder,
        )
        return run_rules(work)

    def artifact(self, root: Path, schema_folders: tuple[Path, ...] = ()) -> tuple[Artifact, bytes]:
        """Write the report's only artifact."""
        [(name, spec)] = self.spec.artifacts.items()
        root.mkdir(parents=True, exist_ok=True)
        datasets = {}
        for table, rows in self.tables.items():
            path = root / f"{table}.parquet"
            pq.write_table(rows, path, row_group_size=1000)
            columns = tuple(Column(name=f.name, type=str(f.type)) for f in rows.schema)
            ref = describe(path)
            datasets[table] = Dataset(**ref.model_dump(), rows=rows.num_rows, columns=columns)
        made = produce(
            name=name,
            spec=spec,
            folder=self.folder,
            run=self.run,
            tables=datasets,
            workspace=Workspace(root / "workspace"),
            schema_folders=schema_folders,
        )
        return made, Path(made.files[0].uri).read_bytes()


def extracted(database: Path, folder: Path, source: Any) -> pa.Table:
    """The rows of a query, with the declared types."""
    with closing(sqlite3.connect(database)) as connection:
        cursor = connection.execute(
            (folder / source.sql).read_text(), {"business_date": BUSINESS_DATE.isoformat()}
        )
        names = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
    columns = {}
    for index, name in enumerate(names):
        text = pa.array([row[index] for row in rows], pa.string())
        declared = arrow_type(source.columns.get(name, "string"))
        columns[name] = pc.cast(text, declared)
    return pa.table(columns)


def transformed(folder: Path, spec: Any, tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """What the report's script returns, with the declared types."""
    namespace: dict[str, Any] = {}
    exec((folder / spec.script).read_text(), namespace)
    frames = {name: table.to_pandas(types_mapper=pd.ArrowDtype) for name, table in tables.items()}
    context = SimpleNamespace(
        business_date=BUSINESS_DATE, parameters=spec.parameters, logger=logging.getLogger("test")
    )
    found = {}
    for name, frame in namespace["transform"](frames, context).items():
        declared = spec.tables[name].columns
        schema = pa.schema([(column, arrow_type(kind)) for column, kind in declared.items()])
        found[name] = pa.Table.from_pandas(frame[list(declared)], schema, preserve_index=False)
    return found


def mapped(spec: Any, site: Site, tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables with the columns that the report's map steps fill."""
    found, sets, now = dict(tables), StoredSets(site.store_url), datetime.now(UTC)
    for name, step in spec.map_.items():
        state = sets.state(step.set_, now)
        file = site.folder / f"{step.set_}.parquet"
        with sets.entries(state, now) as batches:
            write(state, batches, file)
        columns = ([one.name for one in kind] for kind in (state.keys, state.values))
        entries = Entries(pq.read_table(file), *columns)
        rows = found[step.table]
        filling = Filling(name, step, entries, rows.schema, BUSINESS_DATE)
        batches = [filling.apply(batch) for batch in rows.to_batches()]
        found[step.table] = pa.Table.from_batches(batches, filling.schema)
        assert not filling.use().unmapped
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("site"), ROOT)
    site.make_store()
    return site


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("source") / "source.db"
    make_database(path, business_date=BUSINESS_DATE)
    return path


@pytest.fixture(scope="module")
def prepared(database: Path, site: Site) -> dict[str, Prepared]:
    reports = {}
    for report_id in REPORTS:
        folder = SPECS / report_id
        spec = load(folder)
        tables = {n: extracted(database, folder, s) for n, s in spec.extract.sources.items()}
        if spec.transform:
            tables = transformed(folder, spec.transform, tables)
        tables = mapped(spec, site, tables)
        run = RunKey(report_id=report_id, business_date=BUSINESS_DATE, run_id="manual__1")
        reports[report_id] = Prepared(folder, spec, run, tables)
    return reports


@pytest.mark.parametrize("report_id", REPORTS)
def test_artifacts_of_the_example_have_no_faults(report_id: str) -> None:
    folder = SPECS / report_id
    assert list(check(load(folder).artifacts, folder)) == []


@pytest.mark.parametrize(
    ("report_id", "failing"),
    [
        ("mifir_transactions", {"price_near_reference": 7}),
        ("positions_return", {"no_short_positions": 4}),
    ],
)
def test_only_one_warning_rule_has_failing_rows(
    prepared: dict[str, Prepared], tmp_path: Path, report_id: str, failing: dict[str, int]
) -> None:
    results = prepared[report_id].evaluated(tmp_path)
    assert not [result for result in results if result.error]
    assert {result.rule_id: result.failed for result in results if result.failed} == failing
    assert {result.severity for result in results if result.failed} == {"warning"}


@pytest.mark.parametrize(
    ("damage", "rule_id", "failed"),
    [
        (("buyer_lei", ["999900OPENREG0000147", None]), "RTS22.07-lei", 2),
        (("executing_lei", ["999900OPENREG0000147", None]), "RTS22.04-lei", 2),
        (("isin", ["DE000ZX00064", "XX"]), "RTS22.41-isin", 2),
        (("venue", ["ZZZZ", "XETR"]), "RTS22.36-mic", 1),
        (("currency", ["HRK", "EUR"]), "RTS22.34-currency", 1),
        (("price", [Decimal("0.00000"), Decimal("-1.00000")]), "RTS22.33-price", 2),
        (("transaction_id", ["SAME", "SAME"]), "RTS22.02-unique", 2),
    ],
)
def test_the_rule_pack_finds_damaged_transactions(
    prepared: dict[str, Prepared],
    tmp_path: Path,
    damage: tuple[str, list[Any]],
    rule_id: str,
    failed: int,
) -> None:
    report = prepared["mifir_transactions"]
    column, values = damage
    rows = report.tables["transactions"].slice(20, 2)
    kind = rows.schema.field(column).type
    place = rows.schema.get_field_index(column)
    damaged = rows.set_column(place, column, pa.array(values, kind))
    results = replace(report, tables={"transactions": damaged}).evaluated(tmp_path)
    assert {r.rule_id: r.failed for r in results if r.failed}[rule_id] == failed


@pytest.mark.parametrize("report_id", REPORTS)
def test_same_data_give_the_same_bytes(
    prepared: dict[str, Prepared], tmp_path: Path, report_id: str
) -> None:
    first, data = prepared[report_id].artifact(tmp_path / "first")
    second, again = prepared[report_id].artifact(tmp_path / "second")
    assert data == again
    assert first.files[0].sha256 == second.files[0].sha256 == hashlib.sha256(data).hexdigest()


def test_mifir_report_is_valid_by_the_iso_schema(
    prepared: dict[str, Prepared], tmp_path: Path
) -> None:
    folder = schema_folder()
    if folder is None:
        pytest.skip("auth.016.001.01.xsd is not here; OPENREG_SCHEMAS may name its folder")
    artifact, data = prepared["mifir_transactions"].artifact(tmp_path, (folder,))
    assert artifact.schema_check == "valid"
    schema = etree.XMLSchema(etree.parse(folder / "auth.016.001.01.xsd"))
    assert schema.validate(etree.fromstring(data)), schema.error_log


def test_mifir_report_holds_what_the_table_holds(
    prepared: dict[str, Prepared], tmp_path: Path
) -> None:
    report = prepared["mifir_transactions"]
    artifact, data = report.artifact(tmp_path)
    rows = report.tables["transactions"].to_pylist()
    records = etree.fromstring(data).findall("d:FinInstrmRptgTxRpt/d:Tx", NS)
    assert artifact.records == len(rows) == len(records)
    assert artifact.files[0].filename == "DEMO_DATTRA_DE_20260930_1.xml"
    assert artifact.schema_check.startswith("not checked: auth.016.001.01.xsd was not found in")
    assert [row["action"] for row in rows] == ["CANCEL"] * 12 + ["NEW"] * 4000
    for row, record in zip(rows, records, strict=True):
        [kind] = record
        assert kind.tag == f"{{{NS['d']}}}" + ("New" if row["action"] == "NEW" else "Cxl")
        assert kind.findtext("d:TxId", None, NS) == row["transaction_id"]
        if row["action"] == "CANCEL":
            continue
        amount = kind.find("d:Tx/d:Pric/d:Pric/d:MntryVal/d:Amt", NS)
        assert amount is not None
        assert (amount.text, amount.get("Ccy")) == (
            format(row["price"].normalize(), "f"),
            row["currency"],
        )
        executed = row["executed_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert kind.findtext("d:Tx/d:TradDt", None, NS) == executed
        assert kind.findtext("d:Tx/d:TradPlcMtchgId", None, NS) == row["venue_transaction_id"]
        assert kind.findtext("d:ExctgPrsn/d:Algo", None, NS) == row["execution_algorithm"]
        client = kind.findtext("d:ExctgPrsn/d:Clnt", None, NS)
        assert client == (None if row["execution_algorithm"] else "NORE")


def test_positions_return_names_the_owner_that_the_books_know(
    prepared: dict[str, Prepared], database: Path
) -> None:
    with closing(sqlite3.connect(database)) as connection:
        owners = dict(connection.execute("SELECT account, owner_lei FROM positions"))
    rows = prepared["positions_return"].tables["positions"].to_pylist()
    assert {row["account"]: row["owner_lei"] for row in rows} == owners


def test_making_the_store_again_keeps_what_people_changed(tmp_path: Path) -> None:
    site = Site(tmp_path, ROOT)
    site.make_store()
    first = search(site.store_url, "account_owners").entries[0]
    MappingEntries(site.store_url, "account_owners", Actor("people", "test")).delete(first.id)
    site.make_store()
    assert first.key not in [e.key for e in search(site.store_url, "account_owners").entries]


def test_positions_return_holds_what_the_table_holds(
    prepared: dict[str, Prepared], tmp_path: Path
) -> None:
    report = prepared["positions_return"]
    artifact, data = report.artifact(tmp_path)
    header, *lines, trailer = csv.reader(data.decode().splitlines(), delimiter=";")
    assert artifact.files[0].filename == "positions_return_20260930.csv"
    assert header[:3] == ["PositionDate", "Account", "OwnerLEI"]
    rows = report.tables["positions"].to_pylist()
    assert artifact.records == len(rows) == len(lines) == 900
    for row, line in zip(rows, lines, strict=True):
        assert line[0] == row["position_date"].isoformat()
        assert line[5] == format(row["quantity"].normalize(), "f")
        assert line[7] == f"{row['market_value']:.5f}"
    total = sum((row["market_value"] for row in rows), Decimal(0))
    assert trailer[:2] == ["TRAILER", "900"]
    assert Decimal(trailer[2]) == total
    assert data.endswith(b"\r\n")
