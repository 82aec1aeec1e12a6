from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract.reader import SourceConnection
from tests.extraction import Database, active, columns
from tests.services import free_port
from tests.services.cut_proxy import cutting_proxy
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.postgres import PostgresServer

PASSWORD = "it's a \\ secret"  # noqa: S105
MANY = "SELECT g AS id, repeat('x', 400) AS filler FROM generate_series(1, 200000) AS g ORDER BY g"


@pytest.fixture
def reader_login(postgres: PostgresServer) -> Iterator[str]:
    name = f"reader_{postgres.database}"
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD %s", [PASSWORD])
    yield name
    postgres.execute(f"DROP OWNED BY {name}")
    postgres.execute(f"DROP ROLE {name}")


@pytest.fixture
def database(postgres: PostgresServer, reader_login: str, tmp_path: Path) -> Database:
    """Read by a login that may connect and read, and nothing more."""
    connection = SourceConnection(
        conn_id="trades",
        conn_type="postgres",
        host=postgres.host,
        port=postgres.port,
        login=reader_login,
        password=PASSWORD,
        database=postgres.database,
    )
    postgres.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    return Database(tmp_path, connection)


def elsewhere(database: Database, /, **changes: Any) -> Database:
    return replace(database, connection=replace(database.connection, **changes))


def test_every_type_arrives_exactly(database: Database, postgres: PostgresServer) -> None:
    postgres.execute(
        """
        CREATE TYPE side AS ENUM ('buy', 'sell');
        CREATE DOMAIN amount AS numeric(20,4);
        CREATE TABLE t (
            small smallint, plain integer, big bigint, price numeric(18,5), "long" numeric(38,10),
            longer numeric(60,20), free numeric, round numeric(5,-2), tiny numeric(2,4), a amount,
            single real, double double precision, ok boolean, txt text, vary varchar(20),
            fixed char(5), id uuid, doc json, docb jsonb, raw bytea, day date, clock time,
            local timestamp, instant timestamptz, dir side, name name, letter "char"
        );
        INSERT INTO t VALUES
            (-32768, 2147483647, 9223372036854775807, 9999999999999.99999,
             '1234567890123456789012345678.0123456789', 12345678901234567.5, 1.5, 12345, 0.0012,
             7.25, 0.5, 0.1, true, 'Zoë "x" \\ €😀', 'v', 'f',
             'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
             '{"a":  1}', '{"b": 1.50}', '\\x00ff', '0001-01-01', '23:59:59.999999',
             '9999-12-31 23:59:59.999999', '2026-03-02 12:00:00.123456+02', 'sell', 'n', 'c'),
            (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
        """
    )

    table = database.extract("SELECT * FROM t ORDER BY small NULLS LAST")

    assert columns(table) == {
        "small": "int64",
        "plain": "int64",
        "big": "int64",
        "price": "decimal128(18, 5)",
        "long": "decimal128(38, 10)",
        "longer": "decimal128(38, 20)",
        "free": "decimal128(38, 20)",
        "round": "decimal128(7, 0)",
        "tiny": "decimal128(4, 4)",
        "a": "decimal128(20, 4)",
        "single": "double",
        "double": "double",
        "ok": "bool",
        "txt": "string",
        "vary": "string",
        "fixed": "string",
        "id": "string",
        "doc": "string",
        "docb": "string",
        "raw": "binary",
        "day": "date32[day]",
        "clock": "time64[us]",
        "local": "timestamp[us]",
        "instant": "timestamp[us, tz=UTC]",
        "dir": "string",
        "name": "string",
        "letter": "string",
    }
    first, second = table.to_pylist()
    assert first == {
        "small": -32768,
        "plain": 2147483647,
        "big": 9223372036854775807,
        "price": Decimal("9999999999999.99999"),
        "long": Decimal("1234567890123456789012345678.0123456789"),
        "longer": Decimal("12345678901234567.5"),
        "free": Decimal("1.5"),
        "round": Decimal(12300),
        "tiny": Decimal("0.0012"),
        "a": Decimal("7.25"),
        "single": 0.5,
        "double": 0.1,
        "ok": True,
        "txt": 'Zoë "x" \\ €😀',
        "vary": "v",
        "fixed": "f    ",
        "id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "doc": '{"a":  1}',
        "docb": '{"b": 1.50}',
        "raw": b"\x00\xff",
        "day": date(1, 1, 1),
        "clock": time_of_day(23, 59, 59, 999999),
        "local": datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
        "instant": datetime(2026, 3, 2, 10, 0, 0, 123456, tzinfo=UTC),
        "dir": "sell",
        "name": "n",
        "letter": "c",
    }
    assert set(second.values()) == {None}


