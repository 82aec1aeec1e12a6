from __future__ import annotations

import errno
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract.query import parse
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.extract.readers.sqlite import SqliteReader, database_path
from tests.extraction import Database, columns

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"


class SqliteDatabase(Database):
    def execute(self, script: str) -> None:
        with closing(sqlite3.connect(str(self.connection.host))) as connection:
            connection.executescript(script)


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    path = tmp_path / "with space & 100%?.db"
    found = SqliteDatabase(
        tmp_path, SourceConnection(conn_id="trades", conn_type="sqlite", host=str(path))
    )
    found.execute("CREATE TABLE unrelated (x)")
    return found


def test_declared_columns_of_tables_keep_their_types(database: SqliteDatabase) -> None:
    database.execute(
        """
        CREATE TABLE t (
            id INTEGER PRIMARY KEY, price DECIMAL(18,5), factor REAL, name VARCHAR(20),
            day DATE, at TIMESTAMP, at_time TIME, ok BOOLEAN, raw BLOB, any_number NUMERIC
        );
        INSERT INTO t VALUES
            (1, 12.5, 0.1, 'Zoë', '2026-03-02', '2026-03-02 12:00:00.123456', '12:34:56', 1,
             x'00ff', 3),
            (2, 7, 1, NULL, NULL, NULL, NULL, 0, NULL, 0.25);
        """
    )

    table = database.extract("SELECT * FROM t ORDER BY id")

    assert columns(table) == {
        "id": "int64",
        "price": "decimal128(18, 5)",
        "factor": "double",
        "name": "string",
        "day": "date32[day]",
        "at": "timestamp[us]",
        "at_time": "time64[us]",
        "ok": "bool",
        "raw": "binary",
        "any_number": "decimal128(38, 20)",
    }
    first, second = table.to_pylist()
    assert first["price"] == Decimal("12.50000")
    assert first["day"] == date(2026, 3, 2)
    assert first["at"] == datetime(2026, 3, 2, 12, 0, 0, 123456)  # noqa: DTZ001
    assert (first["name"], first["raw"], first["ok"]) == ("Zoë", b"\x00\xff", True)
    assert (second["price"], second["any_number"]) == (Decimal(7), Decimal("0.25"))
    assert second["day"] is None


def test_expressions_take_the_type_of_their_first_rows(database: SqliteDatabase) -> None:
    table = database.extract(
        "SELECT 1 + 1 AS i, 1.5 AS f, 'a' || 'b' AS s, NULL AS n, x'01' AS b "
        "UNION ALL SELECT 2, 2, 'c', NULL, NULL"
    )

    assert columns(table) == {
        "i": "int64",
        "f": "double",
        "s": "string",
        "n": "string",
        "b": "binary",
    }
    assert table.to_pylist()[1] == {"i": 2, "f": 2.0, "s": "c", "n": None, "b": None}


def test_expression_that_changes_its_type_later_is_refused(database: SqliteDatabase) -> None:
    sql = FOREVER.format("i AS n, CASE WHEN i < 2500 THEN i ELSE 'x' END AS e") + " LIMIT 9000"

    with pytest.raises(SourceError, match="'x' is str") as caught:
        database.extract(sql)

    assert caught.value.where == "source.sql, column e, row 2500"
    assert database.extract(sql, columns={"e": "string"}).num_rows == 9000


def test_text_becomes_the_declared_type_exactly(database: SqliteDatabase) -> None:
    database.execute(
        "CREATE TABLE t (price TEXT, at TEXT);"
        "INSERT INTO t VALUES ('9999999999999.99999', '2026-03-02T12:00:00.123456Z')"
    )

    table = database.extract(
        "SELECT * FROM t", columns={"price": "decimal(18,5)", "at": "timestamp_utc"}
    )

    assert table.to_pylist() == [
        {
            "price": Decimal("9999999999999.99999"),
            "at": datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC),
        }
    ]


def test_decimal_that_sqlite_damaged_is_refused(database: SqliteDatabase) -> None:
    database.execute("CREATE TABLE t (p DECIMAL(18,5)); INSERT INTO t VALUES (1234567890123.45678)")

    with pytest.raises(SourceError, match="more than 15 digits is not exact"):
        database.extract("SELECT p FROM t")


@pytest.mark.parametrize(
    ("sql", "column", "row", "said"),
    [
        ("SELECT 1.5 AS p UNION ALL SELECT 1.123456", "decimal(18,5)", 2, "1.123456"),
        ("SELECT 'x' AS p", "decimal(18,5)", 1, "'x'"),
        ("SELECT '2026-03-02' AS p UNION ALL SELECT '2026-02-30'", "date", 2, "'2026-02-30'"),
    ],
)
def test_value_that_does_not_fit_is_named_with_column_and_row(
    database: SqliteDatabase, sql: str, column: str, row: int, said: str
) -> None:
    with pytest.raises(SourceError) as caught:
        database.extract(sql, columns={"p": column})

    assert f"the value {said} does not fit {column}" in caught.value.message
    assert caught.value.where == f"source.sql, column p, row {row}"


