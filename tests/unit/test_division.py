"""Which queries are read in parts though nobody asks for it, and by which column."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from openreg_airflow.extract.division import TableFacts, dividers, without_order
from openreg_airflow.extract.outline import TableName, UndividedError, outline
from openreg_airflow.extract.query import Query, parse

DAY = date(2026, 3, 2)
TRADES = {
    "trade_id": "bigint",
    "business_date": "date",
    "ref": "varchar",
    "kind": "enum",
    "price": "decimal",
    "party": "int",
}
PARTIES = {"party": "int", "lei": "char", "name": "varchar"}


def facts(
    columns: dict[str, str], *keys: tuple[str, ...], indexed: tuple[str, ...] = (), **more: Any
) -> TableFacts:
    in_keys = {name for key in keys for name in key}
    given: dict[str, Any] = {"steady": True, "row_bytes": 100} | more
    return TableFacts(columns=columns, keys=keys, indexed=frozenset({*in_keys, *indexed}), **given)


def query(sql: str) -> Query:
    values: Any = {"business_date": DAY, "kinds": ("A", "B"), "code": "EUR", "number": 5}
    return parse(sql, file="f.sql", dialect="mysql", parameters=values)


def found(sql: str, *, trades: TableFacts | None = None) -> list[tuple[str, str, bool]]:
    """What divides a query of trades and parties: columns, orders, and whether these fall."""
    known = {
        TableName("", "trades"): trades or facts(TRADES, ("trade_id",)),
        TableName("", "parties"): facts(PARTIES, ("party",), indexed=("lei",)),
        TableName("ref", "days"): facts({"day": "date"}, ("day",)),
    }
    one = outline(query(sql), "mysql")
    named = {*one.sources.values(), *one.others}
    by = dividers(one, {name: table for name, table in known.items() if name in named})
    return [(each.column, each.order, each.descending) for each in by]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM trades",
        "SELECT * FROM trades -- the end",
        "SELECT t.* FROM trades AS t WHERE t.business_date = :business_date",
        "SELECT price * 2 AS twice, trade_id FROM trades WHERE kind IN (:kinds)",
        "SELECT trade_id FROM trades WHERE business_date = (SELECT max(day) FROM ref.days)",
        "SELECT trade_id FROM trades t WHERE EXISTS (SELECT 1 FROM parties WHERE party = t.party)",
        "SELECT t.*, p.lei AS lei FROM trades t LEFT JOIN parties p ON p.party = t.party",
        "SELECT concat(ref, 'x') AS r, CASE WHEN price > 0 THEN 1 END AS up, trade_id FROM trades",
    ],
)  # fmt: skip
def test_rows_of_tables_are_divided_by_a_column_of_a_key(sql: str) -> None:
    assert found(sql)[0] == ("`trade_id`", "`trade_id`", False)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT * FROM trades LIMIT 5", "it has LIMIT"),
        ("SELECT DISTINCT trade_id FROM trades", "it has DISTINCT"),
        ("SELECT trade_id, count(*) AS n FROM trades GROUP BY trade_id", "it has GROUP BY"),
        ("SELECT trade_id FROM trades GROUP BY trade_id", "it has GROUP BY"),
        ("SELECT max(trade_id) AS m FROM trades", "it has MAX"),
        ("SELECT trade_id, now() AS at FROM trades", r"it calls NOW"),
        ("SELECT trade_id FROM trades WHERE rand() < 0.5", r"it calls RAND"),
        ("SELECT trade_id, uuid() AS u FROM trades", r"it calls UUID"),
        ("SELECT trade_id FROM trades WHERE business_date = curdate()", "it calls CURRENT_DATE"),
        ("SELECT trade_id, my_function(ref) AS f FROM trades", "it calls MY_FUNCTION"),
        ("SELECT trade_id, @n AS n FROM trades", "it has a variable"),
        ("SELECT trade_id, @@hostname AS n FROM trades", "it has a variable"),
        ("SELECT trade_id, row_number() OVER (ORDER BY ref) AS n FROM trades", "it has WINDOW"),
        ("WITH t AS (SELECT * FROM trades) SELECT * FROM t", "it has WITH"),
        ("SELECT * FROM (SELECT * FROM trades) t", "something else than tables"),
        ("SELECT trade_id FROM trades UNION ALL SELECT 1", "it is not one SELECT"),
        ("(SELECT trade_id FROM trades)", "it is not one SELECT"),
        ("SELECT 1 AS one", "it takes no rows from a table"),
        ("SELECT trade_id, price * 2 FROM trades", "has no name"),
        ("SELECT trade_id FROM trades ORDER BY price * 2", "ordered by something else"),
        ("SELECT trade_id FROM trades ORDER BY 2", "ordered by something else"),
        ("SELECT trade_id FROM trades ORDER BY business_date", "no business_date, which orders"),
        ("SELECT trade_id, price FROM trades ORDER BY price", "no index has price"),
        ("SELECT trade_id AS a, price AS A FROM trades", "two columns of its result"),
        ("SELECT * FROM trades t JOIN parties p ON p.party = t.party", "all columns of several"),
        ("SELECT ref, price FROM trades", "no column of a unique key"),
        ("SELECT trade_id FROM trades FOR SYSTEM_TIME AS OF '2026-01-01'", "FOR SYSTEM_TIME"),
        ("SELECT trade_id FROM trades PARTITION (p0)", "something else than whole tables"),
        ("SELECT group_concat(ref) AS r, trade_id FROM trades", "it has GROUPCONCAT"),
    ],
)
def test_query_that_may_give_other_rows_or_is_dear_to_ask_again_is_left_whole(
    sql: str, reason: str
) -> None:
    with pytest.raises(UndividedError, match=reason):
        found(sql)


@pytest.mark.parametrize(
    ("sql", "order", "falls"),
    [
        ("trade_id", "`trade_id`", False),
        ("trade_id DESC, ref", "`trade_id` DESC, `ref`", True),
        ("t.trade_id, t.price DESC", "`trade_id`, `price` DESC", False),
        ("1 DESC, 3", "`trade_id` DESC, `ref`", True),
        ("business_date, trade_id", "`trade_id`", False),
        ("t.business_date DESC, trade_id", "`trade_id`", False),
        ("business_date", "`trade_id`", False),
    ],
)
def test_order_of_the_rows_is_kept(sql: str, order: str, falls: bool) -> None:
    """A column that has one value in all rows orders nothing."""
    rows = f"SELECT * FROM trades t WHERE business_date = :business_date ORDER BY {sql}"

    assert found(rows) == [("`trade_id`", order, falls)]


def test_name_in_the_result_comes_before_one_in_a_table() -> None:
    sql = "SELECT trade_id, upper(ref) AS party FROM trades ORDER BY party"
    indexed = facts(TRADES, ("trade_id",), indexed=("party",))

    with pytest.raises(UndividedError, match="no index has party"):
        found(sql, trades=indexed)


@pytest.mark.parametrize(
    "condition",
    [
        "ref = 5",  # '5' and '05' equal it
        "ref = :number",
        "business_date = :business_date OR price > 0",
        "NOT business_date = :business_date",
        "party = 'x'",
        "business_date > :business_date",
    ],
)
def test_column_that_may_have_several_values_is_not_taken_for_one(condition: str) -> None:
    name = condition.replace("NOT ", "").split(" ")[0]
    keyed = facts(TRADES, ("trade_id",), indexed=tuple(TRADES))

    [(column, _, _)] = found(
        f"SELECT * FROM trades WHERE {condition} ORDER BY {name}, trade_id", trades=keyed
    )

    assert column == f"`{name}`"


@pytest.mark.parametrize("condition", ["ref = 'EUR'", ":code = ref", "party = 5", "5.0 = party"])
def test_column_of_one_value_divides_nothing(condition: str) -> None:
    keyed = facts(TRADES, ("ref", "party", "trade_id"))

    columns = [
        column for column, _, _ in found(f"SELECT * FROM trades WHERE {condition}", trades=keyed)
    ]

    pinned = "`ref`" if "ref" in condition else "`party`"
    assert pinned not in columns
    assert columns[0] == "`trade_id`"


def test_columns_of_the_shortest_key_come_first_and_of_its_end() -> None:
    keyed = facts(TRADES, ("business_date", "ref"), ("party",), ("kind", "business_date"))

    columns = [column for column, _, _ in found("SELECT * FROM trades", trades=keyed)]

    assert columns == ["`party`", "`ref`", "`business_date`"]


def test_columns_that_are_sorted_otherwise_than_compared_divide_nothing() -> None:
    with pytest.raises(UndividedError, match="no column of a unique key"):
        found("SELECT * FROM trades", trades=facts(TRADES, ("kind",)))
    with pytest.raises(UndividedError, match="kind, which orders it, is enum"):
        found("SELECT * FROM trades ORDER BY kind", trades=facts(TRADES, ("kind",)))


def test_table_that_transactions_see_change_is_left_whole() -> None:
    with pytest.raises(UndividedError, match="trades is no table with transactions"):
        found("SELECT * FROM trades", trades=facts(TRADES, ("trade_id",), steady=False))
    with pytest.raises(UndividedError, match="trades is no table with transactions"):
        found(
            "SELECT party FROM parties WHERE party IN (SELECT party FROM trades)",
            trades=facts(TRADES, ("trade_id",), steady=False),
        )


@pytest.mark.parametrize(
    ("size", "rows"), [(0, 200_000), (100, 200_000), (2_000, 67_108), (1 << 30, 16)]
)
def test_parts_of_wide_rows_have_fewer(size: int, rows: int) -> None:
    one = outline(query("SELECT * FROM trades"), "mysql")
    table = facts(TRADES, ("trade_id",), row_bytes=size)

    [by] = dividers(one, {TableName("", "trades"): table})

    assert by.rows == rows


def test_order_is_cut_off_behind_its_parameters() -> None:
    sql = (
        "SELECT trade_id, (SELECT max(party) FROM parties ORDER BY 1) AS m FROM trades\n"
        "WHERE business_date = :business_date AND kind IN (:kinds) /* ORDER BY */\nORDER BY 1"
    )
    whole = query(sql)

    cut = without_order(whole, outline(whole, "mysql"))

    assert cut.render(lambda name: f"<{name}>").text == (
        "SELECT trade_id, (SELECT max(party) FROM parties ORDER BY 1) AS m FROM trades\n"
        "WHERE business_date = <business_date> AND kind IN (<kinds>) /* ORDER BY */\n"
    )
    assert not cut.ordered


def test_values_that_pin_a_column_are_those_that_are_bound() -> None:
    one = outline(
        query("SELECT * FROM trades WHERE party = :number AND ref = 'x' AND 2 = price"), "mysql"
    )

    assert {column.name: value for column, value in one.pinned.items()} == {
        "party": 5,
        "ref": "x",
        "price": Decimal(2),
    }
