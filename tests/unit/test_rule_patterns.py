from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.sql_quoting import quoted
from openreg_airflow.validate.duckdb_syntax import parser, syntax
from openreg_airflow.validate.patterns import quicken

PATTERNS = st.lists(
    st.sampled_from(
        ["a", "B", "[a-c]", ".", r"\d", "(", ")", "|", "*", "+", "?", "{2}", "^", "$", r"\b", "'",
         r"\Q", r"\E", "(?i)", r"\.", r"\z", "é", "\n"]
    ),
    min_size=1,
    max_size=6,
).map("".join)  # fmt: skip
TEXTS = st.lists(st.text("aBc1é.'\n", max_size=5) | st.none(), min_size=1, max_size=6)


def changed(condition: str) -> str:
    """A condition as it is asked."""
    tree = json.loads(syntax(f"SELECT {condition}"))
    node = tree["statements"][0]["node"]["select_list"][0]
    quicken(node)
    [(sql,)] = parser().execute("SELECT json_deserialize_sql($1)", [json.dumps(tree)]).fetchall()
    return str(sql).removeprefix("SELECT ")


def answers(condition: str, texts: list[str | None]) -> Any:
    try:
        rows = duckdb.execute(f"SELECT {condition} FROM (SELECT unnest($1) AS x)", [texts])
        return [answer for (answer,) in rows.fetchall()]
    except duckdb.Error as error:
        return type(error)


@settings(max_examples=300, deadline=None)
@given(pattern=PATTERNS, texts=TEXTS)
def test_a_quicker_pattern_gives_the_same_answers(pattern: str, texts: list[str | None]) -> None:
    condition = f"regexp_full_match(x, {quoted(pattern)})"
    assert answers(changed(condition), texts) == answers(condition, texts)


def test_a_constant_pattern_is_asked_in_the_quick_form() -> None:
    assert "regexp_extract" in changed("regexp_full_match(x, '[A-Z0-9]{18}[0-9]{2}')")


@pytest.mark.parametrize(
    "condition",
    [
        "regexp_full_match(x, 'a*')",
        "regexp_full_match(x, y)",
        "regexp_full_match(x, 'a', 'i')",
        r"regexp_full_match(x, '\Qa')",
        "regexp_full_match(x, '(')",
        "regexp_matches(x, 'a')",
    ],
)
def test_other_patterns_are_left_as_they_are(condition: str) -> None:
    assert "regexp_extract" not in changed(condition)