def test_bytes_and_short_floats_arrive_as_the_server_prints_them(
    database: Database, postgres: PostgresServer
) -> None:
    role = database.connection.login
    postgres.execute(f"ALTER ROLE {role} SET extra_float_digits = -5")
    sql = (
        'SELECT CAST(n AS "char") AS b, 0.1::real AS f, CAST(1 / 3e0::float8 AS text) AS t '
        "FROM unnest(ARRAY[65, 0, -56]) AS n ORDER BY n DESC"
    )

    table = database.extract(sql)

    [[byte]] = postgres.execute('SELECT CAST(CAST(-56 AS "char") AS text)')
    assert table["b"].to_pylist() == ["A", "", byte]
    assert set(table["f"].to_pylist()) == {0.1}
    assert set(table["t"].to_pylist()) == {"0.3333333333333333"}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.decimals(
            min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=5
        )
        | st.none(),
        min_size=1,
        max_size=30,
    )
)
def test_numeric_survives_on_both_ways(
    database: Database, postgres: PostgresServer, values: list[Decimal | None]
) -> None:
    postgres.execute("DROP TABLE IF EXISTS n")
    postgres.execute("CREATE TABLE n AS SELECT 0 AS i, 0::numeric(18,5) AS p, 0::numeric AS q")
    with postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM n")
        cursor.executemany(
            "INSERT INTO n VALUES (%s, %s, %s)", [(i, v, v) for i, v in enumerate(values)]
        )

    table = database.extract("SELECT p, q FROM n ORDER BY i", columns={"q": "decimal(40,5)"})

    assert table["p"].to_pylist() == values
    assert table["q"].to_pylist() == values


def test_numeric_of_any_length_arrives_when_declared(database: Database) -> None:
    long = "9" * 60 + "." + "1" * 16

    table = database.extract(
        f"SELECT {long}::numeric AS d, {long}::numeric AS s, 5::numeric AS i, "
        "0.5::numeric(9,3) AS f",
        columns={"d": "decimal(76,16)", "s": "string", "i": "integer", "f": "float"},
    )

    assert table.to_pylist() == [{"d": Decimal(long), "s": long, "i": 5, "f": 0.5}]


@pytest.mark.parametrize(
    ("expression", "declared", "said"),
    [
        ("1.123456::numeric", "decimal(18,5)", "the value '1.123456' does not fit decimal(18,5)"),
        ("1.5::numeric(9,2)", "integer", "does not fit integer"),
        ("1e25::numeric", None, "does not fit decimal(38,20)"),
        ("'NaN'::numeric(9,2)", "decimal(9,2)", "does not fit decimal(9,2): infinity and NaN"),
        ("'-Infinity'::numeric", None, "does not fit decimal(38,20): infinity and NaN"),
        ("'NaN'::float8", None, "nan does not fit float: infinity and NaN"),
        ("'Infinity'::real", None, "inf does not fit float: infinity and NaN"),
        ("'infinity'::timestamp", None, "does not fit timestamp: it is infinite"),
        ("'-infinity'::timestamptz", None, "does not fit timestamp_utc: it is infinite"),
        ("'infinity'::date", None, "does not fit date: it is infinite"),
        ("'0044-03-15 BC'::date", None, "does not fit date: it is infinite, or outside"),
        ("'24:00'::time", None, "does not fit time: 24:00 is not a time of day"),
        ("'2026-03-02 12:00'::timestamp", "date", "does not fit date: it has a time of day"),
        ("'abc'::text", "integer", "the value 'abc' does not fit integer"),
    ],
)
def test_value_that_does_not_fit_is_named_with_column_and_row(
    database: Database, expression: str, declared: str | None, said: str
) -> None:
    # Far enough down to be in a later batch than the first.
    sql = (
        f"SELECT repeat('x', 400) AS filler, CASE WHEN g = 70001 THEN {expression} END AS v "
        "FROM generate_series(1, 70002) AS g ORDER BY g"
    )

    with pytest.raises(SourceError) as caught:
        database.extract(sql, columns={"v": declared} if declared else {})

    assert said in caught.value.message
    assert caught.value.where == "source.sql, column v, row 70001"
    assert caught.value.hint


