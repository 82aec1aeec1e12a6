"""Upload to an HTTPS server: ``PUT base/folder/filename``, or POST where the connection says so.

The connection is of type ``http`` with the schema ``https``: host and port are the base, login and
password go as basic authentication, and the extra field ``headers`` as headers, for a token for
example. ``method`` is PUT (default) or POST. The upload is conditional (``If-None-Match: *``, RFC
9110), says its hash (``Repr-Digest``, RFC 9530) and carries an ``Idempotency-Key`` that is the same
for the same file, so that a server that knows them refuses a second one. Redirects are not
followed: they would carry the credentials elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

import httpx

from openreg_airflow.deliver import faults
from openreg_airflow.deliver.channel import NameTakenError
from openreg_airflow.deliver.placing import look_for, put
from openreg_airflow.deliver.progress import Progress
from openreg_airflow.deliver.trust import trust, untrusted
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.deliver.channel import Outcome, Parcel, Verify
    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.errors import OpenRegError

_BLOCK = 1 << 20
_TAKEN = (409, 412)
#: Answers of a server that lets nobody look.
_NO_LOOKING = (401, 403, 405, 501)
#: What a gateway answers when it has lost sight of the server behind it.
_OF_A_GATEWAY = (502, 504)
#: Refusals that pass: time-out, locked, too early, too many requests, no room.
_FOR_NOW = (408, 423, 425, 429, 507)

#: What the name of a header is made of (RFC 9110, section 5.6.2).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

log = logging.getLogger(__name__)


class HttpsChannel:
    """Delivery to an HTTPS server."""

    connection_types: ClassVar[tuple[str, ...]] = ("http", "https")

    def destination(self, connection: Connection, folder: str, filename: str) -> str:
        """The place as a URL without credentials."""
        return f"{_base(connection)}/{_path(folder, filename)}"

    @contextmanager
    def open(self, connection: Connection, *, timeout_seconds: float) -> Iterator[HttpsSession]:
        """Make a client of the connection; nothing is sent yet."""
        if not connection.host:
            raise connection.refused(fault="has no host", hint="Fill in the host.")
        if connection.host.startswith("http://") or connection.schema not in (None, "", "https"):
            raise connection.refused(
                fault="does not speak https", hint="Set its schema to https; plain http is refused."
            )
        method = str(connection.extra.get("method") or "PUT").upper()
        if method not in ("PUT", "POST"):
            raise connection.refused(fault=f"has the method {method}", hint="Use PUT or POST.")
        login = connection.login
        with httpx.Client(
            auth=httpx.BasicAuth(login, connection.password or "") if login else None,
            # A packed answer would hide how large a file is.
            headers={"Accept-Encoding": "identity"} | _headers(connection),
            verify=trust(connection),
            timeout=timeout_seconds,
            follow_redirects=False,
        ) as client:
            yield HttpsSession(client, connection, method, timeout_seconds)


class HttpsSession:
    """One client, whose connection is kept open between files."""

    def __init__(
        self, client: httpx.Client, connection: Connection, method: str, timeout_seconds: float
    ) -> None:
        self._client = client
        self._connection = connection
        self._method = method
        self._timeout = timeout_seconds
        self._base = _base(connection)
        #: Whether the server refused to be asked what it has.
        self.blind = False
        self._locked_out = False

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
        """Upload one parcel."""
        return put(self, parcel, _path(folder, parcel.filename), verify)

    def look(self, parcel: Parcel, folder: str) -> str:
        """Say what delivering it would find and do."""
        said = look_for(self, parcel, _path(folder, parcel.filename))
        if self._locked_out:
            name = self._connection.id
            message = (
                f"{self._base} refuses the login of connection {name}, or lets nobody look: "
                "401 Unauthorized"
            )
            hint = f"Check login, password and headers of connection {name}."
            raise DeliveryRefusedError(message, hint=hint)
        return said

    def undone(self, temporary: str | None, path: str) -> bool:  # noqa: ARG002 - of the interface
        """Never: a file that a server does not show it may still work on, or have handed on."""
        return False

    def size(self, path: str) -> int | None:
        """The size of a file; None when there is none or the server lets nobody look."""
        with self._doing(f"looking for {path}"):
            answer = self._client.head(f"{self._base}/{path}")
        length = answer.headers.get("Content-Length", "")
        self.blind = answer.status_code in _NO_LOOKING
        self._locked_out = answer.status_code == httpx.codes.UNAUTHORIZED
        if answer.status_code == httpx.codes.OK:
            return int(length) if length.isdigit() else self._counted(path)
        if answer.status_code not in (200, 404, 410, *_NO_LOOKING):
            raise self._refusal(answer, f"looking for {path}")
        return None

    def _counted(self, path: str) -> int:
        """The size of a file whose size the server does not tell.

        Raises:
            DeliveryRefusedError: it does not give the file either.
        """
        with (
            self._doing(f"reading {path}"),
            self._client.stream("GET", f"{self._base}/{path}") as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                message = f"{self._base}/{path} is there already, but does not show what it is"
                hint = "It was not overwritten. Find out what was delivered there before."
                raise DeliveryRefusedError(message, hint=hint)
            return sum(map(len, answer.iter_bytes(_BLOCK)))

    def sha256(self, path: str) -> str | None:
        """Read a file and hash it; None when the server does not give it."""
        digest, done = hashlib.sha256(), 0
        with (
            self._doing(f"reading {path}"),
            self._client.stream("GET", f"{self._base}/{path}") as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                return None
            progress = Progress(f"read back {path}", int(answer.headers.get("Content-Length", 0)))
            for block in answer.iter_bytes(_BLOCK):
                digest.update(block)
                done += len(block)
                progress.reached(done)
        return digest.hexdigest()

    def put(self, parcel: Parcel, path: str) -> None:
        """Upload without overwriting."""
        doing = f"sending {parcel.filename} as {path}"
        digest = base64.b64encode(bytes.fromhex(parcel.sha256)).decode()
        key = hashlib.sha256(f"{parcel.sha256} {path}".encode()).hexdigest()
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(parcel.bytes),
            "If-None-Match": "*",
            "Repr-Digest": f"sha-256=:{digest}:",
            "Idempotency-Key": f'"{key}"',
        }
        with self._doing(doing):
            answer = self._client.request(
                self._method, f"{self._base}/{path}", content=_blocks(parcel), headers=headers
            )
        if not answer.is_success and not self._leaves_open(answer):
            parcel.journal.withdrawn()
        if answer.status_code in _TAKEN:
            message = f"{self._base}/{path} is taken: {_said(answer)}"
            raise NameTakenError(
                message, hint="It was not overwritten. Find out what else delivers there."
            )
        if not answer.is_success:
            raise self._refusal(answer, doing)

    def _leaves_open(self, answer: httpx.Response) -> bool:
        """Whether an answer that is no success may hide one."""
        return answer.status_code in _OF_A_GATEWAY or (answer.is_server_error and self.blind)

    def _refusal(self, answer: httpx.Response, doing: str) -> OpenRegError:
        text = f"{self._base}: {_said(answer)} while {doing}"
        name = self._connection.id
        if answer.status_code in (401, 407):
            return DeliveryRefusedError(
                f"{self._base} refuses the login of connection {name}: {_said(answer)}",
                hint=f"Check login, password and headers of connection {name}.",
            )
        if answer.status_code in _FOR_NOW or answer.is_server_error:
            return DeliveryError(text, hint="It is tried again.")
        if answer.is_redirect:
            return DeliveryRefusedError(
                f"{text}: redirects are not followed", hint="Put the final address in."
            )
        return DeliveryRefusedError(
            text, hint="Check folder and permissions, or ask the authority."
        )

    @contextmanager
    def _doing(self, step: str) -> Iterator[None]:
        """Give the errors of one step their place and their class."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise faults.silent(self._base, self._timeout, step) from error
        except httpx.InvalidURL as error:
            raise self._connection.refused(
                fault=f"does not make an address: {error}", hint="Check host and port."
            ) from error
        except httpx.TransportError as error:
            if isinstance(cause := _certificate_error(error), ssl.SSLCertVerificationError):
                raise untrusted(self._base, self._connection, cause) from error
            raise faults.unreachable(self._base, step, error) from error


