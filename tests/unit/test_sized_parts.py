"""Parts of so many rows: where they begin, and that every row is in exactly one."""

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

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract import sized_reading
from openreg_airflow.extract.query import Query, parse
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.extract.readers.sqlite import SqliteReader, SqliteSession
from openreg_airflow.extract.shared_session import snapshot
from openreg_airflow.extract.sized_parts import AskedDivider, sized_parts, sizes_query
from openreg_airflow.extract.spec import ExtractSection, PartitionSpec
from openreg_airflow.pools import source_slots
from tests.extraction import Database

if TYPE_CHECKING:
    from pathlib import Path

SQL = "SELECT * FROM t"


def query(sql: str = SQL) -> Query:
    return parse(sql, file="f.sql", dialect="sqlite", parameters={})


def run(database: sqlite3.Connection, one: Query) -> list[tuple[Any, ...]]:
    values = {**one.parameters}
    return database.execute(one.render(lambda name: f":{name}").text, values).fetchall()


@given(st.lists(st.one_of(st.none(), st.integers(-5, 40)), max_size=60), st.integers(1, 20))
def test_every_row_is_in_one_part_of_the_size_that_was_asked(
    values: list[int | None], rows: int
) -> None:
    spec = AskedDivider(PartitionSpec(column="id", rows=rows))
    ties = max((values.count(value) for value in set(values)), default=0)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE t (id INTEGER)")
        database.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        sizes = run(database, sizes_query(query(), spec))
        if ties > 2 * rows:
            with pytest.raises(SourceError, match="rows"):
                sized_parts(query(), spec, sizes)
            return
        try:
            parts = sized_parts(query(), spec, sizes)
        except SourceError:
            assert ties > rows
            return
        found = [[value for (value,) in run(database, part.query)] for part in parts]

    assert [len(part) for part in found] == [part.rows for part in parts]
    assert all(len(part) < rows + max(ties, 1) for part in found)
    expected = sorted(values, key=lambda value: (value is not None, value))
    assert [value for part in found for value in part] == expected


@pytest.mark.parametrize("rows", [1, 7, 199_999, 200_000, 100_000_000])
def test_numbers_of_parts_are_exact_at_their_ends(rows: int) -> None:
    """The formula, where rounding could put the first or last row of a part into another one."""
    formula = sizes_query(query(), AskedDivider(PartitionSpec(column="id", rows=rows))).pieces[-1]
    number = str(formula).split("GROUP BY ")[1].split(" ORDER BY")[0]
    with closing(sqlite3.connect(":memory:")) as database:
        for part in (0, 1, 2, 9_999):
            for rank in (part * rows + 1, (part + 1) * rows):
                [[found]] = database.execute(f"SELECT {number.replace('openreg_rank', str(rank))}")
                assert found == part


def test_no_value_is_written_into_the_sql() -> None:
    spec = AskedDivider(PartitionSpec(column="id", rows=2, order_by=("id", "note")))
    sizes = [(10, 2, 2), (None, 0, 1), (20, 2, 2), (30, 1, 1)]

    parts = sized_parts(query(), spec, sizes)

    before, after = f"SELECT * FROM ({SQL}\n) openreg_part WHERE ", " ORDER BY id, note"
    assert [part.query.render(lambda name: f"<{name}>").text for part in parts] == [
        f"{before}id IS NULL{after}",
        f"{before}id < <_until>{after}",
        f"{before}id >= <_from> AND id < <_until>{after}",
        f"{before}id >= <_from>{after}",
    ]
    assert [part.query.used for part in parts] == [
        {},
        {"_until": 20},
        {"_from": 20, "_until": 30},
        {"_from": 30},
    ]
    assert [part.rows for part in parts] == [1, 2, 2, 1]


