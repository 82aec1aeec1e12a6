"""The example reports in ISO 20022, from the sample database to a file that the schema accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq
import pytest
from lxml import etree

from dag_factory.check import check
from dag_factory.load import load
from openreg_airflow.artifacts.layouts import layout, layout_schema
from openreg_airflow.artifacts.layouts.layout_scaffold import scaffold
from openreg_airflow.artifacts.validity.xsd_model import Schema
from openreg_airflow.demo.trades import make_database
from openreg_airflow.extract.engine import Extraction
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.records import RunKey
from tests.unit.test_example_reports import (
    BUSINESS_DATE,
    SPECS,
    Prepared,
    schema_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

REPORTS = ("mifir_all_fields", "emir_refit", "sftr_transactions")
MIFIR = {
    "h": "urn:iso:std:iso:20022:tech:xsd:head.001.001.02",
    "d": "urn:iso:std:iso:20022:tech:xsd:auth.016.001.01",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    database: Path = tmp_path_factory.mktemp("source") / "source.db"
    make_database(database, trades=50, business_date=BUSINESS_DATE)
    found = {}
    connection = SourceConnection(
        conn_id="openreg_demo_source", conn_type="sqlite", host=str(database)
    )
    for report_id in REPORTS:
        folder = SPECS / report_id
        spec = load(folder)
        tables = {}
        for name, source in spec.extract.sources.items():
            file = database.with_name(f"{report_id}.{name}.parquet")
            Extraction(source, folder, connection, BUSINESS_DATE).run(file)
            tables[name] = pq.read_table(file)
        run = RunKey(report_id=report_id, business_date=BUSINESS_DATE, run_id="manual__1")
        found[report_id] = Prepared(folder, spec, run, tables)
    return found


@pytest.mark.parametrize("report_id", REPORTS)
def test_layout_agrees_with_the_schema(report_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = schema_folder()
    if folder is not None:
        monkeypatch.setenv("OPENREG_SCHEMAS", str(folder))
    assert check(SPECS / report_id) == []


@pytest.mark.parametrize("report_id", REPORTS)
def test_report_is_valid_by_the_iso_schema(
    prepared: dict[str, Prepared], tmp_path: Path, report_id: str
) -> None:
    folder = schema_folder()
    if folder is None:
        pytest.skip("the schemas of ISO 20022 are not here; OPENREG_SCHEMAS may name their folder")
    artifact, data = prepared[report_id].artifact(tmp_path, (folder,))
    assert artifact.schema_check.startswith("valid")
    [(_, spec)] = prepared[report_id].spec.artifacts.items()
    # A check of another kind than the writer's: the document alone, as a tree.
    schema = etree.XMLSchema(etree.parse(folder / spec.xsd.file))
    root = etree.fromstring(data)
    document = next(iter(root.iter("{*}Document")))
    assert schema.validate(etree.fromstring(etree.tostring(document))), schema.error_log


def test_mifir_report_stands_in_its_envelope(prepared: dict[str, Prepared], tmp_path: Path) -> None:
    _, data = prepared["mifir_all_fields"].artifact(tmp_path)
    root = etree.fromstring(data)
    assert root.tag == "{urn:iso:std:iso:20022:tech:xsd:head.003.001.01}BizData"
    [header] = root.findall(".//h:AppHdr", MIFIR)
    assert header.findtext("h:MsgDefIdr", None, MIFIR) == "auth.016.001.01"
    assert header.findtext("h:CreDt", None, MIFIR) == "2026-10-01T05:00:00Z"
    records = root.findall(".//d:FinInstrmRptgTxRpt/d:Tx", MIFIR)
    assert [record[0].tag.rpartition("}")[2] for record in records] == ["Cxl"] + ["New"] * 14


def test_mifir_report_gives_each_kind_of_party_and_price(
    prepared: dict[str, Prepared], tmp_path: Path
) -> None:
    _, data = prepared["mifir_all_fields"].artifact(tmp_path)
    root = etree.fromstring(data)

    def texts(path: str) -> list[str | None]:
        return [element.text for element in root.iterfind(f".//d:New/{path}", MIFIR)]

    owners = "d:Buyr/d:AcctOwnr/d:Id"
    assert texts(f"{owners}/d:Prsn/d:FrstNm") == ["ERIKA", "ERIKA", "MAX"]
    assert texts(f"{owners}/d:Intl") == ["INTC"]
    assert texts("d:Sellr/d:AcctOwnr/d:Id/d:MIC") == ["XETR"]
    assert len(texts("d:Buyr/d:DcsnMakr")) == 2
    assert texts("d:AddtlAttrbts/d:WvrInd") == ["RFPT", "ILQD"]
    assert texts("d:AddtlAttrbts/d:OTCPstTradInd") == ["BENC", "LRGS"]
    price = "d:Tx/d:Pric"
    assert texts(f"{price}/d:Pric/d:Pctg") == ["100.4502", "3.1", "2.3751"]
    assert texts(f"{price}/d:Pric/d:Yld") == ["-0.125"]
    assert texts(f"{price}/d:Pric/d:BsisPts") == ["61.25"]
    assert texts(f"{price}/d:NoPric/d:Pdg") == ["PNDG", "NOAP"]
    assert texts(f"{price}/d:Pric/d:MntryVal/d:Sgn") == ["false"]
    under = "d:FinInstrm/d:Othr/d:DerivInstrmAttrbts/d:UndrlygInstrm"
    assert len(texts(f"{under}/d:Othr/d:Bskt/d:ISIN")) == 2
    assert len(texts(f"{under}/d:Othr/d:Bskt/d:Indx")) == 1
    assert texts(f"{under}/d:Swp/d:SwpIn/d:Sngl/d:Indx/d:Nm/d:RefRate/d:Indx") == ["EURI"]


@pytest.mark.parametrize(
    ("report_id", "expected"),
    [
        (
            "emir_refit",
            ["New"] * 4 + ["Mod", "Crrctn", "Termntn", "PosCmpnt", "ValtnUpd", "Err", "Rvv"],
        ),
        (
            "sftr_transactions",
            ["New"] * 4 + ["Mod", "Crrctn", "EarlyTermntn", "CollUpd", "ValtnUpd", "Err"],
        ),
    ],
)
def test_each_action_type_is_written(
    prepared: dict[str, Prepared], tmp_path: Path, report_id: str, expected: list[str]
) -> None:
    _, data = prepared[report_id].artifact(tmp_path)
    records = etree.fromstring(data).iterfind(".//{*}TradData/{*}Rpt")
    assert [record[0].tag.rpartition("}")[2] for record in records] == expected


def test_sftr_report_gives_the_securities_of_each_trade(
    prepared: dict[str, Prepared], tmp_path: Path
) -> None:
    report = prepared["sftr_transactions"]
    _, data = report.artifact(tmp_path)
    written = [
        (str(record.findtext(".//{*}UnqTradIdr")), security.findtext("{*}Id"))
        for record in etree.fromstring(data).iterfind(".//{*}TradData/{*}Rpt")
        for security in record.iterfind(".//{*}Scty")
    ]
    listed = [(row["uti"], row["isin"]) for row in report.tables["securities"].to_pylist()]
    assert sorted(written) == sorted(listed)


@pytest.mark.parametrize("report_id", REPORTS)
def test_no_rule_of_the_report_fails(prepared: dict[str, Prepared], report_id: str) -> None:
    report = prepared[report_id]
    with duckdb.connect() as connection:
        for name, table in report.tables.items():
            connection.register(name, table)
        for rule in report.spec.validate_.rules.values():
            assert connection.execute(rule.sql).fetchall() == []


@pytest.mark.parametrize(
    "message", ["auth.016.001.01", "auth.030.001.03", "auth.031.001.01", "auth.052.001.01"]
)
def test_scaffold_of_an_iso_message_agrees_with_its_schema(message: str) -> None:
    folder = schema_folder()
    if folder is None or not (folder / f"{message}.xsd").is_file():
        pytest.skip(f"{message}.xsd is not here; OPENREG_SCHEMAS may name its folder")
    schema = Schema([folder / f"{message}.xsd"])
    root, faults = layout.inspect(scaffold(schema, "Document").encode())
    assert faults == []
    assert root is not None
    assert layout_schema.hold(root, schema) == []
