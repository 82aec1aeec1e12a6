"""Which queries are read in parts though nobody asks for it, and by which column."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from openreg_airflow.extract.division import TableDivider, TableFacts, dividers
from openreg_airflow.extract.outline import TableName, UndividedError, outline
from openreg_airflow.extract.query import Placeholder, Query, parse
from openreg_airflow.extract.sized_parts import sizes_query

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


def by(sql: str, *, trades: TableFacts | None = None) -> list[TableDivider]:
    """What divides a query of trades and parties."""
    known = {
        TableName("", "trades"): trades or facts(TRADES, ("trade_id",)),
        TableName("", "parties"): facts(PARTIES, ("party",), indexed=("lei",)),
        TableName("ref", "days"): facts({"day": "date"}, ("day",)),
    }
    one = outline(query(sql), "mysql")
    named = {*one.sources.values(), *one.others}
    return dividers(one, {name: table for name, table in known.items() if name in named})


def found(sql: str, *, trades: TableFacts | None = None) -> list[str]:
    """The columns that divide it."""
    return [each.column for each in by(sql, trades=trades)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM trades",
        "SELECT * FROM trades -- the end",
        "SELECT t.* FROM trades AS t WHERE t.business_date = :business_date",
        "SELECT price * 2 AS twice, trade_id FROM trades WHERE kind IN (:kinds)",
        "SELECT trade_id FROM trades WHERE business_date = (SELECT max(day) FROM ref.days)",
        "SELECT trade_id FROM trades t WHERE EXISTS (SELECT 1 FROM parties WHERE party = t.party)",
        "SELECT ref, price * 2 FROM trades",
        "SELECT trade_id AS a, price AS A FROM trades",
        "SELECT * FROM trades t JOIN parties p USING (party)",
        "SELECT t.*, p.lei AS lei FROM trades t LEFT JOIN parties p ON p.party = t.party",
        "SELECT t.*, p.lei FROM trades t JOIN (SELECT party, lei FROM parties) p USING (party)",
        "WITH p AS (SELECT party FROM parties) SELECT * FROM trades t, p WHERE p.party = t.party",
        "SELECT t.ref FROM trades t FORCE INDEX FOR ORDER BY (a) WHERE t.price > 0",
        "SELECT concat(ref, 'x') AS r, CASE WHEN price > 0 THEN 1 END AS up, trade_id FROM trades",
    ],
)  # fmt: skip
def test_rows_of_tables_are_divided_by_a_column_of_a_key(sql: str) -> None:
    assert found(sql)[0] in ("`trades`.`trade_id`", "`t`.`trade_id`")


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
        ("SELECT trade_id FROM trades UNION ALL SELECT 1", "it is not one SELECT"),
        ("(SELECT trade_id FROM trades)", "it is not one SELECT"),
        ("WITH t AS (SELECT * FROM trades) SELECT * FROM t", "have no unique key"),
        ("SELECT * FROM (SELECT * FROM trades) t", "have no unique key"),
        ("SELECT * FROM (SELECT ref FROM trades LIMIT 5) t, parties", "it has LIMIT"),
        ("SELECT trade_id FROM trades ORDER BY ((trade_id)", "grammar"),
        ("SELECT *, price FROM trades ORDER BY 2", "ordered by something else"),
        ("SELECT trade_id FROM trades ORDER BY 0", "ordered by something else"),
        ("SELECT party FROM parties p, trades t ORDER BY party", "ordered by something else"),
        ("SELECT 1 AS one", "it takes no rows from a table"),
        ("SELECT trade_id FROM trades ORDER BY price * 2", "ordered by something else"),
        ("SELECT trade_id FROM trades ORDER BY 2", "ordered by something else"),
        ("SELECT trade_id, price FROM trades ORDER BY price", "no index has price"),
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
    ("order", "falls"),
    [
        ("trade_id", False),
        ("trade_id DESC, ref", True),
        ("t.Trade_ID, t.price DESC", False),
        ("1 DESC, 3", True),
        ("number", False),
        ("business_date, trade_id", False),
        ("t.business_date DESC, trade_id, price * 2", False),
        ("business_date", False),
        ("trade_id, kind", False),
    ],
)
def test_order_of_the_rows_is_kept(order: str, falls: bool) -> None:
    """A column that has one value in all rows orders nothing."""
    sql = "SELECT trade_id AS number, ref FROM trades t WHERE business_date = :business_date"

    [one] = by(f"{sql} ORDER BY {order}")

    assert (one.column, one.descending) == ("`t`.`trade_id`", falls)


def test_name_in_the_result_comes_before_one_in_a_table() -> None:
    sql = "SELECT trade_id, upper(ref) AS party FROM trades ORDER BY party"
    indexed = facts(TRADES, ("trade_id",), indexed=("party",))

    with pytest.raises(UndividedError, match="ordered by something else"):
        found(sql, trades=indexed)
    assert found(
        sql.replace("upper(ref) AS party", "ref AS party"),
        trades=facts(TRADES, indexed=("ref", "party")),
    ) == ["`trades`.`ref`"]


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

    [column] = found(
        f"SELECT * FROM trades WHERE {condition} ORDER BY {name}, trade_id", trades=keyed
    )

    assert column == f"`trades`.`{name}`"


@pytest.mark.parametrize("condition", ["ref = 'EUR'", ":code = ref", "party = 5", "5.0 = party"])
def test_column_of_one_value_divides_nothing(condition: str) -> None:
    keyed = facts(TRADES, ("ref", "party", "trade_id"))

    columns = found(f"SELECT * FROM trades WHERE {condition}", trades=keyed)

    assert columns == [
        "`trades`.`trade_id`",
        f"`trades`.`{'party' if 'ref' in condition else 'ref'}`",
    ]


def test_columns_of_the_shortest_key_come_first_and_of_its_end() -> None:
    keyed = facts(TRADES, ("business_date", "ref"), ("party",), ("kind", "business_date"))

    assert found("SELECT * FROM trades AS `a``b`", trades=keyed) == [
        "`a``b`.`party`",
        "`a``b`.`ref`",
        "`a``b`.`business_date`",
    ]


def test_columns_that_are_sorted_otherwise_than_compared_divide_nothing() -> None:
    with pytest.raises(UndividedError, match="no unique key of numbers, dates or text"):
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

    [found] = dividers(one, {TableName("", "trades"): table})

    assert found.rows == rows


def part(sql: str) -> tuple[str, str]:
    """The query for the ranks of another, and that for one of its parts."""
    [one, *_] = by(sql)
    asked = query(sql)
    condition = [f"{one.column} >= ", Placeholder("_from", len(sql))]
    both = sizes_query(asked, one), one.part(asked, condition, {"_from": 7})
    assert both[1].used == {**asked.used, "_from": 7}
    first, second = (each.render(lambda name: f"<{name}>").text for each in both)
    begin, _, ranked = first.partition("\n) openreg_ranked")[0].partition("AS openreg_rank ")
    return begin.partition("FROM (")[2].partition("SELECT `")[0] + ranked, second


def test_part_is_the_query_with_one_condition_more() -> None:
    sql = (
        "-- SELECT FROM WHERE ORDER BY\n"
        "SELECT trade_id, (SELECT max(party) FROM parties WHERE 1 = 1 ORDER BY 1) AS m\n"
        "from trades /* WHERE */ where business_date = :business_date AND kind IN (:kinds)\n"
        "OR kind = 'ORDER BY' -- done\nORDER BY trade_id -- and\n"
    )
    ranked, one = part(sql)

    rows = (
        "from trades /* WHERE */ where business_date = <business_date> AND kind IN (<kinds>)\n"
        "OR kind = 'ORDER BY' -- done\n"
    )
    assert ranked == f"-- SELECT FROM WHERE ORDER BY\n{rows}"
    assert one == (
        "-- SELECT FROM WHERE ORDER BY\n"
        "SELECT trade_id, (SELECT max(party) FROM parties WHERE 1 = 1 ORDER BY 1) AS m\n"
        "from trades /* WHERE */ where ( business_date = <business_date> AND kind IN (<kinds>)\n"
        "OR kind = 'ORDER BY' -- done\n"
        "\n) AND `trades`.`trade_id` >= <_from>\nORDER BY trade_id"
    )


def test_parts_and_ranks_have_the_tables_of_a_with() -> None:
    ranked, one = part("WITH p AS (SELECT * FROM parties WHERE 1) SELECT p.* FROM trades JOIN p")

    assert ranked == "WITH p AS (SELECT * FROM parties WHERE 1) FROM trades JOIN p"
    assert one.startswith("WITH p AS (SELECT * FROM parties WHERE 1) SELECT p.* FROM trades JOIN p")


def test_part_of_a_query_without_condition_and_order_has_both() -> None:
    ranked, one = part("SELECT * FROM trades t -- all")

    assert ranked == "FROM trades t"
    assert one == "SELECT * FROM trades t\nWHERE `t`.`trade_id` >= <_from> ORDER BY `t`.`trade_id`"


def test_values_that_pin_a_column_are_those_that_are_bound() -> None:
    one = outline(
        query("SELECT * FROM trades WHERE party = :number AND ref = 'x' AND 2 = price"), "mysql"
    )

    assert {column.name: value for column, value in one.pinned.items()} == {
        "party": 5,
        "ref": "x",
        "price": Decimal(2),
    }
