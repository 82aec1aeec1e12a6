from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from openreg_airflow.column_types import ColumnType, arrow_type

declared = TypeAdapter[str](ColumnType)
PLAIN = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamp_utc": pa.timestamp("us", tz="UTC"),
    "binary": pa.binary(),
}
decimals = st.integers(1, 76).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p)))


@pytest.mark.parametrize(("name", "expected"), PLAIN.items())
def test_a_plain_type_has_its_arrow_type(name: str, expected: pa.DataType) -> None:
    assert declared.validate_python(name) == name
    assert arrow_type(name) == expected


@given(decimals, st.text(" ", max_size=3))
def test_a_decimal_keeps_its_digits_and_scale(size: tuple[int, int], space: str) -> None:
    digits, scale = size
    normal = declared.validate_python(f"decimal({space}{digits}{space},{space}{scale}{space})")
    assert normal == f"decimal({digits},{scale})"
    arrow = arrow_type(normal)
    assert (arrow.precision, arrow.scale) == size
    assert arrow.bit_width == (128 if digits <= 38 else 256)


@given(decimals.map(lambda size: f"decimal({size[0]},{size[1]})") | st.sampled_from(sorted(PLAIN)))
def test_a_declared_type_is_the_type_in_parquet(name: str) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": pa.nulls(1, arrow_type(name))}), file)
    assert pq.read_schema(file).field("a").type == arrow_type(name)


@given(st.integers(0, 99), st.integers(0, 99))
def test_a_decimal_that_cannot_be_is_refused(digits: int, scale: int) -> None:
    name = f"decimal({digits},{scale})"
    if 1 <= digits <= 76 and scale <= digits:
        assert declared.validate_python(name) == name
        return
    with pytest.raises(ValidationError, match="precision is 1 to 76"):
        declared.validate_python(name)
    with pytest.raises(ValueError, match="precision is 1 to 76"):
        arrow_type(name)


@pytest.mark.parametrize(
    "name",
    ["", "String", "int", "decimal", "decimal(18)", "decimal(18,5,1)", "decimal(-1,0)",
     "decimal(1.5,0)", "timestamp_berlin", "string ", "decimal(18,5) NOT NULL"],
)  # fmt: skip
def test_an_unknown_type_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValidationError, match="known are string, integer"):
        declared.validate_python(name)


@given(st.text())
def test_any_text_is_a_type_or_refused(name: str) -> None:
    try:
        normal = declared.validate_python(name)
    except ValidationError:
        with pytest.raises(ValueError, match=r"type|precision"):
            arrow_type(name)
    else:
        assert declared.validate_python(normal) == normal
        assert arrow_type(normal) == arrow_type(name)


def test_a_decimal_that_lost_its_scale_to_a_comma_is_told_of_quotes() -> None:
    with pytest.raises(ValidationError, match="it needs quotes"):
        declared.validate_python("decimal(38")
