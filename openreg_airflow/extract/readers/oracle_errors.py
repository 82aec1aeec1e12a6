"""Which of Oracle's errors are final, and which may pass.

The server's numbers: https://docs.oracle.com/en/error-help/db/, the driver's own (DPY):
https://python-oracledb.readthedocs.io/en/latest/user_guide/exception_handling.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SourceError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

#: After these of the server's another try may succeed.
_PASSING = frozenset(
    {
        18, 20, 2391, 12516, 12518, 12519, 12520,  # too many sessions
        28, 31, 1012, 1013, 1014, 1033, 1034, 1089, 1090, 1092,  # killed, starting, shutting down
        51, 54, 60, 8177,  # locks
        1555, 8103, 30036,  # the undo of a long query
        4020, 4021, 4030, 4031, 12801, 12805, 1652,  # memory, parallel servers, sorting space
        3113, 3114, 3135, 3136, 12152, 12170, 12514, 12528, 12537, 12541, 12543, 12545, 12547,
        12571, 25408, 25402, 25401,  # the network, the listener, a database that fails over
    }
)  # fmt: skip
#: The driver's: the connection is gone, was closed, took too long, or was never made.
_LOST = frozenset({"DPY-1001", "DPY-4011", "DPY-4010", "DPY-4024", "DPY-4026"})
_UNREACHED = frozenset({"DPY-6001", "DPY-6003", "DPY-6005", "DPY-6000", "DPY-6010"})
_TLS = re.compile(r"certificate|CERTIFICATE|SSL|TLS|DPY-6006|wallet")
_NETWORK = re.compile(r"reset|closed|eof|timed? ?out|broken pipe|refused", re.IGNORECASE)

_HINTS = {
    "ORA-00942": "Correct the name in the query, or let the connection's login read it.",
    "ORA-00904": "Correct the column's name in the query.",
    "ORA-01017": "Check the connection's login and password.",
    "ORA-01031": "Let the connection's login read this, or correct the query.",
    "ORA-01456": "A source may only read.",
    "ORA-01555": "Make the query faster, or let the database keep more undo.",
    "ORA-28000": "The login is locked: ask the database's administrator.",
    "DPY-4024": "Make the query faster, or raise `timeout_seconds`.",
    "DPY-6001": (
        "Check the service name (schema, or `service_name` in the extra); a database that starts "
        "is not known to its listener yet."
    ),
    "DPY-6003": "Check `sid` in the extra; a database that starts is not known yet.",
}
_ELSE = "Check host and port of the connection, and that the server runs."
_LOGIN = "Check login, password, service and extra of the connection."


def connection_error(error: Exception, conn_id: str) -> SourceError | SourceUnavailableError:
    """What a failed login means; ``error`` is the driver's or the operating system's."""
    code, number, text = _parts(error)
    where = f"connection {conn_id}"
    # The driver puts what it was told into the text of its own error.
    inner = next(iter(re.findall(r"\b(?:ORA|DPY)-\d+", text)[1:]), code)
    hint = _HINTS.get(f"ORA-{number:05}") or _HINTS.get(inner) or _HINTS.get(code)
    tls = _TLS.search(text) and not _NETWORK.search(text)
    reached = code not in _LOST | _UNREACHED and not isinstance(error, OSError)
    if tls or (reached and number not in _PASSING):
        return SourceError(f"Oracle refuses: {text}", where=where, hint=hint or _LOGIN)
    return SourceUnavailableError(
        f"Oracle cannot be reached: {text}", where=where, hint=hint or _ELSE
    )


def query_error(
    error: Exception, where: str, *, place: Callable[[int], str] | None = None
) -> SourceError | SourceUnavailableError:
    """What a failed statement means.

    Args:
        error: of the driver or the operating system.
        where: the SQL file.
        place: the place in the file of a 0-based offset into the statement.
    """
    code, number, text = _parts(error)
    hint = _HINTS.get(f"ORA-{number:05}") or _HINTS.get(code)
    if code in _LOST or number in (3113, 3114, 3135) or isinstance(error, OSError):
        message = f"the connection was lost: {text}"
        return SourceUnavailableError(message, where=where, hint=hint)
    recoverable = bool(getattr(_told(error), "isrecoverable", False))
    if number in _PASSING or recoverable:
        return SourceUnavailableError(f"Oracle stopped the query: {text}", where=where, hint=hint)
    offset = getattr(_told(error), "offset", 0)
    if offset and place is not None:
        where = place(offset)
    return SourceError(f"Oracle refuses the query: {text}", where=where, hint=hint)


def _told(error: Exception) -> Any:
    """The driver's account of an error."""
    return error.args[0] if error.args else None


def _parts(error: Exception) -> tuple[str, int, str]:
    """The code, the server's number (0 when the error is not its) and the text on one line.

    The driver gives some of the server's errors a code of its own, and keeps the number.
    """
    told = _told(error)
    text = re.sub(r"\s*Help: https?://\S+", "", str(error))
    text = re.sub(r"\s*\(CONNECTION_ID=[^)]*\)", "", text)
    code = str(getattr(told, "full_code", "") or "")
    number = int(getattr(told, "code", 0) or 0)
    return code, number, " ".join(text.split())
