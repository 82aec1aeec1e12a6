"""E-mail with the file attached.

A route's folder holds the recipients, separated by commas. The connection is of type ``smtp`` as
Airflow's own provider reads it: TLS from the first byte unless ``disable_ssl``, then STARTTLS
unless ``disable_tls``; ``from_email`` is the sender. A mail cannot be looked up once it is sent:
what keeps it from going out twice is the record of deliveries, and for the case that a process
dies between the two, its Message-ID, which is the same for the same file and recipients.
"""

from __future__ import annotations

import hashlib
import mimetypes
import smtplib
import socket
import ssl
from contextlib import contextmanager, suppress
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import TYPE_CHECKING, ClassVar

from openreg_airflow.deliver import faults
from openreg_airflow.deliver.channel import Outcome
from openreg_airflow.deliver.placing import check_parcel
from openreg_airflow.deliver.trust import trust, untrusted
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.deliver.channel import Journal, Parcel, Verify
    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.errors import OpenRegError

_FAILURES = (smtplib.SMTPException, OSError, UnicodeError)


class MailChannel:
    """Delivery by e-mail."""

    connection_types: ClassVar[tuple[str, ...]] = ("smtp",)

    def destination(self, connection: Connection, folder: str, filename: str) -> str:  # noqa: ARG002
        """The recipients and the attachment as a URL."""
        return f"mailto:{','.join(_recipients(folder))}#{filename}"

    @contextmanager
    def open(self, connection: Connection, *, timeout_seconds: float) -> Iterator[MailSession]:
        """Connect and log in; see :class:`openreg_airflow.deliver.channel.Channel`."""
        for name, value in (("host", connection.host), ("from_email", _sender(connection))):
            if not value:
                raise connection.refused(fault=f"has no {name}", hint=f"Fill in {name}.")
        if not f"{connection.login or ''}{connection.password or ''}".isascii():
            raise connection.refused(
                fault="has a login or password with characters outside ASCII",
                hint="They cannot be sent to a mail server: have them changed.",
            )
        session = MailSession(connection, timeout_seconds)
        try:
            session.connect()
            yield session
        finally:
            session.close()


