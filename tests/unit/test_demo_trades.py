from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from stdnum import isin, lei

from openreg_airflow.demo.trades import make_database

if TYPE_CHECKING:
    from pathlib import Path

BUSINESS_DATE = date(2026, 9, 30)


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("demo") / "source.db"
    assert make_database(path, business_date=BUSINESS_DATE) == 10_000
    return path


def test_same_arguments_give_the_same_database(database: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.db"
    again.write_text("something that is replaced")
    make_database(again, business_date=BUSINESS_DATE)
    assert again.read_bytes() == database.read_bytes()
    make_database(again, business_date=BUSINESS_DATE, seed=2)
    assert again.read_bytes() != database.read_bytes()
    assert list(tmp_path.iterdir()) == [again]


def test_identifiers_have_right_check_digits(database: Path) -> None:
    leis = {row[0] for row in query(database, "SELECT lei FROM parties")}
    isins = {row[0] for row in query(database, "SELECT isin FROM instruments")}
    assert len(leis) == 74
    assert len(isins) == 40
    assert all(lei.is_valid(number) for number in leis)
    assert all(isin.is_valid(number) for number in isins)
    used = query(database, "SELECT DISTINCT buyer_lei, seller_lei, executing_lei, isin FROM trades")
    assert {code for row in used for code in row[:3]} <= leis
    assert {row[3] for row in used} <= isins


def test_trades_fall_on_weekdays_around_the_business_date(database: Path) -> None:
    found = dict(query(database, "SELECT trade_date, count(*) FROM trades GROUP BY 1"))
    assert found == {
        "2026-09-25": 1500,
        "2026-09-28": 1500,
        "2026-09-29": 2000,
        "2026-09-30": 4000,
        "2026-10-01": 1000,
    }


def test_decimals_and_times_are_text_that_reads_back(database: Path) -> None:
    rows = query(database, "SELECT trade_date, executed_at, quantity, price FROM trades")
    for day, instant, quantity, price in rows:
        executed = datetime.fromisoformat(instant)
        assert executed.date().isoformat() == day
        assert executed.utcoffset() is not None
        assert Decimal(quantity) > 0
        assert Decimal(price) > 0
        assert Decimal(price) % Decimal("0.005") == 0


def test_market_value_is_exact(database: Path) -> None:
    rows = query(database, "SELECT quantity, price, market_value FROM positions")
    assert len(rows) == 4500
    assert all(
        Decimal(value) == Decimal(quantity) * Decimal(price) for quantity, price, value in rows
    )


def test_cancelled_trades_are_of_the_weekday_before(database: Path) -> None:
    rows = query(
        database,
        "SELECT t.trade_date, c.cancelled_on FROM cancellations c JOIN trades t USING (trade_id)",
    )
    assert len(rows) == 12
    assert set(rows) == {("2026-09-29", "2026-09-30")}


@pytest.mark.parametrize("trades", [0, 1, 7, 100])
def test_small_databases_can_be_made(tmp_path: Path, trades: int) -> None:
    path = tmp_path / "source.db"
    assert make_database(path, trades=trades, business_date=date(2026, 1, 3)) == trades
    assert query(path, "SELECT count(*) FROM trades") == [(trades,)]
