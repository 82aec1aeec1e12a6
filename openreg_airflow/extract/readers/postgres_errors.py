"""Which of PostgreSQL's errors are final, and which may pass.

Errors of a session carry an SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
Errors of a login do not: libpq gives their text only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import adbc_driver_manager

from openreg_airflow.errors import SourceError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Classes and codes after which another try may succeed: connection exceptions, deadlocks and
#: serialization failures, insufficient resources, operator intervention, system errors.
_PASSING = re.compile(r"08...|40...|53...|57P0[1-5]|57014|58...|55P03")

#: Refusals of a login that pass: too many sessions; starting, stopping or recovering; a session
#: that was ended while the driver asked for the server's types.
_LATER = re.compile(
    r"too many (?:connections|clients)|connection slots|starting up|shutting down|recovery mode"
    r"|not (?:yet )?accept|cannot connect now|consistent recovery state|query_wait_timeout"
    r"|terminating connection"
)
#: Failures before the server was asked that will not pass: TLS and options.
_SETUP = re.compile(
    r"does not support SSL|certificate|SSL error|invalid \w+ value|invalid connection option"
    r"|invalid URI|invalid integer value|authentication method|no password supplied|GSSAPI"
    r"|could not load|missing \"=\" after|unterminated quoted string"
)
#: Of the driver's first query, which runs before any setting of ours.
_TIMED_OUT = "canceling statement due to statement timeout"
_HINTS = {
    "28": "Check the connection's login and password.",
    "42501": "Let the connection's login read this, or correct the query.",
    "42P01": "Correct the name in the query, or the connection's schema (search_path).",
    "42703": "Correct the column's name in the query.",
    "57014": "Make the query faster, or raise `timeout_seconds`.",
    "25006": "A source may only read.",
    "22P02": "A value cannot be converted as the query asks.",
}


def connection_error(
    error: adbc_driver_manager.Error, conn_id: str
) -> SourceError | SourceUnavailableError:
    """What a failed login means.

    ``FATAL`` marks an answer of the server; anything else happened on the way to it.
    """
    text = _primary(error)
    where = f"connection {conn_id}"
    answered = "FATAL:" in text
    if answered and not _LATER.search(text):
        return SourceError(
            f"PostgreSQL refuses: {text}",
            where=where,
            hint="Check login, password and database of the connection.",
        )
    if not answered and _SETUP.search(text):
        return SourceError(
            f"PostgreSQL cannot be reached this way: {text}",
            where=where,
            hint="Check the connection's extra: TLS and libpq options.",
        )
    if _TIMED_OUT in str(error):
        return SourceUnavailableError(
            "PostgreSQL stops the driver's query for types after the login's statement_timeout",
            where=where,
            hint=(
                "Raise it for the login, or write `-c statement_timeout=60s` into `options` in the "
                "extra of the connection."
            ),
        )
    return SourceUnavailableError(
        f"PostgreSQL cannot be reached: {text}",
        where=where,
        hint="Check host and port of the connection, and that the server runs.",
    )


def query_error(
    error: adbc_driver_manager.Error,
    where: str,
    *,
    place: Callable[[int], str] | None = None,
) -> SourceError | SourceUnavailableError:
    """What a failed statement means.

    Args:
        error: the driver's error.
        where: the SQL file.
        place: gives the place in the file of a 0-based character of the statement.
    """
    state = error.sqlstate or ""
    details = {_text(key): _text(value) for key, value in error.details or ()}
    position = details.get("PG_DIAG_STATEMENT_POSITION", "")
    if place is not None and position.isdigit():
        where = place(int(position) - 1)
    text = details.get("PG_DIAG_MESSAGE_PRIMARY") or _primary(error)
    lost = not state and error.status_code == adbc_driver_manager.AdbcStatusCode.IO
    if lost or _PASSING.fullmatch(state):
        happened = "the connection was lost" if lost else f"PostgreSQL stopped the query ({state})"
        return SourceUnavailableError(f"{happened}: {text}", where=where, hint=_HINTS.get(state))
    hint = _HINTS.get(state) or _HINTS.get(state[:2])
    return SourceError(
        f"PostgreSQL refuses the query{f' ({state})' if state else ''}: {text}",
        where=where,
        hint=hint,
    )


def unknown_types(where: str) -> SourceError:
    """What a session means whose results have no types: the driver looks for unquoted names."""
    return SourceError(
        "the login's sessions begin with quote_all_identifiers, and the driver then knows no type",
        where=where,
        hint=(
            "Reset it for the login, or write `-c quote_all_identifiers=off` into `options` in the "
            "extra of the connection."
        ),
    )


def _primary(error: adbc_driver_manager.Error) -> str:
    """The first line of a message, without what the driver puts around it."""
    text = re.sub(r"^[A-Z_]+: (?:\[libpq\] )?", "", str(error).strip())
    text = re.sub(r"^Failed to connect: ", "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"\. SQLSTATE: \w+$", "", lines[0]) if lines else type(error).__name__


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
