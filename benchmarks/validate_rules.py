"""The rules of the validation benchmark, and the table that breaks each of them now and then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

BUSINESS_DATE = date(2026, 3, 31)
#: Row ``n`` breaks the rule with the number ``n % EVERY``, if there is one.
EVERY = 10_007

LEI = r"[A-Z0-9]{18}[0-9]{2}"
ISIN = r"[A-Z]{2}[A-Z0-9]{9}[0-9]"
VENUES = ("XETR", "XPAR", "XAMS", "XLON", "XMIL", "XMAD", "XOFF", "SINT")
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK", "DKK", "NOK", "PLN", "CZK", "HUF")
CAPACITIES = ("DEAL", "MTCH", "AOTC")
SIDES = ("BUY", "SELL")
COUNTRIES = ("DE", "FR", "NL", "IT", "ES", "AT", "BE", "IE", "PL", "CZ", "SE", "DK")
MOST_PRICE = 10_000_000
TOLERANCE = 0.005


@dataclass(frozen=True)
class BenchmarkRule:
    """One rule; ``number`` is its place and ``sql`` finds what breaks it, as we are told it."""

    number: int
    name: str
    sql: str

    def breaks(self, rows: int) -> int:
        """How often so many rows break it; a transaction id that is given twice counts once."""
        return len(range(self.number, rows, EVERY))


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_CONDITIONS = {
    "transaction_id_given": "transaction_id IS NULL",
    "isin_given": "isin IS NULL",
    "executed_at_given": "executed_at IS NULL",
    "price_given": "price IS NULL",
    "quantity_given": "quantity IS NULL",
    "transaction_id_once": "",
    "price_positive": "price <= 0",
    "quantity_positive": "quantity <= 0",
    "price_possible": f"price >= {MOST_PRICE}",
    "executing_lei_shape": f"NOT regexp_full_match(executing_lei, '{LEI}')",
    "buyer_lei_shape": f"NOT regexp_full_match(buyer_lei, '{LEI}')",
    "seller_lei_shape": f"NOT regexp_full_match(seller_lei, '{LEI}')",
    "isin_shape": f"NOT regexp_full_match(isin, '{ISIN}')",
    "venue_known": f"venue NOT IN ({_quoted(VENUES)})",
    "currency_known": f"currency NOT IN ({_quoted(CURRENCIES)})",
    "capacity_known": f"capacity NOT IN ({_quoted(CAPACITIES)})",
    "side_known": f"side NOT IN ({_quoted(SIDES)})",
    "country_known": f"country NOT IN ({_quoted(COUNTRIES)})",
    "trade_date_reported": "trade_date <> $business_date",
    "settled_after_trade": "settlement_date < trade_date",
    "buyer_not_seller": "buyer_lei = seller_lei",
    "price_near_reference": "abs(price - reference_price) > reference_price / 10",
    "venue_code_on_venue": "venue NOT IN ('XOFF', 'SINT') AND venue_transaction_id IS NULL",
    "own_account_decision": "capacity = 'DEAL' AND decision_maker IS NULL",
    "notional_right": f"abs(notional - CAST(price AS DECIMAL(28, 5)) * quantity) > {TOLERANCE}",
}
_TWICE = (
    "SELECT transaction_id, count(*) AS times FROM trades WHERE transaction_id IS NOT NULL "
    "GROUP BY transaction_id HAVING count(*) > 1"
)
RULES = tuple(
    BenchmarkRule(number, name, f"SELECT * FROM trades WHERE {wrong}" if wrong else _TWICE)
    for number, (name, wrong) in enumerate(_CONDITIONS.items(), start=1)
)
_NUMBER = {rule.name: rule.number for rule in RULES}


def _pick(values: tuple[str, ...], step: int) -> str:
    return f"[{_quoted(values)}][1 + (n // {step}) % {len(values)}]"


def _column(name: str, usual: str, **broken: str) -> str:
    """A column of the table; ``broken`` gives other values where a rule is to be broken."""
    cases = " ".join(
        f"WHEN {_NUMBER[rule]} THEN {value.replace('{usual}', usual)}"
        for rule, value in broken.items()
    )
    return f"CASE k {cases} ELSE {usual} END AS {name}" if cases else f"{usual} AS {name}"


_LEI = "upper(left(md5('{}' || (n % {})), 18)) || lpad(CAST(n % {} % 100 AS VARCHAR), 2, '0')"
_BUYER, _SELLER, _FIRM = (
    _LEI.format(role, size, size) for role, size in (("b", 5003), ("s", 4999), ("f", 101))
)
_PRICE = "CAST(1 + n % 99991 AS DECIMAL(18, 5)) / 100"
_PRICES = {"price_given": "NULL", "price_positive": "0", "price_possible": f"{MOST_PRICE}"}
_QUANTITY = "CAST(1 + n % 9973 AS DECIMAL(18, 4))"
_REFERENCE = {"price_near_reference": "{usual} * 2"} | {
    "price_positive": "NULL",
    "price_possible": "NULL",
}
_COLUMNS = (
    _column(
        "transaction_id",
        "printf('TRN%012d', n)",
        transaction_id_given="NULL",
        transaction_id_once="printf('TRN%012d', n - k)",
    ),
    _column("executing_lei", _FIRM, executing_lei_shape="'short'"),
    _column("buyer_lei", _BUYER, buyer_lei_shape="lower({usual}) || 'x'"),
    _column("seller_lei", _SELLER, seller_lei_shape="'?' || {usual}", buyer_not_seller=_BUYER),
    _column(
        "isin",
        "'DE' || lpad(CAST(n % 20011 AS VARCHAR), 10, '0')",
        isin_given="NULL",
        isin_shape="'de0000000001'",
    ),
    _column("venue", _pick(VENUES, 1), venue_known="'XXXY'", venue_code_on_venue="'XETR'"),
    _column("currency", _pick(CURRENCIES, 3), currency_known="'DEM'"),
    _column(
        "capacity", _pick(CAPACITIES, 7), capacity_known="'NONE'", own_account_decision="'DEAL'"
    ),
    _column("side", _pick(SIDES, 5), side_known="'HOLD'"),
    _column("country", _pick(COUNTRIES, 11), country_known="'XX'"),
    _column("price", f"CAST({_PRICE} AS DECIMAL(18, 5))", **_PRICES),
    _column(
        "quantity",
        _QUANTITY,
        quantity_given="NULL",
        quantity_positive="-1",
    ),
    _column("reference_price", f"CAST({_PRICE} AS DECIMAL(18, 5))", **_REFERENCE),
    _column(
        "notional",
        f"CAST({_PRICE} AS DECIMAL(18, 5)) * {_QUANTITY}",
        notional_right="{usual} + 1",
        quantity_positive="NULL",
        price_positive="NULL",
        price_possible="NULL",
    ),
    _column(
        "executed_at",
        "TIMESTAMPTZ '2026-03-31 08:00:00+00' + INTERVAL (n % 28800000) MILLISECOND",
        executed_at_given="NULL",
    ),
    _column("trade_date", f"DATE '{BUSINESS_DATE}'", trade_date_reported="DATE '2026-03-30'"),
    _column("settlement_date", "DATE '2026-04-02'", settled_after_trade="DATE '2026-03-27'"),
    _column("venue_transaction_id", "printf('V%09d', n)", venue_code_on_venue="NULL"),
    _column("decision_maker", "printf('ALGO%03d', n % 500)", own_account_decision="NULL"),
)
#: Columns that no rule looks at: a transaction report has many.
_OTHERS = (
    "printf('ORD%010d', n % 700001) AS order_id",
    "CASE WHEN n % 3 = 0 THEN printf('CPX%06d', n % 4001) END AS complex_trade_id",
    f"{_LEI.format('t', 59, 59)} AS transmitting_lei",
    f"{_LEI.format('d', 3001, 3001)} AS buyer_decision_lei",
    f"CASE WHEN n % 2 = 0 THEN {_LEI.format('e', 2999, 2999)} END AS seller_decision_lei",
    "n % 2 = 0 AS investment_firm",
    "n % 5 = 0 AS order_transmitted",
    "CASE WHEN n % 7 = 0 THEN n % 2 = 0 END AS commodity_hedge",
    "n % 11 = 0 AS securities_financing",
    "CAST(n % 1009 AS DECIMAL(18, 5)) / 100 AS accrued_interest",
    "CASE WHEN n % 4 = 0 THEN CAST(n % 997 AS DECIMAL(18, 5)) / 100 END AS up_front_payment",
    "CASE WHEN n % 9 = 0 THEN CAST(n % 89 AS DECIMAL(18, 5)) END AS strike_price",
    "CASE WHEN n % 9 = 0 THEN DATE '2026-06-19' + CAST(n % 400 AS INTEGER) END AS expiry_date",
    "CASE WHEN n % 6 = 0 THEN printf('NIDN%08d', n % 50021) END AS national_id",
    f"{_pick(COUNTRIES, 13)} AS buyer_branch",
    f"{_pick(COUNTRIES, 17)} AS seller_branch",
    "CASE WHEN n % 8 = 0 THEN 'SESH' END AS short_selling",
    "printf('TRADER%04d', n % 311) AS execution_maker",
    "TIMESTAMPTZ '2026-03-31 18:00:00+00' + INTERVAL (n % 3600000) MILLISECOND AS booked_at",
    "CAST(n AS BIGINT) AS sequence",
    "CASE WHEN n % 10 = 0 THEN 'BENC' END AS otc_post_trade_flag",
)
COLUMNS = len(_COLUMNS) + len(_OTHERS)
#: One SELECT over ``$rows`` rows; a rule and its breaches are nowhere near another's.
SELECT = (
    f"SELECT {', '.join((*_COLUMNS, *_OTHERS))} "
    f"FROM (SELECT range AS n, range % {EVERY} AS k FROM range($rows))"
)
