from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.extract.query import Placeholder, Query, QueryError, parse, read

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2026, 3, 2)
PARAMETERS = {"business_date": DAY, "desks": ("a", "b"), "limit": 5}
ALL = ("postgres", "sqlite", "mysql", "tsql", "oracle")


def query(sql: str, dialect: str = "postgres") -> Query:
    return parse(sql, file="trades.sql", dialect=dialect, parameters=PARAMETERS)


def spelled(sql: str, dialect: str = "postgres") -> str:
    return query(sql, dialect).render(lambda name: f"<{name}>").text


@pytest.mark.parametrize("dialect", ALL)
def test_parameters_are_found_and_nothing_else_is(dialect: str) -> None:
    sql = (
        "SELECT 'it''s :limit', a /* :limit */ -- :limit\n"
        "FROM t WHERE d = :business_date AND desk IN ( :desks ) AND n<:limit"
    )

    assert spelled(sql, dialect) == sql.replace("= :business_date", "= <business_date>").replace(
        ":desks", "<desks>"
    ).replace("<:limit", "<<limit>")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT price::numeric(18,5), '1'::int FROM t",
        "SELECT \"a:limit\", E'\\' :limit', U&'a :limit' FROM t",
        "SELECT $$ :limit ' $$, $x$ :limit $$ $x$ FROM t",
        "SELECT /* a /* :limit */ :limit */ 1",
        "SELECT f(a := 1, b => 2)",
        "SELECT a[1 : 2] FROM t",
    ],
)
def test_colons_of_postgres_are_left_alone(sql: str) -> None:
    assert query(sql).pieces == (sql,)


def test_cast_of_a_parameter_keeps_both() -> None:
    assert spelled("SELECT :business_date::timestamp") == "SELECT <business_date>::timestamp"


@given(st.text(st.characters(exclude_characters="'\\", codec="utf-8")))
def test_text_in_quotes_is_never_a_parameter(text: str) -> None:
    sql = f"SELECT '-{text}' FROM t WHERE d = :business_date"

    assert query(sql).pieces[0] == f"SELECT '-{text}' FROM t WHERE d = "
    assert [p.name for p in query(sql).pieces if isinstance(p, Placeholder)] == ["business_date"]


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("quoted", ["':limit'", "N':limit'", '":limit"'])
def test_parameter_in_quotes_is_refused(quoted: str, dialect: str) -> None:
    with pytest.raises(QueryError, match="the parameter :limit is in quotes") as caught:
        query(f"SELECT 1\nFROM t WHERE n = {quoted}", dialect)

    assert (caught.value.line, caught.value.column) == (2, 18)
    assert caught.value.hint == "Parameters are not quoted: write :limit alone."


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize(
    "template",
    ["'{{ ds }}'", "'{{ ds }} 00:00'", "{{ ds }}", "{{- ds }}", "{% if x %} 1 {% endif %}"],
)
def test_template_is_refused_since_sql_files_are_none(template: str, dialect: str) -> None:
    with pytest.raises(QueryError, match="SQL files are not templated") as caught:
        query(f"SELECT 1\nFROM t WHERE d = {template}", dialect)

    assert (caught.value.line, caught.value.column) == (2, 18)
    assert ":business_date" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["':limits'", "'at :limit'", "'{\"a\": {}}'", "'like {{ x }}'"])
def test_text_that_only_looks_like_a_parameter_is_left_alone(text: str) -> None:
    assert query(f"SELECT {text}").pieces == (f"SELECT {text}",)


def test_only_used_parameters_are_bound() -> None:
    assert query("SELECT 1 WHERE 1 = :limit").used == {"limit": 5}


@pytest.mark.parametrize(
    ("sql", "said", "where"),
    [
        ("SELECT 1;\nSELECT 2", "more than one statement", "line 2, column 1"),
        ("SELECT 1; DROP TABLE t; --", "more than one statement", "line 1, column 11"),
        ("-- nothing", "no statement", "line 1, column 1"),
        (";", "no statement", "line 1, column 1"),
        ("DELETE FROM t", "DELETE is not a query that reads", "line 1, column 1"),
        ("EXPLAIN SELECT 1", "EXPLAIN is not a query that reads", "line 1, column 1"),
        (
            "WITH x AS (DELETE FROM t RETURNING *)\nSELECT * FROM x",
            "more than read: DELETE",
            "line 1, column 1",
        ),
        ("SELECT * INTO u FROM t", "more than read: SELECT INTO", "line 1, column 1"),
        ("SELECT * FROM t FOR UPDATE", "more than read: FOR UPDATE", "line 1, column 1"),
        (";SELECT * FROM t FOR UPDATE", "more than read: FOR UPDATE", "line 1, column 2"),
        ("SELECT 1,\n  :buisness_date", "not declared", "line 2, column 3"),
        ("SELECT 1 WHERE 'a' = :desks", "alone in parentheses", "line 1, column 22"),
        ("SELECT 1 IN (:desks, 'c')", "alone in parentheses", "line 1, column 14"),
        ("SELECT 'a\nb',\n'c", "not closed", "line 3, column 1"),
        ("SELECT 1 /* and so on", "not closed", "line 1, column 1"),
    ],
)
def test_what_is_not_one_reading_query_is_refused_with_its_place(
    sql: str, said: str, where: str
) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        query(sql)

    assert caught.value.where == f"trades.sql, {where}"
    assert caught.value.line == int(where.split()[1].rstrip(","))


def test_misspelled_parameter_is_suggested() -> None:
    with pytest.raises(QueryError) as caught:
        query("SELECT :buisness_date")

    assert "Did you mean :business_date?" in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("WITH x AS (SELECT 1 AS a) (SELECT a FROM x) ORDER BY a;", True),
        ("(SELECT a FROM t ORDER BY a)", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a) AS x", False),
        ("SELECT a, row_number() OVER (ORDER BY a) FROM t", False),
    ],
)
def test_order_is_what_the_query_itself_asks_for(sql: str, *, ordered: bool) -> None:
    assert query(sql).ordered is ordered


def test_sql_beyond_the_parser_is_left_to_the_database() -> None:
    assert not query("SELECT a FROM t WHERE a @@@@ b !!! c").understood


def test_place_of_a_rendered_character_is_found_in_the_file() -> None:
    found = query("SELECT :limit,\n  :limit + nothere\nFROM t")
    rendered = found.render(lambda _: "(a much longer spelling)")

    assert found.place(rendered, rendered.text.index("nothere")) == "trades.sql, line 2, column 12"
    assert found.place(rendered, rendered.text.rindex("longer")) == "trades.sql, line 2, column 3"


def test_byte_order_mark_is_no_part_of_the_query(tmp_path: Path) -> None:
    (tmp_path / "trades.sql").write_bytes(b"\xef\xbb\xbfSELECT 1")

    assert read(tmp_path, "trades.sql") == "SELECT 1"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "missing"), (b" \n", "empty"), (b"SELECT '\xff'", "not UTF-8")],
)
def test_file_without_a_query_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "trades.sql").write_bytes(content)

    with pytest.raises(QueryError, match=said) as caught:
        read(tmp_path, "trades.sql")

    assert str(tmp_path / "trades.sql") in caught.value.message
