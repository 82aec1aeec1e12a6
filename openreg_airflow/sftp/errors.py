"""Which failures of SSH and SFTP are final, and what the reader can do about them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import asyncssh

if TYPE_CHECKING:
    from openreg_airflow.errors import OpenRegError
    from openreg_airflow.sftp.login import SftpLogin

_FULL = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_DENIED = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect, asyncssh.SFTPCannotDelete)
_REFUSED = (
    # OpenSSH's answer to a name that is too long.
    asyncssh.SFTPBadMessage,
    asyncssh.SFTPInvalidFilename,
    asyncssh.SFTPInvalidParameter,
    asyncssh.SFTPNotADirectory,
    asyncssh.SFTPFileIsADirectory,
    asyncssh.SFTPOpUnsupported,
    asyncssh.SFTPLinkLoop,
)


def translated(error: Exception, login: SftpLogin, doing: str) -> OpenRegError:
    """The error of ours for one of asyncssh or of the network.

    Args:
        error: what was raised.
        login: where to and as whom.
        doing: the step, such as ``renaming a to b``.
    """
    where, refused, failed = login.where, login.faults.refused, login.faults.failed
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return refused(
            f"the host key of {where} is not the pinned one: {error.reason}",
            hint="Ask the authority whether it changed its key. Pin a new one only if it says so.",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return refused(
            f"{where} refuses the login of {login.login}",
            hint=f"Check login, key and password of connection {login.connection.id}.",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed | asyncssh.ProtocolNotSupported):
        return refused(
            f"{where} and this side share no algorithm: {error.reason}",
            hint="If it speaks of host keys, pin a host key of a type that the server offers.",
        )
    if isinstance(error, asyncssh.SFTPError):
        return _sftp(error, login, doing)
    if isinstance(error, asyncssh.Error):
        text = f"{error.reason or type(error).__name__} while {doing}"
        if isinstance(error, asyncssh.ChannelOpenError) and error.code == (
            asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
        ):
            return refused(f"{where} does not offer SFTP: {text}", hint="Ask the authority.")
        return failed(f"{where}: {text}", hint="It is tried again.")
    if isinstance(error, socket.gaierror):
        return failed(
            f"the name {login.host} cannot be resolved: {error.strerror}",
            hint=f"Check the host of connection {login.connection.id} and the name service.",
        )
    if isinstance(error, UnicodeError):
        return refused(
            f"{where} or a path there cannot be spelled for the network: {error}",
            hint=f"Check the host of connection {login.connection.id}, folder and filename.",
        )
    return failed(
        f"{where} cannot be reached or dropped the connection while {doing}: {error}",
        hint="It is tried again. If it stays so, check host, port and firewall.",
    )


def disk_full(login: SftpLogin, free: int, needed: int) -> OpenRegError:
    """The error for a destination without room."""
    return login.faults.failed(
        f"the disk of {login.where} is full: {free} bytes are free, {needed} are needed",
        hint="Tell the receiving side; it is tried again.",
    )


def _sftp(error: asyncssh.SFTPError, login: SftpLogin, doing: str) -> OpenRegError:
    refused, failed = login.faults.refused, login.faults.failed
    text = f"{login.where}: {error.reason or type(error).__name__} while {doing}"
    if isinstance(error, _DENIED):
        return refused(
            text, hint="The login may not write there; check the folder, or ask the authority."
        )
    if isinstance(error, _REFUSED):
        return refused(text, hint="Check the folder and the filename.")
    if isinstance(error, _FULL):
        return failed(f"the disk is full: {text}", hint="Tell the receiving side.")
    return failed(text, hint="It is tried again.")