@pytest.mark.parametrize("special", ["NaN", "1.123456"])
def test_special_value_among_short_numerics_is_named_with_its_row(
    database: Database, postgres: PostgresServer, special: str
) -> None:
    postgres.execute(
        "CREATE TABLE t AS SELECT g AS id, g::numeric(18,5) AS p, g::numeric(18,6) AS q "
        "FROM generate_series(1, 100000) AS g"
    )
    column = "p" if special == "NaN" else "q"
    postgres.execute(f"UPDATE t SET {column} = %s WHERE id = 77777", [special])

    with pytest.raises(SourceError) as caught:
        database.extract("SELECT * FROM t ORDER BY id", columns={"q": "decimal(18,5)"})

    assert f"{special}" in caught.value.message
    assert "does not fit decimal(18,5)" in caught.value.message
    assert caught.value.where == f"source.sql, column {column}, row 77777"


def test_not_a_number_is_carried_where_a_float_is_declared(database: Database) -> None:
    table = database.extract(
        "SELECT 'NaN'::numeric(9,2) AS a, '-Infinity'::numeric AS b, 'Infinity'::float8 AS c",
        columns={"a": "float", "b": "float", "c": "float"},
    )

    [row] = table.to_pylist()
    assert str(row) == "{'a': nan, 'b': -inf, 'c': inf}"


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("interval '1 day'", "interval"),
        ("1.5::money", "money"),
        ("ARRAY[1, 2]", "_int4"),
        ("'1.2.3.4'::inet", "inet"),
        ("timetz '12:00+01'", "timetz"),
        ("5::oid", "oid"),
        ("int4range(1, 2)", "oid:3904"),
        ("ROW(1, 2)", "record"),
    ],
)
def test_type_that_cannot_be_carried_is_named(
    database: Database, expression: str, name: str
) -> None:
    with pytest.raises(SourceError, match=r"column v is of type .* not carried here") as caught:
        database.extract(f"SELECT {expression} AS v")

    assert name in caught.value.message
    assert "CAST(v AS text)" in str(caught.value)
    assert database.extract(f"SELECT CAST({expression} AS text) AS v").num_rows == 1


def test_parameters_are_bound_by_the_driver(database: Database) -> None:
    hostile = "'; DROP TABLE t; -- \\ %s $1 :x \" é"
    table = database.extract(
        "SELECT :business_date AS d, :business_date::timestamp + '1 day' AS t, :name AS n, "
        ":number AS i, :amount AS a, 'b' IN (:desks) AS found, 'c' = ANY (:desks) AS missing, "
        "2 NOT IN (:ids) AS other, 'a :name' AS literal -- :name",
        parameters={
            "name": {"type": "string", "value": hostile},
            "number": {"type": "integer", "value": -7},
            "amount": {"type": "decimal", "value": "1234567890123456789.000000000001"},
            "desks": {"type": "string", "values": ["a", "b", hostile]},
            "ids": {"type": "integer", "values": [1, 3]},
        },
        columns={"a": "decimal(38,12)"},
    )

    assert table.to_pylist() == [
        {
            "d": date(2026, 3, 2),
            "t": datetime(2026, 3, 3),  # noqa: DTZ001
            "n": hostile,
            "i": -7,
            "a": Decimal("1234567890123456789.000000000001"),
            "found": True,
            "missing": False,
            "other": True,
            "literal": "a :name",
        }
    ]


def test_values_of_parameters_never_reach_the_servers_statements(database: Database) -> None:
    value = "a-very-particular-value"

    [row] = database.extract(
        "SELECT query AS text, :desk AS s FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        parameters={"desk": {"type": "string", "value": value}},
    ).to_pylist()

    assert row["s"] == value
    assert value not in row["text"]
    assert "current_setting('openreg.desk')" in row["text"]


