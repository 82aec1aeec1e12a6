from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.artifacts.values import value_format
from openreg_airflow.artifacts.values.value_text import UnwritableValueError, joined_bytes, text_of

INSTANT = datetime(2026, 9, 30, 7, 5, 9, 12345, tzinfo=UTC)


def spelled(values: Any, kind: pa.DataType, form: str = "") -> list[str | None]:
    texts = text_of(pa.array(values, kind), value_format.parse(form))
    assert texts.type == pa.string()
    found: list[str | None] = texts.to_pylist()
    return found


@pytest.mark.parametrize(
    ("value", "kind", "form", "expected"),
    [
        (Decimal("1.50000"), pa.decimal128(18, 5), "", "1.5"),
        (Decimal(100), pa.decimal128(18, 5), "", "100"),
        (Decimal(100), pa.decimal128(18, 0), "", "100"),
        (Decimal(0), pa.decimal128(31, 13), "", "0"),
        (Decimal("-1E-13"), pa.decimal128(31, 13), "", "-0.0000000000001"),
        (Decimal("1E-13"), pa.decimal128(31, 13), ".13f", "0.0000000000001"),
        (Decimal("9" * 60), pa.decimal256(60, 0), ".2f", "9" * 60 + ".00"),
        (Decimal(1200), pa.decimal128(5, -2), "", "1200"),
        (7, pa.int64(), ".2f", "7.00"),
        (7, pa.int64(), ".0f", "7"),
        (1e22, pa.float64(), "", "1" + "0" * 22),
        (1e-7, pa.float64(), "", "0.0000001"),
        (-0.0, pa.float64(), "", "0"),
        (0.25, pa.float64(), ".4f", "0.2500"),
        (date(2026, 9, 30), pa.date32(), "", "2026-09-30"),
        (date(1, 1, 1), pa.date32(), "", "0001-01-01"),
        (date(2026, 9, 30), pa.date32(), "%d.%m.%Y 100%%", "30.09.2026 100%"),
        (INSTANT, pa.timestamp("us", "UTC"), "", "2026-09-30T07:05:09.012345Z"),
        (INSTANT, pa.timestamp("us", "Europe/Berlin"), "", "2026-09-30T07:05:09.012345Z"),
        (INSTANT, pa.timestamp("us", "UTC"), "%H:%M:%S.%3f", "07:05:09.012"),
        (INSTANT, pa.timestamp("us", "UTC"), "%Y%m%dT%H%M%S%f", "20260930T070509012345"),
        (INSTANT.replace(microsecond=0), pa.timestamp("s", "UTC"), "", "2026-09-30T07:05:09Z"),
        (INSTANT.replace(microsecond=0), pa.timestamp("s", "UTC"), "%S.%f", "09.000000"),
        (INSTANT.replace(tzinfo=None), pa.timestamp("us"), "", "2026-09-30T07:05:09.012345"),
        (time(7, 5, 9, 12), pa.time64("us"), "", "07:05:09.000012"),
        (time(7, 5, 9, 12), pa.time64("us"), "%H%M%S%f", "070509000012"),
        (True, pa.bool_(), "", "true"),
        (False, pa.bool_(), "Y/N", "N"),
        ("x", pa.large_string(), "", "x"),
        ("x", pa.string_view(), "", "x"),
        ("x", pa.dictionary(pa.int32(), pa.string()), "", "x"),
    ],
)  # fmt: skip
def test_spelling(value: Any, kind: pa.DataType, form: str, expected: str) -> None:
    assert spelled([None, value, None], kind, form) == [None, expected, None]
    assert spelled([None], kind, form) == [None]
    assert spelled([], kind, form) == []


@pytest.mark.parametrize(
    ("value", "kind", "form", "row", "message"),
    [
        (Decimal("1.005"), pa.decimal128(18, 5), ".2f", 1, "1.005 has more than 2 decimals"),
        (0.1 + 0.2, pa.float64(), ".2f", 1, "0.30000000000000004 has more than 2 decimals"),
        (float("nan"), pa.float64(), "", 1, "nan is not a number that can be reported"),
        (float("inf"), pa.float64(), ".2f", 1, "inf is not a number that can be reported"),
        ("x", pa.string(), ".2f", None, "is for numbers"),
        (1, pa.int64(), "%Y", None, "cannot be written with %Y"),
        (date(2026, 9, 30), pa.date32(), "%H", None, "cannot be written with %H"),
        (1, pa.int64(), "Y/N", None, "is for booleans"),
        (b"x", pa.binary(), "", None, "binary has no text form"),
        ([1], pa.list_(pa.int64()), "", None, "has no text form"),
        (10**16 * 90, pa.timestamp("us"), "", 1, "is outside the years 0001 to 9999"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_row(
    value: Any, kind: pa.DataType, form: str, row: int | None, message: str
) -> None:
    with pytest.raises(UnwritableValueError) as caught:
        spelled([None, value], kind, form)
    assert message in str(caught.value)
    assert caught.value.row == row


@pytest.mark.parametrize("form", ["2f", ".2", ".99f", "%q", "Y", "%", "%3", "{}", "Y/N/X"])
def test_unknown_format_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match="format"):
        value_format.parse(form)


@given(st.lists(st.integers(-(10**38) + 1, 10**38 - 1) | st.none()), st.integers(0, 38))
def test_decimals_read_back_exactly(digits: list[int | None], scale: int) -> None:
    values = [None if d is None else Decimal(f"{d}E-{scale}") for d in digits]
    texts = spelled(values, pa.decimal128(38, scale))
    assert not any(set(text) & set("eE+") for text in texts if text)
    assert [None if text is None else Decimal(text) for text in texts] == values


@given(st.data(), st.integers(1, 76), st.integers(0, 76), st.integers(0, 38))
def test_decimals_are_fixed_exactly_or_refused(
    data: st.DataObject, precision: int, scale: int, decimals: int
) -> None:
    scale = min(scale, precision)
    limit = 10**precision - 1
    digits = data.draw(st.lists(st.integers(-limit, limit) | st.sampled_from([0, limit, -limit])))
    values = [Decimal(f"{number}E-{scale}") for number in digits]
    kind = (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    fits = all(number % 10 ** max(scale - decimals, 0) == 0 for number in digits)
    if not fits:
        with pytest.raises(UnwritableValueError, match="decimals and is not rounded"):
            spelled(values, kind, f".{decimals}f")
        return
    for value, text in zip(values, spelled(values, kind, f".{decimals}f"), strict=True):
        assert text is not None
        assert Decimal(text) == value
        assert len(text.partition(".")[2]) == decimals


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none()))
def test_floats_read_back_exactly(values: list[float | None]) -> None:
    texts = spelled(values, pa.float64())
    assert not any(set(text) & set("eE+") for text in texts if text)
    assert [None if text is None else float(text) for text in texts] == values


@given(st.lists(st.datetimes(timezones=st.just(UTC)) | st.none()))
def test_instants_read_back_exactly(values: list[datetime | None]) -> None:
    texts = spelled(values, pa.timestamp("us", "UTC"))
    assert [None if text is None else datetime.fromisoformat(text) for text in texts] == values
    pattern = "%Y-%m-%dT%H:%M:%S.%fZ"
    assert spelled(values, pa.timestamp("us", "UTC"), pattern) == texts


@given(st.lists(st.text() | st.none(), max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_joined_bytes_of_a_slice(values: list[str | None], start: int, length: int) -> None:
    part = pa.array(values, pa.string()).slice(min(start, len(values)), length)
    expected = "".join(value or "" for value in part.to_pylist()).encode()
    assert bytes(joined_bytes(part)) == expected
