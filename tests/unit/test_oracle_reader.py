"""The Oracle reader as far as it goes without a database: logins, types, errors, parameters."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import oracledb
import pyarrow as pa
import pytest
from oracledb.errors import _Error

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract import reading
from openreg_airflow.extract.query import parse
from openreg_airflow.extract.reader import HoldingSession, SourceConnection, find_reader
from openreg_airflow.extract.readers.oracle import OracleReader, OracleSession, options
from openreg_airflow.extract.readers.oracle_errors import query_error
from openreg_airflow.extract.readers.oracle_types import column
from openreg_airflow.extract.shape import Shape
from tests.extraction import Database
from tests.services import free_port
from tests.services.tns_listener import refusal, tns_listener

if TYPE_CHECKING:
    from pathlib import Path

CONNECTION = SourceConnection(
    conn_id="ledger",
    conn_type="oracle",
    host="127.0.0.1",
    port=1521,
    login="reader",
    password="it's a secret",  # noqa: S106
    database="TRADES",
)


def described(code: Any, *, name: str = "A", **more: Any) -> Any:
    given = {"precision": None, "scale": None, "internal_size": 22, "display_size": 22} | more
    return SimpleNamespace(name=name, type_code=code, **given)


class Cursor:
    """A cursor with the driver's ways, over given columns and rows."""

    def __init__(self, columns: list[Any], rows: list[tuple[Any, ...]]) -> None:
        self.description, self._rows = columns, rows
        self.arraysize = self.prefetchrows = 100
        self.outputtypehandler: Any = None
        self.executed: list[tuple[str, Any]] = []

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def parse(self, text: str) -> None:
        self.executed.append((text, "parsed"))

    def execute(self, text: str, values: Any = None) -> None:
        self.executed.append((text, values))

    def fetchmany(self, count: int) -> list[tuple[Any, ...]]:
        found, self._rows = self._rows[:count], self._rows[count:]
        return found


def session(cursor: Cursor) -> OracleSession:
    return OracleSession(SimpleNamespace(version="19.0.0.0.0", cursor=lambda: cursor))


def login(port: int, **changes: Any) -> None:
    from dataclasses import replace

    OracleReader().open(replace(CONNECTION, port=port, **changes), timeout_seconds=5)


def test_reader_is_found_by_the_connection_type() -> None:
    assert isinstance(find_reader("oracle"), OracleReader)
    assert isinstance(session(Cursor([], [])), HoldingSession)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refusal(12514), "not registered with the listener"),
        (refusal(12528), "12528"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "closed the connection"),
        (b"", "closed the connection"),
    ],
)
def test_listener_that_lets_nobody_in_is_worth_another_try(answer: bytes, said: str) -> None:
    with tns_listener(answer) as port, pytest.raises(SourceUnavailableError, match=said) as caught:
        login(port)

    assert caught.value.where == "connection ledger"
    assert "secret" not in str(caught.value)
    assert "https://" not in str(caught.value)


def test_service_that_the_listener_does_not_know_is_explained() -> None:
    with tns_listener(refusal(12514)) as port, pytest.raises(SourceUnavailableError) as caught:
        login(port)

    assert "Check the service name" in (caught.value.hint or "")


def test_server_that_is_not_there_is_worth_another_try() -> None:
    for changes in ({"port": free_port()}, {"port": 1521, "host": "no-such-host.invalid"}):
        with pytest.raises(SourceUnavailableError, match="cannot be reached"):
            login(**changes)


def test_listener_that_never_answers_does_not_hold_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LAST_WAIT", 0.5)
    with tns_listener(None) as port:
        from dataclasses import replace

        database = Database(tmp_path, replace(CONNECTION, port=port))
        with pytest.raises(SourceUnavailableError, match="after 1 seconds"):
            database.extract("SELECT 1 AS a FROM dual", timeout_seconds=1)


@pytest.mark.parametrize(
    ("changes", "dsn"),
    [
        ({}, "(SERVICE_NAME=TRADES)"),
        ({"extra": {"service_name": "other"}}, "(SERVICE_NAME=other)"),
        ({"extra": {"sid": "ORCL"}}, "(SID=ORCL)"),
        ({"host": None, "port": None, "database": None, "extra": {"dsn": "alias"}}, "alias"),
    ],
)
def test_connection_is_read_as_the_provider_reads_it(changes: dict[str, Any], dsn: str) -> None:
    from dataclasses import replace

    given = options(replace(CONNECTION, **changes))

    assert dsn in given["dsn"]
    assert (given["user"], given["password"]) == ("reader", "it's a secret")


