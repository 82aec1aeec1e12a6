"""The SQL Server reader with its real drivers against a scripted server.

What is proved here is what happens on our side of the wire: the login, what is asked, what becomes
of values, errors and broken answers, and that a query is stopped. How SQL Server itself behaves is
for the contract suite, where a server is named (see ``tests/reader_databases.py``).
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pyodbc
import pytest

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract.query import parse
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.extract.readers import mssql
from openreg_airflow.extract.shared_session import snapshot
from tests.extraction import Database, columns
from tests.services import free_port, tds_values, unavailable
from tests.services.certificates import Authority
from tests.services.tds_responder import Refusal, Rows, Silence, TdsServer, tds_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "it's a; {secret}"  # noqa: S105
MANY = Rows([("a", tds_values.integer(4)), ("t", tds_values.text(400))], repeat((1, "x" * 400)))


@pytest.fixture
def server() -> Iterator[TdsServer]:
    with tds_server() as found:
        yield found


@pytest.fixture(params=["Microsoft", "FreeTDS"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return _use(str(request.param), monkeypatch)


def _use(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    found = mssql.packaged_driver() if name == "Microsoft" else "FreeTDS"
    if found is None or (found == "FreeTDS" and found not in pyodbc.drivers()):
        unavailable(f"the driver of {name} is not installed")
    monkeypatch.setattr(mssql, "installed_driver", lambda: found)
    return name


@pytest.fixture
def either(server: TdsServer, driver: str, tmp_path: Path) -> Database:
    """The database read through each of the drivers."""
    return _database(server, tmp_path)


@pytest.fixture
def database(server: TdsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    """The database read through the driver that is preferred."""
    _use("Microsoft", monkeypatch)
    return _database(server, tmp_path)


def _database(server: TdsServer, tmp_path: Path) -> Database:
    connection = SourceConnection(
        conn_id="trades",
        conn_type="mssql",
        host="127.0.0.1",
        port=server.port,
        login="openreg_reader",
        password=PASSWORD,
        database="trading",
        extra={"encryption": "off"},
    )
    return Database(tmp_path, connection)


def elsewhere(database: Database, **changes: Any) -> Database:
    return replace(database, connection=replace(database.connection, **changes))


def test_login_says_who_reads_and_that_it_only_reads(either: Database, server: TdsServer) -> None:
    server.answers["FROM t"] = Rows([("a", tds_values.integer(4))], [(1,)])

    done = either.done("SELECT a FROM t")

    login = server.logins[-1]
    assert (login.user, login.password) == ("openreg_reader", PASSWORD)
    assert (login.application, login.database, login.read_only) == ("openreg", "trading", True)
    assert done.server == "Microsoft SQL Server 16.00.4135"
    asked = [sql for sql, _ in server.statements]
    assert asked.index("BEGIN TRANSACTION") < asked.index("SELECT a FROM t")
    assert not [sql for sql in asked if "COMMIT" in sql]


def test_every_kind_of_value_arrives_exactly(
    either: Database, server: TdsServer, driver: str
) -> None:
    kinds = {
        "tiny": tds_values.integer(1),
        "big": tds_values.integer(8),
        "price": tds_values.decimal(18, 5),
        "long": tds_values.decimal(38, 10),
        "ratio": tds_values.floating(),
        "ok": tds_values.bit(),
        "code": tds_values.text(20),
        "note": tds_values.text(),
        "raw": tds_values.binary(),
        "day": tds_values.day(),
        "clock": tds_values.clock(),
        "local": tds_values.moment(),
        "instant": tds_values.instant(),
        "uuid": tds_values.guid(),
    }
    named = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    # FreeTDS spells earlier years without zeros, which is refused.
    first = datetime(1 if driver == "Microsoft" else 1000, 1, 1)  # noqa: DTZ001
    last = datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001
    highest = (
        255, 2**63 - 1, Decimal("9999999999999.99999"), Decimal("9" * 28 + "." + "9" * 10), 0.1,
        True, "Zoë €😀", "Zoë €😀" * 500, bytes(range(256)), date(9999, 12, 31),
        time(23, 59, 59, 999999), last, datetime(2037, 12, 31, 22, 59, 59, 999999), named,  # noqa: DTZ001
    )  # fmt: skip
    lowest = (
        0, -(2**63), Decimal("-9999999999999.99999"), Decimal("-0.0000000001"),
        -1.7976931348623157e308, False, "", "", b"", date(1, 1, 1), time(0), first, first, named,
    )  # fmt: skip
    nothing = (None,) * len(kinds)
    server.answers["FROM kinds"] = Rows(list(kinds.items()), [highest, nothing, lowest])

    table = either.extract("SELECT * FROM kinds ORDER BY 1", columns={"instant": "timestamp_utc"})

    assert columns(table) == {
        "tiny": "int64",
        "big": "int64",
        "price": "decimal128(18, 5)",
        "long": "decimal128(38, 10)",
        "ratio": "double",
        "ok": "bool",
        "code": "string",
        "note": "string",
        "raw": "binary",
        "day": "date32[day]",
        "clock": "time64[us]",
        "local": "timestamp[us]",
        "instant": "timestamp[us, tz=UTC]",
        "uuid": "string",
    }
    # The server sends an instant in UTC; the offset beside it is how it was written.
    seen = [tuple(row.values()) for row in table.to_pylist()]
    expected = [
        (*row[:12], row[12] and row[12].replace(tzinfo=UTC), row[13] and str(row[13]).upper())
        for row in (highest, nothing, lowest)
    ]
    assert seen == expected


def test_hundreds_of_nanoseconds_are_refused_not_cut(database: Database, server: TdsServer) -> None:
    when = datetime(2026, 3, 2, 10, 0, 0, 123456)  # noqa: DTZ001
    server.answers["FROM t"] = Rows([("w", tds_values.moment())], [(when,), ((when, 7),)])

    with pytest.raises(SourceError, match=r"10:00:00\.1234567.*does not fit timestamp") as caught:
        database.extract("SELECT w FROM t")

    assert caught.value.where == "source.sql, column w, row 2"


def test_empty_result_keeps_its_columns(database: Database, server: TdsServer) -> None:
    server.answers["FROM t"] = Rows([("a", tds_values.decimal(10, 2))], [])

    table = database.extract("SELECT a FROM t")

    assert table.num_rows == 0
    assert columns(table) == {"a": "decimal128(10, 2)"}


def test_parameters_are_bound_and_never_part_of_the_text(
    either: Database, server: TdsServer
) -> None:
    hostile = "'; DROP TABLE kinds; -- é€😀"
    server.answers["FROM t"] = Rows([("a", tds_values.integer(4))], [(1,)])

    either.extract(
        "SELECT a FROM t WHERE d = :business_date AND n = :note AND p > :price AND k IN (:keys)",
        parameters={
            "note": {"type": "string", "value": hostile},
            "price": {"type": "decimal", "value": "1234567890123.00001"},
            "keys": {"type": "integer", "values": [1, 2**62]},
        },
    )

    [(sql, values)] = [found for found in server.statements if "FROM t" in found[0]]
    assert values == ("2026-03-02", hostile, "1234567890123.00001", "1", str(2**62))
    assert "CAST(@P1 AS date)" in sql
    assert "CAST(@P3 AS decimal(38,5))" in sql
    assert "DROP" not in sql


def test_login_that_is_refused_fails_at_once(either: Database, server: TdsServer) -> None:
    server.refuses = Refusal(18456, "Login failed for user 'openreg_reader'.", severity=14)

    with pytest.raises(SourceError, match=r"SQL Server refuses .*Login failed") as caught:
        either.extract("SELECT 1 AS a")

    assert caught.value.where == "connection trades"
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "text"), [(40613, "not currently available"), (18401, "script upgrade")]
)
def test_login_that_is_put_off_is_worth_another_try(
    database: Database, server: TdsServer, number: int, text: str
) -> None:
    server.refuses = Refusal(number, f"Database 'trading' is {text}.", severity=17)

    with pytest.raises(SourceUnavailableError, match=text):
        database.extract("SELECT 1 AS a")


def test_server_that_cannot_be_reached_is_worth_another_try(database: Database) -> None:
    extra = {"encryption": "off", "login_timeout": 2}
    for changes in ({"port": free_port()}, {"host": "no-such-host.invalid"}):
        with pytest.raises(SourceUnavailableError, match="cannot be reached") as caught:
            elsewhere(database, extra=extra, **changes).extract("SELECT 1 AS a")

        assert PASSWORD not in str(caught.value)


def test_tls_that_cannot_be_had_ends_the_login(
    either: Database, server: TdsServer, driver: str
) -> None:
    # FreeTDS does not say why it does not connect.
    refused = SourceError if driver == "Microsoft" else SourceUnavailableError
    for extra in ({"encryption": "require"}, {}):
        with pytest.raises(refused):
            elsewhere(either, extra=extra).extract("SELECT 1 AS a")

    assert server.logins == []


def test_login_over_tls_knows_the_servers_certificate(database: Database, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own, stranger = authority.pair("own"), authority.pair("stranger")
    with tds_server(own) as secured:
        secured.answers["FROM t"] = Rows([("a", tds_values.integer(4))], [(1,)])

        def through(**extra: str) -> Database:
            given = {"encryption": "strict", **extra}
            return elsewhere(database, port=secured.port, extra=given)

        assert through(ServerCertificate=str(own.certificate)).extract("SELECT a FROM t").num_rows
        assert secured.logins[-1].password == PASSWORD

        for extra in ({"ServerCertificate": str(stranger.certificate)}, {}):
            with pytest.raises(SourceError, match="certificate"):
                through(**extra).extract("SELECT a FROM t")


def test_deadlock_is_worth_another_try(either: Database, server: TdsServer) -> None:
    victim = Refusal(1205, "Transaction was deadlocked and chosen as the victim.", severity=13)
    server.answers["FROM t"] = victim
    with pytest.raises(SourceUnavailableError, match="deadlocked"):
        either.extract("SELECT a FROM t")

    row = (1, "x")
    server.answers["FROM t"] = Rows(MANY.columns, [row] * 50_000, then=victim)
    with pytest.raises(SourceUnavailableError, match="deadlocked"):
        either.extract("SELECT a FROM t")


@pytest.mark.parametrize(
    ("refusal", "hint"),
    [
        (Refusal(208, "Invalid object name 'nothere'."), "Correct the name"),
        (Refusal(102, "Incorrect syntax near 'nothere'.", 15), None),
        (Refusal(229, "The SELECT permission was denied on 'nothere'.", 14), "login read this"),
    ],
)
def test_query_that_the_server_refuses_fails_at_once(
    database: Database, server: TdsServer, refusal: Refusal, hint: str | None
) -> None:
    server.answers["FROM t"] = refusal

    with pytest.raises(SourceError, match="nothere") as caught:
        database.extract("SELECT a FROM t")

    assert caught.value.where == "source.sql"
    assert hint is None or hint in str(caught.value)


@pytest.mark.parametrize(("rows_before", "reset"), [(0, False), (20_000, False), (25_000, True)])
def test_connection_that_breaks_in_the_middle_is_lost_and_a_retry_gives_the_same_bytes(
    *, either: Database, server: TdsServer, rows_before: int, reset: bool
) -> None:
    # Microsoft's driver takes an orderly end of the connection for the end of the rows.
    rows = [(number, "x" * 100) for number in range(30_000)]
    server.answers["FROM t"] = Rows(MANY.columns, rows, cut=rows_before, reset=reset)
    with pytest.raises(SourceUnavailableError, match="lost"):
        either.extract("SELECT a, t FROM t ORDER BY a")

    server.answers["FROM t"] = Rows(MANY.columns, rows)
    assert either.extract("SELECT a, t FROM t ORDER BY a").num_rows == 30_000
    first = either.file.read_bytes()
    either.extract("SELECT a, t FROM t ORDER BY a")
    assert either.file.read_bytes() == first


def test_query_that_takes_too_long_is_stopped_on_the_server(
    either: Database, server: TdsServer
) -> None:
    server.answers["FROM t"] = Silence()

    with pytest.raises(SourceUnavailableError, match=r"(?i)after 1 seconds|time.?out|timed out"):
        either.extract("SELECT a FROM t", timeout_seconds=1)

    wait_until(lambda: server.running == 0 and server.clients == 0)


def test_driver_itself_asks_the_server_to_stop_at_the_limit(
    either: Database, server: TdsServer
) -> None:
    server.answers["FROM t"] = Silence()
    query = parse("SELECT a FROM t", file="source.sql", dialect="tsql", parameters={})
    session = mssql.MssqlReader().open(either.connection, timeout_seconds=1)

    try:
        with pytest.raises(SourceUnavailableError, match=r"(?i)time.?out"):
            session.read(query, {})
    finally:
        session.close()

    assert server.stops >= 1


@pytest.mark.parametrize("answer", [Silence(), MANY])
def test_killed_task_leaves_nothing_running_on_the_server(
    either: Database, server: TdsServer, answer: Any
) -> None:
    server.answers["FROM t"] = answer
    extraction = either.extraction("SELECT a FROM t")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            extraction.run(either.file)
        except SourceUnavailableError as error:
            failures.append(error)

    task = threading.Thread(target=run)
    task.start()
    wait_until(lambda: server.running > 0)
    extraction.cancel()
    task.join(30)

    assert not task.is_alive()
    assert "the task was stopped" in str(failures[0])
    assert ("KILL 51", ()) in server.statements
    wait_until(lambda: server.running == 0 and server.clients == 0)


def test_more_rows_than_allowed_stop_the_query(database: Database, server: TdsServer) -> None:
    server.answers["FROM t"] = MANY

    with pytest.raises(SourceError, match="more than 1000 rows"):
        database.extract("SELECT a FROM t", max_rows=1000)

    wait_until(lambda: server.running == 0 and server.clients == 0)


@pytest.mark.parametrize("further", [[], [(2,)]], ids=["empty", "of one row"])
def test_query_that_returns_more_than_one_result_is_refused(
    either: Database, server: TdsServer, further: list[tuple[int]]
) -> None:
    kinds = [("a", tds_values.integer(4))]
    server.answers["FROM t"] = Rows(kinds, [(1,)], another=Rows(kinds, further))

    with pytest.raises(SourceError, match="returns more than one result") as caught:
        either.extract("SELECT a FROM t")

    assert caught.value.where == "source.sql"


def test_session_reads_several_queries_from_one_snapshot(
    either: Database, server: TdsServer
) -> None:
    server.answers["FROM t"] = Rows([("a", tds_values.integer(4))], [(1,)])

    with snapshot(either.connection, timeout_seconds=60) as reader:
        for _ in range(2):
            extraction = either.extraction("SELECT a FROM t", reader=reader)
            assert extraction.run(either.file).rows == 1

    asked = [sql for sql, _ in server.statements]
    held = asked.index("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")
    assert asked[held - 1 : held + 2] == [
        "ROLLBACK TRANSACTION",
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
        "BEGIN TRANSACTION",
    ]
    assert asked[held + 2 :].count("SELECT a FROM t") == 2


def test_database_without_snapshots_says_what_to_do(database: Database, server: TdsServer) -> None:
    server.answers["FROM t"] = Refusal(3952, "Snapshot isolation is not allowed in this database.")

    with (
        snapshot(database.connection, timeout_seconds=60) as reader,
        pytest.raises(SourceError, match="ALLOW_SNAPSHOT_ISOLATION"),
    ):
        database.extraction("SELECT a FROM t", reader=reader).run(database.file)


def test_extra_is_read_as_the_provider_reads_it(database: Database, server: TdsServer) -> None:
    server.answers["FROM t"] = Rows([("a", tds_values.integer(4))], [(1,)])
    extra = {
        "encryption": "off",
        "appname": "night run",
        "read_only": False,
        "conn_properties": "SET DATEFIRST 1",
        "isolation_level": "read committed",
        "charset": "UTF-8",
    }

    elsewhere(database, extra=extra).extract("SELECT a FROM t")

    assert (server.logins[-1].application, server.logins[-1].read_only) == ("night run", False)
    asked = [sql for sql, _ in server.statements]
    assert asked.index("SET TRANSACTION ISOLATION LEVEL READ COMMITTED") < asked.index(
        "SET DATEFIRST 1"
    )


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"encrytion": "off"}, "encrytion is no option"),
        ({"login_timeout": "soon"}, "login_timeout 'soon' is no number"),
        ({"isolation_level": "loose"}, "isolation_level 'loose' is unknown"),
        ({"max_text_size": "big"}, "max_text_size 'big' is no size"),
        ({"driver": "/mine.so"}, "driver is no option"),
    ],
)
def test_extra_that_is_wrong_is_named(database: Database, extra: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        elsewhere(database, extra=extra).extract("SELECT 1 AS a")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t DELETE FROM t",
        "SELECT a FROM t COMMIT",
        "SELECT a FROM t EXEC sp_who",
        "SELECT 1 AS a INTO copied FROM t",
        "SELECT NEXT VALUE FOR s AS a",
        "SELECT * FROM OPENQUERY(other, 'DELETE FROM t')",
        "WITH x AS (SELECT 1 AS a) UPDATE x SET a = 2",
    ],
)
def test_what_does_more_than_read_never_reaches_the_server(
    database: Database, server: TdsServer, sql: str
) -> None:
    with pytest.raises(SpecError):
        database.extract(sql)

    assert not [asked for asked, _ in server.statements if "FROM t" in asked or "SELECT 1" in asked]


def test_reading_queries_with_such_words_are_accepted(
    database: Database, server: TdsServer
) -> None:
    server.answers["FROM t"] = Rows([("a", tds_values.integer(4))], [(1,)])

    done = database.done(
        "SELECT [delete] AS a, 'exec' AS x FROM t -- drop\n"
        "ORDER BY a OFFSET 0 ROWS FETCH NEXT 10 ROWS ONLY OPTION (MERGE JOIN, USE HINT ('X'))"
    )

    assert done.rows == 1


def test_memory_does_not_grow_with_rows(database: Database, server: TdsServer) -> None:
    import pyarrow as pa

    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    server.answers["FROM t"] = Rows(MANY.columns, repeat((1, "x" * 400), 60_000))

    assert database.done("SELECT a, t FROM t").rows == 60_000

    assert pool.bytes_allocated() - before < 1 << 20
    assert pool.max_memory() - before < 300 << 20
