"""Queries that are read in parts, against every database."""

from __future__ import annotations

import re
import threading
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract import part_reading, sized_reading
from tests.reader_databases import (
    Source,
    drop_postgres_login,
    mariadb_source,
    odbc_source,
    postgres_source,
)
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services.postgres import PostgresServer


def _source(request: pytest.FixtureRequest, folder: Path) -> Iterator[Source]:
    name = str(request.param).removeprefix("odbc-")
    server = request.getfixturevalue(name)
    found = (postgres_source if name == "postgres" else mariadb_source)(server, folder)
    yield found if name == request.param else odbc_source(found, name)
    if name == "postgres":
        drop_postgres_login(server)


@pytest.fixture(params=["postgres", "mariadb"])
def direct(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """Readers of this process; those of ODBC start one for each session, which takes a while."""
    yield from _source(request, tmp_path)


@pytest.fixture(params=["postgres", "mariadb", "odbc-postgres", "odbc-mariadb"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    yield from _source(request, tmp_path)


def fill(source: Source, rows: int) -> None:
    """A table with holes, NULLs and days; ``id`` has no ties but NULL."""
    types = source.spelling.types
    source.execute(
        f"CREATE TABLE t (id {types['big']}, price {types['price']}, day {types['day']}, "
        f"local_at {types['local']}, note {types['note']})"
    )
    values = ", ".join(
        f"({n * 7 - 100}, {n}.5, '2026-01-{n % 28 + 1:02d}', "
        f"'2026-01-{n % 28 + 1:02d} 23:59:59', 'x{n}')"
        for n in range(rows)
    )
    source.execute(f"INSERT INTO t VALUES {values}")
    source.execute("INSERT INTO t VALUES (NULL, NULL, NULL, NULL, 'none')")


def test_every_row_comes_once_in_the_order_of_the_parts(source: Source) -> None:
    fill(source, 500)
    whole = source.database.extract("SELECT id, note FROM t ORDER BY id, note")
    expected = sorted(map(str, whole.to_pylist()))

    through_odbc = source.database.connection.conn_type == "odbc"
    for column in ("price", "local_at") if through_odbc else ("id", "price", "day", "local_at"):
        partition = {"column": column, "parts": 3, "order_by": [column, "note"]}
        done = source.database.done("SELECT * FROM t -- all", partition=partition)
        table = pq.read_table(source.database.file)

        assert len(done.splits) == 2
        assert done.rows == 501
        assert sorted(map(str, table.select(["id", "note"]).to_pylist())) == expected
        values = [value for value in table.column(column).to_pylist() if value is not None]
        assert values == sorted(values)


def test_parameters_and_bounds_are_bound_together(source: Source) -> None:
    fill(source, 100)

    done = source.database.done(
        "WITH chosen AS (SELECT id FROM t WHERE day <= :business_date AND id > :least) "
        "SELECT id FROM chosen",
        parameters={"least": {"type": "integer", "value": 0}},
        partition={"column": "id", "parts": 3},
    )

    assert pq.read_table(source.database.file).column("id").to_pylist() == [
        n * 7 - 100 for n in range(100) if n * 7 > 100
    ]
    assert done.query.used["least"] == 0
    assert "_from" not in done.query.used


def test_retry_gives_the_same_bytes(direct: Source) -> None:
    fill(direct, 300)
    spec: dict[str, Any] = {"partition": {"column": "id", "parts": 5}}
    direct.database.done("SELECT * FROM t", **spec)
    first = direct.database.file.read_bytes()

    direct.database.done("SELECT * FROM t", **spec)

    assert direct.database.file.read_bytes() == first


def test_fault_in_one_part_ends_them_all(direct: Source) -> None:
    fill(direct, 200)

    with pytest.raises(SourceError, match=r"does not fit decimal\(4,1\)") as caught:
        direct.database.done(
            "SELECT id, price * 10 AS price FROM t",
            columns={"price": "decimal(4,1)"},
            partition={"column": "id", "parts": 4},
        )

    assert re.search(r"column price, part [34], row \d+", str(caught.value.where))
    wait_until(lambda: direct.active() == 0)
    assert not list(direct.database.folder.glob(".openreg-parts-*"))


def test_bounds_of_the_spec_hold_over_all_parts(direct: Source) -> None:
    fill(direct, 200)

    with pytest.raises(SourceError, match="more than 150 rows"):
        direct.database.done(
            "SELECT id FROM t", max_rows=150, partition={"column": "id", "parts": 4}
        )


@pytest.mark.parametrize("parts", [{"parts": 4}, {"rows": 1}])
def test_killed_task_stops_every_part_on_the_server(source: Source, parts: dict[str, int]) -> None:
    source.execute("CREATE TABLE few (id integer)")
    source.execute("INSERT INTO few VALUES (1), (2), (3), (4)")
    inner = source.spelling.sleep.replace("SELECT ", "", 1).rsplit(" AS ", 1)[0]
    # Only the parts have a condition on id, and only they compute what sleeps.
    extraction = source.database.extraction(
        f"SELECT id, {inner} AS slept FROM few", partition={"column": "id"} | parts
    )
    errors: list[Exception] = []

    def run() -> None:
        try:
            extraction.run(source.database.file)
        except SourceUnavailableError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: source.active() >= 1)
    extraction.cancel()
    thread.join(60)

    assert not thread.is_alive()
    assert len(errors) == 1
    wait_until(lambda: source.active() == 0)


def test_part_that_takes_too_long_ends_them_all_on_the_server(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = mariadb_source(request.getfixturevalue("mariadb"), tmp_path)
    source.execute("CREATE TABLE few (id integer)")
    source.execute("INSERT INTO few VALUES (1), (2), (3), (4)")

    with pytest.raises(SourceUnavailableError, match="after 1 seconds"):
        source.database.done(
            "SELECT id, sleep(600) AS slept FROM few",
            timeout_seconds=1,
            partition={"column": "id", "parts": 4},
        )

    wait_until(lambda: source.active() == 0)
    assert not list(source.database.folder.glob(".openreg-parts-*"))


def test_empty_table_and_a_column_of_nulls_are_one_part(direct: Source) -> None:
    direct.execute("CREATE TABLE e (id integer, note integer)")
    spec: dict[str, Any] = {"partition": {"column": "id", "parts": 4}}

    assert direct.database.done("SELECT * FROM e", **spec).rows == 0
    direct.execute("INSERT INTO e VALUES (NULL, 1), (NULL, 2)")
    assert direct.database.done("SELECT * FROM e", **spec).rows == 2


def test_column_of_text_cannot_be_divided(direct: Source) -> None:
    fill(direct, 5)

    with pytest.raises(SourceError, match="column note is text, which cannot be divided"):
        direct.database.done("SELECT * FROM t", partition={"column": "note", "parts": 2})


def test_value_that_is_no_bound_is_named_with_the_column_of_the_parts(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    source = postgres_source(postgres, tmp_path)
    sql = "SELECT CAST(x AS numeric) AS price FROM (VALUES ('1'), ('NaN')) AS v (x)"

    with pytest.raises(SourceError, match="largest price cannot divide it: the value 'nan'"):
        source.database.done(sql, partition={"column": "price", "parts": 2})
    with pytest.raises(SourceError, match="a value of price cannot bound a part: the value 'nan'"):
        source.database.done(sql, partition={"column": "price", "rows": 1})
    drop_postgres_login(postgres)


def test_postgresql_parts_see_one_state(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = request.getfixturevalue("postgres")
    source = postgres_source(server, tmp_path)
    source.execute("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) AS g")
    queries = part_reading.part_queries

    def write_in_between(*args: Any) -> Any:
        source.execute("INSERT INTO t VALUES (50), (1000), (NULL)")
        source.execute("DELETE FROM t WHERE id = 10")
        return queries(*args)

    monkeypatch.setattr(part_reading, "part_queries", write_in_between)

    table = source.database.extract("SELECT id FROM t", partition={"column": "id", "parts": 4})

    assert table.column("id").to_pylist() == list(range(1, 101))
    drop_postgres_login(server)


def test_postgresql_state_is_held_as_long_as_the_parts_are_read(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = request.getfixturevalue("postgres")
    source = postgres_source(server, tmp_path)
    source.execute("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) AS g")
    login = source.database.connection.login
    server.execute(f"ALTER ROLE {login} SET idle_in_transaction_session_timeout = '100ms'")
    idle = (
        "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state = 'idle in transaction'"
        " AND clock_timestamp() - state_change < '300ms'"
    )
    queries = part_reading.part_queries

    def wait(*args: Any) -> Any:
        wait_until(lambda: server.execute(idle, [login]) == [(0,)])
        return queries(*args)

    monkeypatch.setattr(part_reading, "part_queries", wait)

    table = source.database.extract("SELECT id FROM t", partition={"column": "id", "parts": 2})

    assert table.num_rows == 100

    def lose(*args: Any) -> Any:
        server.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = %s",
            [login],
        )
        return queries(*args)

    monkeypatch.setattr(part_reading, "part_queries", lose)

    with pytest.raises(SourceUnavailableError, match="the session whose state"):
        source.database.extract("SELECT id FROM t", partition={"column": "id", "parts": 2})
    drop_postgres_login(server)


def test_day_windows_of_a_date_column_are_whole_days(direct: Source) -> None:
    fill(direct, 56)

    done = direct.database.done(
        "SELECT * FROM t", partition={"column": "local_at", "parts": 4, "order_by": ["id"]}
    )

    assert done.splits == ("2026-01-08", "2026-01-15", "2026-01-22")
    found = pq.read_table(direct.database.file).column("day").to_pylist()
    assert found.index(date(2026, 1, 8)) > found.index(date(2026, 1, 7))


def test_rows_read_in_turn_come_once_whatever_the_column(source: Source) -> None:
    fill(source, 500)
    whole = source.database.extract("SELECT id, note FROM t ORDER BY id, note")
    expected = sorted(map(str, whole.to_pylist()))

    through_odbc = source.database.connection.conn_type == "odbc"
    for column in ("price", "note") if through_odbc else ("id", "price", "day", "note"):
        partition = {"column": column, "rows": 120, "order_by": [column, "note"]}
        done = source.database.done("SELECT * FROM t -- all", partition=partition)
        table = pq.read_table(source.database.file)

        assert len(done.splits) >= 4
        assert done.rows == 501
        assert sorted(map(str, table.select(["id", "note"]).to_pylist())) == expected
        first = source.database.file.read_bytes()

    source.database.done("SELECT * FROM t -- all", partition=partition)
    assert source.database.file.read_bytes() == first


def write_before_parts(
    source: Source, monkeypatch: pytest.MonkeyPatch, write: Callable[[], Any]
) -> None:
    """Do something between the count of the rows and the first part."""
    parts = sized_reading.sized_parts

    def written(*given: Any) -> Any:
        write()
        return parts(*given)

    monkeypatch.setattr(sized_reading, "sized_parts", written)


def test_parts_read_in_turn_see_one_state(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(source, 100)

    def write() -> None:
        source.execute("INSERT INTO t (id, note) VALUES (-99, 'new'), (5000, 'new'), (NULL, 'new')")
        source.execute("DELETE FROM t WHERE note = 'x10'")

    write_before_parts(source, monkeypatch, write)

    table = source.database.extract(
        "SELECT note FROM (SELECT * FROM t) s WHERE day <= :business_date OR day IS NULL",
        partition={"column": "note", "rows": 30},
    )

    assert sorted(table.column("note").to_pylist()) == sorted(
        ["none", *(f"x{n}" for n in range(100))]
    )


def test_table_without_transactions_that_is_written_meanwhile_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mariadb_source(request.getfixturevalue("mariadb"), tmp_path)
    source.execute("CREATE TABLE m (id integer) ENGINE=MyISAM")
    source.execute("INSERT INTO m SELECT seq FROM seq_1_to_50")
    write_before_parts(source, monkeypatch, lambda: source.execute("INSERT INTO m VALUES (15)"))

    with pytest.raises(SourceError, match="part 2 has 11 rows, and 10 were counted"):
        source.database.done("SELECT id FROM m", partition={"column": "id", "rows": 10})


def test_column_that_is_sorted_otherwise_than_compared_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = mariadb_source(request.getfixturevalue("mariadb"), tmp_path)
    source.execute("CREATE TABLE m (kind enum('z', 'b', 'm', 'a'))")
    source.execute("INSERT INTO m VALUES ('z'), ('b'), ('m'), ('a')")

    with pytest.raises(SourceError, match="were counted") as caught:
        source.database.done("SELECT kind FROM m", partition={"column": "kind", "rows": 1})

    assert "kind is not sorted as it is compared" in str(caught.value.hint)


def test_lost_connection_between_parts_may_be_tried_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(source, 50)
    write_before_parts(source, monkeypatch, source.break_sessions)

    with pytest.raises(SourceUnavailableError):
        source.database.done("SELECT * FROM t", partition={"column": "id", "rows": 10})

    assert not list(source.database.folder.glob(".openreg-parts-*"))


def test_time_limit_is_of_all_parts_together(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = mariadb_source(request.getfixturevalue("mariadb"), tmp_path)
    source.execute("CREATE TABLE few (id integer)")
    source.execute("INSERT INTO few VALUES (1), (2), (3), (4)")

    # Counting the rows computes nothing that sleeps, and each part is within the limit.
    with pytest.raises(SourceUnavailableError, match="after 1 seconds"):
        source.database.done(
            "SELECT id, sleep(0.4) AS slept FROM few",
            timeout_seconds=1,
            partition={"column": "id", "rows": 1},
        )

    wait_until(lambda: source.active() == 0)
