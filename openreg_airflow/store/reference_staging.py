"""Brings many references into a temporary table, against which sets are then held."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from openreg_airflow.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    #: Position from 0, reference, whether it is cancelled, hash of the record, what it needs of the
    #: reference before, what it tells of; see :func:`openreg_airflow.references.content.load`.
    StagedRecord = tuple[int, str, bool, str, str, str]

_COLUMNS = "position, reference, cancels, digest, needs, event"


def stage(connection: Connection, batches: Iterable[list[StagedRecord]]) -> None:
    """Fill the temporary table ``openreg_staged`` of a transaction.

    Args:
        connection: in a transaction; with the connection the table goes.
        batches: its rows.
    """
    postgres = connection.dialect.name == "postgresql"
    if not postgres:
        # Many references are looked up in no order: SQLite's 2 MB would be filled again and again.
        connection.execute(text("PRAGMA cache_size = -131072"))
    connection.execute(
        text(
            "CREATE TEMPORARY TABLE openreg_staged (position BIGINT PRIMARY KEY, reference "
            "VARCHAR NOT NULL, cancels BOOLEAN NOT NULL, digest VARCHAR NOT NULL, "
            "needs VARCHAR NOT NULL, event VARCHAR NOT NULL)"
            f"{' ON COMMIT DROP' if postgres else ''}"
        )
    )
    for batch in batches:
        if not batch:
            continue
        if connection.dialect.driver == "psycopg2":
            _copy(connection, batch)
        else:
            marks = ", ".join(["%s" if postgres else "?"] * 6)
            connection.exec_driver_sql(
                f"INSERT INTO openreg_staged ({_COLUMNS}) VALUES ({marks})",  # noqa: S608
                batch,
            )
    connection.execute(text("CREATE INDEX ix_openreg_staged ON openreg_staged (reference)"))
    if postgres:
        connection.execute(text("ANALYZE openreg_staged"))


def _copy(connection: Connection, batch: list[StagedRecord]) -> None:
    """Copy rows, which takes a tenth of the time of inserting them.

    Raises:
        StoreUnavailableError: the database went away or refuses.
    """
    lines = io.StringIO()
    csv.writer(lines, quoting=csv.QUOTE_ALL).writerows(batch)
    lines.seek(0)
    driver: Any = connection.dialect.dbapi
    cursor: Any = connection.connection.cursor()
    try:
        with cursor:
            cursor.copy_expert(f"COPY openreg_staged ({_COLUMNS}) FROM STDIN (FORMAT csv)", lines)
    except driver.Error as error:
        message = f"the store took no references: {' '.join(str(error).split())}"
        raise StoreUnavailableError(message, hint="Check that the database is up.") from error


def lock_scope(connection: Connection, scope: str) -> None:
    """Keep others from the references of a scope until the transaction ends."""
    if connection.dialect.name != "postgresql":
        return
    digest = hashlib.sha256(f"references\0{scope}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": number})
