from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openreg_airflow.column_types import arrow_type
from openreg_airflow.transform.runner.casting import cast_exactly, check_castable
from openreg_airflow.transform.runner.faults import ScriptError


def cast(array: pa.Array, declared: str, first_row: int = 0) -> list[Any]:
    want = arrow_type(declared)
    values = pa.chunked_array([array])
    check_castable("out", "c", values.type, want)
    result = cast_exactly("out", "c", values, want, first_row)
    assert result.type == want
    return list(result.to_pylist())


def _storable(value: Decimal) -> bool:
    try:
        pa.array([value])
    except pa.ArrowException:
        return False
    return True


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("array", "declared", "expected"),
    [
        (pa.array(["a", None], pa.large_string()), "string", ["a", None]),
        (pa.array(["a", "b"]).dictionary_encode(), "string", ["a", "b"]),
        (pa.array([None, None]), "decimal(5,2)", [None, None]),
        (pa.array([1, 2], pa.uint64()), "integer", [1, 2]),
        (pa.array([1.0, None, -3.0]), "integer", [1, None, -3]),
        (pa.array([Decimal("7.00")]), "integer", [7]),
        (pa.array([2**63 - 1]), "decimal(19,0)", [Decimal(2**63 - 1)]),
        (pa.array([5], pa.int8()), "decimal(3,2)", [Decimal("5.00")]),
        (pa.array([1.1, 1e-5]), "decimal(18,5)", [Decimal("1.1"), Decimal("1E-5")]),
        (pa.array([2e12, -0.0]), "decimal(18,5)", [Decimal(2 * 10**12), Decimal(0)]),
        (pa.array([0.1], pa.float32()), "float", [pytest.approx(0.1)]),
        (pa.array([Decimal("1.50")]), "decimal(40,1)", [Decimal("1.5")]),
        (pa.array([Decimal("9" * 38)]), "decimal(40,2)", [Decimal("9" * 38)]),
        (pa.array([Decimal("9" * 37 + ".0")]), "decimal(37,0)", [Decimal("9" * 37)]),
        (pa.array([3]), "float", [3.0]),
        (pa.array([at("2026-03-02")], pa.timestamp("ns")), "date", [dt.date(2026, 3, 2)]),
        (pa.array([dt.date(2026, 3, 2)], pa.date64()), "date", [dt.date(2026, 3, 2)]),
        (
            pa.array([at("2026-03-02T12:00:00")], pa.timestamp("ns", "Europe/Berlin")),
            "timestamp_utc",
            [at("2026-03-02T12:00:00+00:00")],
        ),
        (pa.array([dt.time(1, 2)], pa.time32("s")), "time", [dt.time(1, 2)]),
        (pa.array([b"x"], pa.large_binary()), "binary", [b"x"]),
    ],
)  # fmt: skip
def test_value_that_fits_is_kept(array: pa.Array, declared: str, expected: list[Any]) -> None:
    assert cast(array, declared) == expected


@pytest.mark.parametrize(
    ("array", "declared", "row"),
    [
        (pa.array([1.0, 0.1 + 0.2]), "decimal(18,5)", "row 1: 0.30000000000000004 does not fit"),
        (pa.array([1.0, 2.5]), "integer", "row 1: 2.5 does not fit int64"),
        (pa.array([1, 2, 1000]), "decimal(5,2)", "row 2: 1000 does not fit decimal128(5, 2)"),
        (pa.array([Decimal("0.001")]), "decimal(5,2)", "row 0: 0.001 does not fit"),
        (pa.array([Decimal("1.5")]), "integer", "row 0: 1.5 does not fit"),
        (pa.array([0.0, 1e-300]), "decimal(18,5)", "row 1: 1e-300 does not fit"),
        (pa.array([1e300]), "decimal(18,5)", "row 0: 1e+300 does not fit"),
        (pa.array([Decimal("1e-70")]), "decimal(18,5)", "row 0: 1E-70 does not fit"),
        (pa.array([float("nan")]), "decimal(18,5)", "row 0: nan does not fit"),
        (pa.array([float("inf")]), "decimal(18,5)", "row 0: inf does not fit"),
        (pa.array([2**63], pa.uint64()), "integer", "row 0: 9223372036854775808 does not fit"),
        (pa.array([2**60 + 1]), "float", "row 0: 1152921504606846977 does not fit"),
        (pa.array([1, 1001], pa.timestamp("ns")), "timestamp", "row 0"),
        (
            pa.array([at("2026-03-02"), at("2026-03-02T00:00:01")], pa.timestamp("us")),
            "date",
            "row 1: 2026-03-02 00:00:01 does not fit date32",
        ),
    ],
)
def test_value_that_does_not_fit_is_named_with_its_row(
    array: pa.Array, declared: str, row: str
) -> None:
    with pytest.raises(ScriptError) as caught:
        cast(array, declared)

    assert f"table out, column c, {row}" in str(caught.value)


