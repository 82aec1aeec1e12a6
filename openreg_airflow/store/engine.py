"""Connections to the store's database: SQLite by default, PostgreSQL by configuration."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event, literal_column
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.pool import NullPool

from openreg_airflow.errors import SpecError, StoreNotReadyError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Engine
    from sqlalchemy.orm import InstrumentedAttribute

#: Seconds to wait for a connection, and for the locks of other processes.
CONNECT_SECONDS = 10
LOCK_SECONDS = 30
#: PostgreSQL's codes of a server that takes no writes, as after a failover, and of missing rights.
_READ_ONLY = "25006"
_NO_RIGHT = "42501"


def parse_url(text: str) -> URL:
    """Parse the store's URL; ``postgresql://`` without a driver means psycopg2.

    Raises:
        SpecError: the text is not a URL of SQLite or PostgreSQL.
    """
    hint = "Set [openreg] store_url to sqlite:////path/store.db or postgresql+psycopg2://..."
    try:
        url = make_url(text)
    except ArgumentError as error:
        # The text may hold a password, so it is not repeated.
        message = "the store's URL cannot be read"
        raise SpecError(message, hint=hint) from error
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg2")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        message = f"the store cannot be in {url.get_backend_name()}"
        raise SpecError(message, hint=hint)
    if url.get_backend_name() == "sqlite" and sqlite_file(url) is None:
        message = "the store cannot be in memory: every task is a process of its own"
        raise SpecError(message, hint=hint)
    return url


def sqlite_file(url: URL) -> Path | None:
    """The database file of a SQLite URL; None for memory, and for another database."""
    name = url.database if url.get_backend_name() == "sqlite" else None
    return Path(name) if name and name != ":memory:" and not name.startswith("file:") else None


def shown(url: URL) -> str:
    """The URL without its password, for messages."""
    return url.render_as_string(hide_password=True)


def connect_engine(url: URL) -> Engine:
    """Make an engine whose connections end with each transaction.

    A task writes a few rows and goes: a pool would only hold connections of a database that
    hundreds of tasks share.
    """
    if url.get_backend_name() == "sqlite":
        engine = _engine(url, timeout=LOCK_SECONDS)
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    return _engine(url, connect_timeout=CONNECT_SECONDS, tcp_user_timeout=LOCK_SECONDS * 1000)


def _engine(url: URL, **arguments: int) -> Engine:
    # Values are those of records: they have no place in a log.
    return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)


@contextmanager
def transaction(engine: Engine, *, write: bool) -> Iterator[Connection]:
    """One transaction on a connection of its own, committed when the block ends well.

    Args:
        engine: made by :func:`connect_engine`.
        write: take SQLite's write lock at once: a transaction that first reads and then writes
            cannot wait for the lock and would fail when another process writes.

    Raises:
        StoreUnavailableError: the database cannot be reached, went away, or stays locked.
        StoreNotReadyError: a SQLite store's file is something else.
    """
    with (
        failures_told(engine),
        engine.connect().execution_options(openreg_write=write) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def failures_told(engine: Engine) -> Iterator[None]:
    """Tell the database's own errors as ours.

    Raises:
        StoreUnavailableError: the database cannot be reached, went away, stays locked, or takes no
            writes.
        StoreNotReadyError: the login lacks rights, or a SQLite store's file is something else.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        message = f"the store {shown(engine.url)} cannot be used: {reason(error)}"
        file = sqlite_file(engine.url)
        # SQLite says no more than "disk I/O error" of a full disk.
        fit = "database is up" if file is None else f"disk of {file} has room and can be written"
        raise StoreUnavailableError(
            message, hint=f"Check that the {fit} and [openreg] store_url is right."
        ) from error
    except DatabaseError as error:
        code = getattr(error.orig, "pgcode", None)
        if code == _READ_ONLY:
            message = f"the store {shown(engine.url)} takes no writes: {reason(error)}"
            raise StoreUnavailableError(
                message, hint="Let [openreg] store_url lead to the server that is the primary now."
            ) from error
        if code == _NO_RIGHT:
            message = f"the store {shown(engine.url)} refuses this: {reason(error)}"
            hint = (
                "The login of [openreg] store_url needs the right to read and write the store's "
                "tables. What a trail or a history has is rewritten by nobody."
            )
            raise StoreNotReadyError(message, hint=hint) from error
        # A constraint, a value or a statement of ours is another class; this one is the file.
        if type(error) is not DatabaseError:
            raise
        message = f"the store {shown(engine.url)} cannot be read: {reason(error)}"
        raise StoreNotReadyError(
            message, hint="[openreg] store_url names a file that is not a store."
        ) from error


def without_index(connection: Connection, column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """A column whose index SQLite leaves alone: it cannot know how many rows that would spare.

    A unary plus keeps it from the index. PostgreSQL knows, and has the column as it is.
    """
    if connection.dialect.name != "sqlite":
        return column.expression
    return literal_column(f"+{column.class_.__tablename__}.{column.key}", column.type)


def reason(error: DBAPIError) -> str:
    """The driver's own words on one line, without the statement and its values."""
    return " ".join(str(error.orig).split())


def _sqlite_connect(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions on its own: _sqlite_begin does.
    connection.isolation_level = None
    # With a write-ahead log NORMAL can lose the last commits when the machine loses power.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _sqlite_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("openreg_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
