# Timestamps without a zone are what is tested here.
# ruff: noqa: DTZ001
from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.column_types import arrow_type
from openreg_airflow.extract.exact import NeverFitsError, UnfitError, exactly, first_unfit

NOON = datetime(2026, 3, 2, 12, 0, 0, 123456)


def converted(values: list[Any], declared: str, kind: pa.DataType | None = None) -> list[Any]:
    found: list[Any] = exactly(pa.array(values, kind), arrow_type(declared)).to_pylist()
    return found


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        ("1.50", "decimal(18,5)", Decimal("1.50000")),
        ("-0", "decimal(18,5)", Decimal(0)),
        ("1e3", "decimal(18,5)", Decimal(1000)),
        (".5", "decimal(38,37)", Decimal("0.5")),
        ("-000.5", "decimal(38,38)", Decimal("-0.5")),
        ("1.5" + "0" * 80, "decimal(18,5)", Decimal("1.5")),
        ("9" * 71 + ".12345", "decimal(76,5)", Decimal("9" * 71 + ".12345")),
        (9999999999999, "decimal(18,5)", Decimal(9999999999999)),
        (0.1, "decimal(18,5)", Decimal("0.10000")),
        (1e15, "decimal(18,1)", Decimal(10) ** 15),
        (Decimal("1.500"), "decimal(5,1)", Decimal("1.5")),
        (Decimal("9" * 37 + ".0"), "decimal(37,0)", Decimal("9" * 37)),
        ("+12", "integer", 12),
        ("-9223372036854775808", "integer", -(2**63)),
        (Decimal("12.00"), "integer", 12),
        (12.0, "integer", 12),
        (2**53, "float", 2.0**53),
        (Decimal("0.1"), "float", 0.1),
        ("Infinity", "float", float("inf")),
        (1, "boolean", True),
        ("false", "boolean", False),
        ("2026-03-02", "date", date(2026, 3, 2)),
        (datetime(2026, 3, 2), "date", date(2026, 3, 2)),
        ("12:34:56.789012", "time", time(12, 34, 56, 789012)),
        ("2026-03-02 12:00:00.123456", "timestamp", NOON),
        ("2026-03-02T12:00:00.123456", "timestamp", NOON),
        (date(2026, 3, 2), "timestamp", datetime(2026, 3, 2)),
        ("2026-03-02T12:00:00.123456Z", "timestamp_utc", NOON.replace(tzinfo=UTC)),
        ("2026-03-02T14:00:00.123456+02:00", "timestamp_utc", NOON.replace(tzinfo=UTC)),
        ("2026-03-02 12:00:00.123456", "timestamp_utc", NOON.replace(tzinfo=UTC)),
        (NOON, "timestamp_utc", NOON.replace(tzinfo=UTC)),
        (Decimal("0.0000001"), "string", "0.0000001"),
        (True, "string", "true"),
        (b"ab", "string", "ab"),
        ("ab", "binary", b"ab"),
    ],
)
def test_value_arrives_unchanged_in_another_type(value: Any, declared: str, expected: Any) -> None:
    assert converted([None, value], declared) == [None, expected]


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        ("1.123456", "decimal(18,5)"),
        ("0.9727087415960688682569047271432206496631", "decimal(12,1)"),
        ("8712.1", "decimal(38,37)"),
        (Decimal("-86"), "decimal(38,38)"),
        ("3.402823466e+38", "decimal(38,18)"),
        ("12345678901234.5", "decimal(18,5)"),
        ("NaN", "decimal(18,5)"),
        ("Infinity", "decimal(18,5)"),
        ("", "decimal(18,5)"),
        ("1,5", "decimal(18,5)"),
        (10**13, "decimal(18,5)"),
        (1234567890123.4567, "decimal(18,5)"),  # a float with 17 digits: the last are made up
        (0.1 + 0.2, "decimal(38,20)"),
        (Decimal("1.55"), "decimal(5,1)"),
        (Decimal("123456.00"), "decimal(5,2)"),
        ("0x1F", "integer"),
        (" 7", "integer"),
        ("1-2", "integer"),
        ("--1", "integer"),
        ("+-1", "integer"),
        ("-", "integer"),
        ("1.0", "integer"),
        ("9223372036854775808", "integer"),
        (1.5, "integer"),
        (Decimal("1.5"), "integer"),
        (float("nan"), "integer"),
        (2**53 + 1, "float"),
        ("1e400", "float"),
        (2, "boolean"),
        ("yes", "boolean"),
        ("2026-02-30", "date"),
        ("20260302", "date"),
        ("02.03.2026", "date"),
        (NOON, "date"),
        ("24:00:00", "time"),
        ("12:34:56.7890123", "time"),
        ("2026-03-02 12:00:00.1234567 +01:00", "timestamp_utc"),
        ("12:34:56Z", "time"),
        ("2026-03-02 12:00:00.123456789", "timestamp"),
        ("2026-03-02T12:00:00Z", "timestamp"),
        ("2026-03-02T12:00:00 CET", "timestamp_utc"),
        (b"\xff", "string"),
    ],
)
def test_value_that_would_change_is_refused(value: Any, declared: str) -> None:
    array = pa.array([None, value, None])

    with pytest.raises(UnfitError):
        exactly(array, arrow_type(declared))
    assert first_unfit(array, arrow_type(declared)) == 1


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (True, "integer"),
        (True, "decimal(18,5)"),
        (True, "date"),
        (5, "date"),
        (5, "timestamp_utc"),
        (1.5, "boolean"),
        (NOON.replace(tzinfo=UTC), "timestamp"),
        (date(2026, 3, 2), "decimal(18,5)"),
        (date(2026, 3, 2), "time"),
        ([1, 2], "string"),
    ],
)
def test_types_that_have_nothing_to_do_with_each_other_are_refused(
    value: Any, declared: str
) -> None:
    with pytest.raises(NeverFitsError):
        converted([value], declared)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 400_000_000_000_000_000])
