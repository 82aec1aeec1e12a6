"""Sample reports under EMIR and SFTR, one for each action type and kind of contract."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from openreg_airflow.demo.identifiers import isin, lei

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from datetime import date

Row = dict[str, str | int]

_EMIR = (
    "action", "reporting_lei", "reporting_kind", "reporting_sector",
    "reporting_above_threshold", "first_leg_direction", "second_leg_direction",
    "counterparty_side", "other_lei", "other_person_id", "other_person_country", "other_kind",
    "other_sector", "other_above_threshold", "other_reports", "broker_lei", "submitting_lei",
    "clearing_member_lei", "responsible_lei", "reported_at", "contract_type", "asset_class",
    "cfi", "isin", "upi", "underlying_isin", "underlying_index_name", "underlying_index_code",
    "underlying_not_available", "settlement_currency", "uti", "prior_uti",
    "collateral_portfolio", "collateral", "tracking_number", "venue", "price_kind",
    "price_currency", "price", "first_leg_currency", "first_leg_notional",
    "second_leg_currency", "second_leg_notional", "quantity", "delivery_type", "executed_at",
    "effective_date", "expiration_date", "settlement_date", "master_agreement",
    "master_agreement_version", "risk_reduction", "event_type", "event_date", "confirmation",
    "confirmed_at", "confirmed", "clearing_obligation", "cleared", "ccp_lei", "cleared_at",
    "intragroup", "first_leg_fixed_rate", "first_leg_day_count", "first_leg_payment_unit",
    "first_leg_payment_value", "first_leg_floating_name", "first_leg_floating_code",
    "first_leg_spread_basis_points", "second_leg_fixed_rate", "second_leg_day_count",
    "second_leg_payment_unit", "second_leg_payment_value", "second_leg_floating_name",
    "second_leg_floating_code", "second_leg_spread_basis_points", "exchange_rate",
    "forward_exchange_rate", "base_currency", "quoted_currency", "option_type",
    "exercise_style", "strike_kind", "strike_currency", "strike", "premium_currency", "premium",
    "premium_date", "seniority", "reference_entity_lei", "credit_payment_frequency",
    "package_id", "level", "early_termination_date", "valuation_currency", "valuation",
    "valuation_positive", "valued_at", "valuation_type", "delta",
)  # fmt: skip
_SFTR = (
    "action", "reported_at", "submitting_lei", "reporting_lei", "reporting_kind",
    "reporting_sector", "reporting_branch_country", "side", "other_lei", "other_country",
    "responsible_lei", "kind", "uti", "event_date", "executed_at", "cleared", "ccp_lei",
    "cleared_at", "venue", "master_agreement", "master_agreement_version", "value_date",
    "general_collateral", "delivery_by_value", "delivery_method", "maturity_date",
    "termination_option", "fixed_rate", "day_count", "floating_code", "term_unit", "term_value",
    "spread", "currency", "principal", "principal_at_maturity", "loan_value", "rebate_rate",
    "lending_fee", "collateral_date", "cash_currency", "cash_amount", "net_exposure",
    "basket_isin", "collateralised", "level", "termination_date",
)  # fmt: skip
_SECURITIES = (
    "uti", "purpose", "isin", "cfi", "quantity", "nominal_currency", "nominal",
    "market_value_currency", "market_value", "quality", "security_maturity_date", "exclusive",
    "reusable", "haircut",
)  # fmt: skip
_HEADER = ("sender_lei", "receiver_lei", "message_id", "created_at")
#: The columns of each table, beside report_date and position.
TABLES: Mapping[str, tuple[str, ...]] = {
    "emir_header": _HEADER,
    "emir_reports": _EMIR,
    "sftr_header": _HEADER,
    "sftr_reports": _SFTR,
    "sftr_securities": _SECURITIES,
}
_FIRM, _CLEARING, _BROKER, _CLIENT, _REPOSITORY = (lei(n) for n in (1, 2, 3, 15, 80))


def fill(database: sqlite3.Connection, business_date: date) -> None:
    """Make the tables and fill them for one day.

    Args:
        database: a database without them; the caller commits.
        business_date: the day on which all of it is reported.
    """
    day = business_date.isoformat()
    found = {
        "emir_header": [_header(business_date, "EMIR")],
        "emir_reports": _emir(business_date),
        "sftr_header": [_header(business_date, "SFTR")],
        "sftr_reports": _sftr(business_date),
        "sftr_securities": _securities(business_date),
    }
    for table, columns in TABLES.items():
        names = ", ".join(f"{name} TEXT" for name in columns)
        database.execute(f"CREATE TABLE {table} (report_date TEXT, position INTEGER, {names})")
        for position, row in enumerate(found[table]):
            values = [day, position, *(row.get(name) for name in columns)]
            marks = ", ".join("?" * len(values))
            database.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608


def _header(day: date, regime: str) -> Row:
    return {
        "sender_lei": _FIRM, "receiver_lei": _REPOSITORY,
        "message_id": f"{regime}{day:%Y%m%d}000001",
        "created_at": f"{day + timedelta(days=1)}T05:00:00Z",
    }  # fmt: skip


def _uti(day: date, number: int) -> str:
    return f"{_FIRM}{day:%Y%m%d}{number:04d}"


def _emir(day: date) -> list[Row]:
    swap: Row = {
        "contract_type": "SWAP", "asset_class": "INTR", "cfi": "SRCCSP",
        "first_leg_direction": "MAKE", "second_leg_direction": "TAKE",
        "first_leg_fixed_rate": "2.3751", "first_leg_day_count": "A001",
        "first_leg_payment_unit": "YEAR", "first_leg_payment_value": 1,
        "second_leg_floating_name": "SAMPLE SIX MONTH RATE", "second_leg_floating_code": "EURI",
        "second_leg_spread_basis_points": 12, "second_leg_day_count": "A004",
        "second_leg_payment_unit": "MNTH", "second_leg_payment_value": 6,
        "second_leg_currency": "EUR", "second_leg_notional": "10000000",
        "upi": "QZSAMPLE0001", "cleared": "true", "ccp_lei": _CLEARING,
        "cleared_at": f"{day}T10:15:00Z", "clearing_member_lei": _BROKER,
        "clearing_obligation": "TRUE", "underlying_not_available": "UKWN",
    }  # fmt: skip
    forward: Row = {
        "contract_type": "FORW", "asset_class": "CURR", "cfi": "JFTXFP",
        "first_leg_direction": "TAKE", "second_leg_direction": "MAKE", "exchange_rate": "1.0815",
        "forward_exchange_rate": "1.0841", "base_currency": "EUR", "quoted_currency": "USD",
        "second_leg_currency": "USD", "second_leg_notional": "10841000", "delivery_type": "PHYS",
        "settlement_date": "2027-03-31", "confirmation": "ECNF",
        "confirmed_at": f"{day}T11:00:00Z", "tracking_number": "RTN0001",
    }  # fmt: skip
    option: Row = {
        "contract_type": "OPTN", "asset_class": "EQUI", "cfi": "HESAVC",
        "counterparty_side": "BYER",
        "isin": isin("DE", 9101), "underlying_isin": isin("FR", 7), "option_type": "CALL",
        "exercise_style": "EURO", "strike_kind": "MONETARY", "strike": "42.5",
        "strike_currency": "EUR", "premium": "1250.75", "premium_currency": "EUR",
        "premium_date": "2026-10-02", "price_kind": "MONETARY", "price": "1.25",
        "price_currency": "EUR", "quantity": "1000", "confirmed": "false", "package_id": "PKG1",
    }  # fmt: skip
    credit: Row = {
        "contract_type": "SWAP", "asset_class": "CRDT", "cfi": "SCICSN",
        "counterparty_side": "SLLR",
        "seniority": "SNDB", "reference_entity_lei": lei(40), "credit_payment_frequency": "QURT",
        "underlying_index_name": "SAMPLE CREDIT INDEX", "price_kind": "PERCENTAGE",
        "price": "0.6125", "prior_uti": _uti(day, 77), "collateral_portfolio": "PORTFOLIO1",
    }  # fmt: skip
    ended: Row = {"event_type": "ETRM", "early_termination_date": day.isoformat()}
    valued: Row = {
        "valuation": "125000.125", "valuation_currency": "EUR", "valuation_positive": "false",
        "valued_at": f"{day}T17:00:00Z", "valuation_type": "MTMA", "delta": "0.55",
    }  # fmt: skip
    person: Row = {
        "other_person_id": "DE19840812ERIKAMUSTE", "other_person_country": "DE", "other_kind": "O",
        "other_reports": "false",
    }  # fmt: skip
    traded: Row = {"event_type": "TRAD"}
    updated: Row = {"event_type": "UPDT"}
    position: Row = {"event_type": "INCP", "level": "PSTN"}
    cases: list[tuple[str, Row]] = [
        ("NEWT", swap | traded), ("NEWT", forward | traded | person), ("NEWT", option | traded),
        ("NEWT", credit | traded), ("MODI", swap | updated), ("CORR", option | updated),
        ("TERM", ended), ("POSC", position | option), ("VALU", valued), ("EROR", {}),
        ("REVI", forward),
    ]  # fmt: skip
    found = []
    for number, (action, case) in enumerate(cases):
        usual: Row = {
            "reporting_lei": _FIRM, "reporting_kind": "F", "reporting_sector": "INVF",
            "reporting_above_threshold": "true", "submitting_lei": _FIRM, "responsible_lei": _FIRM,
            "reported_at": f"{day + timedelta(days=1)}T04:30:00Z", "collateral": "false",
            "venue": "XXXX", "executed_at": f"{day}T09:{number:02d}:30Z", "event_date": str(day),
            "effective_date": str(day), "expiration_date": "2031-09-30", "intragroup": "false",
            "settlement_currency": "EUR", "first_leg_currency": "EUR", "risk_reduction": "false",
            "first_leg_notional": "10000000", "master_agreement": "ISDA", "cleared": "false",
            "master_agreement_version": "2002", "clearing_obligation": "FLSE", "level": "TCTN",
            "delivery_type": "CASH", "broker_lei": _BROKER,
        }  # fmt: skip
        other: Row = {
            "other_lei": _CLIENT, "other_kind": "N", "other_sector": "C",
            "other_above_threshold": "false", "other_reports": "true",
        }  # fmt: skip
        whom = {} if "other_person_id" in case else other
        found.append({"uti": _uti(day, number), "action": action} | usual | whom | case)
    return found


def _sftr(day: date) -> list[Row]:
    fixed: Row = {"fixed_rate": "2.05", "maturity_date": "2026-10-30"}
    floating: Row = {
        "floating_code": "ESTR", "term_unit": "DAYS", "term_value": 1, "spread": "4.5",
        "cleared": "true", "ccp_lei": _CLEARING, "cleared_at": f"{day}T10:15:00Z",
    }  # fmt: skip
    amounts: Row = {"principal": "5000000", "principal_at_maturity": "5008541.67"}
    repo: Row = {"kind": "REPO", "general_collateral": "SPEC", **amounts}
    lending: Row = {
        "kind": "LENDING", "side": "GIVE", "loan_value": "1250000.5", "lending_fee": "0.35",
        "collateralised": "true", "general_collateral": "SPEC",
    }  # fmt: skip
    rebate: Row = {
        "rebate_rate": "1.2", "cash_amount": "1300000", "cash_currency": "EUR",
        "general_collateral": "GENE",
    }  # fmt: skip
    open_basket: Row = {"net_exposure": "true", "basket_isin": isin("LU", 90)}
    bare: Row = {"collateralised": "false"}
    ended: Row = {"termination_date": str(day)}
    cases: list[tuple[str, Row]] = [
        ("NEWT", repo | fixed), ("NEWT", repo | floating | open_basket), ("NEWT", lending | rebate),
        ("NEWT", lending | bare), ("MODI", repo | fixed), ("CORR", lending), ("ETRM", repo | ended),
        ("COLU", repo), ("VALU", lending), ("EROR", repo),
    ]  # fmt: skip
    found = []
    for number, (action, case) in enumerate(cases):
        usual: Row = {
            "reported_at": f"{day + timedelta(days=1)}T04:30:00Z", "submitting_lei": _FIRM,
            "reporting_lei": _FIRM, "reporting_kind": "F", "reporting_sector": "INVF",
            "reporting_branch_country": "DE", "side": "TAKE", "other_lei": _CLIENT,
            "other_country": "FR", "responsible_lei": _FIRM, "event_date": str(day),
            "executed_at": f"{day}T09:{number:02d}:30Z", "cleared": "false", "venue": "XXXX",
            "master_agreement": "GMRA", "master_agreement_version": "2011",
            "value_date": str(day + timedelta(days=1)), "delivery_by_value": "false",
            "delivery_method": "TTCA", "termination_option": "NOAP", "day_count": "A004",
            "currency": "EUR", "collateral_date": str(day), "net_exposure": "false",
            "level": "TCTN",
        }  # fmt: skip
        found.append({"uti": _uti(day, number), "action": action} | usual | case)
    return found


def _securities(day: date) -> list[Row]:
    bond: Row = {
        "isin": isin("DE", 9001), "cfi": "DBFTFB", "nominal": "2500000", "nominal_currency": "EUR",
        "market_value": "2511255.25", "market_value_currency": "EUR", "quality": "INVG",
        "security_maturity_date": "2034-02-15",
    }  # fmt: skip
    share: Row = {
        "isin": isin("FR", 7), "cfi": "ESVUFR", "quantity": "25000", "quality": "NOAP",
        "market_value": "1250000.5", "market_value_currency": "EUR",
    }  # fmt: skip
    taken: Row = {"purpose": "COLLATERAL", "reusable": "true", "haircut": "2.5"}
    lent: Row = {"purpose": "LENT", "exclusive": "false"}
    found: list[Row] = []
    for number in (0, 4, 7):
        found += [
            {"uti": _uti(day, number)} | taken | bond,
            {"uti": _uti(day, number)} | taken | share,
        ]
    for number in (2, 3, 5):
        found.append({"uti": _uti(day, number)} | lent | share)
    found.append({"uti": _uti(day, 5)} | taken | bond)
    return found
