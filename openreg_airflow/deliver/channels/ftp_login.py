"""What an Airflow connection of type ``ftp`` says about a login.

The extra fields of Airflow's own hook are ``passive`` (default true) and ``encoding`` (of file
names; default UTF-8). For TLS there is also ``implicit`` (default: only on port 990), and what
:mod:`openreg_airflow.deliver.trust` reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openreg_airflow.deliver.trust import trust

if TYPE_CHECKING:
    import ssl
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


def _yes(extra: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = extra.get(name, default)
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)