def test_infinite_timestamp_is_refused(number: int) -> None:
    array = pa.array([0, number]).view(pa.timestamp("us", tz="UTC"))

    with pytest.raises(UnfitError, match="infinite, or outside"):
        exactly(array, array.type)
    assert first_unfit(array, array.type) == 1


@pytest.mark.parametrize("number", [2**31 - 1, -(2**31)])
def test_infinite_date_is_refused(number: int) -> None:
    with pytest.raises(UnfitError, match="infinite, or outside"):
        exactly(pa.array([number], pa.int32()).view(pa.date32()), pa.date32())


def test_first_and_last_day_of_the_calendar_arrive() -> None:
    days = [date(1, 1, 1), date(9999, 12, 31)]
    ends = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)]

    assert converted(days, "date") == days
    assert converted(ends, "timestamp", pa.timestamp("us")) == ends


def test_column_of_mixed_types_becomes_one() -> None:
    mixed = pa.StructArray.from_arrays(
        [pa.array([1, None, None, None]), pa.array([None, 2.5, None, None])]
        + [pa.array([None, None, "3.25", None])],
        names=["int", "float", "str"],
    )

    assert exactly(mixed, arrow_type("decimal(9,2)")).to_pylist() == [
        Decimal("1.00"),
        Decimal("2.50"),
        Decimal("3.25"),
        None,
    ]
    with pytest.raises(UnfitError):
        exactly(mixed, arrow_type("integer"))
    assert first_unfit(mixed, arrow_type("integer")) == 1


@st.composite
def decimals_and_a_type(draw: st.DrawFn) -> tuple[list[Decimal | None], int, int]:
    precision = draw(st.integers(1, 76))
    scale = draw(st.integers(0, precision))
    unscaled = st.integers(-(10**75), 10**75) | st.integers(-(10**6), 10**6)
    # The largest number of so many digits: the last that a type has room for.
    unscaled |= st.integers(1, 75).map(lambda digits: 10**digits - 1)
    number = st.builds(
        lambda value, places: Decimal(f"{value}E-{places}"), unscaled, st.integers(0, 76)
    )
    return draw(st.lists(number | st.none(), max_size=4)), precision, scale


