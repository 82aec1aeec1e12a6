"""Whatever legal transaction goes in, the XML is valid and reads back to the same values."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from lxml import etree

from dag_factory.load import load
from openreg_airflow.column_types import arrow_type
from openreg_airflow.records import RunKey
from tests.rts22_trades import Row, report
from tests.unit.test_example_reports import BUSINESS_DATE, SPECS, Prepared, schema_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

FOLDER = SPECS / "mifir_all_fields"
SPEC = load(FOLDER)
RUN = RunKey(report_id="mifir_all_fields", business_date=BUSINESS_DATE, run_id="manual__1")
HEADER = pa.table(
    {
        "sender_lei": ["999900OPENREG0000147"], "receiver": ["DE"], "message_id": ["1"],
        "created_at": pa.array([0], pa.timestamp("us", "UTC")),
    }
)  # fmt: skip


def tables(transactions: list[dict[str, Any]]) -> dict[str, pa.Table]:
    """The tables of a run, with their inner rows in another order than the transactions."""
    rows: dict[str, list[Row]] = {"transactions": [made["row"] for made in transactions]}
    for name in ("parties", "flags", "basket_members"):
        rows[name] = [
            {"transaction_id": made["row"]["transaction_id"], **row}
            for made in reversed(transactions)
            for row in made.get(name, ())
        ]
    found = {"header": HEADER}
    for name, listed in rows.items():
        columns = SPEC.extract.sources[name].columns
        schema = pa.schema([(column, arrow_type(kind)) for column, kind in columns.items()])
        found[name] = pa.Table.from_pylist(listed, schema)
    return found


class Reader:
    """Reads elements into a row by their paths, each as what it is."""

    def __init__(self, element: etree._Element) -> None:
        self.element = element
        self.row: Row = {}

    def find(self, path: str) -> list[etree._Element]:
        return self.element.findall("/".join(f"{{*}}{step}" for step in path.split("/")))

    def take(self, name: str, path: str, read: Callable[[str], Any] = str) -> bool:
        found = self.find(path)
        if found:
            [element] = found
            self.row[name] = read(element.text or "")
        return bool(found)

    def currency(self, name: str, path: str) -> None:
        for element in self.find(path):
            self.row[name] = element.get("Ccy")


def flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


def person(reader: Reader, path: str, prefix: str = "") -> None:
    reader.take(f"{prefix}person_id", f"{path}/Othr/Id")
    for scheme in ("Cd", "Prtry"):
        reader.take(f"{prefix}id_scheme", f"{path}/Othr/SchmeNm/{scheme}")


def party(element: etree._Element, side: str, role: str) -> Row:
    reader = Reader(element)
    where = "Id/" if role == "OWNER" else ""
    reader.row = {"side": side, "role": role}
    reader.take("lei", f"{where}LEI")
    reader.take("mic", f"{where}MIC")
    reader.take("aggregated", f"{where}Intl", lambda text: text == "INTC")
    reader.take("first_name", f"{where}Prsn/FrstNm")
    reader.take("surname", f"{where}Prsn/Nm")
    reader.take("birth_date", f"{where}Prsn/BirthDt", date.fromisoformat)
    person(reader, f"{where}Prsn")
    reader.take("branch_country", "CtryOfBrnch")
    return reader.row


def price(reader: Reader, path: str, name: str) -> None:
    kinds = {"Pctg": "PERCENTAGE", "Yld": "YIELD", "BsisPts": "BASIS_POINTS"}
    for tag, kind in kinds.items():
        if reader.take(name, f"{path}/Pric/{tag}", Decimal):
            reader.row[f"{name}_kind"] = kind
    if reader.take(name, f"{path}/Pric/MntryVal/Amt", Decimal):
        reader.row[f"{name}_kind"] = "MONETARY"
        reader.currency(f"{name}_currency", f"{path}/Pric/MntryVal/Amt")
        reader.take(f"{name}_positive", f"{path}/Pric/MntryVal/Sgn", flag)
    reader.take(f"{name}_kind", f"{path}/NoPric/Pdg")
    reader.take(f"{name}_currency", f"{path}/NoPric/Ccy")


def index(reader: Reader, path: str, prefix: str) -> None:
    reader.take(f"{prefix}index_isin", f"{path}ISIN")
    reader.take(f"{prefix}index_code", f"{path}Nm/RefRate/Indx")
    reader.take(f"{prefix}index_name", f"{path}Nm/RefRate/Nm")
    reader.take(f"{prefix}term_unit", f"{path}Nm/Term/Unit")
    reader.take(f"{prefix}term_value", f"{path}Nm/Term/Val", int)


def underlying(reader: Reader, path: str, prefix: str, place: str) -> list[Row]:
    reader.take(f"{prefix}isin", f"{path}/Sngl/ISIN")
    index(reader, f"{path}/Sngl/Indx/", prefix)
    members = [{"place": place, "isin": e.text} for e in reader.find(f"{path}/Bskt/ISIN")]
    for element in reader.find(f"{path}/Bskt/Indx"):
        member = Reader(element)
        member.row = {"place": place}
        index(member, "", "")
        members.append(member.row)
    return members


def instrument(reader: Reader) -> list[Row]:
    reader.take("isin", "FinInstrm/Id")
    about, derivative = "FinInstrm/Othr/FinInstrmGnlAttrbts", "FinInstrm/Othr/DerivInstrmAttrbts"
    reader.take("isin", f"{about}/Id")
    reader.take("instrument_name", f"{about}/FullNm")
    reader.take("cfi", f"{about}/ClssfctnTp")
    reader.take("notional_currency", f"{about}/NtnlCcy")
    reader.take("maturity_date", "FinInstrm/Othr/DebtInstrmAttrbts/MtrtyDt", date.fromisoformat)
    reader.take("expiry_date", f"{derivative}/XpryDt", date.fromisoformat)
    reader.take("price_multiplier", f"{derivative}/PricMltplr", Decimal)
    reader.take("option_type", f"{derivative}/OptnTp")
    price(reader, f"{derivative}/StrkPric", "strike")
    reader.take("exercise_style", f"{derivative}/OptnExrcStyle")
    reader.take("delivery_type", f"{derivative}/DlvryTp")
    for place in ("", "Both/"):
        both = f"{derivative}/AsstClssSpcfcAttrbts/{place}"
        reader.take("rate_other_currency", f"{both}Intrst/OthrNtnlCcy")
        reader.take("fx_other_currency", f"{both}FX/OthrNtnlCcy")
    path = f"{derivative}/UndrlygInstrm"
    return (
        underlying(reader, f"{path}/Othr", "underlying_", "UNDERLYING")
        + underlying(reader, f"{path}/Swp/SwpIn", "swap_in_", "SWAP_IN")
        + underlying(reader, f"{path}/Swp/SwpOut", "swap_out_", "SWAP_OUT")
    )


def read_new(element: etree._Element) -> dict[str, Any]:
    """What a new transaction says."""
    reader = Reader(element)
    reader.row = {"action": "NEW"}
    for name, path, read in (
        ("transaction_id", "TxId", str), ("executing_lei", "ExctgPty", str),
        ("investment_firm", "InvstmtPtyInd", flag), ("submitting_lei", "SubmitgPty", str),
        ("order_transmitted", "OrdrTrnsmssn/TrnsmssnInd", flag),
        ("transmitting_buyer_lei", "OrdrTrnsmssn/TrnsmttgBuyr", str),
        ("transmitting_seller_lei", "OrdrTrnsmssn/TrnsmttgSellr", str),
        ("executed_at", "Tx/TradDt", datetime.fromisoformat),
        ("capacity", "Tx/TradgCpcty", str), ("notional_change", "Tx/DerivNtnlChng", str),
        ("net_amount", "Tx/NetAmt", Decimal), ("venue", "Tx/TradVn", str),
        ("membership_branch_country", "Tx/CtryOfBrnch", str),
        ("upfront_payment", "Tx/UpFrntPmt/Amt", Decimal),
        ("upfront_positive", "Tx/UpFrntPmt/Sgn", flag),
        ("venue_transaction_id", "Tx/TradPlcMtchgId", str),
        ("complex_trade_id", "Tx/CmplxTradCmpntId", str),
        ("decision_algorithm", "InvstmtDcsnPrsn/Algo", str),
        ("decision_branch_country", "InvstmtDcsnPrsn/Prsn/CtryOfBrnch", str),
        ("execution_algorithm", "ExctgPrsn/Algo", str),
        ("execution_branch_country", "ExctgPrsn/Prsn/CtryOfBrnch", str),
        ("execution_by_client", "ExctgPrsn/Clnt", lambda text: text == "NORE"),
        ("short_selling", "AddtlAttrbts/ShrtSellgInd", str),
        ("risk_reducing", "AddtlAttrbts/RskRdcgTx", flag),
        ("securities_financing", "AddtlAttrbts/SctiesFincgTxInd", flag),
    ):  # fmt: skip
        reader.take(name, path, read)
    for tag, kind in (("Unit", "UNIT"), ("NmnlVal", "NOMINAL"), ("MntryVal", "MONETARY")):
        if reader.take("quantity", f"Tx/Qty/{tag}", Decimal):
            reader.row["quantity_kind"] = kind
            if kind != "UNIT":
                reader.currency("quantity_currency", f"Tx/Qty/{tag}")
    reader.currency("upfront_currency", "Tx/UpFrntPmt/Amt")
    price(reader, "Tx/Pric", "price")
    person(reader, "InvstmtDcsnPrsn/Prsn", "decision_")
    person(reader, "ExctgPrsn/Prsn", "execution_")
    members = instrument(reader)
    return {
        "row": reader.row,
        "parties": [
            party(element, side, role)
            for tag, side in (("Buyr", "BUYER"), ("Sellr", "SELLER"))
            for part, role in (("AcctOwnr", "OWNER"), ("DcsnMakr", "DECIDER"))
            for element in reader.find(f"{tag}/{part}")
        ],
        "flags": [
            {"kind": kind, "code": element.text}
            for tag, kind in (("WvrInd", "WAIVER"), ("OTCPstTradInd", "POST_TRADE"))
            for element in reader.find(f"AddtlAttrbts/{tag}")
        ],
        "basket_members": members,
    }


def read_cancellation(element: etree._Element) -> dict[str, Any]:
    """What a cancellation says."""
    reader = Reader(element)
    reader.row = {"action": "CANCEL"}
    reader.take("transaction_id", "TxId")
    reader.take("executing_lei", "ExctgPty")
    reader.take("submitting_lei", "SubmitgPty")
    return {"row": reader.row}


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(transactions=report())
def test_legal_transactions_are_valid_and_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, transactions: list[dict[str, Any]]
) -> None:
    folder = schema_folder()
    prepared = Prepared(FOLDER, SPEC, RUN, tables(transactions))
    folders = (folder,) if folder else ()
    artifact, data = prepared.artifact(tmp_path_factory.mktemp("rts22"), folders)
    # Without the schemas, only what is read back is compared.
    assert artifact.schema_check.startswith("valid by auth.016" if folder else "not checked")
    found = [
        read_new(kind) if kind.tag.endswith("New") else read_cancellation(kind)
        for record in etree.fromstring(data).iter("{*}FinInstrmRptgTxRpt")
        for tx in record
        for kind in tx
    ]
    assert found == transactions
