"""What is ODBC's own: drivers that lie, fail or crash; the rest is in the readers' contract."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, date, datetime
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow as pa
import pyodbc
import pytest

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract.query import parse
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.extract.readers import odbc_session
from openreg_airflow.extract.readers.odbc import OdbcReader, connection_string
from openreg_airflow.extract.readers.odbc_process import OdbcWork
from openreg_airflow.extract.readers.odbc_products import UNLIKE_LETTERS, find_product
from openreg_airflow.extract.shared_session import snapshot
from tests.extraction import Database
from tests.reader_databases import (
    ODBC_DRIVERS,
    Source,
    drop_postgres_login,
    mariadb_source,
    odbc_source,
    postgres_source,
)
from tests.services import unavailable
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.mariadb import MariadbServer
    from tests.services.postgres import PostgresServer


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """SQLite through its ODBC driver, of which no more is known than ODBC itself."""
    if "SQLite3" not in pyodbc.drivers():
        unavailable("the ODBC driver of SQLite is not installed")
    with sqlite3.connect(tmp_path / "t.db") as given:
        given.execute("CREATE TABLE t (a integer, b varchar(20))")
        given.executemany("INSERT INTO t VALUES (?, ?)", [(1, "x"), (2, None)])
    extra = {"driver": "SQLite3", "Database": str(tmp_path / "t.db")}
    connection = SourceConnection(conn_id="old", conn_type="odbc", extra=extra)
    return Database(tmp_path, connection)


@pytest.fixture
def postgres_odbc(postgres: PostgresServer, tmp_path: Path) -> Iterator[Source]:
    if ODBC_DRIVERS["postgres"] not in pyodbc.drivers():
        unavailable("the ODBC driver for postgres is not installed")
    yield odbc_source(postgres_source(postgres, tmp_path), "postgres")
    drop_postgres_login(postgres)


def test_driver_that_nothing_is_known_of_is_read(database: Database) -> None:
    table = database.extract(
        "SELECT a, b FROM t WHERE a < :most ORDER BY a", **parameter("most", 9)
    )

    assert table.to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


def parameter(name: str, value: int) -> dict[str, Any]:
    return {"parameters": {name: {"type": "integer", "value": value}}}


def test_snapshot_that_nobody_knows_how_to_hold_is_refused(database: Database) -> None:
    with (
        snapshot(database.connection, timeout_seconds=60) as reader,
        pytest.raises(SpecError, match=r"not known how .* holds a snapshot"),
    ):
        database.extraction("SELECT a FROM t", reader=reader).run(database.file)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_driver_that_crashes_is_worth_another_try(postgres_odbc: Source, number: int) -> None:
    source = postgres_odbc
    failures: list[BaseException] = []

    def run() -> None:
        try:
            source.database.extract(source.spelling.sleep)
        except SourceUnavailableError as error:
            failures.append(error)

    def drivers() -> list[psutil.Process]:
        children = psutil.Process().children()
        return [child for child in children if "odbc_process" in " ".join(child.cmdline())]

    task = threading.Thread(target=run, daemon=True)
    task.start()
    wait_until(lambda: source.active() > 0)
    [process] = drivers()
    os.kill(process.pid, number)
    task.join(20)

    assert f"signal {int(number)}" in str(failures[0])
    assert drivers() == []


def test_driver_that_ends_at_a_query_is_told_with_what_it_may_mean(database: Database) -> None:
    session = OdbcReader().open(database.connection, timeout_seconds=60)
    query = parse("SELECT 1", file="t.sql", dialect="", parameters={})
    [process] = [
        child
        for child in psutil.Process().children()
        if "odbc_process" in " ".join(child.cmdline())
    ]

    process.send_signal(signal.SIGABRT)  # as drivers do that meet what they do not expect
    with pytest.raises(SourceUnavailableError, match="signal 6") as raised:
        session.read(query, {})
    session.close()

    assert "If it ends so each time, the driver cannot take" in str(raised.value)


def test_task_that_is_killed_outright_leaves_no_driver_and_no_query(postgres_odbc: Source) -> None:
    source = postgres_odbc
    # The server by itself would notice only much later that nobody waits for its answer.
    task = get_context("spawn").Process(
        target=source.database.extract, args=(source.spelling.sleep,)
    )
    task.start()
    try:
        wait_until(lambda: source.active() > 0, 60)
        [driver] = psutil.Process(task.pid).children()
    finally:
        task.kill()
        task.join()

    wait_until(lambda: source.active() == 0)
    wait_until(lambda: not driver.is_running() or driver.status() == psutil.STATUS_ZOMBIE)


def test_driver_that_is_not_installed_is_named(database: Database) -> None:
    missing = replace(database.connection, extra={"driver": "No Such Driver"})

    with pytest.raises(SourceError, match=r"No Such Driver|Can't open lib|refuses"):
        replace(database, connection=missing).extract("SELECT 1 AS a")


def test_process_that_cannot_start_says_what_may_be_missing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(odbc_session.sys, "executable", "/bin/false")

    with pytest.raises(SourceUnavailableError, match="exit status 1") as caught:
        database.extract("SELECT a FROM t")

    assert "unixodbc" in str(caught.value)


def test_value_longer_than_the_room_for_it_is_refused_not_cut(postgres_odbc: Source) -> None:
    with pytest.raises(SourceError, match="longer than the 8192 bytes") as caught:
        postgres_odbc.database.extract("SELECT repeat('x', 20000) AS t")

    assert "max_text_size" in str(caught.value)


def test_text_is_whole_where_the_locale_knows_no_letters(
    postgres_odbc: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")

    table = postgres_odbc.database.extract(f"SELECT '{UNLIKE_LETTERS}' AS t")

    assert table.column("t").to_pylist() == [UNLIKE_LETTERS]


@pytest.mark.parametrize(
    ("given", "encoding"),
    [(UNLIKE_LETTERS, "UTF8"), ("\u00e9??", "UTF16"), (None, "UTF16")],
)
def test_driver_that_does_not_give_utf8_whole_is_asked_for_utf16(
    given: str | None, encoding: str
) -> None:
    class Driver:
        def read_arrow_batches(self, query: str, **options: Any) -> list[pa.RecordBatch]:
            assert query.isascii()
            return [pa.record_batch({"t": pa.array([given], pa.string())})]

    work = OdbcWork.__new__(OdbcWork)
    work.product, work._widest, work._connection = find_product("MariaDB"), 8192, Driver()

    assert work._text_encoding().name == encoding


def test_driver_that_keeps_a_whole_result_is_warned_of(
    mariadb_odbc: Source, caplog: pytest.LogCaptureFixture
) -> None:
    with pyodbc.connect(connection_string(mariadb_odbc.database.connection)) as probe:
        old = str(probe.getinfo(pyodbc.SQL_DRIVER_VER)) < "03.02"

    mariadb_odbc.database.extract("SELECT 1 AS a")
    said = "keeps the whole result of source.sql in memory. Write `partition: {column: KEY, rows: "
    assert (said in caplog.text) is old

    caplog.clear()
    mariadb_odbc.database.extract("SELECT 1 AS a", partition={"column": "a"})
    assert "in memory" not in caplog.text


@pytest.mark.parametrize("source", ["postgres_odbc", "mariadb_odbc"])
def test_decimal_below_one_is_refused_since_drivers_cut_it(
    source: str, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue(source).database
    sql = "SELECT CAST(0.12345 AS decimal(5,5)) AS share"
    with pytest.raises(SourceError, match=r"decimal\(5,5\), which ODBC may cut off") as raised:
        database.extract(sql)

    cast = str(raised.value.hint).partition("for example ")[2].removesuffix(".")
    table = database.extract(f"SELECT {cast} AS share FROM ({sql}) AS t")
    assert table.to_pylist() == [{"share": "0.12345"}]


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        ("CAST('NaN' AS numeric(18,5))", "decimal(18,5)"),
        ("CAST('NaN' AS double precision)", None),
        ("CAST('Infinity' AS double precision)", None),
        ("CAST('-Infinity' AS double precision)", "decimal(18,5)"),
        ("CAST('-infinity' AS date)", None),
        ("CAST('-infinity' AS timestamp)", None),
        ("CAST('infinity' AS timestamp)", None),
        ("CAST('infinity' AS timestamptz)", "timestamp_utc"),
        ("CAST('12026-01-05 10:00:00' AS timestamp)", None),
        ("CAST('12026-01-05' AS date)", None),
        ("CAST('2026-01-05 BC' AS date)", None),
        ("CAST(12.34 AS money)", None),
    ],
)
def test_what_is_no_number_or_day_is_named_with_its_row(
    postgres_odbc: Source, value: str, declared: str | None
) -> None:
    sql = f"SELECT CASE WHEN n = 2 THEN {value} END AS v FROM generate_series(1, 3) n ORDER BY n"

    with pytest.raises(SourceError) as caught:
        postgres_odbc.database.extract(sql, columns={"v": declared} if declared else {})

    assert caught.value.where == "source.sql, column v, row 2"


def test_times_and_numbers_of_postgres_keep_their_values_and_order(postgres_odbc: Source) -> None:
    table = postgres_odbc.database.extract(
        'SELECT g AS "a ""b"" ?", CAST(\'9999-12-31 23:59:59\' AS timestamp(0)) AS t,'
        " CAST('2026-01-05 10:00:00.123456+05:30' AS timestamptz) AS i,"
        " CAST('0001-01-01' AS date) AS d,"
        " CAST(3000000000 AS oid) AS o, CAST(0.1 AS real) AS r"
        " FROM generate_series(1, 3) g WHERE g <> :other ORDER BY g DESC -- the last first",
        columns={"i": "timestamp_utc"},
        **parameter("other", 2),
    )

    assert table.column_names == ['a "b" ?', "t", "i", "d", "o", "r"]
    rows = [tuple(row.values()) for row in table.to_pylist()]
    instant = datetime(2026, 1, 5, 4, 30, 0, 123456, tzinfo=UTC)
    rest = (datetime(9999, 12, 31, 23, 59, 59), instant, date(1, 1, 1), 3_000_000_000, 0.1)  # noqa: DTZ001
    assert rows == [(3, *rest), (1, *rest)]


@pytest.mark.parametrize("held", [False, True])
def test_query_that_the_database_cannot_spell_says_what_is_wrong_with_it(
    postgres_odbc: Source, held: bool
) -> None:
    source = postgres_odbc.database
    with (
        snapshot(source.connection, timeout_seconds=60) as reader,
        pytest.raises(SourceError, match="syntax error") as caught,
    ):
        source.extraction("SELECT a FROM", reader=reader if held else None).run(source.file)

    assert caught.value.where == "source.sql"


def test_relative_of_postgres_spells_its_times_by_the_driver(
    postgres: PostgresServer, postgres_odbc: Source
) -> None:
    postgres.execute("CREATE SCHEMA relative")
    postgres.execute(
        "CREATE FUNCTION relative.version() RETURNS text LANGUAGE sql AS"
        " $$ SELECT 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, Relative 1.0' $$"
    )
    extra = dict(postgres_odbc.database.connection.extra)
    source = postgres_odbc.reached(
        login=postgres.user,
        password=postgres.password,
        extra=extra | {"ConnSettings": "SET search_path = relative, pg_catalog, public"},
    )
    good, bad = "2026-01-05 10:00:00.123456", "12026-01-05 10:00:00"

    table = source.database.extract(f"SELECT CAST('{good}' AS timestamp) AS v")

    assert table.to_pylist() == [{"v": datetime.fromisoformat(good)}]
    with pytest.raises(SourceError, match="'0000-00-00 00:00:00' does not fit timestamp"):
        source.database.extract(f"SELECT CAST('{bad}' AS timestamp) AS v")


@pytest.mark.parametrize("password", ["100%+%41", " p;w}d={x 'y\" "])
def test_password_may_be_any_text(
    postgres: PostgresServer, postgres_odbc: Source, password: str
) -> None:
    login = postgres_odbc.database.connection.login
    postgres.execute(f'ALTER ROLE "{login}" PASSWORD %s', [password])

    table = postgres_odbc.elsewhere(password=password).extract("SELECT 1 AS a")

    assert table.to_pylist() == [{"a": 1}]


def test_word_that_the_driver_takes_for_no_tls_is_refused(postgres_odbc: Source) -> None:
    extra = dict(postgres_odbc.database.connection.extra)
    plain = postgres_odbc.elsewhere(extra=extra | {"SSLmode": "REQUIRE"})

    with pytest.raises(SpecError, match="SSLmode 'REQUIRE' is none of the driver's words"):
        plain.extract("SELECT 1 AS a")


def test_part_that_would_end_the_connection_string_is_refused(database: Database) -> None:
    ended = replace(database.connection, password="a\0b")  # noqa: S106

    with pytest.raises(SpecError, match="character of code 0"):
        connection_string(ended)


@pytest.fixture
def mariadb_odbc(mariadb: MariadbServer, tmp_path: Path) -> Source:
    if ODBC_DRIVERS["mariadb"] not in pyodbc.drivers():
        unavailable("the ODBC driver for mariadb is not installed")
    return odbc_source(mariadb_source(mariadb, tmp_path), "mariadb")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("date", "0000-00-00"),
        ("datetime(6)", "0000-00-00 00:00:00"),
        ("datetime", "2026-00-00 12:00:00"),
        ("time(6)", "-12:00:00.5"),
        ("time", "24:00:00"),
    ],
)
def test_time_that_is_none_is_refused_not_changed(
    mariadb: MariadbServer, mariadb_odbc: Source, kind: str, value: str
) -> None:
    mariadb.execute(
        "SET sql_mode = ''",
        f"CREATE TABLE t (row_no int, v {kind})",
        f"INSERT INTO t VALUES (1, NULL), (2, '{value}')",
    )

    with pytest.raises(SourceError, match=rf"value '{value}.*' does not fit (date|time)") as caught:
        mariadb_odbc.database.extract("SELECT v FROM t ORDER BY row_no")

    assert caught.value.where == "source.sql, column v, row 2"


def test_numbers_without_sign_and_bits_arrive_as_they_are(mariadb_odbc: Source) -> None:
    mariadb_odbc.execute(
        "CREATE TABLE t (a int unsigned, b smallint unsigned, c tinyint unsigned, on_ bit(1),"
        " off_ bit(1), raw blob, f float)"
    )
    mariadb_odbc.execute(
        "INSERT INTO t VALUES (4294967295, 65535, 255, b'1', b'0', repeat('x', 900), 0.1)"
    )

    table = mariadb_odbc.database.extract("SELECT a, b, c, on_, off_, raw, f FROM t")

    [row] = table.to_pylist()
    assert list(row.values()) == [4294967295, 65535, 255, True, False, b"x" * 900, 0.1]


@pytest.mark.parametrize("declared", ["integer", "decimal(5,0)", "float", "boolean"])
def test_bits_are_never_taken_for_the_digits_of_a_number(
    mariadb_odbc: Source, declared: str
) -> None:
    # The bits of 12594 are the bytes of "12".
    mariadb_odbc.execute("CREATE TABLE t AS SELECT 1 AS a")
    mariadb_odbc.execute("ALTER TABLE t ADD v bit(16) DEFAULT 12594")
    source = mariadb_odbc.database

    with pytest.raises(SourceError, match=r"comes as bytes, not as digits") as caught:
        source.extract("SELECT v FROM t", columns={"v": declared})

    assert caught.value.where == "source.sql, column v"
    assert "v + 0" in str(caught.value)
    assert source.extract("SELECT v FROM t").to_pylist() == [{"v": b"12"}]
    assert source.extract("SELECT v + 0 AS v FROM t").to_pylist() == [{"v": 12594}]


def test_server_without_tls_is_refused_when_it_is_forced(mariadb_odbc: Source) -> None:
    extra = dict(mariadb_odbc.database.connection.extra)

    with pytest.raises(SourceError, match="does not support TLS"):
        mariadb_odbc.elsewhere(extra=extra | {"FORCETLS": "1"}).extract("SELECT 1 AS a")


@pytest.mark.parametrize("letter", ["x", "\u20ac"])
def test_text_that_is_longer_by_one_byte_is_not_cut(mariadb_odbc: Source, letter: str) -> None:
    size = len(letter.encode())
    extra = dict(mariadb_odbc.database.connection.extra)
    source = mariadb_odbc.elsewhere(extra=extra | {"max_text_size": str(size * 5 - 1)})

    table = source.extract(f"SELECT repeat('{letter}', 4) AS t")

    assert table.to_pylist() == [{"t": letter * 4}]
    with pytest.raises(SourceError, match=f"longer than the {size * 5 - 1} bytes"):
        source.extract(f"SELECT repeat('{letter}', 5) AS t")


#: SQLite keeps any value in any column, whatever its type's name says.
_KEPT = [
    ("integer", 3_000_000_000, 3_000_000_000),
    ("smallint", -70_000, -70_000),
    ("integer", "abc", None),
    ("boolean", 2, None),
    ("date", "2026-02-30", None),
    ("timestamp", "2026-01-05 12:00:00.123456", datetime(2026, 1, 5, 12, 0, 0, 123456)),  # noqa: DTZ001
    ("timestamp", "yesterday", None),
    ("time", "25:00:00", None),
]


@pytest.mark.parametrize(("kind", "value", "expected"), _KEPT)
def test_what_sqlite_keeps_arrives_unchanged_or_is_refused(
    database: Database, kind: str, value: Any, expected: Any
) -> None:
    with sqlite3.connect(database.connection.extra["Database"]) as given:
        given.execute(f"CREATE TABLE kept (v {kind})")
        given.execute("INSERT INTO kept VALUES (?)", [value])

    if expected is None:
        with pytest.raises(SourceError, match=rf"{value}.* does not fit"):
            database.extract("SELECT v FROM kept")
    else:
        assert database.extract("SELECT v FROM kept").to_pylist() == [{"v": expected}]


def test_decimal_that_sqlite_would_round_is_refused_as_by_its_own_reader(
    database: Database,
) -> None:
    def given(value: str) -> dict[str, Any]:
        return {"parameters": {"amount": {"type": "decimal", "value": value}}}

    for lost in ("0.1234567890123456789", "1000000000000000.1", "9223372036854775808", "1E-400"):
        with pytest.raises(SpecError, match=r":amount = .* has more digits than SQLite's numbers"):
            database.extract("SELECT a FROM t WHERE a < :amount", **given(lost))

    for kept in ("9007199254740993.0", "-9223372036854775808"):
        found = database.extract("SELECT CAST(:amount AS text) AS v", **given(kept))
        assert found.to_pylist() == [{"v": kept.removesuffix(".0")}]


@pytest.mark.parametrize(("source", "most"), [("postgres_odbc", 10_000), ("mariadb_odbc", 32_767)])
def test_list_longer_than_the_driver_takes_is_refused_before_it(
    source: str, most: int, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue(source).database

    def listed(count: int) -> dict[str, Any]:
        return {"parameters": {"keys": {"type": "integer", "values": list(range(count))}}}

    sql = "SELECT 1 AS a WHERE 5 IN (:keys)"
    assert database.extract(sql, **listed(most)).num_rows == 1
    said = rf"source.sql: the query binds {most + 1:,} values, :keys .* at most {most:,}"
    with pytest.raises(SpecError, match=said):
        database.extract(sql, **listed(most + 1))
