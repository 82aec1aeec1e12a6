"""Which of MySQL's and MariaDB's errors are final, and which may pass.

The server's numbers: https://mariadb.com/docs/server/reference/error-codes, the client's (2000 and
up): https://dev.mysql.com/doc/mysql-errors/8.4/en/client-error-reference.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from openreg_airflow.errors import SourceError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import MySQLdb

_TOO_LONG = (1969, 3024)  # MariaDB's and MySQL's

#: After these another try may succeed.
_PASSING = frozenset(
    {
        1021,  # the server's disk is full
        1037, 1038, 1041,  # its memory is
        1040, 1203, 1226,  # too many sessions
        1053, 1077, 1079,  # it shuts down
        1152, 1158, 1159, 1160, 1161, 1184,  # it lost us
        1205, 1213,  # locks
        1317, 1927, 4031,  # the statement or the session was killed
        *_TOO_LONG,
    }
)  # fmt: skip
#: The client's: the server is not there, or no longer.
_LOST = frozenset({2001, 2002, 2003, 2004, 2005, 2006, 2011, 2012, 2013, 2027, 2055})
_TLS = 2026
#: Some of TLS's failures are of the network below it.
_NETWORK = re.compile(r"reset|closed|eof|timed? ?out|broken pipe", re.IGNORECASE)

#: Warnings of values that are cut, or NULL, since the server's settings allow none so long.
_CUT = {
    1260: "Raise group_concat_max_len of the server.",
    1301: "Raise max_allowed_packet of the server, or let the query make shorter values.",
}

_HINTS = {
    1044: "Check the connection's database and what its login may read.",
    1045: "Check the connection's login and password.",
    1049: "Check the connection's database (its schema).",
    1130: "Let the server accept this login from the worker's host.",
    1142: "Let the connection's login read this, or correct the query.",
    1143: "Let the connection's login read this, or correct the query.",
    1146: "Correct the name in the query, or the connection's database (its schema).",
    1054: "Correct the column's name in the query.",
    1792: "A source may only read.",
    _TLS: "Check `ssl` and `ssl_mode` of the connection's extra.",
    **dict.fromkeys(_TOO_LONG, "Make the query faster, or raise `timeout_seconds`."),
}


def connection_error(error: MySQLdb.Error, conn_id: str) -> SourceError | SourceUnavailableError:
    """What a failed login means."""
    number, text = _parts(error)
    where = f"connection {conn_id}"
    if number in _LOST or number in _PASSING or (number == _TLS and _NETWORK.search(text)):
        return SourceUnavailableError(
            f"MySQL cannot be reached ({number}): {text}",
            where=where,
            hint="Check host and port of the connection, and that the server runs.",
        )
    return SourceError(
        f"MySQL refuses ({number}): {text}",
        where=where,
        hint=_HINTS.get(number, "Check login, password, database and extra of the connection."),
    )


def query_error(error: MySQLdb.Error, where: str) -> SourceError | SourceUnavailableError:
    """What a failed statement means; ``where`` is the SQL file."""
    number, text = _parts(error)
    hint = _HINTS.get(number)
    if number in _LOST:
        return SourceUnavailableError(
            f"the connection was lost ({number}): {text}", where=where, hint=hint
        )
    if number in _PASSING:
        return SourceUnavailableError(
            f"MySQL stopped the query ({number}): {text}", where=where, hint=hint
        )
    if line := re.search(r" at line (\d+)$", text):
        where = f"{where}, line {line[1]}"
    return SourceError(f"MySQL refuses the query ({number}): {text}", where=where, hint=hint)


def cut(warnings: Sequence[tuple[int, str]], file: str) -> SourceError | None:
    """The error for values that are not whole, if a warning tells of one.

    Args:
        warnings: number and text of each, after the last row.
        file: the SQL file.
    """
    for number, text in warnings:
        if number in _CUT:
            message = f"MySQL has cut a value ({number}): {text}"
            return SourceError(message, where=file, hint=_CUT[number])
    return None


def _parts(error: MySQLdb.Error) -> tuple[int, str]:
    """The error's number, 0 when the driver itself objects, and its text."""
    if len(error.args) > 1 and isinstance(error.args[0], int):
        return error.args[0], str(error.args[1])
    return 0, str(error.args[0] if error.args else type(error).__name__)
