"""Which failures of FTP and TLS are final, and what the reader can do about them.

Codes: RFC 959 section 4.2, RFC 4217 for TLS. Replies that begin with 4 are for now, those with 5
for good.
"""

from __future__ import annotations

import ftplib
import socket
import ssl
from typing import TYPE_CHECKING

from openreg_airflow.deliver import faults
from openreg_airflow.deliver.trust import untrusted
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError

if TYPE_CHECKING:
    from openreg_airflow.deliver.channels.ftp_login import FtpLogin
    from openreg_airflow.errors import OpenRegError

#: Everything that ftplib raises for a server, a line or a certificate.
FAILURES = (ftplib.Error, OSError, EOFError, UnicodeError)

_FULL = ("452", "552")
_TLS_WANTED = ("522", "534", "536")


def code(error: BaseException) -> str:
    """The three digits of a server's reply; empty for what is none."""
    text = str(error)[:3]
    return text if isinstance(error, ftplib.Error) and text.isdigit() else ""


def translated(error: BaseException, login: FtpLogin, timeout: float, doing: str) -> OpenRegError:
    """The error of ours for one of ftplib or of the network.

    Args:
        error: what was raised.
        login: where to and as whom.
        timeout: seconds of silence that were allowed.
        doing: the step, such as ``renaming a to b``.
    """
    where = login.where
    if isinstance(error, ssl.SSLCertVerificationError):
        return untrusted(where, login.connection, error)
    if isinstance(error, TimeoutError):
        return faults.silent(where, timeout, doing)
    if isinstance(error, socket.gaierror):
        return faults.unresolved(login.connection, error)
    if isinstance(error, ftplib.Error):
        return _reply(error, login, doing)
    if isinstance(error, UnicodeError):
        return DeliveryRefusedError(
            f"a name cannot be spelled for {where} in {login.encoding}: {error}",
            hint=f"Check folder, filename and the extra field encoding of {login.connection.id}.",
        )
    if isinstance(error, ssl.SSLError):
        return DeliveryError(
            f"{where} and this side did not agree on TLS while {doing}: {error.reason or error}",
            hint="It is tried again. If it stays so, check the port, and implicit or explicit TLS.",
        )
    return faults.unreachable(where, doing, error)


def _reply(error: ftplib.Error, login: FtpLogin, doing: str) -> OpenRegError:
    where, number = login.where, code(error)
    said = login.connection.unsaid(" ".join(str(error).split()))
    text = f"{where}: {said} while {doing}"
    if number in _FULL:
        return DeliveryError(
            f"the disk or the quota is full: {text}", hint="Tell the receiving side."
        )
    if not number.startswith("5"):
        return DeliveryError(text, hint="It is tried again.")
    if number == "530":
        return DeliveryRefusedError(
            f"{where} refuses the login of {login.login}: {text}",
            hint=f"Check login and password of connection {login.connection.id}.",
        )
    if number in _TLS_WANTED:
        return DeliveryRefusedError(text, hint="The server wants TLS: use channel ftps.")
    return DeliveryRefusedError(
        text, hint="Check folder, filename and permissions, or ask the authority."
    )
