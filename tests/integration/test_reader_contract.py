"""What every reader of a database server has to do alike, tried on the real servers."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pyodbc
import pytest

from openreg_airflow.errors import PermanentError, SourceError, SourceUnavailableError
from openreg_airflow.extract.shared_session import SharedSession, snapshot
from tests.extraction import columns
from tests.named_databases import NAMED, named_source
from tests.reader_databases import (
    ODBC_DRIVERS,
    PASSWORD,
    Source,
    drop_postgres_login,
    mariadb_source,
    odbc_source,
    postgres_source,
    sqlite_source,
)
from tests.services import free_port, unavailable
from tests.services.cut_proxy import cutting_proxy
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.mariadb import MariadbServer

#: The kinds of columns with the type that a spec declares for each.
DECLARED = {
    "small": "integer",
    "big": "integer",
    "price": "decimal(18,5)",
    "long": "decimal(38,10)",
    "whole": "decimal(38,0)",
    "tiny": "decimal(38,38)",
    "ratio": "float",
    "ok": "boolean",
    "note": "string",
    "raw": "binary",
    "day": "date",
    "clock": "time",
    "local": "timestamp",
    "instant": "timestamp_utc",
    "uuid": "string",
}
HIGHEST: dict[str, Any] = {
    "small": 32767,
    "big": 2**63 - 1,
    "price": Decimal("9999999999999.99999"),
    "long": Decimal("9999999999999999999999999999.9999999999"),
    "whole": Decimal("9" * 38),
    "tiny": Decimal("0." + "9" * 38),
    "ratio": 0.1,
    "ok": True,
    "note": "Zoë \"x\" 'y' \\ €😀\t\n%s :x ?",
    "raw": bytes(range(256)),
    "day": date(9999, 12, 31),
    "clock": time_of_day(23, 59, 59, 999999),
    "local": datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    "instant": datetime(2037, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
}
LOWEST: dict[str, Any] = {
    "small": -32768,
    "big": -(2**63),
    "price": Decimal("-9999999999999.99999"),
    "long": Decimal("-0.0000000001"),
    "whole": Decimal("-" + "9" * 38),
    "tiny": Decimal("-0." + "0" * 37 + "1"),
    "ratio": -1.7976931348623157e308,
    "ok": False,
    "note": "",
    "raw": b"",
    "day": date(1000, 1, 1),
    "clock": time_of_day(0),
    "local": datetime(1000, 1, 1),  # noqa: DTZ001
    "instant": datetime(1970, 1, 2, 0, 0, 0, 1, tzinfo=UTC),
    "uuid": "00000000-0000-0000-0000-000000000000",
}
NOTHING: dict[str, Any] = dict.fromkeys(DECLARED)


SERVERS = ["postgres", "mariadb", "odbc-postgres", "odbc-mariadb", *NAMED]


@pytest.fixture(params=[*SERVERS, "sqlite"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    yield from _source(request, tmp_path)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """A source with logins, sessions and a network between."""
    yield from _source(request, tmp_path)


def _source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    if request.param == "sqlite":
        yield sqlite_source(tmp_path)
        return
    if request.param in NAMED:
        yield named_source(request.param, tmp_path)
        return
    name = str(request.param).removeprefix("odbc-")
    through_odbc = name != request.param
    server = request.getfixturevalue(name)
    found = postgres_source(server, tmp_path) if name == "postgres" else None
    found = found or mariadb_source(server, tmp_path)
    yield _through_odbc(name, found) if through_odbc else found
    if name == "postgres":
        drop_postgres_login(server)


def _through_odbc(name: str, found: Source) -> Source:
    if ODBC_DRIVERS[name] not in pyodbc.drivers():
        unavailable(f"the ODBC driver for {name} is not installed")
    return odbc_source(found, name)


def fill(source: Source, *rows: dict[str, Any]) -> None:
    types = source.spelling.types
    names = {kind: _name(source, kind) for kind in types}
    listed = ", ".join(f"{names[kind]} {word}" for kind, word in types.items())
    source.execute(f"CREATE TABLE kinds ({_name(source, 'row_no')} int, {listed})")
    for number, row in enumerate(rows, 1):
        values = ", ".join(_spelled(source, row[kind]) for kind in types)
        source.execute(f"INSERT INTO kinds VALUES ({number}, {values})")


def _name(source: Source, name: str) -> str:
    return f"{source.spelling.quote}{name}{source.spelling.quote}"


def _spelled(source: Source, value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return source.spelling.truth[value]
    if isinstance(value, bytes):
        return source.spelling.binary(value)
    if isinstance(value, datetime):
        zone = source.spelling.zone if value.tzinfo else ""
        return f"'{value.replace(tzinfo=None).isoformat(' ', 'microseconds')}{zone}'"
    if isinstance(value, date | time_of_day):
        return f"'{value.isoformat()}'"
    if isinstance(value, int | float):
        return repr(value)
    spelling = source.spelling
    return spelling.number(value) if isinstance(value, Decimal) else spelling.text(value)


def rows_of(source: Source, names: str, **spec: Any) -> list[dict[str, Any]]:
    table = source.database.extract(
        f"SELECT {names} FROM kinds ORDER BY {_name(source, 'row_no')}", **spec
    )
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def _kinds(source: Source) -> str:
    return ", ".join(_name(source, kind) for kind in source.spelling.types)


def test_every_kind_arrives_exactly_as_declared(source: Source) -> None:
    fill(source, HIGHEST, NOTHING, LOWEST)

    types = source.spelling.types
    declared = {kind: DECLARED[kind] for kind in types}
    rows = rows_of(source, _kinds(source), columns=declared)

    spelling = source.spelling
    expected = [HIGHEST | spelling.differing, NOTHING, LOWEST | spelling.lowest]
    assert rows == [{kind: row[kind] for kind in types} for row in expected]


def test_kinds_have_their_own_types_when_none_is_declared(source: Source) -> None:
    fill(source, HIGHEST, NOTHING)

    row_no = _name(source, "row_no")
    table = source.database.extract(f"SELECT {_kinds(source)} FROM kinds ORDER BY {row_no}")

    assert columns(table) == source.spelling.natural
    expected = [HIGHEST | source.spelling.undeclared, NOTHING]
    assert table.to_pylist() == [{k: row[k] for k in source.spelling.types} for row in expected]


def test_empty_result_keeps_its_columns(source: Source) -> None:
    fill(source)

    row_no = _name(source, "row_no")
    table = source.database.extract(f"SELECT {_kinds(source)} FROM kinds ORDER BY {row_no}")

    assert table.num_rows == 0
    assert columns(table) == source.spelling.natural


def test_text_and_bytes_of_megabytes_arrive_whole(source: Source) -> None:
    large = source.spelling.large
    text, raw = "Zoë €😀 " * large, bytes(range(256)) * (large // 50)
    fill(source, NOTHING | {"note": text, "raw": raw}, NOTHING | {"note": "x"})

    given = source.database.connection
    if given.conn_type in ("odbc", "mssql"):
        source = source.reached(extra={**given.extra, "max_text_size": "8000000"})
    first, second = rows_of(source, f"{_name(source, 'note')}, {_name(source, 'raw')}")

    assert first == {"note": text, "raw": raw}
    assert second == {"note": "x", "raw": None}


def test_sums_and_quotients_stay_exact(server: Source) -> None:
    fill(server, *(NOTHING | {"price": Decimal("9999999999999.99999")} for _ in range(3)))

    table = server.database.extract(
        f"SELECT sum({_name(server, 'price')}) AS {_name(server, 'total')} FROM kinds",
        columns={"total": "decimal(38,5)"},
    )

    assert table["total"].to_pylist() == [Decimal("29999999999999.99997")]


@pytest.mark.parametrize(
    ("kind", "value", "declared"),
    [
        ("price", Decimal("1.12345"), "decimal(18,4)"),
        ("price", Decimal("1234.5"), "decimal(5,2)"),
        ("price", Decimal("1.5"), "integer"),
        ("note", "abc", "decimal(18,5)"),
        ("note", "2026-02-30", "date"),
        ("local", datetime(2026, 3, 2, 12), "date"),  # noqa: DTZ001
    ],
)
def test_value_that_does_not_fit_is_named_with_column_and_row(
    source: Source, kind: str, value: Any, declared: str
) -> None:
    fill(source, NOTHING, NOTHING | {kind: value})

    with pytest.raises(SourceError, match=r"does not fit") as caught:
        rows_of(source, _name(source, kind), columns={kind: declared})

    assert caught.value.where == f"source.sql, column {kind}, row 2"


def test_parameters_are_typed_and_never_part_of_the_text(server: Source) -> None:
    hostile = "'; DROP TABLE kinds; -- \\ %s ? :x \" é€😀"
    day, price = date(2026, 3, 2), Decimal("1234567890123.00001")
    fill(
        server,
        NOTHING | {"day": day, "note": hostile, "price": price, "big": -7},
        NOTHING | {"day": date(2026, 3, 3), "note": "b", "price": Decimal(1), "big": 1},
        NOTHING | {"day": date(2026, 3, 1), "note": "\\", "price": Decimal(2), "big": 2**62},
    )
    given: dict[str, Any] = {
        "text": {"type": "string", "value": hostile},
        "texts": {"type": "string", "values": ["a", "\\", hostile]},
        "price": {"type": "decimal", "value": "1234567890123.00001"},
        "number": {"type": "integer", "value": -7},
        "numbers": {"type": "integer", "values": [1, 2**62]},
        "days": {"type": "date", "values": ["2026-03-01", "2026-03-03"]},
    }

    def found(condition: str) -> list[int]:
        used = {name: value for name, value in given.items() if f":{name}" in condition}
        for column in ("day", "note", "price", "big"):
            condition = re.sub(rf"(?<!:)\b{column}\b", _name(server, column), condition)
        row_no = _name(server, "row_no")
        table = server.database.extract(
            f"SELECT {row_no} FROM kinds WHERE {condition} ORDER BY {row_no}",
            parameters=used,
            columns={"row_no": "integer"},
        )
        rows: list[int] = table["row_no"].to_pylist()
        return rows

    assert found("day = :business_date") == [1]
    assert found("note = :text") == [1]
    assert found("note IN (:texts)") == [1, 3]
    assert found("price = :price AND big = :number") == [1]
    assert found("big IN (:numbers)") == [2, 3]
    assert found("day IN (:days) AND day <> :business_date") == [2, 3]


@pytest.mark.parametrize("source", ["mariadb", "odbc-mariadb"], indirect=True)
def test_settings_of_the_server_cut_and_change_nothing(
    source: Source, mariadb_server: MariadbServer
) -> None:
    settings = (
        "sql_select_limit = 2",
        "group_concat_max_len = 10",
        "character_set_results = latin1",
        "collation_connection = latin1_swedish_ci",
    )
    mariadb_server.execute(f"SET GLOBAL init_connect = 'SET {', '.join(settings)}'")
    try:
        [row] = source.database.extract(
            "SELECT group_concat('é€😀' SEPARATOR '') AS g, :text AS t FROM seq_1_to_5",
            parameters={"text": {"type": "string", "value": "é€😀"}},
        ).to_pylist()
        count = source.database.extract("SELECT seq FROM seq_1_to_5 ORDER BY seq").num_rows
    finally:
        mariadb_server.execute("SET GLOBAL init_connect = ''")

    assert (row, count) == ({"g": "é€😀" * 5, "t": "é€😀"}, 5)


def test_duplicate_names_are_refused_and_odd_ones_kept(source: Source) -> None:
    constant = source.spelling.constant
    with pytest.raises(SourceError, match="several columns of the same name: a, A"):
        source.database.extract(
            f"SELECT 1 AS {_name(source, 'a')}, 2 AS {_name(source, 'A')}{constant}"
        )

    odd = list(source.spelling.odd_names)
    listed = ", ".join(f"{number} AS {_name(source, name)}" for number, name in enumerate(odd))
    table = source.database.extract(f"SELECT {listed}{constant}")

    assert table.column_names == odd


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a; SELECT 2 AS a",
        "DELETE FROM kinds",
        "INSERT INTO kinds (row_no) VALUES (1)",
        "DROP TABLE kinds",
        "SELECT row_no FROM kinds FOR UPDATE",
    ],
)
def test_what_is_not_one_reading_query_is_refused(source: Source, sql: str) -> None:
    fill(source, NOTHING)

    with pytest.raises(PermanentError):
        source.database.extract(sql)


def test_query_that_writes_in_disguise_is_refused(server: Source) -> None:
    for sql in server.spelling.writing:
        with pytest.raises(PermanentError):
            server.database.extract(sql)


@pytest.mark.parametrize("sql", ["SELECT a FROM nothere", "SELECT nothere FROM kinds"])
def test_query_that_the_server_refuses_fails_at_once(source: Source, sql: str) -> None:
    fill(source)

    with pytest.raises(SourceError, match=source.spelling.unknown) as caught:
        source.database.extract(sql)

    assert (caught.value.where or "").startswith("source.sql")


def test_login_that_is_refused_fails_at_once(server: Source) -> None:
    wrong = [{"password": "wrong"}, {"login": "nobody_such"}]
    if server.spelling.refuses_unknown_databases:
        wrong.append({"database": "nothere"})
    for changes in wrong:
        with pytest.raises(SourceError, match="refuse") as caught:
            server.elsewhere(**changes).extract("SELECT 1 AS a")

        assert caught.value.where == "connection trades"
        assert PASSWORD not in str(caught.value)


def test_server_that_cannot_be_reached_is_worth_another_try(server: Source) -> None:
    for changes in ({"port": free_port()}, {"host": "no-such-host.invalid"}):
        with pytest.raises(SourceUnavailableError, match="cannot be reached") as caught:
            server.elsewhere(**changes).extract("SELECT 1 AS a")

        assert PASSWORD not in str(caught.value)


def test_query_that_takes_too_long_is_gone_from_the_server(source: Source) -> None:
    started = time.monotonic()

    with pytest.raises(SourceUnavailableError) as caught:
        source.database.extract(source.spelling.sleep, timeout_seconds=1)

    assert "timeout_seconds" in str(caught.value)
    assert time.monotonic() - started < 8
    wait_until(lambda: source.active() == 0)


@pytest.mark.parametrize("streaming", [False, True])
def test_killed_task_leaves_nothing_running_on_the_server(
    *, server: Source, streaming: bool
) -> None:
    sql = server.spelling.many if streaming else server.spelling.sleep
    extraction = server.database.extraction(sql)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            extraction.run(server.database.file)
        except SourceUnavailableError as error:
            failures.append(error)

    task = threading.Thread(target=run)
    task.start()
    wait_until(lambda: server.active() > 0)
    extraction.cancel()
    task.join(20)

    assert not task.is_alive()
    assert "the task was stopped" in str(failures[0])
    wait_until(lambda: server.active() == 0)


def test_error_in_the_middle_stops_the_query_on_the_server(source: Source) -> None:
    with pytest.raises(SourceError, match="more than 1000 rows"):
        source.database.extract(source.spelling.many, max_rows=1000)

    wait_until(lambda: source.active() == 0)


def test_session_killed_in_the_middle_is_worth_another_try(server: Source) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            server.database.extract(server.spelling.sleep)
        except SourceUnavailableError as error:
            failures.append(error)

    task = threading.Thread(target=run)
    task.start()
    wait_until(lambda: server.active() > 0)
    server.break_sessions()
    task.join(20)

    assert not task.is_alive()
    assert len(failures) == 1
    assert "the task was stopped" not in str(failures[0])


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("passed", [2_000, 100_000, 20_000_000])
def test_network_that_breaks_is_never_taken_for_the_end(
    *, server: Source, passed: int, reset: bool
) -> None:
    port = server.database.connection.port
    assert port
    with (
        cutting_proxy(port, bytes_to_client=passed, reset=reset) as broken,
        pytest.raises(SourceUnavailableError, match=r"lost|cannot be reached"),
    ):
        server.elsewhere(port=broken).extract(server.spelling.many)


def test_server_is_recorded(source: Source) -> None:
    sql = f"SELECT 1 AS a{source.spelling.constant}"
    assert any(letter.isdigit() for letter in source.database.done(sql).server)


def test_several_queries_of_a_session_see_one_state(source: Source) -> None:
    if source.database.connection.conn_type == "sqlite":
        source.execute("PRAGMA journal_mode = WAL")  # otherwise the reader keeps writers out
    fill(source, NOTHING)

    row_no = _name(source, "row_no")
    sql = f"SELECT {row_no} FROM kinds"

    def rows(reader: SharedSession) -> int:
        extraction = source.database.extraction(sql, reader=reader)
        return extraction.run(source.database.file).rows

    with snapshot(source.database.connection, timeout_seconds=60) as reader:
        before = rows(reader)
        source.execute(f"INSERT INTO kinds ({row_no}) VALUES (2)")
        after = rows(reader)

    assert (before, after) == (1, 1)
    assert source.database.extract(sql).num_rows == 2


@pytest.mark.parametrize("ways", [{"rows": 6}, {"parts": 3}])
def test_query_in_parts_has_every_row_once(source: Source, ways: dict[str, int]) -> None:
    types = source.spelling.types
    source.execute(f"CREATE TABLE divided (id {types['big']}, kind {types['small']})")
    for number in range(20):
        values = f"{number * number}, {number % 3}" if number else "NULL, NULL"
        source.execute(f"INSERT INTO divided VALUES ({values})")

    table = source.database.extract(
        "SELECT id, kind FROM divided",
        partition={"column": "id", "order_by": ["id", "kind"]} | ways,
    )

    found = table.column(0).to_pylist()
    assert found.count(None) == 1  # among the first part's; databases sort it differently
    assert [int(v) for v in found if v is not None] == [n * n for n in range(1, 20)]


def test_retry_after_a_broken_connection_gives_the_same_bytes(server: Source) -> None:
    server.database.extract(server.spelling.many)
    expected = server.database.file.read_bytes()
    port = server.database.connection.port
    assert port
    with (
        cutting_proxy(port, bytes_to_client=10_000_000, reset=True) as broken,
        pytest.raises(SourceUnavailableError),
    ):
        server.elsewhere(port=broken).extract(server.spelling.many)

    server.database.extract(server.spelling.many)

    assert server.database.file.read_bytes() == expected
    assert pq.read_metadata(server.database.file).num_rows == 100_000
