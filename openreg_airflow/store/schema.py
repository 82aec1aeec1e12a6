"""Making and checking the store's tables."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, inspect, select, table, text

from openreg_airflow.errors import StoreNotReadyError, StoreUnavailableError
from openreg_airflow.store.engine import (
    LOCK_SECONDS,
    connect_engine,
    parse_url,
    shown,
    sqlite_file,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnClause, Connection, Engine
    from sqlalchemy.engine import URL

#: The newest migration: the state of the tables that this version of the package works with.
REVISION = "0016"
#: The store may share a database with others that use Alembic, so its version table is its own.
VERSION_TABLE = "openreg_alembic_version"
_MIGRATIONS = Path(__file__).with_name("migrations")
#: Any number that nothing else in the database is likely to lock.
_ADVISORY_LOCK = 0x6F70656E726567
_HINT = "Run: openreg db upgrade"

log = logging.getLogger(__name__)


def upgrade(url: str) -> tuple[str | None, str]:
    """Bring the tables to the newest state; harmless when they are, or when two run at once.

    Args:
        url: SQLAlchemy URL of the store. A missing SQLite file and its folder are created.

    Returns:
        The revision before (None for an empty database) and after.

    Raises:
        StoreNotReadyError: the tables were made by a newer version of the package.
        StoreUnavailableError: the database cannot be reached, or the folder cannot be written.
    """
    from alembic import command
    from alembic.config import Config

    parsed = parse_url(url)
    engine = connect_engine(parsed)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with _alone(parsed), transaction(engine, write=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        before = _revision(connection)
        if before is not None and before > REVISION:
            raise _too_new(before, parsed)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        after = _revision(connection)
    log.info("store %s: revision %s, before %s", shown(parsed), after, before)
    return before, after or REVISION


def current(url: str) -> str | None:
    """The revision of the tables; None when there are none.

    Raises:
        StoreUnavailableError: the database cannot be reached.
    """
    return _found(connect_engine(parse_url(url)))


def require(engine: Engine) -> None:
    """Check that the tables are there and of this version.

    Args:
        engine: made by :func:`openreg_airflow.store.engine.connect_engine`.

    Raises:
        StoreNotReadyError: they are not; the hint says what to run.
        StoreUnavailableError: the database cannot be reached.
    """
    found = _found(engine)
    if found is None:
        message = f"the store {shown(engine.url)} has no tables yet"
        raise StoreNotReadyError(message, hint=_HINT)
    if found > REVISION:
        raise _too_new(found, engine.url)
    if found < REVISION:
        message = f"the store {shown(engine.url)} is at revision {found}, needed is {REVISION}"
        raise StoreNotReadyError(message, hint=_HINT)


def _found(engine: Engine) -> str | None:
    file = sqlite_file(engine.url)
    # Connecting would make an empty file.
    if file is not None and not file.exists():
        return None
    with transaction(engine, write=False) as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: ColumnClause[str] = column("version_num")
    return connection.scalar(select(version).select_from(table(VERSION_TABLE)))


def _too_new(found: str, url: URL) -> StoreNotReadyError:
    message = f"the store {shown(url)} is at revision {found}, this version knows {REVISION}"
    return StoreNotReadyError(
        message, hint="A newer openreg-airflow made it. Install that version here too."
    )


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    """Let one process at a time make a SQLite file, and leave it with a write-ahead log.

    Changing the journal's mode does not wait for other processes, hence the lock on the folder.
    """
    file = sqlite_file(url)
    if file is None:
        yield
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(file.parent, os.O_RDONLY)
    except OSError as error:
        message = f"the folder of the store cannot be made: {error}"
        raise StoreUnavailableError(message, hint="Check [openreg] store_url.") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with closing(sqlite3.connect(file, timeout=LOCK_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        yield
    except sqlite3.Error as error:
        message = f"the store {file} cannot be used: {error}"
        raise StoreUnavailableError(message, hint="Check [openreg] store_url.") from error
    finally:
        os.close(folder)
