"""A table of one row, and conditions asked of it."""

from __future__ import annotations

from datetime import date
from functools import cache

import duckdb

from openreg_airflow.language.compiler import compile_condition
from openreg_airflow.language.library import install
from openreg_airflow.language.scope import Scope, columns_of

BUSINESS_DATE = date(2026, 3, 31)
_ROW = """SELECT 1.5::DECIMAL(18,5) AS price, 2.25::DECIMAL(38,10) AS ref, 'EUR' AS currency,
    NULL::DECIMAL(10,2) AS fx, NULL::VARCHAR AS missing, '529900T8BM49AURSDO55' AS lei,
    DATE '2026-03-31' AS day, 7 AS n, true AS flag, NULL::BOOLEAN AS maybe,
    TIMESTAMPTZ '2026-03-31 12:00:00Z' AS at, 0.5::DOUBLE AS ratio, 'XETR' AS venue"""


@cache
def connection() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect(
        config={"ieee_floating_point_ops": False, "error_on_division_by_zero": True}
    )
    made.execute("SET TimeZone = 'UTC'")
    install(made)
    made.execute(f"CREATE TABLE trades AS {_ROW}")
    made.execute("CREATE TABLE venues AS SELECT 'XETR' AS mic UNION ALL SELECT NULL")
    return made


@cache
def scope() -> Scope:
    described = connection().execute("DESCRIBE trades").fetchall()
    trades = columns_of({name: kind for name, kind, *_ in described})
    return Scope("trades", {"trades": trades, "venues": columns_of({"mic": "string"})})


def ask(condition: str) -> bool | None:
    """What a condition is for the row: true, false or unknown."""
    sql = compile_condition(condition, scope()).sql
    given = {"business_date": BUSINESS_DATE} if "$business_date" in sql else {}
    [(answer,)] = connection().execute(f"SELECT {sql} FROM trades", given).fetchall()
    assert answer is None or isinstance(answer, bool)
    return answer
