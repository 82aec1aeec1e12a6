from __future__ import annotations

import struct
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.extract.readers.postgres_numeric import MOST_DIGITS, decimals, text

NAN = struct.pack(">hhHh", 0, 0, 0xC000, 0)
MINUS_INFINITY = struct.pack(">hhHh", 0, 0, 0xF000, 32)


def sent(value: Decimal) -> bytes:
    """A value in PostgreSQL's binary form, built from its decimal digits."""
    places = max(-int(value.as_tuple().exponent), 0)
    whole, _, behind = f"{value.copy_abs():f}".partition(".")
    whole = whole.zfill(-(-len(whole) // 4) * 4)
    behind = behind.ljust(-(-len(behind) // 4) * 4, "0")
    digits = [int((whole + behind)[i : i + 4]) for i in range(0, len(whole + behind), 4)]
    weight = len(whole) // 4 - 1
    while digits and digits[0] == 0:
        digits, weight = digits[1:], weight - 1
    while digits and digits[-1] == 0:
        digits = digits[:-1]
    sign = 0x4000 if digits and value < 0 else 0
    head = struct.pack(">hhHh", len(digits), weight if digits else 0, sign, places)
    return head + struct.pack(f">{len(digits)}h", *digits)


def numbers(scale: int, digits: int) -> st.SearchStrategy[Decimal]:
    limit = 10**digits - 1
    return st.integers(-limit, limit).map(lambda unscaled: Decimal(unscaled).scaleb(-scale))


@st.composite
def columns(draw: st.DrawFn) -> tuple[int, int, list[Decimal | None]]:
    precision = draw(st.integers(1, MOST_DIGITS))
    scale = draw(st.integers(0, precision))
    return precision, scale, draw(st.lists(numbers(scale, precision) | st.none(), max_size=40))


@given(columns(), st.integers(0, 3))
def test_binary_numerics_become_the_same_decimals(
    column: tuple[int, int, list[Decimal | None]], skipped: int
) -> None:
    precision, scale, values = column
    array = pa.array([None if v is None else sent(v) for v in values], pa.binary())

    found = decimals(array.slice(skipped), precision, scale)

    assert found.type == pa.decimal128(precision, scale)
    assert found.to_pylist() == values[skipped:]
    found.validate(full=True)


@given(st.decimals(allow_nan=False, allow_infinity=False).filter(lambda v: abs(v.adjusted()) < 60))
def test_any_numeric_is_spelled_exactly(value: Decimal) -> None:
    assert Decimal(text(sent(value))) == value


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (Decimal("0"), "0"),
        (Decimal("-0.00100"), "-0.00100"),
        (Decimal("1E+20"), "100000000000000000000"),
        (Decimal("0.00000000012"), "0.00000000012"),
        (Decimal("12345678.9"), "12345678.9"),
    ],
)
def test_numeric_is_spelled_as_the_database_does(value: Decimal, spelled: str) -> None:
    assert text(sent(value)) == spelled


@pytest.mark.parametrize(
    ("special", "spelled"),
    [
        (NAN, "NaN"),
        (MINUS_INFINITY, "-Infinity"),
        (sent(Decimal("1.001")), "1.001"),
        (sent(Decimal(10) ** 16), "1" + "0" * 16),
        (sent(Decimal(10) ** 200), "1" + "0" * 200),
    ],
)
def test_column_with_a_value_that_is_no_such_decimal_stays_text(
    special: bytes, spelled: str
) -> None:
    array = pa.array([sent(Decimal("2.50")), None, special], pa.binary())

    assert decimals(array, 18, 2).to_pylist() == ["2.50", None, spelled]
