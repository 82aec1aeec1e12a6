"""Of a large set, a map step takes only the entries whose key its table has."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.mapping_records import MappingSnapshot, TypedColumn
from openreg_airflow.mappings import needed
from openreg_airflow.mappings.fill import Filling, fill
from openreg_airflow.mappings.needed import entries_for
from openreg_airflow.mappings.spec import MapStep

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, CHANGE = date(2026, 1, 1), date(2026, 3, 1)
KEYS = 50


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needed, "LARGE", KEYS)
    monkeypatch.setattr(needed, "_AT_ONCE", 7)


@pytest.fixture
def snapshot(tmp_path: Path) -> MappingSnapshot:
    """Fifty keys of two parts, each with two periods and the values ``n`` and ``next``."""
    numbers = [number for number in range(KEYS) for _ in range(2)]
    entries = pa.table(
        {
            "book": [f"B{number}" for number in numbers],
            "desk": [number % 3 for number in numbers],
            "n": [number * 10 + half for number in range(KEYS) for half in range(2)],
            "next": [f"B{number + 1}" for number in numbers],
            "effective_from": pa.array([BEGIN, CHANGE] * KEYS, pa.date32()),
            "effective_to": pa.array([CHANGE, None] * KEYS, pa.date32()),
        }
    )
    file = tmp_path / "set.parquet"
    pq.write_table(entries, file)
    columns = {"book": "string", "desk": "integer", "n": "integer", "next": "string"}
    typed = tuple(TypedColumn(name=name, type=kind) for name, kind in columns.items())
    return MappingSnapshot(
        uri=str(file),
        bytes=0,
        sha256="",
        name="books",
        set_id=1,
        version=1,
        known_at=datetime(2026, 3, 31, tzinfo=UTC),
        keys=typed[:2],
        values=typed[2:],
        rows=2 * KEYS,
    )


def step(**fields: Any) -> MapStep:
    given = {"table": "trades", "set": "books", "key": ["book", "desk"], "as_of": "day"}
    return MapStep.model_validate(
        given | {"fill": {"n": "n", "next": "next"}, "unmapped": "none"} | fields
    )


TRADES = pa.table(
    {
        "book": ["B7", None, "B7", "?", "B3", "B8", "B7", "B49", "B3"],
        "desk": [1, 1, 1, 1, 0, 1, 1, None, 0],
        "day": pa.array([BEGIN, BEGIN, CHANGE, BEGIN, CHANGE, BEGIN, None, BEGIN, BEGIN]),
    }
)


def filled(
    folder: Path, snapshot: MappingSnapshot, table: pa.Table, *steps: MapStep
) -> tuple[list[int], pa.Table]:
    """How many entries each step takes, and the table that they make."""
    source, into = folder / "trades.parquet", folder / "filled.parquet"
    pq.write_table(table, source)
    schema, fillings = table.schema, list[Filling]()
    for one in steps:
        earlier = [filling.step for filling in fillings]
        entries = entries_for(one, snapshot, folder / "set.parquet", source, earlier)
        fillings.append(Filling("venue", one, entries, schema, CHANGE))
        schema = fillings[-1].schema
    fill(source, into, fillings)
    return [len(one._entries) for one in fillings], pq.read_table(into)


def test_step_finds_with_the_entries_it_needs_what_it_finds_with_all(
    tmp_path: Path, snapshot: MappingSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, made = filled(tmp_path, snapshot, TRADES, step())
    monkeypatch.setattr(needed, "LARGE", 2 * KEYS + 1)
    all_of_them, expected = filled(tmp_path, snapshot, TRADES, step())

    # Of four books two periods each.
    assert (taken, all_of_them) == ([8], [2 * KEYS])
    assert made == expected
    assert made["n"].to_pylist() == [70, None, 71, None, 31, None, None, None, 30]


def test_few_values_of_many_rows_are_told_apart(tmp_path: Path, snapshot: MappingSnapshot) -> None:
    taken, made = filled(tmp_path, snapshot, pa.concat_tables([TRADES] * 40), step())

    assert taken == [8]
    assert made["n"].null_count == 40 * 5


def test_table_of_no_known_key_takes_no_entry(tmp_path: Path, snapshot: MappingSnapshot) -> None:
    taken, made = filled(tmp_path, snapshot, TRADES.slice(3, 1), step())
    assert taken == [0]
    assert made["next"].to_pylist() == [None]

    taken, made = filled(tmp_path, snapshot, TRADES.slice(0, 0), step())
    assert taken == [0]
    assert made.num_rows == 0


def test_step_that_needs_what_an_earlier_one_fills_takes_all_entries(
    tmp_path: Path, snapshot: MappingSnapshot
) -> None:
    onwards = step(fill={"book": "next"})
    desks = pa.array([2] * len(TRADES), pa.int64())
    taken, made = filled(
        tmp_path,
        snapshot,
        TRADES.append_column("next_desk", desks),
        onwards,
        step(key=["book", "next_desk"]),
    )

    assert taken == [8, 2 * KEYS]
    assert made["n"].to_pylist()[0] == 80


@pytest.mark.parametrize(
    "book",
    [
        pa.array(["B7", "B7"]).dictionary_encode(),
        pa.array(["B7", "B7"], pa.large_string()),
        pa.array(["B7", *(f"C{number}" for number in range(400))]),
    ],
    ids=["dictionary", "another type", "more values than entries"],
)
def test_other_tables_are_filled_from_all_entries(
    tmp_path: Path, snapshot: MappingSnapshot, book: pa.Array
) -> None:
    rows = len(book)
    table = pa.table(
        {"book": book, "desk": [1] * rows, "day": pa.array([BEGIN] * rows, pa.date32())}
    )

    taken, made = filled(tmp_path, snapshot, table, step())

    assert taken == [2 * KEYS]
    assert 70 in made["n"].to_pylist()
