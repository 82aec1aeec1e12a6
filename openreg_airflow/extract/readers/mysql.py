"""MySQL and MariaDB: the rows as the server sends them, turned into Arrow a column at a time.

A server answers a query in text. The driver is asked for that text untouched, so no value becomes
a Python number or date; each column of a batch goes to Arrow as it is and is parsed there, exactly
and all at once. That costs a fraction of a cursor's conversion row by row.

The session is one consistent snapshot in a READ ONLY transaction in UTC.
"""

from __future__ import annotations

import json
import logging
import threading
from contextlib import closing, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import MySQLdb
import pyarrow as pa

from openreg_airflow.errors import SourceError, SpecError
from openreg_airflow.extract.reader import BATCH_BYTES, SourceConnection, Stream
from openreg_airflow.extract.readers.mysql_errors import connection_error, cut, query_error
from openreg_airflow.extract.readers.mysql_settings import UNCUT
from openreg_airflow.extract.readers.mysql_types import CONVERSIONS, array, column
from openreg_airflow.extract.readers.writing import refuse_writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Session, SourceColumn

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 30
_CANCEL_SECONDS = 5
#: A read that outlives the query's own limit by this is of a dead network.
_READ_GRACE_SECONDS = 60

#: Batches start small, since the first rows may be wide.
_FIRST_ROWS = 10
_MOST_ROWS = 20_000
#: Values that are Python objects at the same time: as many as stay in the processor's cache, which
#: takes a third off the time.
_PIECE_VALUES = 20_000
_SHOWN_WARNINGS = 5
#: The most that rows may hold which are asked for at once, if each is as long as its columns allow.
_UNSEEN_BYTES = 4 * BATCH_BYTES
#: The protocol's longest value: columns that may hold it say so, or -1.
_LONGEST_VALUE = 1 << 32

#: What a connection's extra may hold of the driver's options, as MySqlHook reads it.
_OPTIONS = ("ssl_mode", "unix_socket", "read_default_group")
#: How MySQL's own Python driver, the hook's other client, spells the same.
_SSL_FILES = {"ssl_ca": "ca", "ssl_cert": "cert", "ssl_key": "key", "ssl_cipher": "cipher"}


class MysqlReader:
    """Reads MySQL 8 and MariaDB 10 and newer."""

    dialect = "mysql"

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        """Log in and begin the read-only transaction.

        Raises:
            SourceError: the login, the database or the options are refused.
            SourceUnavailableError: the server cannot be reached or takes no more sessions.
        """
        given = options(connection)
        session = MysqlSession(
            _connect(given, connection, read_timeout=timeout_seconds + _READ_GRACE_SECONDS),
            lambda: _connect(given, connection, connect_timeout=_CANCEL_SECONDS, read_timeout=5),
        )
        where = f"connection {connection.conn_id}"
        try:
            if wants_tls(given) and not session.encrypted():
                message = "the server does not speak TLS, which the connection asks for"
                hint = "Let the server speak TLS, or correct `ssl` and `ssl_mode` of the extra."
                raise SourceError(message, where=where, hint=hint)
            session.begin(timeout_seconds)
        except MySQLdb.Error as error:
            session.close()
            raise query_error(error, where) from error
        except SourceError:
            session.close()
            raise
        return session


def options(connection: SourceConnection) -> dict[str, Any]:
    """The driver's options for a connection, as MySqlHook reads them."""
    extra = connection.extra
    given: dict[str, Any] = {
        "host": connection.host or "localhost",
        "port": connection.port or 3306,
        "user": connection.login or "",
        "password": connection.password or "",
        "database": connection.database or "",
    }
    given.update({name: extra[name] for name in _OPTIONS if extra.get(name)})
    ssl = extra.get("ssl")
    try:
        ssl = json.loads(ssl) if isinstance(ssl, str) else ssl
    except ValueError as error:
        message = f"connection {connection.conn_id}: `ssl` of its extra is not JSON"
        raise SpecError(message, hint='Write it as {"ca": "/path/to/ca.pem"}.') from error
    ssl = ssl or {_SSL_FILES[name]: extra[name] for name in _SSL_FILES if extra.get(name)}
    return given | ({"ssl": ssl} if ssl else {})


