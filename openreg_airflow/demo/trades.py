"""Sample trades and positions of an investment firm in shares, in a SQLite database.

The same arguments give the same rows. Decimals and times are text: SQLite's NUMERIC would turn
long decimals into binary floating point.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from openreg_airflow.demo import repositories, rts22
from openreg_airflow.demo.market import Dice, Market, Share, market

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Row = tuple[str | None, ...]

_SEED = 20_260_105
#: How the trades fall on the days: most on the business date.
_WEIGHTS = (0.15, 0.15, 0.20, 0.40, 0.10)
#: Trades of the business date with a price far from the share's reference price.
_ODD_PRICES = 7
_CANCELLED = 12
_ACCOUNTS = 60
_SHARES_PER_ACCOUNT = 15
_TICK = Decimal("0.005")
_OPENS_MINUTES = 7 * 60 + 5
_SESSION_MICROSECONDS = 8 * 3600 * 1_000_000

_TABLES = """
CREATE TABLE instruments (
    isin TEXT PRIMARY KEY, name TEXT NOT NULL, currency TEXT NOT NULL, venue TEXT NOT NULL,
    reference_price TEXT NOT NULL);
CREATE TABLE parties (
    lei TEXT PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL, role TEXT NOT NULL);
CREATE TABLE trades (
    trade_id TEXT PRIMARY KEY, trade_date TEXT NOT NULL, executed_at TEXT NOT NULL,
    isin TEXT NOT NULL REFERENCES instruments, executing_lei TEXT NOT NULL REFERENCES parties,
    buyer_lei TEXT NOT NULL REFERENCES parties, seller_lei TEXT NOT NULL REFERENCES parties,
    quantity TEXT NOT NULL, price TEXT NOT NULL, currency TEXT NOT NULL, venue TEXT NOT NULL,
    venue_transaction_id TEXT, branch_country TEXT, capacity TEXT NOT NULL,
    decision_algorithm TEXT, execution_algorithm TEXT, short_selling TEXT,
    post_trade_flag TEXT);
CREATE TABLE cancellations (
    trade_id TEXT PRIMARY KEY REFERENCES trades, cancelled_on TEXT NOT NULL);
CREATE TABLE positions (
    position_date TEXT NOT NULL, account TEXT NOT NULL, owner_lei TEXT NOT NULL REFERENCES parties,
    isin TEXT NOT NULL REFERENCES instruments, quantity TEXT NOT NULL, price TEXT NOT NULL,
    market_value TEXT NOT NULL, currency TEXT NOT NULL,
    PRIMARY KEY (position_date, account, isin));