def fits(value: Decimal | None, precision: int, scale: int) -> bool:
    exact = Fraction(value or 0)
    return (exact * 10**scale).denominator == 1 and abs(exact) < 10 ** (precision - scale)


@settings(max_examples=500)
@given(decimals_and_a_type(), st.sampled_from(["{:f}", "{:e}"]))
def test_text_becomes_a_decimal_exactly_or_not_at_all(
    case: tuple[list[Decimal | None], int, int], spelling: str
) -> None:
    values, precision, scale = case
    texts = [None if value is None else spelling.format(value) for value in values]

    try:
        found = converted(texts, f"decimal({precision},{scale})", pa.string())
    except UnfitError:
        assert not all(fits(value, precision, scale) for value in values)
    else:
        assert all(fits(value, precision, scale) for value in values)
        assert found == values


@given(decimals_and_a_type(), decimals_and_a_type())
def test_decimal_becomes_another_exactly_or_not_at_all(
    case: tuple[list[Decimal | None], int, int], other: tuple[list[Decimal | None], int, int]
) -> None:
    _, precision, scale = other
    values = [value for value in case[0] if fits(value, case[1], case[2])]
    kind = arrow_type(f"decimal({case[1]},{case[2]})")

    try:
        found = converted(values, f"decimal({precision},{scale})", kind)
    except UnfitError:
        assert not all(fits(value, precision, scale) for value in values)
    else:
        assert all(fits(value, precision, scale) for value in values)
        assert found == values


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (2**31 - 1, pa.date32()),
        (-719_163, pa.date32()),  # the last day before the year 1
        (2**63 - 1, pa.timestamp("us")),
        (-(2**63), pa.timestamp("us", tz="UTC")),
        (86_400_000_000, pa.time64("us")),
    ],
)
def test_day_that_is_none_is_not_spelled_as_text(number: int, kind: pa.DataType) -> None:
    width = pa.int32() if kind == pa.date32() else pa.int64()

    with pytest.raises(UnfitError):
        exactly(pa.array([None, number], width).view(kind), pa.string())


def test_short_float_keeps_the_digits_that_it_is_printed_with() -> None:
    short = pa.array([0.1, 123456.79, 3.4028235e38, 1e-45, None], pa.float32())

    found = exactly(short, pa.float64())

    assert found.to_pylist() == [0.1, 123456.79, 3.4028235e38, 1e-45, None]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_becomes_the_decimal_that_it_spells_or_none(value: float) -> None:
    try:
        [found] = converted([value], "decimal(38,18)")
    except UnfitError:
        return
    assert found == Decimal(repr(value))
    assert float(found) == value


@pytest.mark.parametrize(
    ("text", "declared", "value"),
    [
        ("12:34:56.7890120", "time", time(12, 34, 56, 789012)),
        ("2026-03-02 12:00:00.0000000", "timestamp", datetime(2026, 3, 2, 12)),
        (
            "2026-03-02 12:00:00.1234560 +01:00",
            "timestamp_utc",
            datetime(2026, 3, 2, 11, 0, 0, 123456, tzinfo=UTC),
        ),
        (
            "2026-03-02 12:00:00 -09:30",
            "timestamp_utc",
            datetime(2026, 3, 2, 21, 30, tzinfo=UTC),
        ),
    ],
)
def test_needless_digits_of_a_time_are_left_out(text: str, declared: str, value: Any) -> None:
    assert exactly(pa.array([text, None]), arrow_type(declared)).to_pylist() == [value, None]


@given(
    st.lists(
        st.datetimes(
            timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-9, minutes=-30))])
        ),
        min_size=1,
    )
)
def test_instants_arrive_with_and_without_a_zone(values: list[datetime]) -> None:
    texts = [value.isoformat(" ") for value in values]
    expected = [
        value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        for value in values
        if datetime(1, 1, 2) < value.replace(tzinfo=None) < datetime(9999, 12, 30)
    ]
    texts = [
        text
        for text, value in zip(texts, values, strict=True)
        if datetime(1, 1, 2) < value.replace(tzinfo=None) < datetime(9999, 12, 30)
    ]

    assert converted(texts, "timestamp_utc", pa.string()) == expected