def wants_tls(given: Mapping[str, Any]) -> bool:
    """Whether these options ask for TLS; the driver goes on without it when the server has none."""
    mode = str(given.get("ssl_mode", "")).upper()
    return mode not in ("DISABLED", "PREFERRED") and bool(mode or given.get("ssl"))


def _connect(given: Mapping[str, Any], connection: SourceConnection, **more: Any) -> Any:
    fixed = {
        "charset": "utf8mb4",
        "use_unicode": False,
        "conv": CONVERSIONS,
        "multi_statements": False,
        "local_infile": 0,
        "autocommit": None,
        "connect_timeout": _CONNECT_SECONDS,
    }
    try:
        return MySQLdb.connect(**given, **(fixed | more))
    except MySQLdb.Error as error:
        raise connection_error(error, connection.conn_id) from error
    except TypeError as error:
        message = f"the connection's options are refused: {error}"
        raise SourceError(message, where=f"connection {connection.conn_id}") from error


class MysqlSession:
    """One transaction; see :class:`openreg_airflow.extract.reader.Session`.

    Args:
        connection: logged in.
        another: logs in once more; a running query is only stopped from a second session.
    """

    def __init__(self, connection: Any, another: Any) -> None:
        self._connection = connection
        self._another = another
        self._id = int(connection.thread_id())
        self._result: Any = None
        self._open = True
        self._lock = threading.Lock()  # cancel() comes from another thread than close()
        version = str(connection.get_server_info())
        self._mariadb = "mariadb" in version.lower()
        version = version.removeprefix("5.5.5-")  # put there for old replicas
        self.server = f"{'MariaDB' if self._mariadb else 'MySQL'} {version}"

    def encrypted(self) -> bool:
        """Whether the session goes through TLS."""
        self._connection.query(b"SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        rows = self._connection.store_result().fetch_row(1, 0)
        return bool(rows and rows[0][1])

    def begin(self, timeout_seconds: int) -> None:
        """Begin the transaction and fix what the result must not depend on."""
        limit = (
            f"max_statement_time = {timeout_seconds}"
            if self._mariadb
            else f"max_execution_time = {timeout_seconds * 1000}"
        )
        for statement in (
            f"SET SESSION time_zone = '+00:00', {UNCUT}, {limit}",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ):
            self._connection.query(statement.encode())

    def hold(self) -> None:
        """Nothing more: the transaction has begun with a consistent snapshot."""

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:  # noqa: ARG002
        """Start the query; see :class:`openreg_airflow.extract.reader.Session`."""
        refuse_writing(query)
        rendered = query.render(lambda name: self._spell(query.parameters[name]))
        try:
            self._connection.query(rendered.text.encode())
            self._result = self._connection.use_result()
        except MySQLdb.Error as error:
            raise query_error(error, query.file) from error
        if self._result is None:
            return Stream((), iter(()))
        described = zip(
            self._result.describe(),
            self._result.field_flags(),
            self._result.converter,
            strict=True,
        )
        columns = tuple(column(*field) for field in described)
        fetched = _Fetched(self._result)
        return Stream(columns, self._batches(columns, fetched, query.file))

    def _batches(
        self, columns: tuple[SourceColumn, ...], fetched: _Fetched, file: str
    ) -> Iterator[pa.RecordBatch]:
        most = max(1, _PIECE_VALUES // len(columns))
        wanted = _FIRST_ROWS
        while wanted:
            pieces: list[pa.RecordBatch] = []
            rows = size = 0
            while wanted and rows < _MOST_ROWS and size < BATCH_BYTES:
                piece = self._piece(columns, fetched, wanted, file)
                if piece is None:
                    wanted = 0
                    continue
                pieces.append(piece)
                count, taken = piece.num_rows, piece.nbytes
                rows, size = rows + count, size + taken
                wanted = max(1, min(BATCH_BYTES * count // max(taken, 1), count * 10, most))
            if pieces:
                yield pa.concat_batches(pieces)

    def _piece(
        self, columns: tuple[SourceColumn, ...], fetched: _Fetched, wanted: int, file: str
    ) -> pa.RecordBatch | None:
        """The next few rows; None after the last."""
        try:
            rows = fetched.rows(wanted)
        except MySQLdb.Error as error:
            self._result = None
            raise query_error(error, file) from error
        if not rows:
            self._result = None
            self._hear(file)
            return None
        arrays = [
            array(values, found)
            for values, found in zip(zip(*rows, strict=True), columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=[found.name for found in columns])

    def _hear(self, file: str) -> None:
        """Hand on what the server says of values that it gave all the same.

        Raises:
            SourceError: it has cut one.
        """
        count = self._connection.warning_count()
        if not count:
            return
        try:
            self._connection.query(b"SHOW WARNINGS")
            said = self._connection.store_result().fetch_row(0, 0)
        except MySQLdb.Error as error:
            raise query_error(error, file) from error
        warnings = [(int(number), text.decode(errors="replace")) for _, number, text in said]
        if (refusal := cut(warnings, file)) is not None:
            raise refusal
        shown = "; ".join(f"{text} ({number})" for number, text in warnings[:_SHOWN_WARNINGS])
        log.warning("%s warns %d times of values of %s: %s", self.server, count, file, shown)

    def _spell(self, value: date | Decimal | int | str | tuple[Any, ...]) -> str:
        """A parameter as the driver binds it: a literal of its type, quoted by the driver."""
        if isinstance(value, tuple):
            return ", ".join(self._spell(part) for part in value)
        if isinstance(value, str):
            quoted: bytes = self._connection.string_literal(value.encode())
            return quoted.decode()
        if isinstance(value, int):
            return str(value)
        return f"{value:f}" if isinstance(value, Decimal) else f"DATE'{value.isoformat()}'"

    def cancel(self) -> None:
        """Ask the server to stop; see :class:`openreg_airflow.extract.reader.Session`."""
        with self._lock, suppress(MySQLdb.Error, SourceError, OSError):
            if self._open:
                self._kill()

    def _kill(self) -> None:
        from openreg_airflow.errors import SourceUnavailableError

        with suppress(SourceUnavailableError), closing(self._another()) as other:
            other.query(f"KILL QUERY {self._id}".encode())

    def close(self) -> None:
        """End the session; see :class:`openreg_airflow.extract.reader.Session`."""
        if self._result is not None:
            # The driver ends a result by reading the rest of it, so the rest has to be short.
            self.cancel()
            with suppress(MySQLdb.Error):
                self._result.discard()
            self._result = None
        with self._lock, suppress(MySQLdb.Error):
            self._open = False
            self._connection.close()


class _Fetched:
    """The rows of a result, which end early when they are wide: narrow rows tell nothing of them.

    Args:
        result: of the driver, streaming.
    """

    def __init__(self, result: Any) -> None:
        self._result = result
        lengths = [field[3] if field[3] >= 0 else _LONGEST_VALUE for field in result.describe()]
        self._at_once = max(1, _UNSEEN_BYTES // max(1, sum(lengths)))
        # What the other columns hold is not worth counting.
        least = BATCH_BYTES // _PIECE_VALUES
        self._long = [index for index, length in enumerate(lengths) if length > least]

    def rows(self, wanted: int) -> Sequence[tuple[bytes | None, ...]]:
        """So many of the next rows, or fewer of some bytes together; none after the last."""
        if wanted <= self._at_once:
            found: tuple[tuple[bytes | None, ...], ...] = self._result.fetch_row(wanted, 0)
            return found
        rows: list[tuple[bytes | None, ...]] = []
        size = 0
        while len(rows) < wanted and size < BATCH_BYTES:
            some = self._result.fetch_row(min(self._at_once, wanted - len(rows)), 0)
            if not some:
                break
            rows += some
            size += sum(len(row[index] or b"") for row in some for index in self._long)
        return rows