@pytest.mark.parametrize(
    ("array", "declared"),
    [
        (pa.array(["1"]), "integer"),
        (pa.array(["1"]), "decimal(5,2)"),
        (pa.array([1]), "string"),
        (pa.array([1]), "timestamp"),
        (pa.array([1]), "boolean"),
        (pa.array([True]), "integer"),
        (pa.array([Decimal("1.5")]), "float"),
        (pa.array([at("2026-03-02")], pa.timestamp("us")), "timestamp_utc"),
        (pa.array([at("2026-03-02")], pa.timestamp("us", "UTC")), "timestamp"),
        (pa.array([at("2026-03-02")], pa.timestamp("us", "UTC")), "date"),
        (pa.array(["2026-03-02"]), "date"),
        (pa.array([[1]]), "integer"),
    ],
)
def test_value_of_another_kind_is_never_guessed(array: pa.Array, declared: str) -> None:
    with pytest.raises(ScriptError, match=r"column c is .*; declared is "):
        cast(array, declared)


def test_row_is_counted_from_the_start_of_the_table() -> None:
    with pytest.raises(ScriptError, match=r"row 131074: 0\.5"):
        cast(pa.array([1.0, 2.0, 0.5]), "integer", first_row=131_072)


@given(st.lists(st.decimals(-(10**12), 10**12, places=5), min_size=1))
def test_decimal_goes_through_a_shorter_type_and_back(values: list[Decimal]) -> None:
    array = pa.array(values, pa.decimal128(38, 10))

    assert cast(array, "decimal(18,5)") == values


#: Every declared decimal, those of the largest scales above all: there Arrow's rescaling overflows.
DECIMALS = st.integers(1, 76).flatmap(
    lambda digits: st.one_of(st.just(digits), st.just(digits - 1), st.integers(0, digits)).map(
        lambda scale: f"decimal({digits},{scale})"
    )
)


def _kept_or_refused(array: pa.Array, declared: str, expected: list[Decimal]) -> None:
    try:
        result = cast(array, declared)
    except ScriptError:
        return
    assert result == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(_storable), DECIMALS)
@example(Decimal("8712.1"), "decimal(38,37)")
@example(Decimal("123456789012345678901234567890.5"), "decimal(12,1)")
def test_any_decimal_keeps_its_value_or_is_refused(value: Decimal, declared: str) -> None:
    _kept_or_refused(pa.array([value]), declared, [value])


@given(st.integers(-(2**63), 2**63 - 1), DECIMALS)
@example(8712, "decimal(38,37)")
def test_any_integer_keeps_its_value_or_is_refused(value: int, declared: str) -> None:
    _kept_or_refused(pa.array([value]), declared, [Decimal(value)])


@pytest.mark.parametrize("value", [8712.1, Decimal("8712.1"), 8712])
def test_a_number_that_leaves_its_bits_when_rescaled_is_refused(value: float | Decimal) -> None:
    with pytest.raises(ScriptError, match=r"row 0: 8712(\.1)? does not fit decimal128\(38, 37\)"):
        cast(pa.array([value]), "decimal(38,37)")


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1))
def test_cents_computed_as_floats_become_exact_decimals(cents: list[int]) -> None:
    array = pa.array([number / 100 for number in cents])

    assert cast(array, "decimal(12,2)") == [Decimal(number).scaleb(-2) for number in cents]


@given(st.lists(st.floats(allow_nan=False), min_size=1), DECIMALS)
@example([1e22], "decimal(38,30)")
@example([8712.1], "decimal(38,37)")
def test_float_becomes_the_decimal_that_its_text_shows_or_is_refused(
    values: list[float], declared: str
) -> None:
    _kept_or_refused(pa.array(values), declared, [Decimal(repr(value)) for value in values])
