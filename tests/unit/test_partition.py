from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from openreg_airflow.errors import SourceError, SpecError
from openreg_airflow.extract.partition import bounds_query, part_queries, split
from openreg_airflow.extract.query import parse
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.extract.spec import ExtractSection, PartitionSpec, SourceSpec
from tests.extraction import Database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("low", "high", "parts", "splits"),
    [
        (1, 100, 4, [26, 51, 76]),
        (-5, 5, 2, [0]),
        (7, 7, 4, []),
        (1, 2, 4, [2]),
        (None, None, 4, []),
        (Decimal("0.5"), Decimal("9.99"), 2, [5]),
        (Decimal("-0.5"), Decimal("0.5"), 2, [0]),
        (date(2026, 1, 1), date(2026, 1, 10), 2, [date(2026, 1, 6)]),
        (datetime(2026, 1, 1, 23), datetime(2026, 1, 2, 1), 2, [date(2026, 1, 2)]),  # noqa: DTZ001
        ("2026-01-01 10:00", "2026-01-02", 2, [date(2026, 1, 2)]),
        (0, 10**20, 2, [Decimal(50000000000000000000)]),
    ],
)
def test_range_is_divided_evenly(low: Any, high: Any, parts: int, splits: list[Any]) -> None:
    found = split(low, high, parts)

    assert found == splits
    assert [type(one) for one in found] == [type(one) for one in splits]


@given(st.integers(), st.integers(), st.integers(2, 32))
def test_parts_are_ascending_and_never_more_than_asked(one: int, two: int, parts: int) -> None:
    low, high = sorted((one, two))

    found = split(low, high, parts)

    assert len(found) < parts
    assert found == sorted(set(found))
    assert all(low < value <= high for value in found)


@pytest.mark.parametrize("value", ["abc", b"x", 1.5, True])
def test_other_values_are_not_divided(value: Any) -> None:
    with pytest.raises(TypeError):
        split(value, value, 2)


def test_no_value_is_written_into_the_sql() -> None:
    text = "SELECT id FROM t WHERE day = :business_date -- day\n AND 1 = 1"
    query = parse(text, file="f.sql", dialect="", parameters={"business_date": date(2026, 3, 2)})
    spec = PartitionSpec(column="id", parts=3, order_by=("id", "note"))

    first, middle, last = part_queries(query, spec, [10, 20])

    def spell(name: str) -> str:
        return f"<{name}>"

    inner = "SELECT id FROM t WHERE day = <business_date> -- day\n AND 1 = 1\n) openreg_part WHERE "
    assert [one.render(spell).text for one in (first, middle, last)] == [
        f"SELECT * FROM ({inner}(id < <_until> OR id IS NULL) ORDER BY id, note",
        f"SELECT * FROM ({inner}id >= <_from> AND id < <_until> ORDER BY id, note",
        f"SELECT * FROM ({inner}id >= <_from> ORDER BY id, note",
    ]
    assert middle.used == {"business_date": date(2026, 3, 2), "_from": 10, "_until": 20}
    assert middle.sha256 == query.sha256
    assert "min(id)" in bounds_query(query, "id").render(spell).text


def test_place_of_a_fault_is_that_of_the_file() -> None:
    text = "SELECT id\nFROM t WHERE d = :d AND wrong"
    query = parse(text, file="f.sql", dialect="", parameters={"d": 1})
    [part] = part_queries(query, PartitionSpec(column="id", parts=2), [])

    rendered = part.render(lambda _: "$1")

    assert part.place(rendered, rendered.text.index("wrong")) == "f.sql, line 2, column 25"
    assert part.place(rendered, rendered.text.index("FROM t")) == "f.sql, line 2, column 1"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    with closing(sqlite3.connect(tmp_path / "source.db")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, day DATE)")
        rows = [(n, f"2026-01-{n % 28 + 1:02d}") for n in range(1000)]
        connection.executemany("INSERT INTO t VALUES (?, ?)", [*rows, (None, None)])
        connection.commit()
    path = str(tmp_path / "source.db")
    return Database(tmp_path, SourceConnection(conn_id="c", conn_type="sqlite", host=path))


@pytest.mark.parametrize("column", ["id", "day"])
def test_sqlite_is_read_in_parts(database: Database, column: str) -> None:
    partition = {"column": column, "parts": 4, "order_by": [column, "id"]}

    table = database.extract("SELECT id, day FROM t", partition=partition)

    ids = table.column("id").to_pylist()
    assert sorted(ids[1:]) == list(range(1000))
    assert ids[0] is None
    if column == "id":
        assert ids[1:] == list(range(1000))


def test_query_with_an_order_of_its_own_is_refused(database: Database) -> None:
    with pytest.raises(SpecError, match="has no ORDER BY of its own"):
        database.done("SELECT id FROM t ORDER BY id", partition={"column": "id", "parts": 2})


def test_unknown_column_is_an_error_of_the_database(database: Database) -> None:
    with pytest.raises(SourceError, match="no such column: absent"):
        database.done("SELECT id FROM t", partition={"column": "absent", "parts": 2})


def test_what_a_killed_attempt_left_is_removed(database: Database) -> None:
    left = database.folder / ".openreg-parts-killed"
    left.mkdir()
    (left / "part-0.arrow").write_bytes(b"x")

    database.done("SELECT id FROM t", partition={"column": "id", "parts": 2})

    assert not left.exists()


@pytest.mark.parametrize(
    ("changes", "snapshot", "said"),
    [
        ({"partition": {"column": "id; DROP", "parts": 2}}, False, "pattern"),
        ({"partition": {"column": "id", "parts": 1}}, False, "greater than or equal to 2"),
        ({"partition": {"column": "id", "parts": 33}}, False, "less than or equal to 32"),
        ({"partition": {"column": "id", "parts": 2}}, True, "read by one session"),
    ],
)
def test_wrong_partition_is_refused(changes: dict[str, Any], snapshot: bool, said: str) -> None:
    source = {"connection": "c", "sql": "a.sql"} | changes

    with pytest.raises(ValidationError, match=said):
        ExtractSection.model_validate({"snapshot": snapshot, "sources": {"s": source}})


def test_files_are_not_divided() -> None:
    file = {"path": "f.csv", "format": "csv"}

    with pytest.raises(ValidationError, match="has no `partition`"):
        SourceSpec.model_validate({"file": file, "partition": {"column": "a", "parts": 2}})
