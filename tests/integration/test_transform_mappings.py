"""Mapping sets as scripts use them, the same in the container and in the development mode."""

from __future__ import annotations

import logging
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from openreg_airflow.errors import TransformError
from openreg_airflow.mapping_records import UnmappedValue
from tests.transform_bench import RUN, Bench, Way, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.docker_engine import DockerEngine

NEW_YEAR = date(2026, 1, 1)
DATES = pa.date32()
TRADES = pa.table(
    {
        "trade_id": ["T1", "T2", "T3", "T4", "T5"],
        "venue": ["FRA", "PAR", "QQQ", None, "QQQ"],
        "number": pa.array([1, 2, 1, 1, None], pa.int32()),
        "day": pa.array([date(2025, 6, 1), None, NEW_YEAR, NEW_YEAR, NEW_YEAR], DATES),
    }
)
VENUES = pa.table(
    {
        "code": ["FRA", "FRA", "PAR"],
        "mic": ["XOLD", "XFRA", "XPAR"],
        "effective_from": pa.array([None, NEW_YEAR, None], DATES),
        "effective_to": pa.array([NEW_YEAR, None, None], DATES),
    }
)
DESKS = pa.table(
    {
        "venue": ["FRA", "PAR"],
        "number": pa.array([1, 2], pa.int64()),
        "desk": ["Rates", "Credit"],
        "book": ["R1", "C1"],
        "effective_from": pa.array([None, None], DATES),
        "effective_to": pa.array([None, None], DATES),
    }
)


def with_sets(bench: Bench) -> Bench:
    bench.source("trades", TRADES)
    bench.mapping("venues", VENUES, {"code": "string"}, mic="string")
    keys = {"venue": "string", "number": "integer"}
    bench.mapping("desks", DESKS, keys, desk="string", book="string")
    return bench


