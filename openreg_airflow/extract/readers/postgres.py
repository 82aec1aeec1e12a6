"""PostgreSQL: Arrow batches straight from ``COPY (query) TO STDOUT (FORMAT binary)``.

COPY takes no parameters. So the values are bound, by the driver, to ``set_config`` and live for
the transaction as settings of their own, and a parameter in the query is spelled as the typed
value of its setting: the text of the query never contains a value. The planner knows such values
when it estimates, as it knows constants.

The session is one REPEATABLE READ, READ ONLY transaction in UTC. NUMERIC arrives as text and is
converted exactly; see https://arrow.apache.org/adbc/current/driver/postgresql.html for the types.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
import adbc_driver_postgresql
import pyarrow as pa
from adbc_driver_manager._reader import AdbcRecordBatchReader
from adbc_driver_postgresql import StatementOptions

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract.parameter import type_of
from openreg_airflow.extract.reader import BATCH_BYTES, SourceConnection, Stream
from openreg_airflow.extract.readers.postgres_errors import (
    connection_error,
    query_error,
    unknown_types,
)
from openreg_airflow.extract.readers.postgres_numeric import decimals
from openreg_airflow.extract.readers.postgres_types import column, is_sent, plain, sending

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Session

#: Seconds after which a server that computes, not sends, looks whether we are still there.
_CONNECTION_CHECK = "10s"
_CHECK_SINCE = 14_00_00

#: What a connection's extra may override. The keepalives find a dead network in two minutes.
_DEFAULTS = {
    "connect_timeout": "30",
    "fallback_application_name": "openreg",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
#: What holds for every session, whatever the connection says. The server then checks all text,
#: also of a database whose own encoding (SQL_ASCII) promises nothing.
_ALWAYS = {"client_encoding": "UTF8"}

#: How the server names a snapshot: it is the one thing that is written into a statement.
_SNAPSHOT = re.compile(r"[0-9A-Fa-f]+(-[0-9A-Fa-f]+)*")
#: What it says when there is none of that name: an invalid value, or since PostgreSQL 16 no object.
_NO_SNAPSHOT = ("22023", "42704")

_CASTS = {"date": "date", "decimal": "numeric", "integer": "bigint", "string": "text"}


class PostgresReader:
    """Reads PostgreSQL 12 and newer; the connection's extra holds libpq's options."""

    dialect = "postgres"

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        """Log in and begin the read-only transaction.

        Raises:
            SourceError: the login, the database or the options are refused.
            SourceUnavailableError: the server cannot be reached or takes no more sessions.
        """
        return _opened(connection, None, timeout_seconds)

    def open_in(self, connection: SourceConnection, state: str, *, timeout_seconds: int) -> Session:
        """Log in and begin the transaction in the snapshot of another session.

        Raises:
            SourceError: the login is refused.
            SourceUnavailableError: the server cannot be reached or takes no more sessions, or the
                other session is no longer there.
        """
        return _opened(connection, state, timeout_seconds)


def _opened(
    connection: SourceConnection, state: str | None, timeout_seconds: int
) -> PostgresSession:
    where = f"connection {connection.conn_id}"
    try:
        database = adbc_driver_postgresql.connect(conninfo(connection))
    except adbc_driver_manager.Error as error:
        raise connection_error(error, connection.conn_id) from error
    try:
        session = PostgresSession(database, adbc_driver_manager.AdbcConnection(database))
    except adbc_driver_manager.Error as error:
        database.close()
        raise connection_error(error, connection.conn_id) from error
    try:
        session.begin(timeout_seconds, state, where=where)
    except adbc_driver_manager.Error as error:
        session.close()
        raise query_error(error, where) from error
    except (SourceError, SourceUnavailableError):
        session.close()
        raise
    return session


def conninfo(connection: SourceConnection) -> str:
    """libpq's connection string of a connection."""
    given = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.database,
    }
    options = _DEFAULTS | {k: v for k, v in given.items() if v} | dict(connection.extra) | _ALWAYS
    quoted = {k: str(v).replace("\\", "\\\\").replace("'", "\\'") for k, v in options.items()}
    return " ".join(f"{name}='{value}'" for name, value in quoted.items())


