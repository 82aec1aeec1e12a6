"""Oracle Database, through the driver's thin mode: no client library is needed.

The session is one READ ONLY transaction, which in Oracle is also one state of the database for
all its queries, in UTC. Numbers leave the driver as text and are converted exactly.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import oracledb
import pyarrow as pa

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.reader import BATCH_BYTES, SourceConnection, Stream
from openreg_airflow.extract.readers.oracle_errors import connection_error, query_error
from openreg_airflow.extract.readers.oracle_types import FETCHED_AS, array, column, width
from openreg_airflow.extract.readers.writing import refuse_sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Session, SourceColumn

#: What the database shows its administrators of a session, unless the extra's `module` does.
MODULE = "openreg"

_PORT = 1521
_CONNECT_SECONDS = 30
_MOST_ROWS = 5_000
#: Smaller batches than others': a row of Python objects is several times its size in Arrow.
_BATCH_BYTES = BATCH_BYTES // 4

#: What a connection's extra may hold of the driver's options, as OracleHook reads it.
_OPTIONS = (
    "wallet_location",
    "wallet_password",
    "ssl_server_cert_dn",
    "ssl_server_dn_match",
    "cclass",
    "pool_name",
    "events",
    "expire_time",
)
#: How the server spells and reads text: times as an incremental source's marks are spelled.
_BEGIN = (
    "ALTER SESSION SET TIME_ZONE = 'UTC' NLS_NUMERIC_CHARACTERS = '.,' "
    "NLS_DATE_FORMAT = 'YYYY-MM-DD HH24:MI:SS' "
    "NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF6'",
    "SET TRANSACTION READ ONLY",
)


class OracleReader:
    """Reads Oracle Database 12.1 and newer."""

    dialect = "oracle"

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        """Log in and begin the read-only transaction.

        Raises:
            SpecError: the connection's extra asks for what there is not.
            SourceError: the login or the options are refused.
            SourceUnavailableError: the server cannot be reached or takes no more sessions.
        """
        given = options(connection)
        try:
            session = OracleSession(oracledb.connect(**given))
        except (oracledb.Error, OSError) as error:
            raise connection_error(error, connection.conn_id) from error
        except (TypeError, ValueError) as error:
            message = f"connection {connection.conn_id}: its options are refused: {error}"
            raise SpecError(message, hint="Correct the extra.") from error
        try:
            session.begin(
                timeout_seconds,
                schema=_current_schema(connection),
                module=str(connection.extra.get("module") or MODULE),
            )
        except (oracledb.Error, OSError) as error:
            session.close()
            raise query_error(error, f"connection {connection.conn_id}") from error
        return session


def options(connection: SourceConnection) -> dict[str, Any]:
    """The driver's options for a connection, as OracleHook reads them.

    Raises:
        SpecError: it asks for the thick mode, or for a mode that there is not.
    """
    extra = connection.extra
    if str(extra.get("thick_mode", "")).lower() in ("true", "1", "yes"):
        message = f"connection {connection.conn_id} asks for the driver's thick mode"
        hint = "Remove `thick_mode` from the extra: sources are read in thin mode."
        raise SpecError(message, hint=hint)
    given: dict[str, Any] = {
        "user": connection.login,
        "password": connection.password,
        "dsn": _dsn(connection),
        "tcp_connect_timeout": _CONNECT_SECONDS,
        # A statement is described, then run with room for rows of its width: nothing is reused.
        "stmtcachesize": 0,
    }
    given.update({name: extra[name] for name in _OPTIONS if extra.get(name) is not None})
    for name, kind in (("mode", oracledb.AuthMode), ("purity", oracledb.Purity)):
        if extra.get(name):
            try:
                given[name] = kind[str(extra[name]).upper()]
            except KeyError as error:
                message = f"connection {connection.conn_id}: {name} {extra[name]!r} is unknown"
                hint = f"Write one of {', '.join(sorted(kind.__members__)).lower()} in the extra."
                raise SpecError(message, hint=hint) from error
    return given


def _dsn(connection: SourceConnection) -> str:
    extra, port = connection.extra, connection.port or _PORT
    sid, service = extra.get("sid"), _service(connection)
    if connection.host and sid and not service:
        return str(oracledb.makedsn(connection.host, port, sid=sid))
    if connection.host and service and not sid:
        return str(oracledb.makedsn(connection.host, port, service_name=service))
    if extra.get("dsn"):
        return str(extra["dsn"])
    named = f":{connection.port}" if connection.port else ""
    return f"{connection.host or ''}{named}" + (f"/{service}" if service else "")


def _service(connection: SourceConnection) -> str | None:
    given = connection.extra.get("service_name")
    if given is None and not connection.extra.get("sid"):
        return connection.database
    return given


def _current_schema(connection: SourceConnection) -> str | None:
    """The schema to read in: Airflow's, where the service is named by something else."""
    return connection.database if connection.extra.get("service_name") else None


