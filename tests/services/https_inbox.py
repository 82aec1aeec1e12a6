"""An HTTPS server that takes uploads, as an authority's gateway would."""

from __future__ import annotations

import base64
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from openreg_airflow.deliver.connection import Connection
from tests.services.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGIN = "bank"
#: Never to be read anywhere but here.
PASSWORD = "correct-horse-battery"  # noqa: S105


@dataclass
class HttpsInbox:
    """A running server.

    Attributes:
        answers: statuses that it gives instead of doing what it is asked, by method.
        sent: headers of each upload.
    """

    authority: Authority
    port: int = 0
    uploads: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    sent: list[dict[str, str]] = field(default_factory=list)

    def connection(self, **changes: Any) -> Connection:
        """A connection that works; ``extra`` replaces single extra fields."""
        extra = {"ca_file": str(self.authority.certificate)} | changes.pop("extra", {})
        fields = {
            "id": "regulator_https",
            "type": "http",
            "schema": "https",
            "host": "localhost",
            "port": self.port,
            "login": LOGIN,
            "password": PASSWORD,
            "extra": extra,
        }
        return Connection(**(fields | changes))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    inbox: HttpsInbox

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Tell of a file."""
        self._look(body=False)

    def do_GET(self) -> None:
        """Give a file."""
        self._look(body=True)

    def do_PUT(self) -> None:
        """Take a file, once."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._let_in():
            return
        if self._path in self.inbox.uploads and self.headers.get("If-None-Match") == "*":
            self._answer(412)
            return
        self.inbox.sent.append(dict(self.headers))
        self.inbox.uploads[self._path] = content
        self._answer(201)

    do_POST = do_PUT  # noqa: N815

    @property
    def _path(self) -> str:
        return unquote(self.path.lstrip("/"))

    def _look(self, *, body: bool) -> None:
        if not self._let_in():
            return
        content = self.inbox.uploads.get(self._path)
        if content is None:
            self._answer(404)
        else:
            self._answer(200, content, body=body)

    def _let_in(self) -> bool:
        login = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") not in (f"Basic {login}", "Bearer of-the-bank"):
            self._answer(401)
            return False
        if status := self.inbox.answers.get(self.command):
            self._answer(status)
            return False
        return True

    def _answer(self, status: int, content: bytes = b"", *, body: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if 300 <= status < 400:
            self.send_header("Location", "https://elsewhere.example/")
        self.end_headers()
        if body and content:
            self.wfile.write(content)


@contextmanager
def running_https_inbox(folder: Path) -> Iterator[HttpsInbox]:
    """Run a server; ``folder`` is for certificates."""
    inbox = HttpsInbox(Authority(folder))

    class Handler(_Handler):
        pass

    Handler.inbox = inbox
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = inbox.authority.pair("server")
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    inbox.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