def test_parameter_of_a_query_uses_an_index(database: Database, postgres: PostgresServer) -> None:
    postgres.execute("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 50000) AS g")
    postgres.execute("CREATE INDEX ON t (id)")
    postgres.execute("ANALYZE t")

    table = database.extract(
        "SELECT id FROM t WHERE id = :number",
        parameters={"number": {"type": "integer", "value": 77}},
    )
    with postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET openreg.number = '77'")
        cursor.execute(
            "EXPLAIN SELECT id FROM t WHERE id = (current_setting('openreg.number')::bigint)"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert table["id"].to_pylist() == [77]
    assert "Index Only Scan" in plan
    assert "rows=1 " in plan


def test_empty_result_keeps_its_columns(database: Database) -> None:
    table = database.extract(
        "SELECT 1.5::numeric(9,2) AS p, 'a'::text AS t, now() AS at, gen_random_uuid() AS u "
        "WHERE false"
    )

    assert table.num_rows == 0
    assert columns(table) == {
        "p": "decimal128(9, 2)",
        "t": "string",
        "at": "timestamp[us, tz=UTC]",
        "u": "string",
    }


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1 AS a, 2 AS a", "several columns of the same name: a, a"),
        ('SELECT 1 AS "A", 2 AS a', "several columns of the same name: A, a"),
        ("SELECT", "returns no columns"),
    ],
)
def test_columns_that_cannot_be_a_table_are_refused(
    database: Database, sql: str, said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        database.extract(sql)


def test_odd_column_names_are_kept(database: Database) -> None:
    table = database.extract('SELECT 1::numeric(5,2) AS "a "" b", 2 AS "ä;--", 3')

    assert table.column_names == ['a " b', "ä;--", "?column?"]


def test_trailing_comment_and_semicolon_do_no_harm(database: Database) -> None:
    assert database.extract("SELECT 1 AS a -- the one\n; -- done").num_rows == 1


@pytest.mark.parametrize(
    ("sql", "said", "where"),
    [
        ("SELECT *\nFROM nothere", 'relation "nothere" does not exist', "line 2, column 6"),
        ("SELECT :business_date,\n  nothere", 'column "nothere" does not', "line 2, column 3"),
        ("SELECT 1 +", "syntax error", "line 1, column 11"),
        ("SELECT 1 / (g - 5) FROM generate_series(1, 9) AS g", "division by zero", None),
        ("SELECT '1x'::text::numeric", "invalid input syntax", None),
        ("SELECT rolpassword FROM pg_authid", "permission denied", None),
        ("SELECT nextval('s')", "read-only transaction", None),
        ("SELECT set_config('transaction_read_only', 'off', false)", "read-write", None),
    ],
)
def test_query_that_the_server_refuses_fails_at_once(
    database: Database, postgres: PostgresServer, sql: str, said: str, where: str | None
) -> None:
    postgres.execute("CREATE SEQUENCE s")
    postgres.execute("GRANT ALL ON SEQUENCE s TO PUBLIC")

    with pytest.raises(SourceError, match=said) as caught:
        database.extract(sql)

    assert caught.value.where == (f"source.sql, {where}" if where else "source.sql")
    assert not database.file.exists() or pq.read_table(database.file).num_rows == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"password": None}, "no password supplied"),
        ({"login": "nobody_such"}, "password authentication failed"),
        ({"database": "nothere"}, 'database "nothere" does not exist'),
        ({"extra": {"sslmode": "require"}}, "does not support SSL"),
        ({"extra": {"sslmode": "perhaps"}}, "invalid sslmode value"),
        ({"extra": {"no_such_option": "1"}}, "invalid connection option"),
        ({"extra": {"connect timeout": "1"}}, 'missing "=" after'),
    ],
)
def test_login_that_is_refused_fails_at_once(
    database: Database, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        elsewhere(database, **changes).extract("SELECT 1 AS a")

    assert caught.value.where == "connection trades"
    assert PASSWORD not in str(caught.value)


def test_server_that_cannot_be_reached_is_worth_another_try(database: Database) -> None:
    for changes in ({"port": free_port()}, {"host": "no-such-host.invalid"}):
        with pytest.raises(SourceUnavailableError, match="cannot be reached") as caught:
            elsewhere(database, **changes).extract("SELECT 1 AS a")
        assert PASSWORD not in str(caught.value)


def test_too_many_sessions_are_worth_another_try(
    database: Database, postgres: PostgresServer
) -> None:
    postgres.execute(f"ALTER ROLE {database.connection.login} CONNECTION LIMIT 0")

    with pytest.raises(SourceUnavailableError, match="too many connections"):
        database.extract("SELECT 1 AS a")


def test_options_of_the_connection_are_used(database: Database, postgres: PostgresServer) -> None:
    postgres.execute("CREATE SCHEMA other")
    postgres.execute("CREATE TABLE other.hidden AS SELECT 7 AS x")
    postgres.execute("GRANT USAGE ON SCHEMA other TO PUBLIC")
    postgres.execute("GRANT SELECT ON other.hidden TO PUBLIC")

    extra = {"options": "-c search_path=other", "application_name": "nightly"}
    table = elsewhere(database, extra=extra).extract(
        "SELECT x, current_setting('application_name') AS name FROM hidden"
    )

    assert table.to_pylist() == [{"x": 7, "name": "nightly"}]


def test_session_reads_one_snapshot_in_utc(database: Database) -> None:
    [row] = database.extract(
        "SELECT current_setting('transaction_isolation') AS isolation, "
        "current_setting('transaction_read_only') AS read_only, "
        "current_setting('TimeZone') AS zone"
    ).to_pylist()

    assert row == {"isolation": "repeatable read", "read_only": "on", "zone": "UTC"}


def test_query_that_takes_too_long_is_gone_from_the_server(
    database: Database, postgres: PostgresServer
) -> None:
    started = time.monotonic()

    with pytest.raises(SourceUnavailableError) as caught:
        database.extract("SELECT pg_sleep(600)::text AS x", timeout_seconds=1)

    assert "timeout_seconds" in str(caught.value)
    assert time.monotonic() - started < 8
    wait_until(lambda: active(postgres) == 0)


@pytest.mark.parametrize("sql", ["SELECT pg_sleep(600)::text AS x", MANY])
def test_killed_task_leaves_nothing_running_on_the_server(
    database: Database, postgres: PostgresServer, sql: str
) -> None:
    extraction = database.extraction(sql)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            extraction.run(database.file)
        except SourceUnavailableError as error:
            failures.append(error)

    task = threading.Thread(target=run)
    task.start()
    wait_until(lambda: active(postgres) > 0)
    extraction.cancel()
    task.join(20)

    assert not task.is_alive()
    assert "the task was stopped" in str(failures[0])
    wait_until(lambda: active(postgres) == 0)


def test_value_error_in_the_middle_stops_the_query_on_the_server(
    database: Database, postgres: PostgresServer
) -> None:
    sql = f"SELECT m.*, m.id::text AS v FROM ({MANY}) AS m CROSS JOIN generate_series(1, 100)"

    with pytest.raises(SourceError):
        database.extract(sql, max_rows=1000)

    wait_until(lambda: active(postgres) == 0)


def test_session_killed_in_the_middle_is_worth_another_try(
    database: Database, postgres: PostgresServer
) -> None:
    sql = "SELECT g AS id, pg_sleep(0.002)::text AS s, repeat('x', 2000) AS f FROM big AS g"
    postgres.execute("CREATE VIEW big AS SELECT g AS g FROM generate_series(1, 1000000) AS g")

    def kill() -> None:
        wait_until(lambda: active(postgres) > 0)
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND application_name = 'openreg'",
            [postgres.database],
        )

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(SourceUnavailableError, match="terminating connection"):
        database.extract(sql)
    killer.join()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("passed", [2_000, 100_000, 20_000_000])
