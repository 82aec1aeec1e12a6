"""An SMTP server that keeps what it is sent: aiosmtpd, with TLS and logins."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope

from openreg_airflow.deliver.connection import Connection
from tests.services import free_port
from tests.services.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

LOGIN = "bank"
#: Never to be read anywhere but here.
PASSWORD = "correct-horse-battery"  # noqa: S105


@dataclass
class MailServer:
    """A running server.

    Attributes:
        mails: what arrived, with the recipients of the envelope.
        refuse: what a recipient is answered instead of being taken.
    """

    port: int
    tls: str | None
    authority: Authority
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)

    def connection(self, **changes: Any) -> Connection:
        """A connection that works; ``extra`` replaces single extra fields."""
        extra = {
            "from_email": "reports@bank.example",
            "ca_file": str(self.authority.certificate),
            "disable_ssl": self.tls != "implicit",
            "disable_tls": self.tls is None,
        } | changes.pop("extra", {})
        fields = {
            "id": "regulator_mail",
            "type": "smtp",
            "host": "localhost",
            "port": self.port,
            "login": None if self.tls is None else LOGIN,
            "password": None if self.tls is None else PASSWORD,
            "extra": extra,
        }
        return Connection(**(fields | changes))

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Any, envelope: Envelope, address: str, _options: Any
    ) -> str:
        """Take a recipient, or not."""
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        """Keep a mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=default)
        self.mails.append((list(envelope.rcpt_tos), message))
        return "250 kept"


def _authenticate(_server: SMTP, _session: Any, _envelope: Any, _how: str, data: Any) -> AuthResult:
    good = (data.login, data.password) == (LOGIN.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


@contextmanager
def running_mail_server(
    folder: Path, *, tls: str | None = None, size_limit: int = 33_554_432
) -> Iterator[MailServer]:
    """Run a mail server.

    Args:
        folder: for certificates.
        tls: ``implicit``, ``explicit`` (STARTTLS, and nothing without it) or None.
        size_limit: the largest mail that it takes, in bytes.
    """
    server = MailServer(free_port(), tls, Authority(folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = server.authority.pair("server")
    context.load_cert_chain(pair.certificate, pair.key)
    options: dict[str, Any] = {"data_size_limit": size_limit}
    if tls is not None:
        options |= {
            "authenticator": _authenticate,
            "auth_required": True,
            # With TLS from the first byte aiosmtpd does not know that the line is secure.
            "auth_require_tls": tls == "explicit",
        }
    if tls == "explicit":
        options |= {"tls_context": context, "require_starttls": True}
    controller = Controller(
        server,
        hostname="127.0.0.1",
        port=server.port,
        ssl_context=context if tls == "implicit" else None,
        **options,
    )
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
