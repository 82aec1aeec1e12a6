"""What an Airflow connection of type ``ftp`` says about a login.

The extra fields of Airflow's own hook are ``passive`` (default true) and ``encoding`` (of file
names; default UTF-8). For TLS there are also ``implicit`` (default: only on port 990), ``ca_file``
or ``ca_cert`` (certificate authorities to trust instead of the system's: a path, or their text),
and ``cert_file`` with ``key_file`` (a certificate of our own, where the server asks for one).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from openreg_airflow.deliver.connection import Connection

PORT = 21
IMPLICIT_PORT = 990
_NO = ("false", "0", "no", "off")


@dataclass(frozen=True, kw_only=True)
class FtpLogin:
    """Everything needed to log in; the password stays out of its ``repr``.

    Attributes:
        tls: how certificates are checked; None for plain FTP.
        implicit: TLS from the first byte, instead of on request.
        passive: the server listens for data connections, instead of us.
        encoding: of the names of files and folders.
    """

    connection: Connection
    host: str
    port: int
    login: str
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    implicit: bool = False
    passive: bool = True
    encoding: str = "utf-8"

    @classmethod
    def of(cls, connection: Connection, *, tls: bool) -> FtpLogin:
        """Read a connection.

        Args:
            connection: an Airflow connection of type ``ftp``.
            tls: whether the channel is FTPS.

        Raises:
            DeliveryRefusedError: host, login or password are missing, a certificate's file cannot
                be read, or the encoding is unknown.
        """
        extra = connection.extra
        for name, value in (
            ("host", connection.host),
            ("login", connection.login),
            ("password", connection.password),
        ):
            if not value:
                raise connection.refused(fault=f"has no {name}", hint=f"Fill in the {name}.")
        encoding = str(extra.get("encoding") or "utf-8")
        try:
            "".encode(encoding)
        except LookupError as error:
            raise connection.refused(
                fault=f"has the unknown encoding {encoding!r}", hint="Use utf-8 or latin-1."
            ) from error
        implicit = tls and _yes(extra, "implicit", default=connection.port == IMPLICIT_PORT)
        return cls(
            connection=connection,
            host=connection.host or "",
            port=connection.port or (IMPLICIT_PORT if implicit else PORT),
            login=connection.login or "",
            password=connection.password,
            tls=trust(connection) if tls else None,
            implicit=implicit,
            passive=_yes(extra, "passive", default=True),
            encoding=encoding,
        )

    @property
    def where(self) -> str:
        """Host and port, for messages."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def trust(connection: Connection) -> ssl.SSLContext:
    """How the server's certificate is checked: always, its name included.

    Raises:
        DeliveryRefusedError: a file of certificates or a key cannot be read.
    """
    extra = connection.extra
    try:
        context = ssl.create_default_context(
            cafile=extra.get("ca_file") or None, cadata=extra.get("ca_cert") or None
        )
        if extra.get("cert_file"):
            context.load_cert_chain(extra["cert_file"], extra.get("key_file") or None)
    except (OSError, ValueError) as error:
        # The text of such an error names no more than the reason: OpenSSL's or the system's.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise connection.refused(
            fault=f"names certificates or a key that cannot be read: {reason}",
            hint="Check ca_file, ca_cert, cert_file and key_file; files must be on every worker.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _yes(extra: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = extra.get(name, default)
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)