def _headers(connection: Connection) -> dict[str, str]:
    """The headers of every request.

    Raises:
        DeliveryRefusedError: one of them cannot be sent; the library would say so with its value.
    """
    given = connection.extra.get("headers") or {}
    if not isinstance(given, dict):
        raise connection.refused(fault="has headers that are no JSON object", hint="Correct them.")
    found = {str(name): str(value) for name, value in given.items()}
    for name, value in found.items():
        if not _TOKEN.fullmatch(name):
            raise connection.refused(
                fault=f"has a header with a name that none can have, of {len(name)} characters",
                hint="A name has letters, digits and hyphens.",
            )
        if value != value.strip() or not value.isascii() or not value.isprintable():
            raise connection.refused(
                fault=f"has a header {name} with a character that none can have",
                hint="It was perhaps copied with the end of its line: type it in again.",
            )
    return found


def _blocks(parcel: Parcel) -> Iterator[bytes]:
    """The body. A server takes no request whose end is missing, so the end is noted before it."""
    progress, done = parcel.progress("sent"), 0
    with parcel.path.open("rb") as file:
        while block := file.read(parcel.block(_BLOCK)):
            done += len(block)
            if done >= parcel.bytes:
                parcel.journal.publishing(None)
            yield block
            progress.reached(done)


def _certificate_error(error: BaseException | None) -> BaseException | None:
    """The first error of a chain of causes that speaks of a certificate."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _said(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.reason_phrase}".strip()


def _base(connection: Connection) -> str:
    host = (connection.host or "?").removeprefix("https://").rstrip("/")
    port = f":{connection.port}" if connection.port else ""
    return f"https://{host}{port}"


def _path(folder: str, filename: str) -> str:
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return "/".join(quote(part, safe="") for part in (*parts, filename))
