"""Which queries are not given to a database behind ODBC, by what its session would let through."""

from __future__ import annotations

import pytest

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.query import Query, parse
from openreg_airflow.extract.readers.odbc import refuse
from openreg_airflow.extract.readers.odbc_products import find_product

UNKNOWN = "DB2"


def query(sql: str) -> Query:
    return parse(sql, file="trades.sql", dialect="", parameters={"limit": 5})


@pytest.mark.parametrize(
    ("product", "sql", "said"),
    [
        ("Microsoft SQL Server", "SELECT a FROM t COMMIT DELETE FROM t", "COMMIT"),
        ("Microsoft SQL Server", "SELECT a FROM t EXEC sp_who", "EXEC"),
        ("Microsoft SQL Server", "SELECT a FROM t {call p}", "makes EXEC of"),
        ("Microsoft SQL Server", "SELECT a FROM t { ? = call p}", "makes EXEC of"),
        ("PostgreSQL", "SELECT $$ :limit $$ AS a", "takes the parameter :limit for a part"),
        ("MariaDB", r"SELECT 'a\' :limit \'b' AS a", "takes the parameter :limit for a part"),
        (UNKNOWN, "SELECT a FROM FINAL TABLE (INSERT INTO t VALUES (1))", "INSERT|INTO"),
        (UNKNOWN, "SELECT a FROM t DELETE FROM t", "DELETE"),
        (UNKNOWN, "SELECT 1 AS a /*! INTO OUTFILE '/tmp/openreg-never' */", "server executes"),
        ("MariaDB", "SELECT 1 AS a INTO OUTFILE '/tmp/openreg-never'", "INTO"),
        ("MySQL", r"SELECT a FROM t WHERE b = 'C:\'", "not closed, as MySQL reads it"),
    ],
)
def test_what_no_session_would_refuse_is_refused_before(product: str, sql: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        refuse(query(sql), find_product(product))


@pytest.mark.parametrize(
    ("product", "sql"),
    [
        ("PostgreSQL", "SELECT $$ :: $$ AS a, 'a :limit' AS b FROM t WHERE c[1:2] = :limit -- '"),
        ("PostgreSQL", "SELECT a::int AS a FROM t WHERE b = :limit AND c = $x$ $ :: $x$"),
        ("MariaDB", "SELECT a, 'a :limit' AS b FROM t WHERE c = :limit -- :limit"),
        ("SQLite", "SELECT a FROM t WHERE b = :limit AND c <> 'a :limit'"),
        ("PostgreSQL", r"SELECT a FROM t WHERE b = 'C:\' AND c < :limit"),
        ("Microsoft SQL Server", r"SELECT [delete] AS a FROM t WHERE b = 'C:\'"),
        ("Microsoft SQL Server", "SELECT call, {d '2026-03-02'} AS b FROM t WHERE put = call"),
        (UNKNOWN, "SELECT a FROM t ORDER BY a FETCH FIRST 10 ROWS ONLY"),
        (UNKNOWN, "SELECT a AS \"update\" FROM t WHERE b = 'it''s; DROP TABLE t'"),
    ],
)
def test_reading_queries_are_let_through(product: str, sql: str) -> None:
    refuse(query(sql), find_product(product))
