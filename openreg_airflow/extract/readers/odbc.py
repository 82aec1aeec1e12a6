"""Any database with an ODBC driver: rows in bulk, straight into Arrow.

ODBC drivers differ in what they say of a column and in what they do with a value, so nothing that
may lose digits is left to them: decimals and 64-bit integers come as the driver's text and are
converted exactly. What a session needs beyond ODBC (a time zone, a read-only transaction, a way to
stop a query) is known for the databases of :mod:`openreg_airflow.extract.readers.odbc_products`.

The driver works in a process of its own: it may crash, it may let nobody else in while it waits,
and it may read a result to its end before it lets go of it. The process can then just be ended.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import OpenRegError, SourceUnavailableError, SpecError
from openreg_airflow.extract.reader import SourceConnection, Stream
from openreg_airflow.extract.readers.writing import refuse_writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Session

#: The widest text or binary value, where the connection's extra names no other. The driver needs
#: the room for every row of a batch, whatever the values are. A longer value is an error.
_WIDEST = 8_192
WIDEST_OPTION = "max_text_size"

#: What an extra may hold that is not for the driver.
_NOT_THE_DRIVERS = frozenset(
    {"driver", "dsn", "connect_kwargs", "sqlalchemy_scheme", "placeholder", WIDEST_OPTION}
)

#: Logs in once more to stop a query; secrets go by its input, not its arguments.
_CANCEL = (
    "import json, sys, pyodbc; text, stop = json.load(sys.stdin); "
    "pyodbc.connect(text, timeout=5, autocommit=True).execute(stop)"
)
_CANCEL_SECONDS = 8


class OdbcReader:
    """Reads through an installed ODBC driver, which the connection's extra or DSN names."""

    dialect = ""

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        """Log in and make the session a reading one.

        Raises:
            SourceError: the driver, the login, the database or the options are refused.
            SourceUnavailableError: the server cannot be reached or takes no more sessions.
        """
        text = connection_string(connection)
        session = OdbcSession(text)
        try:
            session.begin(
                {
                    "conn_id": connection.conn_id,
                    "text": text,
                    "widest": _widest(connection),
                    "timeout_seconds": timeout_seconds,
                }
            )
        except BaseException:
            session.close()
            raise
        return session


def connection_string(connection: SourceConnection) -> str:
    """ODBC's connection string, with the parts in OdbcHook's order.

    Raises:
        SpecError: neither a driver nor a DSN is named.
    """
    extra = {key.lower(): value for key, value in connection.extra.items()}
    if not extra.get("driver") and not extra.get("dsn"):
        message = f"connection {connection.conn_id} names neither an ODBC driver nor a DSN"
        raise SpecError(message, hint="Set `driver` or `dsn` in the connection's extra.")
    parts = {
        "DSN": extra.get("dsn"),
        "SERVER": connection.host,
        "DATABASE": connection.database,
        "UID": connection.login,
        "PWD": connection.password,
        "PORT": connection.port,
    }
    driver = f"DRIVER={{{str(extra['driver']).strip('{} ')}}};" if extra.get("driver") else ""
    options = {k: v for k, v in connection.extra.items() if k.lower() not in _NOT_THE_DRIVERS}
    return driver + "".join(
        f"{key}={_quoted(value)};" for key, value in (parts | options).items() if value is not None
    )


def _quoted(value: object) -> str:
    """A value as ODBC has it; in braces only if it must be, since drivers keep them in some."""
    text = str(value)
    plain = text == text.strip() and not set(text) & set("[]{}(),;?*=!@")
    return text if plain and text else "{" + text.replace("}", "}}") + "}"


def _widest(connection: SourceConnection) -> int:
    given = str(connection.extra.get(WIDEST_OPTION, _WIDEST))
    if not given.isdigit() or not int(given):
        message = f"connection {connection.conn_id}: {WIDEST_OPTION} {given!r} is no size in bytes"
        raise SpecError(message, hint=f"Write a number in the extra, for example {_WIDEST}.")
    return int(given)


class OdbcSession:
    """One session; see :class:`openreg_airflow.extract.reader.Session`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._stop: str | None = None
        self._reading = False
        self._lock = threading.Lock()  # cancel() comes from another thread than close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "openreg_airflow.extract.readers.odbc_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.server = "ODBC"

    def begin(self, login: Mapping[str, Any]) -> None:
        """Log in; learn how a query is stopped."""
        self.server, self._stop = self._ask(login)

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:  # noqa: ARG002
        """Start the query; see :class:`openreg_airflow.extract.reader.Session`."""
        refuse_writing(query)
        self._reading = True
        return Stream(self._ask(query), self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._answer()) is not None:
            yield batch
        self._reading = False

    def _ask(self, request: object) -> Any:
        pipe = self._process.stdin
        with suppress(OSError):  # it is gone; what it said before, if anything, is read next
            pickle.dump(request, pipe)  # type: ignore[arg-type]
            pipe.flush()  # type: ignore[union-attr]
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = pickle.load(self._process.stdout)  # type: ignore[arg-type]  # noqa: S301 - our own process
        except (EOFError, pickle.UnpicklingError, OSError, ValueError) as error:
            self._reading = False
            message = f"the connection was lost: the driver's process ended ({self._ended()})"
            raise SourceUnavailableError(message) from error
        if isinstance(answer, OpenRegError):
            self._reading = False
            raise answer
        return answer

    def _ended(self) -> str:
        self._process.kill()
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def cancel(self) -> None:
        """Ask the server to stop; see :class:`openreg_airflow.extract.reader.Session`."""
        with self._lock:
            if self._process.poll() is not None:
                return
            if self._stop is not None:
                with suppress(subprocess.SubprocessError, OSError):
                    subprocess.run(
                        [sys.executable, "-I", "-c", _CANCEL],
                        input=json.dumps([self._text, self._stop]).encode(),
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        timeout=_CANCEL_SECONDS,
                        check=False,
                    )
            self._process.kill()

    def close(self) -> None:
        """End the session; see :class:`openreg_airflow.extract.reader.Session`."""
        if self._reading:
            self.cancel()
        with self._lock:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
