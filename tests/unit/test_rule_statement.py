from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.validate.duckdb_syntax import place
from openreg_airflow.validate.statement import RuleSqlError, parse


def refusal(sql: str) -> RuleSqlError:
    with pytest.raises(RuleSqlError) as caught:
        parse(sql)
    return caught.value


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM trades WHERE price <= 0",
        "FROM trades WHERE price <= 0;",
        "-- why\nSELECT * FROM trades; -- done; really",
        "SELECT * FROM trades /* ; */ ;;",
        "WITH big AS (SELECT * FROM trades) SELECT * FROM big b JOIN trades t USING (number)",
        "SELECT venue, count(*) FROM trades GROUP BY ALL HAVING count(*) > 1",
        "SELECT * FROM trades QUALIFY row_number() OVER (PARTITION BY venue ORDER BY number) > 1",
        "SELECT * FROM trades UNION ALL SELECT * FROM trades ORDER BY 1",
        "SELECT * FROM range(3), unnest([1, 2])",
        "SELECT list_transform([1], lambda x: x + 1), ';' FROM trades",
        "SELECT * FROM (PIVOT trades ON venue IN ('XETR') USING sum(price))",
        "SELECT * FROM trades WHERE price < 0 AND error('stop')",
        "VALUES (1)",
        "TABLE trades",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r",
        "SELECT t.current_date FROM trades t",
    ],
)
def test_a_select_is_accepted(sql: str) -> None:
    parse(sql)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("ATTACH 'other.db'", "ATTACH is not allowed"),
        ("COPY trades TO 'out.csv'", "COPY is not allowed"),
        ("COPY (SELECT 1) TO 'out.csv'", "COPY is not allowed"),
        ("PRAGMA database_list", "is not allowed"),
        ("SET memory_limit = '1TB'", "is not allowed"),
        ("INSTALL httpfs", "is not allowed"),
        ("LOAD httpfs", "LOAD is not allowed"),
        ("CREATE TABLE t (a INT)", "CREATE is not allowed"),
        ("CREATE VIEW v AS SELECT 1", "CREATE is not allowed"),
        ("INSERT INTO trades VALUES (1)", "INSERT is not allowed"),
        ("DELETE FROM trades", "DELETE is not allowed"),
        ("DELETE FROM trades RETURNING *", "DELETE is not allowed"),
        ("UPDATE trades SET price = 0", "UPDATE is not allowed"),
        ("DROP VIEW trades", "DROP is not allowed"),
        ("CALL pragma_version()", "CALL is not allowed"),
        ("EXPORT DATABASE 'x'", "EXPORT is not allowed"),
        ("EXPLAIN SELECT 1", "EXPLAIN is not allowed"),
        ("BEGIN", "is not allowed"),
        ("WITH d AS (DELETE FROM trades RETURNING *) SELECT * FROM d", "DELETE is not allowed"),
        ("SELECT 1; DROP VIEW trades", "there are 2 statements"),
        ("SELECT 1; SELECT 2", "there are 2 statements"),
        ("DESCRIBE trades", "SHOW"),
        ("SHOW TABLES", "SHOW"),
        ("SUMMARIZE trades", "SHOW"),
        ("SELECT * FROM (DESCRIBE trades)", "SHOW"),
        ("PIVOT trades ON venue USING sum(price)", "PIVOT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
        ("SELECT * FROM read_text('/etc/passwd')", "read_text"),
        ("SELECT * FROM glob('/etc/*')", "glob"),
        ("SELECT * FROM read_parquet('trades.parquet')", "read_parquet"),
        ("SELECT * FROM duckdb_settings()", "duckdb_settings"),
        ("SELECT * FROM query('SELECT 1')", "query"),
        ("SELECT * FROM json_execute_serialized_sql('{}')", "json_execute_serialized_sql"),
        ("SELECT (SELECT max(content) FROM read_text('/etc/passwd')) FROM trades", "read_text"),
        ("SELECT * FROM '/etc/passwd.csv'", "'/etc/passwd.csv' is not a table"),
        ('SELECT * FROM "https://example.org/a.parquet"', "is not a table"),
        ("SELECT * FROM information_schema.tables", "information_schema.tables is not a table"),
        ("SELECT * FROM other.main.trades", "other.main.trades is not a table"),
        ("SELECT now()", "now"),
        ("SELECT current_date", "current_date"),
        ("SELECT * FROM trades WHERE price > random()", "random"),
        ("SELECT age(TIMESTAMP '2026-01-01')", "age"),
        ("SELECT current_setting('temp_directory')", "current_setting"),
        ("SELECT getvariable('x')", "getvariable"),
        ("SELECT nextval('s')", "nextval"),
        ("SELECT * FROM trades USING SAMPLE 10", "sample"),
        ("SELECT * FROM trades TABLESAMPLE 10%", "sample"),
        ("SELECT $other", "$other"),
        ("SELECT ?", "$1"),
        ("", "no statement"),
        ("-- nothing", "no statement"),
        ("SELEC 1", "syntax error"),
        (f"SELECT {'(' * 5000}1{')' * 5000}", "depth"),
        (f"SELECT {'+'.join('1' * 900)}", "nested too deeply"),
    ],
)
def test_anything_else_is_refused(sql: str, words: str) -> None:
    error = refusal(sql)
    assert words in error.message


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT *\nFROM trades\nWHERE price = = 0", (3, 15)),
        ("SELECT 'Grüße',\n  now()", (2, 3)),
        ("SELECT 'Grüße', now()", (1, 17)),
        ("SELECT * FROM trades,\r\n read_csv('x')", (2, 2)),
    ],
)
def test_a_refusal_says_line_and_column(sql: str, expected: tuple[int, int]) -> None:
    error = refusal(sql)
    assert (error.line, error.column) == expected
    assert f"line {expected[0]}, column {expected[1]}" in str(error)