def test_declared_column_that_is_not_there_is_refused(database: SqliteDatabase) -> None:
    with pytest.raises(SourceError, match="does not return the declared columns price") as caught:
        database.extract("SELECT 1 AS prize", columns={"price": "integer"})

    assert "It returns prize." in str(caught.value)


def test_parameters_are_bound_by_the_driver(database: SqliteDatabase) -> None:
    hostile = "'; DROP TABLE unrelated; --"
    table = database.extract(
        "SELECT :business_date AS d, :name AS n, :number AS i, :amount AS a, "
        "'b' IN (:desks) AS found, 'c' NOT IN (:desks) AS missing, 'a :name' AS literal",
        parameters={
            "name": {"type": "string", "value": hostile},
            "number": {"type": "integer", "value": 7},
            "amount": {"type": "decimal", "value": "10.5"},
            "desks": {"type": "string", "values": ["a", "b"]},
        },
    )

    assert table.to_pylist() == [
        {
            "d": "2026-03-02",
            "n": hostile,
            "i": 7,
            "a": 10.5,
            "found": 1,
            "missing": 1,
            "literal": "a :name",
        }
    ]


def test_decimal_parameter_beyond_a_float_is_refused(database: SqliteDatabase) -> None:
    amount = {"type": "decimal", "value": "1234567890123456.78901"}

    with pytest.raises(SpecError, match="more digits than SQLite's numbers"):
        database.extract("SELECT :amount", parameters={"amount": amount})


def test_closed_session_lets_others_write_though_its_rows_are_held(
    database: SqliteDatabase,
) -> None:
    database.execute("CREATE TABLE t AS " + FOREVER.format("i") + " LIMIT 50000")
    query = parse("SELECT i FROM t", file="t.sql", dialect="sqlite", parameters={})
    session = SqliteReader().open(database.connection, timeout_seconds=60)
    stream = session.read(query, {})
    next(stream.batches)  # held until the test ends, as the trace of an error would

    session.close()

    with closing(sqlite3.connect(str(database.connection.host), timeout=0)) as writer, writer:
        assert writer.execute("DELETE FROM t").rowcount == 50_000


def test_empty_result_keeps_its_columns(database: SqliteDatabase) -> None:
    database.execute("CREATE TABLE t (id INTEGER, price DECIMAL(9,2))")

    table = database.extract("SELECT id, price, id + 1 AS next FROM t")

    assert table.num_rows == 0
    assert columns(table) == {"id": "int64", "price": "decimal128(9, 2)", "next": "string"}


@pytest.mark.parametrize("sql", ["SELECT 1 AS a, 2 AS a", "SELECT 1 AS Price, 2 AS price"])
def test_two_columns_of_one_name_are_refused(database: SqliteDatabase, sql: str) -> None:
    with pytest.raises(SourceError, match="several columns of the same name"):
        database.extract(sql)


def test_odd_column_names_are_kept(database: SqliteDatabase) -> None:
    table = database.extract('SELECT 1 AS "a "" b", 2 AS "ä;--", 3 AS "select"')

    assert table.column_names == ['a " b', "ä;--", "select"]


@pytest.mark.parametrize(
    ("sql", "said", "where"),
    [
        ("SELECT * FROM nothere", "no such table: nothere", "source.sql"),
        ("SELECT nothere FROM unrelated", "no such column", "source.sql"),
        ("SELECT 1,\n  2 3", "syntax error", "source.sql, line 2, column 5"),
        ("SELECT json('{')", "malformed JSON", "source.sql"),
        ("SELECT CAST(x'ff' AS TEXT) AS t", "UTF-8", "source.sql"),
    ],
)
def test_query_that_sqlite_refuses_fails_at_once(
    database: SqliteDatabase, sql: str, said: str, where: str
) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        database.extract(sql)

    assert caught.value.where == where


def test_session_cannot_write(database: SqliteDatabase) -> None:
    from openreg_airflow.extract.readers.sqlite import SqliteReader

    session: Any = SqliteReader().open(database.connection, timeout_seconds=5)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        session._database.execute("DELETE FROM unrelated")
    session.close()


