from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.exception_queue.values import ValueRefusedError, checked, decode, encode

KINDS: dict[Any, st.SearchStrategy[Any]] = {
    pa.string(): st.text(),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(allow_nan=False),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    pa.binary(): st.binary(),
    pa.decimal128(38, 13): st.decimals(-(10**24), 10**24, places=13),
    pa.decimal256(60, 2): st.decimals(-(10**50), 10**50, places=2),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(timezone.utc)),  # noqa: UP017
    pa.list_(pa.string()): st.lists(st.none() | st.text()),
    pa.dictionary(pa.int32(), pa.string()): st.text(),
    pa.struct([("a", pa.decimal128(5, 2))]): st.fixed_dictionaries(
        {"a": st.decimals(-999, 999, places=2)}
    ),
}


@settings(deadline=None)
@given(st.data())
def test_a_value_comes_back_as_it_was(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    value = pa.array([data.draw(st.none() | KINDS[kind])], kind).to_pylist()[0]
    again = decode(encode(value), kind)
    assert pa.array([again], kind).to_pylist() == [value]
    assert encode(again) == encode(value)


@pytest.mark.parametrize(
    ("text", "kind", "kept"),
    [
        (" 1.50 ", pa.decimal128(10, 4), "1.5000"),
        ("1E+2", pa.decimal128(10, 2), "100.00"),
        (7, pa.decimal128(10, 2), "7.00"),
        ("-7", pa.int64(), -7),
        (str(2**60), pa.int64(), str(2**60)),
        ("TRUE", pa.bool_(), True),
        ("2026-03-31T12:00:00+02:00", pa.timestamp("us", "UTC"), "2026-03-31T10:00:00+00:00"),
        ("1.5", pa.float64(), 1.5),
        (None, pa.string(), None),
        ("", pa.string(), ""),
    ],
)
def test_what_somebody_types_is_kept_in_one_way(text: Any, kind: Any, kept: Any) -> None:
    assert checked(text, kind) == kept


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1.005", pa.decimal128(10, 2)),
        ("123456789.1", pa.decimal128(10, 2)),
        (1.5, pa.decimal128(10, 2)),
        ("1e400", pa.int64()),
        ("\u0661", pa.decimal128(1, 1)),
        (True, pa.int64()),
        ("yes", pa.bool_()),
        ("2026-02-30", pa.date32()),
        (20260331, pa.date32()),
        ("25:00", pa.time64("us")),
        ("not base64!", pa.binary()),
        ("\ud800", pa.string()),
        (5, pa.string()),
        ("x", pa.null()),
        ("1e999999999", pa.decimal128(38, 2)),
    ],
)
def test_what_does_not_fit_is_refused(text: Any, kind: Any) -> None:
    with pytest.raises(ValueRefusedError):
        checked(text, kind)


def test_values_are_what_readers_of_json_expect() -> None:
    told = {
        Decimal("0.0000001"): "0.0000001",
        2**53: str(2**53),
        date(2026, 3, 31): "2026-03-31",
        time(1, 2, 3): "01:02:03",
        b"\x00": "AA==",
        float("inf"): "Infinity",
        datetime(2026, 3, 31, tzinfo=timezone(timedelta())): "2026-03-31T00:00:00+00:00",
    }
    assert {value: encode(value) for value in told} == told
