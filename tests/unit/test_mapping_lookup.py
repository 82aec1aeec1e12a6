from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.transform.runner.keys import KeyMismatchError
from openreg_airflow.transform.runner.lookup import Entries
from openreg_airflow.transform.runner.tally import MOST_COUNTED, Tally

DAY = date(2026, 3, 31)
DATES = pa.date32()
Entry = tuple[str, int, str, date | None, date | None]
texts = st.sampled_from(["XETR", "XPAR", "", "Ä", "xetr"])
numbers = st.integers(-1, 2)
days = st.dates(date(2025, 1, 1), date(2025, 1, 20))


def table(entries: list[Entry]) -> pa.Table:
    columns: list[Any] = list(zip(*entries, strict=True)) if entries else [()] * 5
    kinds = [pa.string(), pa.int64(), pa.string(), DATES, DATES]
    names = ["code", "number", "mic", "effective_from", "effective_to"]
    return pa.table(
        {name: pa.array(c, k) for name, c, k in zip(names, columns, kinds, strict=True)}
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Entries whose periods do not overlap for one key, in any order of the keys."""
    entries: list[Entry] = []
    keys = draw(st.lists(st.tuples(texts, numbers), unique=True, max_size=6))
    for code, number in keys:
        bounds: list[date | None] = [*sorted(draw(st.lists(days, unique=True, max_size=4)))]
        if draw(st.booleans()):
            bounds = [None, *bounds]
        if draw(st.booleans()):
            bounds = [*bounds, None]
        for at in range(len(bounds) - 1):
            if draw(st.booleans()):
                value = f"{code}{number}{at}"
                entries.append((code, number, value, bounds[at], bounds[at + 1]))
    return draw(st.permutations(entries))


def value_on(entries: list[Entry], code: str, number: int, day: date) -> str | None:
    for own_code, own_number, value, begin, end in entries:
        same = (own_code, own_number) == (code, number)
        if same and (begin is None or begin <= day) and (end is None or day < end):
            return value
    return None


@given(
    histories(),
    st.lists(
        st.tuples(
            st.none() | texts | st.just("?"), st.none() | st.integers(-2, 3), st.none() | days
        )
    ),
    days,
)
def test_look_up_agrees_with_looking_at_every_entry(
    entries: list[Entry], rows: list[tuple[str | None, int | None, date | None]], day: date
) -> None:
    ready = Entries(table(entries), ["code", "number"], ["mic"])
    codes = pa.array([row[0] for row in rows], pa.string())
    counted = pa.array([row[1] for row in rows], pa.int32())

    for as_of in (day, pa.array([row[2] for row in rows], DATES)):
        found = ready.find([codes, counted], as_of)
        expected, blank, unmapped = [], [], []
        for code, number, own in rows:
            on = day if as_of is day else own
            is_blank = code is None or number is None or on is None
            value = None if is_blank else value_on(entries, code, number, on)  # type: ignore[arg-type]
            expected.append(value)
            blank.append(is_blank)
            unmapped.append(not is_blank and value is None)
        assert ready.take("mic", found.entries).to_pylist() == expected
        assert found.blank.tolist() == blank
        assert found.unmapped.tolist() == unmapped


@given(histories(), days)
def test_entries_of_a_day_are_those_that_hold_on_it(entries: list[Entry], day: date) -> None:
    ready = Entries(table(entries), ["code", "number"], ["mic"])

    assert ready.valid_on(day)["mic"].to_pylist() == [
        value
        for code, number, value, *_ in entries
        if value_on(entries, code, number, day) == value
    ]


def ready(**columns: Any) -> Entries:
    count = len(next(iter(columns.values())))
    ends = {name: pa.array([None] * count, DATES) for name in ("effective_from", "effective_to")}
    return Entries(pa.table({**columns, **ends}), ["key"], ["mic"])


CODES = ready(key=pa.array(["A", "B"]), mic=pa.array(["X", None]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["B", "A", "C", None]),
        pa.array(["B", "A", "C", None], pa.large_string()),
        pa.array(["B", "A", "C", None]).dictionary_encode(),
        pa.array(["B", "A", "C", None]).dictionary_encode(null_encoding="encode"),
        pa.chunked_array([pa.array(part).dictionary_encode() for part in ("BA", ["C", None])]),
        pa.chunked_array([["B"], ["A", "C", None]]),
        pa.chunked_array([pa.array(["B", "A", "C", None], pa.string_view())]),
    ],
)
def test_texts_of_every_storage_are_looked_up(column: Any) -> None:
    found = CODES.find([column], DAY)

    assert found.entries.to_pylist() == [1, 0, None, None]
    assert found.unmapped.tolist() == [False, False, True, False]


def test_entry_without_a_value_is_not_unmapped() -> None:
    found = CODES.find([pa.array(["B"])], DAY)

    assert CODES.take("mic", found.entries).to_pylist() == [None]
    assert not found.unmapped.any()


def test_numbers_meet_across_their_widths() -> None:
    keys = ready(key=pa.array([Decimal("1.50"), Decimal("2.00")]), mic=pa.array(["X", "Y"]))

    assert keys.find([pa.array([2, 1], pa.int8())], DAY).entries.to_pylist() == [1, None]
    wide = pa.array([Decimal("1.50000")], pa.decimal128(30, 5))
    assert keys.find([wide], DAY).entries.to_pylist() == [0]


def test_timestamp_counts_as_its_date_in_utc() -> None:
    dated = Entries(
        table([("A", 1, "old", None, DAY), ("A", 1, "new", DAY, None)]), ["code"], ["mic"]
    )
    midnight = datetime(2026, 3, 31, tzinfo=UTC)
    moments = pa.array([midnight - timedelta(microseconds=1), midnight], pa.timestamp("us", "UTC"))

    found = dated.find([pa.array(["A", "A"])], moments)

    assert dated.take("mic", found.entries).to_pylist() == ["old", "new"]


@pytest.mark.parametrize(
    ("columns", "as_of", "words"),
    [
        ([pa.array([1])], DAY, "key key is string, but what is looked up is int64"),
        ([pa.array([b"A"])], DAY, "what is looked up is binary"),
        ([pa.array(["A"]), pa.array(["A"])], DAY, "2 columns for the 1 keys key"),
        ([pa.array(["A"])], pa.array([1]), "an as-of column holds dates or timestamps, not int64"),
        ([pa.array(["A"])], pa.array([DAY, DAY]), "the as-of dates are not of one length"),
    ],
)
def test_column_that_does_not_fit_is_refused(columns: list[Any], as_of: Any, words: str) -> None:
    with pytest.raises(KeyMismatchError, match=words):
        CODES.find(columns, as_of)


def test_many_rows_are_each_looked_up_on_their_own_date() -> None:
    days = [DAY + timedelta(days=number) for number in range(50)]
    entries: list[Entry] = [
        (code, 1, f"{code}{begin}", begin, begin + timedelta(days=1))
        for begin in reversed(days)
        for code in "AB"
    ]
    ready = Entries(table(entries), ["code"], ["mic"])
    rows = [("AB"[number % 2], days[number % 50]) for number in range(100_000)]

    found = ready.find(
        [pa.array([code for code, _ in rows])], pa.array([day for _, day in rows], DATES)
    )

    expected = [f"{code}{day}" for code, day in rows]
    assert ready.take("mic", found.entries).to_pylist() == expected


def test_number_that_no_key_can_hold_is_unmapped() -> None:
    decimals = ready(key=pa.array([Decimal("1.5")]), mic=pa.array(["X"]))
    integers = ready(key=pa.array([1, 2]), mic=pa.array(["X", "Y"]))

    assert decimals.find([pa.array([Decimal("1.55")])], DAY).unmapped.all()
    assert integers.find([pa.array([2**64 - 1, 2], pa.uint64())], DAY).entries.to_pylist() == [
        None,
        1,
    ]


def test_empty_set_has_nothing_and_column_of_nulls_looks_nothing_up() -> None:
    nothing = Entries(table([]), ["code"], ["mic"])

    assert nothing.find([pa.array(["A", None])], DAY).unmapped.tolist() == [True, False]
    assert nothing.find([pa.array(["A"])], pa.array([DAY])).unmapped.tolist() == [True]
    assert CODES.find([pa.nulls(2)], DAY).blank.all()


def test_tally_counts_each_unmapped_value_and_names_the_most_frequent_first() -> None:
    tally = Tally()
    column = pa.array(["Q", "A", "Z", "Q", None])
    dates = pa.array([DAY, DAY, DAY, DAY - timedelta(days=3), DAY])

    tally.add([column], dates, CODES.find([column], dates))

    assert (tally.rows, tally.blank, tally.unmapped, tally.distinct) == (5, 1, 3, 2)
    assert tally.values(9) == [(("Q",), 2, DAY - timedelta(days=3)), (("Z",), 1, DAY)]
    assert tally.listed() == "'Q' (2 rows), 'Z' (1 row)"


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_unmapped_texts_of_every_storage_are_counted(kind: pa.DataType) -> None:
    tally = Tally()
    column = pa.array(["Q", "A", None, "Q"], kind)
    for one in (column, pa.chunked_array([column])):
        tally.add([one], DAY, CODES.find([one], DAY))

    assert tally.values(9) == [(("Q",), 4, DAY)]


def test_tally_of_very_many_values_stays_bounded_and_counts_all_rows() -> None:
    tally = Tally()
    beyond = MOST_COUNTED + 50
    column = pa.array([f"Q{number}" for number in range(beyond)])

    tally.add([column], DAY, CODES.find([column], DAY))

    assert tally.unmapped == beyond
    assert tally.distinct == MOST_COUNTED
    assert not tally.complete
    assert "or more others" in tally.listed()


def test_very_long_unmapped_value_is_cut() -> None:
    tally = Tally()
    column = pa.array(["x" * 5000])

    tally.add([column], DAY, CODES.find([column], DAY))

    [(key, _, _)] = tally.values(1)
    assert key == ("x" * 200,)