def test_the_tables_that_are_read_are_known() -> None:
    statement = parse(
        "WITH a AS (SELECT * FROM Trades) "
        "SELECT * FROM a, venues WHERE EXISTS (SELECT 1 FROM prices)"
    )
    assert {name for name, _ in statement.tables} == {"trades", "venues", "prices"}


def test_a_name_defined_by_with_is_known_only_where_it_is_in_scope() -> None:
    statement = parse(
        "SELECT * FROM (WITH duckdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings), "
        "duckdb_settings"
    )
    assert [name for name, _ in statement.tables] == ["duckdb_settings"]


def test_a_table_that_the_run_has_not_is_refused_with_its_place() -> None:
    with pytest.raises(RuleSqlError, match="no table 'pg_tables' in this run") as caught:
        parse("SELECT *\nFROM pg_tables").require_tables(frozenset({"trades"}))
    assert (caught.value.line, caught.value.column) == (2, 6)


def test_a_statement_knows_whether_it_is_dated() -> None:
    assert not parse("SELECT * FROM trades").dated
    assert parse("SELECT * FROM trades WHERE day > $business_date").dated


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT * FROM trades WHERE price < 0 AND lower(venue) = 'x'", True),
        ("SELECT venue, count(*) FROM trades GROUP BY 1 ORDER BY 1", True),
        ("SELECT * FROM trades UNION ALL SELECT * FROM trades ORDER BY ALL", True),
        ("SELECT * FROM (SELECT * FROM trades ORDER BY 1)", False),
        ("SELECT venue FROM trades GROUP BY ALL", False),
        ("SELECT DISTINCT venue FROM trades", False),
        ("SELECT * FROM trades, venues", False),
        ("SELECT * FROM trades WHERE venue IN (SELECT venue FROM venues)", False),
        ("SELECT * FROM trades QUALIFY row_number() OVER () = 1", False),
        ("WITH a AS (FROM trades) SELECT * FROM a", False),
        ("SELECT * FROM trades UNION ALL SELECT * FROM trades", False),
        ("SELECT 1", False),
    ],
)
def test_a_statement_knows_whether_its_rows_have_an_order(sql: str, ordered: bool) -> None:
    assert parse(sql).ordered is ordered


@pytest.mark.parametrize("end", ["", ";", " ; ;", "; -- a;b", "\n;\n/* ; */", " -- a;b"])
def test_a_statement_can_stand_in_parentheses_whatever_its_end(end: str) -> None:
    statement = parse(f"SELECT ';é' AS a{end}")
    parse(f"SELECT * FROM (\n{statement.sql}\n)")


@given(st.text())
def test_any_text_is_accepted_or_refused_and_nothing_else(text: str) -> None:
    with suppress(RuleSqlError):
        parse(text)


@given(st.text())
def test_every_offset_has_a_place(text: str) -> None:
    raw = text.encode()
    for offset in range(len(raw) + 1):
        line, column = place(text, offset)
        assert line >= 1
        assert column >= 1
