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

    from openreg_airflow.extract.readers.odbc_products import Product

#: Connection lost, serialization and deadlock, resources, operator intervention, time-outs, and
#: MySQL's interrupted query.
_PASSING = re.compile(r"08...|40...|53...|57P0[1-5]|57014|58...|55P03|HYT0[01]|70100")
_LOST = re.compile(
    r"server closed the connection|gone away|lost connection|could not receive data|broken pipe"
    r"|no connection to the server|connection (?:was |has been )?(?:reset|closed|lost|terminated"
    r"|is not available)|terminating connection|communication link|was killed|shutdown in progress"
    r"|connection to (?:the )?server was lost|error reading (?:result|packet)|ssl syscall"
    r"|unexpected eof|no response from|^unknown error$",  # the last is all that FreeTDS says
    re.IGNORECASE,
)
#: Refusals of a login that pass.
_LATER = re.compile(
    r"too many (?:connections|clients)|connection slots|starting up|shutting down|recovery mode",
    re.IGNORECASE,
)
#: Refusals of a login that do not, whatever state they come with.
_REFUSED = re.compile(
    r"FATAL:|does not support SSL|encryption not supported|certificate|SSL error|can't open lib"
    r"|invalid \w+ value|no password supplied|authentication failed",
    re.IGNORECASE,
)
_REFUSING_STATES = re.compile(r"28...|42...|3D...|IM0..")
_TOO_WIDE = re.compile(r"truncat|too large|TooLarge|maximum size|larger than", re.IGNORECASE)


def connection_error(
    error: pyodbc.Error | arrow_odbc.Error, conn_id: str, product: Product
) -> SourceError | SourceUnavailableError:
    """What a failed login means."""
    state, number, text = _parts(error)
    where = f"connection {conn_id}"
    refused = _REFUSING_STATES.fullmatch(state) or _REFUSED.search(text)
    if refused and not _LATER.search(text) and number not in product.passing:
        return SourceError(
            f"{product.called} refuses ({_numbered(state, number)}): {text}",
            where=where,
            hint=product.hints.get(
                number, "Check driver, login, password, database and extra of the connection."
            ),
        )
    return SourceUnavailableError(
        f"{product.called} cannot be reached ({_numbered(state, number)}): {text}",
        where=where,
        hint="Check host and port of the connection, and that the server runs.",
    )


def query_error(
    error: pyodbc.Error | arrow_odbc.Error,
    where: str,
    product: Product,
    *,
    widest: int | None = None,
) -> SourceError | SourceUnavailableError:
    """What a failed statement means.

    Args:
        error: of the driver.
        where: the SQL file.
        product: the database's, whose own numbers say more than ODBC's states.
        widest: bytes that a value may have, while rows are read.
    """
    state, number, text = _parts(error)
    numbered, hint = _numbered(state, number), product.hints.get(number)
    if _LOST.search(text) or state == "08S01":
        return SourceUnavailableError(
            f"the connection was lost ({numbered}): {text}", where=where, hint=hint
        )
    if _PASSING.fullmatch(state) or number in product.passing:
        return SourceUnavailableError(
            f"{product.called} stopped the query ({numbered}): {text}", where=where, hint=hint
        )
    if widest is not None and _TOO_WIDE.search(text):
        return too_wide(where, widest)
    return SourceError(
        f"{product.called} refuses the query ({numbered}): {text}", where=where, hint=hint
    )


def too_wide(where: str, widest: int) -> SourceError:
    """What a value means that there is no room for; ``widest`` is the room in bytes."""
    return SourceError(
        f"a text or binary value is longer than the {widest} bytes that there is room for, "
        "or another value is longer than its type allows",
        where=where,
        hint=(
            "Raise `max_text_size` in the extra of the connection, or convert in the query "
            "what is no value of its column's type."
        ),
    )


def _numbered(state: str, number: int) -> str:
    return f"{state}, {number}" if number else state


def _parts(error: pyodbc.Error | arrow_odbc.Error) -> tuple[str, int, str]:
    """The SQLSTATE, the server's number and the text, without what stands around them."""
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    state, number = str(error.args[0]) if len(error.args) > 1 else "", "0"
    if found := re.search(r"State: (\w+), Native error: (-?\d+), Message: (.*)", text, re.DOTALL):
        state, number, text = found[1], found[2], found[3]
    elif found := re.search(r"\((-?\d+)\) \(SQL\w+\)", text):
        number, text = found[1], text[: found.start()]
    text = re.sub(r"^(?:\[[^\]]*\]\s*)+", "", text.strip())
    return state or "HY000", int(number), " ".join(text.split())
