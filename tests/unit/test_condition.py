from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.artifacts.values import condition

BATCH = pa.record_batch(
    {
        "kind": pa.array(["NEW", "CXL", None, "it's"]),
        "price": pa.array([Decimal("1.50"), Decimal(0), None, Decimal("-2.00")]),
        "count": pa.array([1, 2, None, 3]),
        "flag": pa.array([True, False, None, True]),
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind = 'NEW'", [True, False, False, False]),
        ("kind != 'NEW'", [False, True, False, True]),
        ("kind in ('NEW', 'CXL')", [True, True, False, False]),
        ("kind not in ('NEW', 'CXL')", [False, False, False, True]),
        ("kind = 'it''s'", [False, False, False, True]),
        ("kind is null", [False, False, True, False]),
        ("kind IS NOT NULL", [True, True, False, True]),
        ("price = 1.5", [True, False, False, False]),
        ("price in (0, -2)", [False, True, False, True]),
        ("count = 2", [False, True, False, False]),
        ("count = 1.5", [False, False, False, False]),
        ("flag", [True, False, False, True]),
        ("not flag", [False, True, False, False]),
        ("flag = false", [False, True, False, False]),
        ("flag and count = 1 or kind is null", [True, False, True, False]),
    ],
)
def test_condition_holds(text: str, expected: list[bool]) -> None:
    assert condition.parse(text).holds(BATCH).to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("", 0, "expected a column, found the end"),
        ("kind == 'NEW'", 6, "expected a value: 'text', a number, true or false, found ="),
        ("kind = NEW", 7, "found NEW"),
        ("kind = 'NEW' kind", 13, "expected and, or, or the end, found kind"),
        ("kind in ()", 9, "expected a value"),
        ("kind not 'x'", 9, "expected in"),
        ("kind = 'open", 6, "is not understood"),
        ("__import__('os')", 10, "expected and, or, or the end, found ("),
        ("kind.upper = 'X'", 4, "is not understood"),
        ("price > 1", 5, "is not understood"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(
    text: str, offset: int, message: str
) -> None:
    with pytest.raises(condition.ConditionError) as caught:
        condition.parse(text)
    assert message in str(caught.value)
    assert caught.value.offset == offset


@given(st.text(st.sampled_from("ab ='(),!1.-_\n") | st.characters(), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    offset = -1
    try:
        columns = condition.parse(text).columns
    except condition.ConditionError as error:
        columns, offset = frozenset(), error.offset
    assert columns or 0 <= offset <= len(text)


@pytest.mark.parametrize("text", ["kind = 1", "kind", "price = 'x'", "flag = 1", "count = true"])
def test_comparing_another_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        condition.parse(text).holds(BATCH)


@given(st.text(max_size=10))
def test_any_text_can_be_compared_with(value: str) -> None:
    quoted = value.replace("'", "''")
    batch = pa.record_batch({"a": pa.array([value, value + "x", None])})
    assert condition.parse(f"a = '{quoted}'").holds(batch).to_pylist() == [True, False, False]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_text_can_be_compared(kind: pa.DataType) -> None:
    batch = pa.record_batch({"a": pa.array(["x", "y", None], pa.string()).cast(kind)})
    assert condition.parse("a = 'x'").holds(batch).to_pylist() == [True, False, False]


def test_columns_of_a_condition() -> None:
    found: Any = condition.parse("a = 1 and b is null or not c")
    assert found.columns == {"a", "b", "c"}