class PostgresSession:
    """One transaction; see :class:`openreg_airflow.extract.reader.Session`."""

    def __init__(
        self,
        database: adbc_driver_manager.AdbcDatabase,
        connection: adbc_driver_manager.AdbcConnection,
    ) -> None:
        self._database = database
        self._connection = connection
        self._statement: adbc_driver_manager.AdbcStatement | None = None
        self._reader: Any = None
        self._streaming = False
        self._lock = threading.Lock()  # cancel() comes from another thread than close()
        self.server = "PostgreSQL"

    def begin(self, timeout_seconds: int, state: str | None = None, *, where: str) -> None:
        """Begin the transaction, in another one's ``state``; fix what the result depends on.

        Raises:
            SourceError: the session's settings hide the types of its results.
            SourceUnavailableError: the session of ``state`` is no longer there.
        """
        self._connection.set_autocommit(False)
        self._run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if state is not None:
            if not _SNAPSHOT.fullmatch(state):
                raise ValueError(state)
            self._enter(state, where)
        found = self._run(
            "SELECT current_setting('server_version'), version(), "
            "current_setting('server_version_num')::int"
        )
        version, described, number = (values[0].as_py() for values in found.columns)
        if not isinstance(number, int):  # and this one is not known by its quoted name
            raise unknown_types(where)
        self.server = f"PostgreSQL {version}"
        settings = {
            "TimeZone": "UTC",
            "extra_float_digits": "1",  # all digits of floats that a query makes text of
            "statement_timeout": str(timeout_seconds * 1000),
            # A session waits while another one reads in its snapshot, or between two sources.
            "idle_in_transaction_session_timeout": str(timeout_seconds * 1000),
            # Without this, a scan starts where another session's scan happens to be.
            "synchronize_seqscans": "off",
        }
        if number >= _CHECK_SINCE and "linux" in described:
            settings["client_connection_check_interval"] = _CONNECTION_CHECK
        self._set(settings)

    def _enter(self, state: str, where: str) -> None:
        try:
            self._run(f"SET TRANSACTION SNAPSHOT '{state}'")
        except adbc_driver_manager.Error as error:
            failure = query_error(error, where)
            if error.sqlstate not in _NO_SNAPSHOT:
                raise failure from error
            message = f"the session whose state the parts are read in is gone: {failure.message}"
            raise SourceUnavailableError(message, where=where) from error

    def share(self) -> str:
        """Export the snapshot; see :class:`openreg_airflow.extract.reader.SharingSession`."""
        try:
            [state] = self._run("SELECT pg_export_snapshot()").column(0).to_pylist()
        except adbc_driver_manager.Error as error:
            raise query_error(error, "pg_export_snapshot") from error
        return str(state)

    def hold(self) -> None:
        """Nothing more: the transaction is REPEATABLE READ from its first query on."""

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:
        """Start the query; see :class:`openreg_airflow.extract.reader.Session`."""
        rendered = query.render(lambda name: _spell(name, query.parameters[name]))
        settings = {_setting(name): _text(value) for name, value in query.used.items()}
        if not query.ordered:
            # Parallel workers deliver in whatever order they finish.
            settings["max_parallel_workers_per_gather"] = "0"
        # The line feed ends a comment that would swallow COPY's closing parenthesis.
        text = f"{rendered.text}\n"
        try:
            self._set(settings)
            columns = [column(field) for field in self._describe(text)]
        except adbc_driver_manager.Error as error:
            raise query_error(
                error, query.file, place=lambda position: query.place(rendered, position)
            ) from error
        sent = {
            index: found.type
            for index, found in enumerate(columns)
            if is_sent(found, declared.get(found.name))
        }
        batches = self._batches(sending(text, columns, sent), sent, query.file)
        return Stream(tuple(columns), batches)

    def _batches(
        self, sql: str, sent: Mapping[int, pa.Decimal128Type], file: str
    ) -> Iterator[pa.RecordBatch]:
        """Run the query; the columns in ``sent`` come as binary NUMERIC."""
        self._streaming = True
        try:
            self._reader = self._start(sql)
            while True:
                batch = self._reader.read_next_batch()
                arrays = [
                    decimals(array, sent[index].precision, sent[index].scale)
                    if index in sent
                    else plain(array)
                    for index, array in enumerate(batch.columns)
                ]
                yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
        except StopIteration:
            self._streaming = False
            return
        except adbc_driver_manager.Error as error:
            raise query_error(error, file) from error

    def _describe(self, sql: str) -> pa.Schema:
        """The columns that a query would return."""
        statement = self._next_statement(sql)
        return pa.schema(statement.execute_schema())

    def _set(self, settings: Mapping[str, str]) -> None:
        """Set settings for this transaction; names and values are bound, not written."""
        if settings:
            self._run(
                "SELECT set_config($1, $2, true)",
                pa.record_batch(
                    {"name": list(settings), "value": list(settings.values())},
                    schema=pa.schema([("name", pa.string()), ("value", pa.string())]),
                ),
            )

    def _run(self, sql: str, parameters: pa.RecordBatch | None = None) -> pa.Table:
        return self._start(sql, parameters).read_all()

    def _start(self, sql: str, parameters: pa.RecordBatch | None = None) -> Any:
        statement = self._next_statement(sql)
        if parameters is not None:
            statement.prepare()
            statement.bind(parameters)
        handle, _ = statement.execute_query()
        # The wrapped reader, unlike PyArrow's own, keeps the server's error codes.
        return AdbcRecordBatchReader._import_from_c(handle.address)  # noqa: SLF001

    def _next_statement(self, sql: str) -> adbc_driver_manager.AdbcStatement:
        """A statement that :meth:`cancel` stops; the one before it is closed."""
        statement = adbc_driver_manager.AdbcStatement(self._connection)
        with self._lock:
            previous, self._statement = self._statement, statement
        if previous is not None:
            previous.close()
        statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)})
        statement.set_sql_query(sql)
        return statement

    def cancel(self) -> None:
        """Ask the server to stop; see :class:`openreg_airflow.extract.reader.Session`."""
        with self._lock, suppress(adbc_driver_manager.Error, RuntimeError):
            if self._statement is not None:
                self._statement.cancel()

    def close(self) -> None:
        """End the session; see :class:`openreg_airflow.extract.reader.Session`."""
        with self._lock:
            statement, self._statement = self._statement, None
        if self._reader is not None:
            with suppress(adbc_driver_manager.Error, pa.ArrowException, OSError):
                self._reader.close()
        if statement is not None:
            with suppress(adbc_driver_manager.Error, RuntimeError):
                statement.close()
        if not self._streaming:
            # A pooler throws a session away whose client goes within a transaction.
            with suppress(adbc_driver_manager.Error, RuntimeError):
                self._connection.rollback()
        for handle in (self._connection, self._database):
            with suppress(adbc_driver_manager.Error, RuntimeError):
                handle.close()


def _setting(name: str) -> str:
    return f"openreg.{name}"


def _spell(name: str, value: Value | tuple[Value, ...]) -> str:
    """A parameter in the query: the setting that holds its value, read in its type."""
    if isinstance(value, tuple):
        cast = _CASTS[type_of(value[0])]
        elements = f"json_array_elements_text(current_setting('{_setting(name)}')::json)"
        # Names of parameters are plain words, and no value is in the text.
        return f"SELECT openreg.element::{cast} FROM {elements} AS openreg(element)"  # noqa: S608
    return f"(current_setting('{_setting(name)}')::{_CASTS[type_of(value)]})"


def _text(value: Value | tuple[Value, ...]) -> str:
    if isinstance(value, tuple):
        return json.dumps([_text(part) for part in value])
    kind = type_of(value)
    return f"{value:f}" if kind == "decimal" else str(value)
