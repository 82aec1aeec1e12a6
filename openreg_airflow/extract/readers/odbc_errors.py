"""Which errors of ODBC drivers are final, and which may pass.

A driver gives an SQLSTATE, its own number and a text; not all drivers choose the state with care,
so some meanings are read from the text of the drivers that are known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from openreg_airflow.errors import SourceError, SourceUnavailableError

if TYPE_CHECKING:
    import arrow_odbc
    import pyodbc

#: Connection lost, serialization and deadlock, resources, operator intervention, time-outs, and
#: MySQL's interrupted query.
_PASSING = re.compile(r"08...|40...|53...|57P0[1-5]|57014|58...|55P03|HYT0[01]|70100")
_LOST = re.compile(
    r"server closed the connection|gone away|lost connection|could not receive data|broken pipe"
    r"|no connection to the server|connection (?:was |has been )?(?:reset|closed|lost|terminated"
    r"|is not available)|terminating connection|communication link|was killed|shutdown in progress"
    r"|connection to (?:the )?server was lost|error reading (?:result|packet)|ssl syscall"
    r"|unexpected eof|no response from",
    re.IGNORECASE,
)
#: Refusals of a login that pass.
_LATER = re.compile(
    r"too many (?:connections|clients)|connection slots|starting up|shutting down|recovery mode",
    re.IGNORECASE,
)
#: Refusals of a login that do not, whatever state they come with.
_REFUSED = re.compile(
    r"FATAL:|does not support SSL|certificate|SSL error|can't open lib|invalid \w+ value"
    r"|no password supplied|authentication failed",
    re.IGNORECASE,
)
_REFUSING_STATES = re.compile(r"28...|42...|3D...|IM0..")
_TOO_WIDE = re.compile(r"truncat|too large|TooLarge|maximum size|larger than", re.IGNORECASE)


def connection_error(
    error: pyodbc.Error | arrow_odbc.Error, conn_id: str
) -> SourceError | SourceUnavailableError:
    """What a failed login means."""
    state, text = _parts(error)
    where = f"connection {conn_id}"
    refused = _REFUSING_STATES.fullmatch(state) or _REFUSED.search(text)
    if refused and not _LATER.search(text):
        return SourceError(
            f"the ODBC source refuses ({state}): {text}",
            where=where,
            hint="Check driver, login, password, database and extra of the connection.",
        )
    return SourceUnavailableError(
        f"the ODBC source cannot be reached ({state}): {text}",
        where=where,
        hint="Check host and port of the connection, and that the server runs.",
    )


def query_error(
    error: pyodbc.Error | arrow_odbc.Error, where: str, *, widest: int | None = None
) -> SourceError | SourceUnavailableError:
    """What a failed statement means.

    Args:
        error: of the driver.
        where: the SQL file.
        widest: bytes that a value may have, while rows are read.
    """
    state, text = _parts(error)
    if _LOST.search(text):
        return SourceUnavailableError(f"the connection was lost ({state}): {text}", where=where)
    if _PASSING.fullmatch(state):
        return SourceUnavailableError(
            f"the ODBC source stopped the query ({state}): {text}", where=where
        )
    if widest is not None and _TOO_WIDE.search(text):
        return SourceError(
            f"a text or binary value is longer than the {widest} bytes that there is room for",
            where=where,
            hint="Raise `max_text_size` in the extra of the connection.",
        )
    return SourceError(f"the ODBC source refuses the query ({state}): {text}", where=where)


def _parts(error: pyodbc.Error | arrow_odbc.Error) -> tuple[str, str]:
    """The SQLSTATE and the text, without what manager and driver put around it."""
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    state = str(error.args[0]) if len(error.args) > 1 else ""
    if found := re.search(r"State: (\w+), Native error: -?\d+, Message: (.*)", text, re.DOTALL):
        state, text = found[1], found[2]
    text = re.sub(r"^(?:\[[^\]]*\]\s*)+", "", text.strip())
    text = re.sub(r"\s*\(-?\d+\) \(SQL\w+\)$", "", text)
    return state or "HY000", " ".join(text.split())
