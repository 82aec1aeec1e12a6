"""Sample transactions of every kind that RTS 22 knows, for the report with all of its fields.

Each is there for what its name says; amounts, parties and instruments are made up.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from openreg_airflow.demo.identifiers import isin, lei

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from datetime import date

Row = dict[str, str | int]

_INDEX = ("isin", "index_isin", "index_code", "index_name", "term_unit", "term_value")
_TRANSACTIONS = (
    "action", "transaction_id", "executing_lei", "investment_firm", "submitting_lei",
    "order_transmitted", "transmitting_buyer_lei", "transmitting_seller_lei", "executed_at",
    "capacity", "quantity_kind", "quantity", "quantity_currency", "notional_change", "price_kind",
    "price", "price_currency", "price_positive", "net_amount", "venue",
    "membership_branch_country", "upfront_payment", "upfront_currency", "upfront_positive",
    "venue_transaction_id", "complex_trade_id", "isin", "instrument_name", "cfi",
    "notional_currency", "maturity_date", "expiry_date", "price_multiplier",
    *(f"{place}_{name}" for place in ("underlying", "swap_in", "swap_out") for name in _INDEX),
    "option_type", "strike_kind", "strike", "strike_currency", "strike_positive",
    "exercise_style", "delivery_type", "rate_other_currency", "fx_other_currency",
    "decision_algorithm", "decision_branch_country", "decision_person_id", "decision_id_scheme",
    "execution_algorithm", "execution_branch_country", "execution_person_id",
    "execution_id_scheme", "execution_by_client", "short_selling", "risk_reducing",
    "securities_financing",
)  # fmt: skip
#: The columns of each table, beside report_date and position.
TABLES: Mapping[str, tuple[str, ...]] = {
    "rts22_header": ("sender_lei", "receiver", "message_id", "created_at"),
    "rts22_transactions": _TRANSACTIONS,
    "rts22_parties": (
        "transaction_id", "side", "role", "lei", "mic", "aggregated", "first_name", "surname",
        "birth_date", "person_id", "id_scheme", "branch_country",
    ),
    "rts22_flags": ("transaction_id", "kind", "code"),
    "rts22_basket_members": ("transaction_id", "place", *_INDEX),
}  # fmt: skip
_FIRM, _CLEARING, _BROKER, _CLIENT, _MANAGER = (lei(number) for number in (1, 2, 3, 15, 16))
_PERSON: Row = {
    "first_name": "ERIKA", "surname": "MUSTERMANN", "birth_date": "1984-08-12",
    "person_id": "DE19840812ERIKAMUSTE", "id_scheme": "CONCAT",
}  # fmt: skip
_ALGORITHMS: Row = {"decision_algorithm": "EQALGO01", "execution_algorithm": "SOR01"}
_DERIVATIVE: Row = {
    "price_multiplier": "1", "delivery_type": "CASH", "expiry_date": "2027-03-19",
    "venue": "XXXX", "price_currency": "EUR",
}  # fmt: skip
_BOND: Row = {
    "quantity_kind": "NOMINAL", "quantity": "250000", "quantity_currency": "EUR",
    "price_kind": "PERCENTAGE", "net_amount": "251125.5", "isin": isin("DE", 9001),
}  # fmt: skip
_CASES: tuple[Row, ...] = (
    {},
    _ALGORITHMS,
    {"order_transmitted": "true", "transmitting_buyer_lei": _BROKER},
    {"capacity": "AOTC", "membership_branch_country": "FR", "short_selling": "SESH"},
    _BOND | {"price": "100.4502"},
    _BOND | {"price_kind": "YIELD", "price": "-0.125"},
    {"price_kind": "PNDG", "price_currency": "EUR"},
    {"price_kind": "NOAP", "securities_financing": "true"},
    {"price": "0.75", "price_positive": "false", "complex_trade_id": "CX2026093001"},
    _DERIVATIVE
    | {
        "instrument_name": "Call on a sample share", "cfi": "OCASPS", "notional_currency": "EUR",
        "underlying_isin": isin("FR", 7), "option_type": "CALL", "strike_kind": "MONETARY",
        "strike": "42.5", "strike_currency": "EUR", "exercise_style": "AMER",
        "delivery_type": "PHYS", "risk_reducing": "true",
    },
    _DERIVATIVE
    | {
        "instrument_name": "Put on a basket", "cfi": "OPEBCN", "option_type": "PUTO",
        "strike_kind": "PNDG", "exercise_style": "EURO", "price_kind": "PERCENTAGE",
        "price": "3.1",
    },
    _DERIVATIVE
    | {
        "instrument_name": "Interest rate swap", "cfi": "SRCCSP", "notional_currency": "EUR",
        "rate_other_currency": "USD", "quantity_kind": "MONETARY", "quantity": "10000000",
        "quantity_currency": "EUR", "price_kind": "PERCENTAGE", "price": "2.3751",
        "swap_in_index_code": "EURI", "swap_in_term_unit": "MNTH", "swap_in_term_value": 6,
        "swap_out_index_name": "SAMPLE OVERNIGHT RATE", "maturity_date": "2031-09-30",
    },
    _DERIVATIVE
    | {
        "instrument_name": "Credit default swap", "cfi": "SCICSN", "notional_currency": "EUR",
        "quantity_kind": "NOMINAL", "quantity": "5000000", "quantity_currency": "EUR",
        "price_kind": "BASIS_POINTS", "price": "61.25", "upfront_payment": "14000.5",
        "upfront_currency": "EUR", "upfront_positive": "false", "notional_change": "INCR",
        "underlying_index_isin": isin("LU", 31), "underlying_index_name": "SAMPLE CREDIT INDEX",
    },
    _DERIVATIVE
    | {
        "instrument_name": "Currency swap", "cfi": "SFCXXP", "notional_currency": "EUR",
        "rate_other_currency": "GBP", "fx_other_currency": "GBP",
        "underlying_index_code": "SWAP", "delivery_type": "PHYS",
    },
)  # fmt: skip
_PERSONS_DECIDE: Row = {
    "decision_person_id": "DE19790321MAXXXMUSTE", "decision_id_scheme": "CONCAT",
    "decision_branch_country": "DE", "execution_person_id": "FR123456789012",
    "execution_id_scheme": "NIDN", "execution_branch_country": "FR",
}  # fmt: skip


def fill(database: sqlite3.Connection, business_date: date) -> None:
    """Make the tables and fill them for one day.

    Args:
        database: a database without them; the caller commits.
        business_date: the day on which all of it is reported.
    """
    day = business_date.isoformat()
    for table, columns in TABLES.items():
        names = ", ".join(f"{name} TEXT" for name in columns)
        database.execute(f"CREATE TABLE {table} (report_date TEXT, position INTEGER, {names})")
        for position, row in enumerate(_rows(table, business_date)):
            values = [day, position, *(row.get(name) for name in columns)]
            marks = ", ".join("?" * len(values))
            database.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608


def _rows(table: str, day: date) -> list[Row]:
    if table == "rts22_header":
        made = f"{day + timedelta(days=1)}T05:00:00Z"
        number = f"DATTRA{day:%Y%m%d}000001"
        return [{"sender_lei": _FIRM, "receiver": "DE", "message_id": number, "created_at": made}]
    if table == "rts22_transactions":
        return _transactions(day)
    if table == "rts22_parties":
        return _parties(day)
    if table == "rts22_flags":
        return [
            _named(day, 0, kind="WAIVER", code="RFPT"),
            _named(day, 0, kind="WAIVER", code="ILQD"),
            _named(day, 3, kind="POST_TRADE", code="BENC"),
            _named(day, 3, kind="POST_TRADE", code="LRGS"),
        ]
    return [
        _named(day, 10, place="UNDERLYING", isin=isin("DE", 3)),
        _named(day, 10, place="UNDERLYING", isin=isin("NL", 5)),
        _named(day, 10, place="UNDERLYING", index_name="SAMPLE SHARE INDEX"),
    ]


def _named(day: date, case: int, **values: str | int) -> Row:
    return {"transaction_id": f"A{day:%Y%m%d}{case:04d}", **values}


def _with(row: Row, **values: str | int) -> Row:
    return {**row, **values}


def _transactions(day: date) -> list[Row]:
    found = []
    for number, case in enumerate(_CASES):
        usual: Row = {
            "action": "NEW", "executing_lei": _FIRM, "submitting_lei": _FIRM,
            "investment_firm": "true", "order_transmitted": "false",
            "executed_at": f"{day}T09:{number:02d}:12.345678Z", "capacity": "DEAL",
            "quantity_kind": "UNIT", "quantity": "100", "price_kind": "MONETARY",
            "securities_financing": "false", "venue": "XETR",
        }  # fmt: skip
        row = usual | _named(day, number) | case
        if row["price_kind"] == "MONETARY":
            row.setdefault("price", "17.345")
            row.setdefault("price_currency", "EUR")
        if "instrument_name" not in row:
            row.setdefault("isin", isin("DE", 1))
        if row["venue"] == "XETR":
            row["venue_transaction_id"] = f"XETR{day:%y%m%d}{number:010d}"
        if "decision_algorithm" not in row:
            row |= _PERSONS_DECIDE
        if number == 2:
            row = {n: v for n, v in row.items() if not n.startswith("execution_")}
            row["execution_by_client"] = "true"
        found.append(row)
    cancelled: Row = {"action": "CANCEL", "executing_lei": _FIRM, "submitting_lei": _FIRM}
    return [*found, cancelled | _named(day - timedelta(days=1), 1)]


def _parties(day: date) -> list[Row]:
    found = []
    for number in range(len(_CASES)):
        buyer: Row = _named(day, number, side="BUYER", role="OWNER")
        seller: Row = _named(day, number, side="SELLER", role="OWNER")
        if number == 1:  # a person, for whom a firm decides
            found += [_with(buyer, **_PERSON, branch_country="DE"), _with(seller, lei=_CLEARING)]
            found.append(_named(day, number, side="BUYER", role="DECIDER", lei=_MANAGER))
        elif number == 3:  # two persons together, of whom one decides; a venue as counterparty
            second: Row = {"first_name": "MAX", "person_id": "DE1234567", "id_scheme": "CCPT"}
            found += [
                _with(buyer, **_PERSON),
                _with(buyer, **(_PERSON | second)),
                _with(seller, mic="XETR"),
            ]
            found.append(_with(_PERSON, **_named(day, number, side="BUYER", role="DECIDER")))
        elif number == 4:  # several clients, of whom each has a transaction of its own
            found += [_with(buyer, aggregated="true"), _with(seller, lei=_BROKER)]
        else:
            found += [_with(buyer, lei=_FIRM), _with(seller, lei=_CLIENT)]
    return found