def test_missing_file_is_refused_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"
    database = Database(
        tmp_path, SourceConnection(conn_id="trades", conn_type="sqlite", host=str(path))
    )

    with pytest.raises(SourceError, match="connection trades: there is no SQLite file"):
        database.extract("SELECT 1")
    assert not path.exists()


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("just some text, long enough to be looked at as a header of a database")
    database = Database(
        tmp_path, SourceConnection(conn_id="trades", conn_type="sqlite", host=str(path))
    )

    with pytest.raises(SourceError, match="not a database"):
        database.extract("SELECT 1")


@pytest.mark.parametrize(
    ("host", "schema", "path"),
    [
        ("/data/a.db", None, "/data/a.db"),
        (None, "/data/a.db", "/data/a.db"),
        ("/data", "a.db", "/data/a.db"),
    ],
)
def test_path_is_found_in_every_form_of_connection(
    host: str | None, schema: str | None, path: str
) -> None:
    connection = SourceConnection(conn_id="c", conn_type="sqlite", host=host, database=schema)

    assert str(database_path(connection)) == path


def test_query_that_takes_too_long_is_cancelled(database: SqliteDatabase) -> None:
    started = time.monotonic()

    with pytest.raises(SourceUnavailableError, match="after 1 seconds, the query") as caught:
        database.extract(FOREVER.format("count(*) AS n"), timeout_seconds=1)

    assert "timeout_seconds" in str(caught.value)
    assert time.monotonic() - started < 8
    assert not [t for t in threading.enumerate() if t.name.startswith("openreg-")]


def test_killed_task_stops_its_query(database: SqliteDatabase) -> None:
    extraction = database.extraction(FOREVER.format("i"))
    killer = threading.Thread(target=lambda: (started.wait(), extraction.cancel()))
    started = threading.Event()
    killer.start()
    write = extraction._reading._queue.put
    extraction._reading._queue.put = lambda item: (write(item), started.set())  # type: ignore

    with pytest.raises(SourceUnavailableError, match="the task was stopped"):
        extraction.run(database.file)

    killer.join()
    assert not [t for t in threading.enumerate() if t.name.startswith("openreg-")]


def test_more_rows_than_allowed_are_an_error_not_a_cut(database: SqliteDatabase) -> None:
    with pytest.raises(SourceError, match="more than 10 rows"):
        database.extract(FOREVER.format("i"), max_rows=10)

    assert database.extract(FOREVER.format("i") + " LIMIT 10", max_rows=10).num_rows == 10


@pytest.mark.parametrize("limit", ["LIMIT 10", ""])
def test_full_disk_reaches_the_task_as_such(database: SqliteDatabase, limit: str) -> None:
    sql = f"{FOREVER.format('i, hex(randomblob(100)) AS noise')} {limit}"

    with pytest.raises(OSError, match="No space left") as caught:
        database.extraction(sql).run(Path("/dev/full"))

    assert caught.value.errno == errno.ENOSPC


def test_same_rows_give_the_same_bytes(database: SqliteDatabase) -> None:
    sql = FOREVER.format("i, i * 0.5 AS f, 'row ' || i AS t") + " LIMIT 30000"

    database.extract(sql)
    first = database.file.read_bytes()
    database.extract(sql)

    assert database.file.read_bytes() == first


def test_unknown_connection_type_names_the_readers(tmp_path: Path) -> None:
    database = Database(tmp_path, SourceConnection(conn_id="c", conn_type="cobol"))

    with pytest.raises(SpecError, match="no reader for connections of type 'cobol'") as caught:
        database.extract("SELECT 1")

    assert "postgres, sqlite" in str(caught.value)


def test_locked_database_is_worth_another_try(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openreg_airflow.extract.readers.sqlite._BUSY_SECONDS", 0.05)

    with closing(sqlite3.connect(str(database.connection.host))) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceUnavailableError, match="locked"):
            database.extract("SELECT * FROM unrelated")


def test_evidence_is_returned_and_logged(
    database: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "openreg_airflow.extract")

    done = database.done("SELECT :business_date AS d")

    assert done.rows == 1
    assert done.query.used == {"business_date": date(2026, 3, 2)}
    assert done.query.sha256 in caplog.text
    assert ":business_date = 2026-03-02" in caplog.text
    assert "has no ORDER BY" in caplog.text
    assert f"{database.file.stat().st_size:,} bytes of Parquet from SQLite" in caplog.text


@pytest.mark.parametrize("declared", [None, "decimal(18,5)", "integer"])
def test_infinite_number_is_named_with_its_row(
    database: SqliteDatabase, declared: str | None
) -> None:
    columns_ = {"v": declared} if declared else {}

    with pytest.raises(SourceError, match=r"(?i)inf.* does not fit") as caught:
        database.extract("SELECT 2.0 AS v UNION ALL SELECT -9e999", columns=columns_)

    assert caught.value.where == "source.sql, column v, row 2"
