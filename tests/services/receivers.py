"""Servers that take notifications: one for mail, one for webhooks; both on a free local port."""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Mail(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs to hand over a message."""

    def handle(self) -> None:
        self._say(220, "ready")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb in (b"EHLO", b"HELO"):
                self._say(250, "receiver")
            elif verb == b"DATA":
                self._say(354, "go ahead")
                self.server.inbox.append(self._data())  # type: ignore[attr-defined]
                self._say(250, "taken")
            elif verb == b"QUIT":
                self._say(221, "bye")
                return
            else:
                self._say(250, "ok")

    def _data(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)

    def _say(self, code: int, text: str) -> None:
        self.wfile.write(f"{code} {text}\r\n".encode())


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.inbox.append((self.path, json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def mail_server() -> Iterator[tuple[int, list[bytes]]]:
    """Give the port and the list that messages are added to."""
    with _served(_MailServer(("127.0.0.1", 0), _Mail)) as server:
        yield server.server_address[1], server.inbox


@contextmanager
def webhook_server(status: int = 200) -> Iterator[tuple[int, list[tuple[str, Any]]]]:
    """Give the port and the list that paths and bodies are added to."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    server.status = status  # type: ignore[attr-defined]
    with _served(server) as served:
        yield served.server_address[1], served.inbox


@contextmanager
def _served(server: Any) -> Iterator[Any]:
    server.inbox = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