def test_network_that_breaks_in_the_middle_is_never_taken_for_the_end(
    *, database: Database, postgres: PostgresServer, passed: int, reset: bool
) -> None:
    with (
        cutting_proxy(postgres.port, bytes_to_client=passed, reset=reset) as port,
        pytest.raises(SourceUnavailableError, match=r"lost|cannot be reached"),
    ):
        elsewhere(database, port=port).extract(MANY)

    assert database.extract(MANY).num_rows == 200_000


def test_deadlock_is_worth_another_try(database: Database, postgres: PostgresServer) -> None:
    def waiting() -> bool:
        return bool(postgres.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND objid = 2"))

    with postgres.connect() as other, other.cursor() as cursor:
        cursor.execute("SET deadlock_timeout = '60s'")  # so that ours is the one that is found
        cursor.execute("SELECT pg_advisory_lock(2)")

        def cross() -> None:
            wait_until(waiting)
            cursor.execute("SELECT pg_advisory_lock(1)")

        crossing = threading.Thread(target=cross)
        crossing.start()
        with pytest.raises(SourceUnavailableError, match="deadlock detected"):
            database.extract(
                "SELECT pg_advisory_xact_lock(1)::text AS a, pg_advisory_xact_lock(2)::text AS b"
            )
        crossing.join(20)
        assert not crossing.is_alive()


def test_restart_of_the_server_in_the_middle_is_worth_another_try(
    database: Database, postgres: PostgresServer
) -> None:
    def restart() -> None:
        wait_until(lambda: active(postgres) > 0)
        postgres.restart()

    restarting = threading.Thread(target=restart)
    restarting.start()
    with pytest.raises(SourceUnavailableError):
        database.extract(f"SELECT m.*, pg_sleep(0.001)::text AS s FROM ({MANY}) AS m")
    restarting.join()

    assert database.extract("SELECT 1 AS a").num_rows == 1


def test_same_query_gives_the_same_bytes(database: Database, postgres: PostgresServer) -> None:
    postgres.execute(
        "CREATE TABLE t AS SELECT g AS id, (g * 1.23456)::numeric(18,5) AS p, md5(g::text) AS h "
        "FROM generate_series(1, 300000) AS g"
    )
    # No ORDER BY: also then a table that did not change is read in its own order.
    sql = "SELECT * FROM t WHERE id % 7 <> 0"

    database.extract(sql)
    first = database.file.read_bytes()
    database.extract(sql)

    assert database.file.read_bytes() == first


def test_memory_does_not_grow_with_rows_or_their_width(database: Database) -> None:
    import pyarrow as pa

    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    peaks = []
    for rows, width in ((20_000, 1_000), (100_000, 1_000), (1_000, 100_000)):
        done = database.done(
            f"SELECT g, repeat(md5(g::text), {width} / 32) AS t "
            f"FROM generate_series(1, {rows}) AS g ORDER BY g"
        )
        assert done.rows == rows
        peaks.append(pool.max_memory() - before)
    assert pool.bytes_allocated() - before < 1 << 20
    assert max(peaks) < 300 << 20


@pytest.mark.parametrize(("encoding", "sent"), [("SQL_ASCII", "\\xc3ab"), ("LATIN1", "\\xeb")])
def test_text_of_databases_in_other_encodings_arrives_or_is_refused(
    database: Database, postgres: PostgresServer, encoding: str, sent: str
) -> None:
    name = f"{postgres.database}_{encoding.lower()}"
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        other = elsewhere(database, database=name)
        table = other.extract(f"SELECT 'Zo' || convert_from('{sent}', '{encoding}') AS t")
        assert table["t"].to_pylist() == ["Zoë"]
        if encoding == "SQL_ASCII":
            with pytest.raises(SourceError, match="invalid byte sequence"):
                other.extract("SELECT convert_from('\\xff', 'SQL_ASCII') AS t")
    finally:
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_server_and_seconds_are_recorded(database: Database) -> None:
    done = database.done("SELECT 1 AS a")

    assert done.server.startswith("PostgreSQL ")
    assert done.seconds > 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("quote_all_identifiers = on", "the driver then knows no type"),
        ("statement_timeout = '1ms'", "after the login's statement_timeout"),
    ],
)
def test_setting_of_the_login_that_the_driver_cannot_bear_is_named_with_its_way_out(
    database: Database,
    postgres: PostgresServer,
    reader_login: str,
    setting: str,
    said: str,
) -> None:
    postgres.execute(f"ALTER ROLE {reader_login} SET {setting}")

    with pytest.raises((SourceError, SourceUnavailableError), match=said) as raised:
        database.extract("SELECT 1.5::numeric(5,2) AS a")

    [options] = re.findall(r"`(-c \S+)`", str(raised.value))
    table = elsewhere(database, extra={"options": options}).extract("SELECT 1.5::numeric(5,2) AS a")
    assert table.to_pylist() == [{"a": Decimal("1.50")}]