def test_options_of_the_extra_reach_the_driver() -> None:
    from dataclasses import replace

    extra = {"wallet_location": "/wallet", "ssl_server_dn_match": True, "mode": "sysdba"}

    given = options(replace(CONNECTION, extra=extra))

    assert (given["wallet_location"], given["ssl_server_dn_match"]) == ("/wallet", True)
    assert given["mode"] is oracledb.AuthMode.SYSDBA
    for wrong in ({"thick_mode": True}, {"mode": "emperor"}):
        with pytest.raises(SpecError, match=r"thick mode|emperor"):
            options(replace(CONNECTION, extra=wrong))


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        (described(oracledb.DB_TYPE_NUMBER, precision=18, scale=5), "decimal128(18, 5)"),
        (described(oracledb.DB_TYPE_NUMBER, precision=38, scale=0), "decimal128(38, 0)"),
        (described(oracledb.DB_TYPE_NUMBER, precision=18, scale=0), "int64"),
        (described(oracledb.DB_TYPE_NUMBER, precision=3, scale=5), "decimal128(5, 5)"),
        (described(oracledb.DB_TYPE_NUMBER, precision=5, scale=-2), "decimal128(7, 0)"),
        (described(oracledb.DB_TYPE_NUMBER, precision=0, scale=-127), "decimal128(38, 20)"),
        (described(oracledb.DB_TYPE_NUMBER, precision=126, scale=-127), "decimal128(38, 20)"),
        (described(oracledb.DB_TYPE_BINARY_DOUBLE), "double"),
        (described(oracledb.DB_TYPE_VARCHAR), "string"),
        (described(oracledb.DB_TYPE_NCLOB), "string"),
        (described(oracledb.DB_TYPE_BLOB), "binary"),
        (described(oracledb.DB_TYPE_RAW), "binary"),
        (described(oracledb.DB_TYPE_DATE), "timestamp[us]"),
        (described(oracledb.DB_TYPE_TIMESTAMP, scale=6), "timestamp[us]"),
        (described(oracledb.DB_TYPE_TIMESTAMP, scale=9), "None"),
        (described(oracledb.DB_TYPE_TIMESTAMP_TZ, scale=6), "None"),
        (described(oracledb.DB_TYPE_TIMESTAMP_LTZ, scale=6), "None"),
        (described(oracledb.DB_TYPE_INTERVAL_DS), "None"),
        (described(oracledb.DB_TYPE_JSON), "None"),
        (described(oracledb.DB_TYPE_OBJECT), "None"),
    ],
)
def test_types_of_the_driver_have_one_arrow_type_each(info: Any, kind: str) -> None:
    assert str(column(info).type) == kind


def test_column_that_would_lose_its_zone_says_what_to_select() -> None:
    found = column(described(oracledb.DB_TYPE_TIMESTAMP_TZ, name="AT", scale=6))

    with pytest.raises(SourceError, match="select SYS_EXTRACT_UTC of it"):
        Shape([found], {}, file="source.sql")


def read(cursor: Cursor, sql: str, **parameters: Any) -> pa.Table:
    query = parse(sql, file="source.sql", dialect="oracle", parameters=parameters)
    stream = session(cursor).read(query, {})
    shape = Shape(stream.columns, {}, file="source.sql")
    batches = [shape.convert(batch, rows_before=0) for batch in stream.batches]
    return pa.Table.from_batches(batches, shape.schema)