@pytest.fixture(params=["container", "subprocess"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    way: Way = request.param
    if way == "subprocess":
        return with_sets(Bench(tmp_path, way))
    engine: DockerEngine = request.getfixturevalue("docker_engine")
    image = request.getfixturevalue("sandbox_image")
    return with_sets(Bench(tmp_path, way, engine.client, image))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return with_sets(Bench(tmp_path, "subprocess"))


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "openreg_airflow")


def test_column_is_looked_up_at_once_and_what_is_not_found_is_told(
    either: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    tables = either.run(
        """
        def transform(inputs, context):
            trades = inputs["trades"]
            venues = context.mapping("venues")
            trades["mic"] = venues.map(trades["venue"], unmapped="none")
            trades["then"] = venues.map(trades["venue"], as_of=trades["day"], unmapped="none")
            return trades
        """
    )

    made = read(tables, "trades")
    assert made["mic"].to_pylist() == ["XFRA", "XPAR", None, None, None]
    assert made["then"].to_pylist() == ["XOLD", None, None, None, None]
    assert made["mic"].type == pa.string()
    [use] = either.looked_up
    assert (use.place, use.name, use.rows) == ("transform", "venues", 10)
    assert (use.blank, use.unmapped, use.distinct) == (3, 4, 1)
    assert use.values == (UnmappedValue(key=("QQQ",), rows=4, first=NEW_YEAR),)
    assert "transform: 10 rows looked up in venues" in caplog.text


def script(body: str) -> str:
    return f"""
        import datetime
        import pandas as pd
        import pyarrow as pa

        def transform(inputs, context):
            trades = inputs["trades"]
            venues, desks = context.mapping("venues"), context.mapping("desks")
            trades["x"] = {body}
            return trades
        """


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("venues.map(trades.venue, unmapped='original')", ["XFRA", "XPAR", "QQQ", None, "QQQ"]),
        (
            "venues.map(trades.venue, unmapped='default', default='XXXX')",
            ["XFRA", "XPAR", "XXXX", None, "XXXX"],
        ),
        (
            "venues.map(trades.venue, as_of=datetime.date(2025, 1, 1), unmapped='none')",
            ["XOLD", "XPAR", None, None, None],
        ),
        (
            "desks.map(trades.venue, trades.number, value='desk', unmapped='none')",
            ["Rates", "Credit", None, None, None],
        ),
        (
            "venues.map(trades.venue.astype(object).where(trades.venue.notna(), None), "
            "unmapped='none')",
            ["XFRA", "XPAR", None, None, None],
        ),
        ("[venues.get(v, '-') for v in trades.venue]", ["XFRA", "XPAR", "-", "-", "-"]),
        ("venues['PAR']", ["XPAR"] * 5),
        ("desks['FRA', 1]['book']", ["R1"] * 5),
        ("'QQQ' in venues", [False] * 5),
        ("len(venues)", [2] * 5),
        ("','.join(sorted(venues))", ["FRA,PAR"] * 5),
        ("venues.table.num_rows", [3] * 5),
        (
            "pd.Series(venues.map(pa.array(['PAR', 'FRA', 'PAR', None, 'FRA'])).to_pylist())",
            ["XPAR", "XFRA", "XPAR", None, "XFRA"],
        ),
        (
            "pd.Series(venues.map(pa.chunked_array([['PAR'] * 2, ['FRA'] * 3])).to_pylist())",
            ["XPAR", "XPAR", "XFRA", "XFRA", "XFRA"],
        ),
        (
            "venues.map(trades.sort_index(ascending=False).venue, unmapped='none')",
            ["XFRA", "XPAR", None, None, None],
        ),
    ],
)
def test_script_looks_values_and_columns_up(bench: Bench, body: str, expected: list[Any]) -> None:
    assert read(bench.run(script(body)), "trades")["x"].to_pylist() == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("venues.map(trades.venue)", "mapping venues has no entry for 'QQQ' .2 rows.; 2 rows"),
        ("venues['QQQ']", "KeyError: 'QQQ'"),
        ("venues.map(trades.number)", "key code is string, but what is looked up is int32"),
        ("venues.map(trades.venue, trades.number)", "2 columns for the 1 keys code"),
        ("desks.map(trades.venue, trades.number)", "mapping desks has the values desk, book"),
        ("venues.map(trades.venue, value='bic')", "mapping venues has the values mic"),
        ("venues.map(trades.venue, unmapped='set_aside')", "is none of fail, default"),
        ("venues.map(trades.venue, unmapped='default', default=7)", "mapping venues: "),
        ("venues.map('FRA')", "a key is a Series or an Arrow array, not str"),
        ("venues.map(trades.venue, as_of=trades.number)", "holds dates or timestamps"),
        ("context.mapping('currencies')", "no mapping set 'currencies'; it uses venues, desks"),
    ],
)
def test_wrong_use_names_the_line_and_the_reason(bench: Bench, body: str, words: str) -> None:
    with pytest.raises(TransformError, match=words) as caught:
        bench.run(script(body))
    assert caught.value.where == "transform.py line 8"


def test_unmapped_values_are_told_also_when_the_script_fails(bench: Bench) -> None:
    with pytest.raises(TransformError):
        bench.run(script("venues.map(trades.venue)"))

    [use] = bench.looked_up
    assert use.values == (UnmappedValue(key=("QQQ",), rows=2, first=RUN.business_date),)


def test_file_of_a_set_cannot_be_changed_by_a_script(
    docker_engine: DockerEngine, sandbox_image: str, tmp_path: Path
) -> None:
    bench = with_sets(Bench(tmp_path, "container", docker_engine.client, sandbox_image))

    with pytest.raises(TransformError, match="Read-only file system"):
        bench.run(
            """
            def transform(inputs, context):
                open("/openreg/mapping-venues.parquet", "wb")
            """
        )


def test_script_cannot_tell_untruths_in_another_form(bench: Bench) -> None:
    bench.run(
        """
        def transform(inputs, context):
            sets = context._mappings
            sets.told = lambda: [
                {"set": "venues", "rows": "many", "blank": -1, "unmapped": 2**80,
                 "values": [[["a", "b"], 1, "2026-01-01"], [["a"], 1, "soon"], 5,
                            [["\\x1b[31m"], 3, "2026-01-01"]]},
                {"set": "unknown", "rows": 1}, 7,
            ]
            return inputs["trades"]
        """
    )

    [use] = bench.looked_up
    assert (use.name, use.rows, use.blank, use.unmapped) == ("venues", 0, 0, 0)
    [value] = use.values
    assert value.rows == 3
    assert "\x1b" not in value.key[0]