@pytest.mark.parametrize("low", [1.5, True, b"x", datetime(2026, 1, 1)])  # noqa: DTZ001
def test_values_that_lose_digits_or_have_no_order_bound_no_part(low: Any) -> None:
    with pytest.raises(SourceError, match=f"column id is {type(low).__name__}, which cannot bound"):
        sized_parts(query(), AskedDivider(PartitionSpec(column="id", rows=5)), [(low, 3, 3)])


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(1, 5, 5), (6, 11, 11)], "11 are from id = 6 on in one part"),
        ([(1, 5, 5), (None, 0, 11)], "11 rows have no id"),
        ([(n, 5, 5) for n in range(10_001)], "10001 parts of 5 rows are more than 10000"),
    ],
)
def test_parts_that_would_not_bound_memory_are_refused(sizes: list[Any], said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        sized_parts(query(), AskedDivider(PartitionSpec(column="id", rows=5)), sizes)

    assert "rows" in str(caught.value.hint)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    with closing(sqlite3.connect(tmp_path / "source.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # so that others can write meanwhile
        connection.execute("CREATE TABLE t (id INTEGER, lei TEXT, price TEXT, day DATE)")
        rows = [
            (n * n, f"5299{n % 97:03d}", f"{n}.50", f"2026-01-{n % 28 + 1:02d}") for n in range(500)
        ]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [*rows, (None,) * 4])
        connection.commit()
    path = str(tmp_path / "source.db")
    return Database(tmp_path, SourceConnection(conn_id="c", conn_type="sqlite", host=path))


@pytest.mark.parametrize("column", ["id", "lei", "day"])
def test_source_is_read_in_turn_in_the_order_of_the_column(database: Database, column: str) -> None:
    partition = {"column": column, "rows": 100, "order_by": [column, "id"]}

    done = database.done(SQL, partition=partition)
    first = database.file.read_bytes()
    again = database.extract(SQL, partition=partition)

    assert done.rows == 501
    assert len(done.splits) >= 5
    assert database.file.read_bytes() == first
    ids = again.column("id").to_pylist()
    assert sorted(ids[1:]) == [n * n for n in range(500)]
    values = again.column(column).to_pylist()
    assert values[0] is None
    assert values[1:] == sorted(values[1:])


def test_one_session_reads_all_parts(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    held: list[SqliteSession] = []
    whole = SqliteReader.open

    def open_(self: SqliteReader, *given: Any, **more: Any) -> Any:
        opened.append(whole(self, *given, **more))
        return opened[-1]

    monkeypatch.setattr(SqliteReader, "open", open_)

    def hold(self: SqliteSession) -> None:
        held.append(self)

    monkeypatch.setattr(SqliteSession, "hold", hold)

    database.done(SQL, partition={"column": "id", "rows": 50})

    assert len(opened) == 1
    assert held == opened


def test_column_alone_is_enough(database: Database) -> None:
    done = database.done(SQL, partition={"column": "id"})

    assert done.rows == 501
    assert done.splits == ("0",)  # NULLs are a part


def test_bounds_of_the_spec_hold_over_all_parts(database: Database) -> None:
    with pytest.raises(SourceError, match="more than 250 rows"):
        database.done(SQL, max_rows=250, partition={"column": "id", "rows": 100})


def test_row_of_a_fault_is_counted_over_all_parts(database: Database) -> None:
    with pytest.raises(SourceError, match=r"does not fit decimal\(4,2\)") as caught:
        database.done(
            "SELECT id, price FROM t WHERE id IS NOT NULL",
            columns={"price": "decimal(4,2)"},
            partition={"column": "id", "rows": 40},
        )

    assert caught.value.where == "source.sql, column price, row 101"
    assert not list(database.folder.glob(".openreg-parts-*"))


@pytest.mark.parametrize(("holds", "error"), [(True, SourceError), (False, SourceUnavailableError)])
def test_part_with_other_rows_than_were_counted_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch, holds: bool, error: type[Exception]
) -> None:
    if not holds:
        monkeypatch.delattr(SqliteSession, "hold")
    counted = sized_reading.sized_parts

    def miscounted(one: Query, spec: Any, sizes: Any) -> Any:
        return counted(one, spec, [(low, n + (low == 10_000), n + 1) for low, n, _ in sizes])

    monkeypatch.setattr(sized_reading, "sized_parts", miscounted)

    with pytest.raises(error, match=r"part \d has \d+ rows, and \d+ were counted"):
        database.done(SQL, partition={"column": "id", "rows": 100})


def test_incremental_window_is_read_in_turn(database: Database) -> None:
    done = database.done(
        "SELECT id FROM t WHERE id > :since AND id <= :until",
        incremental={"column": "id", "type": "integer", "start": 100},
        partition={"column": "id", "rows": 100},
    )

    assert done.mark == str(499 * 499)
    assert done.rows == 500 - 11


def test_window_of_dates_is_typed_as_the_day(database: Database) -> None:
    table = database.extract(
        "SELECT day FROM t", columns={"day": "date"}, partition={"column": "day", "rows": 60}
    )

    assert table.column("day").to_pylist()[1] == date(2026, 1, 1)


def test_parts_of_a_snapshot_see_the_state_of_its_first_query(database: Database) -> None:
    with snapshot(database.connection, timeout_seconds=60) as reader:
        database.extraction("SELECT count(*) AS n FROM t", reader=reader).run(database.file)
        with closing(sqlite3.connect(str(database.connection.host))) as other:
            other.execute("DELETE FROM t WHERE id > 100")
            other.commit()
        parts = {"column": "id", "rows": 100}
        done = database.extraction(SQL, reader=reader, partition=parts).run(database.file)

    assert done.rows == 501


def test_partition_by_rows_takes_one_slot_and_goes_with_a_snapshot() -> None:
    source = {"connection": "c", "sql": "a.sql", "partition": {"column": "id", "rows": 9}}

    section = ExtractSection.model_validate({"snapshot": True, "sources": {"s": source}})

    assert source_slots(section.sources["s"]) == 1


def test_partition_has_parts_or_rows() -> None:
    with pytest.raises(ValidationError, match="not both"):
        PartitionSpec(column="id", rows=5, parts=2)


def test_decimal_bounds_keep_their_digits() -> None:
    low = Decimal("9999999999999.99999")
    parts = sized_parts(
        query(), AskedDivider(PartitionSpec(column="p", rows=5)), [(low, 5, 5), (low + 1, 1, 1)]
    )

    assert parts[1].query.used == {"_from": low + 1}