def test_numbers_come_as_text_and_stay_exact() -> None:
    columns = [
        described(oracledb.DB_TYPE_NUMBER, name="P", precision=38, scale=10),
        described(oracledb.DB_TYPE_NUMBER, name="T", precision=0, scale=-127),
        described(oracledb.DB_TYPE_NUMBER, name="N", precision=9, scale=0),
        described(oracledb.DB_TYPE_DATE, name="D"),
    ]
    when = datetime(2026, 3, 2, 10)  # noqa: DTZ001
    cursor = Cursor(
        columns,
        [("9" * 28 + "." + "9" * 10, "29999999999999.99997", "-7", when), (None,) * 4],
    )

    rows = read(cursor, "SELECT p, t, n, d FROM x").to_pylist()

    assert rows[0] == {
        "P": Decimal("9" * 28 + "." + "9" * 10),
        "T": Decimal("29999999999999.99997"),
        "N": -7,
        "D": when,
    }
    assert set(rows[1].values()) == {None}
    wanted = cursor.outputtypehandler(
        SimpleNamespace(var=lambda kind, arraysize: kind, arraysize=1), columns[0]
    )
    assert wanted is oracledb.DB_TYPE_VARCHAR


def test_empty_result_keeps_its_columns() -> None:
    table = read(Cursor([described(oracledb.DB_TYPE_VARCHAR)], []), "SELECT a FROM x")

    assert table.schema == pa.schema([("A", pa.string())])


def test_fetch_size_follows_the_width_of_the_rows() -> None:
    narrow = Cursor([described(oracledb.DB_TYPE_NUMBER)], [])
    wide = Cursor([described(oracledb.DB_TYPE_CLOB, name=f"C{n}") for n in range(8)], [])

    read(narrow, "SELECT a FROM x")
    read(wide, "SELECT a FROM x")

    assert narrow.arraysize == 5_000
    assert 1 <= wide.arraysize <= 16


def test_parameters_are_bound_by_names_that_are_no_words() -> None:
    cursor = Cursor([described(oracledb.DB_TYPE_VARCHAR)], [])

    read(
        cursor,
        "  SELECT a FROM x WHERE d = :date AND k IN (:keys)",
        date=date(2026, 3, 2),
        keys=(Decimal("1.5"), Decimal(2)),
    )

    text, values = cursor.executed[-1]
    assert text == ("SELECT a FROM x WHERE d = :openreg_1 AND k IN (:openreg_2, :openreg_3)")
    assert values == {
        "openreg_1": date(2026, 3, 2),
        "openreg_2": Decimal("1.5"),
        "openreg_3": Decimal(2),
    }


def test_next_value_of_a_sequence_is_refused() -> None:
    with pytest.raises(SpecError, match="NEXTVAL moves a sequence"):
        read(Cursor([], []), "SELECT s.NEXTVAL AS a FROM dual")


def failed(code: str, text: str, *, offset: int = 0) -> oracledb.Error:
    """An error as the driver itself makes it of the server's answer."""
    number = int(code.removeprefix("ORA-")) if code.startswith("ORA-") else 0
    told = _Error(f"{code}: {text}", code=number, offset=offset)
    return told.exc_type(told)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("ORA-00060", SourceUnavailableError, "stopped the query"),
        ("ORA-01555", SourceUnavailableError, "stopped the query"),
        ("ORA-00028", SourceUnavailableError, "lost"),
        ("ORA-03113", SourceUnavailableError, "lost"),
        ("ORA-03135", SourceUnavailableError, "lost"),
        ("DPY-4011", SourceUnavailableError, "lost"),
        ("DPY-4024", SourceUnavailableError, "lost"),
        ("ORA-00942", SourceError, "refuses the query"),
        ("ORA-00904", SourceError, "refuses the query"),
        ("ORA-00936", SourceError, "refuses the query"),
        ("ORA-01456", SourceError, "refuses the query"),
        ("ORA-01795", SourceError, "refuses the query"),
    ],
)
def test_errors_are_final_or_may_pass(code: str, kind: type[Exception], said: str) -> None:
    error = query_error(failed(code, "it went wrong"), "source.sql")

    assert type(error) is kind
    assert said in error.message
    assert code in error.message


def test_place_of_a_syntax_error_is_a_place_in_the_file() -> None:
    class Refusing(Cursor):
        def execute(self, text: str, values: Any = None) -> None:
            raise failed("ORA-00904", '"NOTHERE": invalid identifier', offset=len("SELECT "))

    with pytest.raises(SourceError, match="invalid identifier") as caught:
        read(Refusing([], []), "\n  SELECT nothere FROM x")

    assert caught.value.where == "source.sql, line 2, column 10"