class MailSession:
    """One connection to a mail server.

    Args:
        connection: of type ``smtp``.
        timeout_seconds: longest time without an answer.
    """

    def __init__(self, connection: Connection, timeout_seconds: float) -> None:
        self._connection = connection
        self._timeout = timeout_seconds
        self._smtp: smtplib.SMTP | None = None
        self._where = f"{connection.host}:{connection.port or 25}"

    def connect(self) -> None:
        """Connect, secure the line unless the connection says not to, and log in."""
        connection, extra = self._connection, self._connection.extra
        at = (connection.host or "", connection.port or 0)
        with self._doing(f"connecting to {self._where}"):
            if extra.get("disable_ssl"):
                self._smtp = smtplib.SMTP(*at, timeout=self._timeout)
                if not extra.get("disable_tls"):
                    self._smtp.starttls(context=trust(connection))
            else:
                self._smtp = smtplib.SMTP_SSL(*at, timeout=self._timeout, context=trust(connection))
            self._smtp.ehlo_or_helo_if_needed()
            if connection.login:
                self._smtp.login(connection.login, connection.password or "")

    def close(self) -> None:
        """Say goodbye; a server that does not answer is left alone."""
        if self._smtp is not None:
            with suppress(*_FAILURES):
                self._smtp.quit()
            self._smtp.close()

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:  # noqa: ARG002
        """Send one mail, to all recipients or to none."""
        check_parcel(parcel)
        recipients = _recipients(folder)
        if not all(earlier.waived for earlier in parcel.journal.unsettled()):
            raise faults.doubtful(parcel.filename, ", ".join(recipients))
        parcel.journal.begin()
        message = _message(parcel, _sender(self._connection), recipients)
        raw = message.as_bytes(policy=SMTP)
        with self._doing(f"sending {parcel.filename} to {', '.join(recipients)}"):
            self._send(raw, recipients, parcel.journal)
        return Outcome(bytes_sent=len(raw), already_there=False)

    def look(self, parcel: Parcel, folder: str) -> str:
        """Say to whom it would go; a mail server tells nothing of what it took."""
        check_parcel(parcel)
        return f"the mail would be sent to {', '.join(_recipients(folder))}"

    def _send(self, raw: bytes, recipients: list[str], journal: Journal) -> None:
        smtp = self._smtp
        if smtp is None:
            message = "not connected"
            raise smtplib.SMTPServerDisconnected(message)
        limit = smtp.esmtp_features.get("size", "")
        if limit.isdigit() and 0 < int(limit) < len(raw):
            fault = f"{self._where} takes mails of at most {limit} bytes; this one has {len(raw)}"
            hint = "Pack the artifact, split it, or agree on another way."
            raise DeliveryRefusedError(fault, hint=hint)
        sender = _sender(self._connection)
        code, reply = smtp.mail(sender, [f"size={len(raw)}"] if limit else [])
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, reply, sender)
        for recipient in recipients:
            code, reply = smtp.rcpt(recipient)
            if code not in (250, 251):
                # sendmail() would send to the others; a report goes to all or to none.
                smtp.rset()
                raise smtplib.SMTPRecipientsRefused({recipient: (code, reply)})
        journal.publishing(None)
        try:
            code, reply = smtp.data(raw)
        except smtplib.SMTPDataError:
            # The server did not even want to see it.
            journal.withdrawn()
            raise
        if code != 250:
            journal.withdrawn()
            raise smtplib.SMTPDataError(code, reply)

    @contextmanager
    def _doing(self, step: str) -> Iterator[None]:
        """Give the errors of one step their place and their class."""
        try:
            yield
        except _FAILURES as error:
            raise self._translated(error, step) from error

    def _translated(self, error: BaseException, doing: str) -> OpenRegError:
        name = self._connection.id
        if isinstance(error, ssl.SSLCertVerificationError):
            return untrusted(self._where, self._connection, error)
        if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500:
            return DeliveryRefusedError(
                f"{self._where} refuses the login of {self._connection.login}",
                hint=f"Check login and password of connection {name}.",
            )
        if isinstance(error, smtplib.SMTPNotSupportedError):
            hint = f"Check port, disable_ssl and disable_tls of connection {name}."
            return DeliveryRefusedError(f"{self._where}: {error} while {doing}", hint=hint)
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            [(recipient, (code, reply))] = error.recipients.items()
            return self._reply(code, reply, f"{doing}: recipient {recipient}")
        if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code > 0:
            return self._reply(error.smtp_code, error.smtp_error, doing)
        if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
            return faults.silent(self._where, self._timeout, doing)
        if isinstance(error, socket.gaierror):
            return faults.unresolved(self._connection, error)
        if isinstance(error, UnicodeError):
            hint = "Check the addresses in the route's folder."
            return DeliveryRefusedError(f"{self._where}: {error} while {doing}", hint=hint)
        return faults.unreachable(self._where, doing, error)

    def _reply(self, code: int, reply: bytes | str, doing: str) -> OpenRegError:
        said = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
        said = self._connection.unsaid(" ".join(said.split()))
        text = f"{self._where}: {code} {said} while {doing}"
        if code >= 500:
            hint = "Check sender and recipients, or ask the receiver."
            return DeliveryRefusedError(text, hint=hint)
        return DeliveryError(text, hint="It is tried again.")


def _message(parcel: Parcel, sender: str, recipients: list[str]) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = parcel.filename
    message["Date"] = formatdate()
    target = hashlib.sha256("\n".join([parcel.filename, *recipients]).encode()).hexdigest()
    domain = sender.rpartition("@")[2].rstrip(">")
    message["Message-ID"] = f"<{parcel.sha256[:32]}.{target[:16]}@{domain}>"
    message.set_content(
        f"File: {parcel.filename}\nBytes: {parcel.bytes}\nSHA-256: {parcel.sha256}\n"
    )
    kind, _ = mimetypes.guess_type(parcel.filename)
    main, _, sub = (kind or "application/octet-stream").partition("/")
    if main in ("text", "message"):
        # Their line ends would be changed on the way.
        main, sub = "application", "octet-stream"
    message.add_attachment(
        parcel.path.read_bytes(), maintype=main, subtype=sub, filename=parcel.filename
    )
    return message


def _sender(connection: Connection) -> str:
    return str(connection.extra.get("from_email") or "")


def _recipients(folder: str) -> list[str]:
    """The addresses in a route's folder.

    Raises:
        DeliveryRefusedError: one of them is none.
    """
    found = [part.strip() for part in folder.split(",") if part.strip()]
    for address in found or [folder]:
        try:
            good = bool(Address(addr_spec=address).domain)
        except (ValueError, IndexError, MessageError):
            good = False
        if not good:
            message = f"{address!r} is not an e-mail address"
            hint = "For channel mail a route's folder is its recipients, separated by commas."
            raise DeliveryRefusedError(message, hint=hint)
    return found