class OracleSession:
    """One transaction; see :class:`openreg_airflow.extract.reader.Session`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._open = True
        self._lock = threading.Lock()  # cancel() comes from another thread than close()
        self.server = f"Oracle Database {connection.version}"

    def begin(self, timeout_seconds: int, *, schema: str | None, module: str) -> None:
        """Begin the transaction and fix what the result must not depend on."""
        self._connection.call_timeout = timeout_seconds * 1000
        self._connection.module = module
        if schema:
            self._connection.current_schema = schema
        with self._connection.cursor() as cursor:
            for statement in _BEGIN:
                cursor.execute(statement)

    def hold(self) -> None:
        """Nothing more: a READ ONLY transaction sees one state from its beginning on."""

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:  # noqa: ARG002
        """Start the query; see :class:`openreg_airflow.extract.reader.Session`."""
        refuse_sequences(query)
        values: dict[str, Value] = {}
        rendered = query.render(lambda name: _bind(query.parameters[name], values))
        text = rendered.text.lstrip()
        skipped = len(rendered.text) - len(text)
        try:
            cursor = self._cursor(text)
            cursor.execute(text, values)
        except (oracledb.Error, OSError) as error:
            raise query_error(
                error, query.file, place=lambda offset: query.place(rendered, offset + skipped)
            ) from error
        columns = tuple(map(column, cursor.description or ()))
        return Stream(columns, _batches(cursor, columns, query.file))

    def _cursor(self, text: str) -> Any:
        """A cursor that fetches as many rows at a time as rows of this query's width allow."""
        with self._connection.cursor() as described:
            described.parse(text)
            widest = sum(map(width, described.description or ()))
        cursor = self._connection.cursor()
        cursor.outputtypehandler = _fetched_as
        cursor.arraysize = max(1, min(_MOST_ROWS, _BATCH_BYTES // max(1, widest)))
        cursor.prefetchrows = cursor.arraysize
        return cursor

    def cancel(self) -> None:
        """Ask the server to stop; see :class:`openreg_airflow.extract.reader.Session`."""
        with self._lock, suppress(oracledb.Error, OSError):
            if self._open:
                self._connection.cancel()

    def close(self) -> None:
        """End the session; see :class:`openreg_airflow.extract.reader.Session`."""
        with self._lock, suppress(oracledb.Error, OSError):
            self._open = False
            self._connection.close()


def _fetched_as(cursor: Any, described: Any) -> Any:
    """The driver's variable for a column whose values it would give otherwise."""
    wanted = FETCHED_AS.get(described.type_code)
    return None if wanted is None else cursor.var(wanted, arraysize=cursor.arraysize)


def _batches(cursor: Any, columns: tuple[SourceColumn, ...], file: str) -> Iterator[pa.RecordBatch]:
    names = [found.name for found in columns]
    while True:
        try:
            rows = cursor.fetchmany(cursor.arraysize)
        except (oracledb.Error, OSError) as error:
            raise query_error(error, file) from error
        if not rows:
            return
        yield pa.RecordBatch.from_arrays(
            [
                array(values, found)
                for values, found in zip(zip(*rows, strict=True), columns, strict=True)
            ],
            names=names,
        )


def _bind(value: Value | tuple[Value, ...], values: dict[str, Value]) -> str:
    """A parameter as the driver binds it, under a name that is no word of Oracle's."""
    if isinstance(value, tuple):
        return ", ".join(_bind(part, values) for part in value)
    name = f"openreg_{len(values) + 1}"
    values[name] = value
    return f":{name}"