CREATE INDEX trades_by_date ON trades (trade_date);
"""


def make_database(
    path: Path, *, trades: int = 10_000, seed: int = _SEED, business_date: date
) -> int:
    """Make the database; a file that is there already is replaced when the new one is complete.

    Args:
        path: the database file.
        trades: how many trades, spread over five weekdays around the business date.
        seed: another seed gives other trades.
        business_date: the day with the most trades.

    Returns:
        The number of trades in the database.
    """
    dice = Dice(seed)
    around = market(dice, business_date)
    made = list(_trades(dice, around, trades))
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial)) as database, database:
        database.executescript(_TABLES)
        _insert(
            database,
            "instruments",
            [(s.isin, s.name, s.currency, s.venue, str(s.reference_price)) for s in around.shares],
        )
        _insert(database, "parties", [(p.lei, p.name, p.country, p.role) for p in around.firms])
        _insert(database, "trades", made)
        _insert(database, "cancellations", _cancellations(dice, made, around.days))
        _insert(database, "positions", list(_positions(dice, around)))
        rts22.fill(database, business_date)
        repositories.fill(database, business_date)
    partial.replace(path)
    return len(made)


def _insert(database: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608


def _trades(dice: Dice, around: Market, total: int) -> Iterator[Row]:
    business_day = len(around.days) - 2
    counts = [int(total * weight) for weight in _WEIGHTS]
    counts[business_day] += total - sum(counts)
    for place, (day, count) in enumerate(zip(around.days, counts, strict=True)):
        odd = set()
        if place == business_day and count >= 10 * _ODD_PRICES:
            odd = {count // _ODD_PRICES * step for step in range(_ODD_PRICES)}
        for number in range(count):
            yield _trade(dice, around, day, number + 1, odd=number in odd)


def _trade(dice: Dice, around: Market, day: date, number: int, *, odd: bool) -> Row:
    share = dice.one(around.shares)
    firm, clearing = around.firms[:2]
    clients = around.of_role("client")
    capacity = dice.one(("DEAL",) * 9 + ("AOTC",) * 9 + ("MTCH",) * 2)
    venue = dice.one((share.venue,) * 17 + ("XOFF",) * 2 + ("SINT",))
    on_venue = venue == share.venue
    other = clearing if on_venue else dice.one(around.of_role("counterparty"))
    client = dice.one(clients)
    mine = firm if capacity == "DEAL" else client
    if capacity == "MTCH":
        other = dice.one([party for party in clients if party is not client])
    buys = dice.unit() < 0.5
    buyer, seller = (mine, other) if buys else (other, mine)
    return (
        f"T{day:%Y%m%d}{number:07d}",
        day.isoformat(),
        _executed_at(dice, day),
        share.isin,
        firm.lei,
        buyer.lei,
        seller.lei,
        str(dice.one((1, 5, 10, 25, 100, 500)) * dice.integer(1, 40)),
        str(_price(dice, share, odd=odd)),
        share.currency,
        venue,
        f"{venue}{day:%y%m%d}{dice.integer(10**9, 10**10 - 1)}" if on_venue else None,
        firm.country if on_venue else None,
        capacity,
        f"EQALGO{dice.integer(1, 6):02d}" if capacity == "DEAL" else None,
        f"SOR{dice.integer(1, 3):02d}" if dice.unit() < 0.85 else None,
        None if seller.role == "clearing" else dice.one(("SELL",) * 12 + ("SESH", "UNDI")),
        "BENC" if venue == "XOFF" and dice.unit() < 0.2 else None,
    )


def _executed_at(dice: Dice, day: date) -> str:
    """An instant inside the session of continental exchanges, in UTC, to the microsecond."""
    opens = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=_OPENS_MINUTES)
    instant = opens + timedelta(microseconds=dice.integer(0, _SESSION_MICROSECONDS))
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _price(dice: Dice, share: Share, *, odd: bool) -> Decimal:
    """Within three percent of the reference price, or 15 percent above it when odd."""
    drift = 0.15 if odd else max(-0.03, min(0.03, dice.bell() * 0.008))
    parts = Decimal(round((1 + drift) * 1_000_000)) / 1_000_000
    return (share.reference_price * parts / _TICK).quantize(Decimal(1)) * _TICK


def _cancellations(dice: Dice, trades: list[Row], days: list[date]) -> list[Row]:
    """Trades of the weekday before the business date that turned out to be wrong."""
    before, business_date = days[-3].isoformat(), days[-2].isoformat()
    candidates = [str(row[0]) for row in trades if row[1] == before]
    chosen = {dice.one(candidates) for _ in range(_CANCELLED)} if candidates else set()
    return [(trade_id, business_date) for trade_id in sorted(chosen)]


def _positions(dice: Dice, around: Market) -> Iterator[Row]:
    listed, owners = around.shares, around.of_role("client")
    for number in range(_ACCOUNTS):
        account, owner = f"ACC{number + 1:06d}", owners[number % len(owners)]
        first = dice.integer(0, len(listed) - 1)
        for place in range(_SHARES_PER_ACCOUNT):
            share = listed[(first + place) % len(listed)]
            # A few accounts are short, which a warning of the example report points out.
            held = dice.integer(1, 20_000) * (-1 if dice.unit() < 0.01 else 1)
            for day in around.days:
                price = _price(dice, share, odd=False)
                yield (
                    day.isoformat(),
                    account,
                    owner.lei,
                    share.isin,
                    str(held),
                    str(price),
                    str(price * held),
                    share.currency,
                )
                held += dice.integer(-50, 50)
