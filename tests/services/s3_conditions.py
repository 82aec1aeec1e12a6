"""What moto lacks: an S3 API that holds ``If-None-Match: *`` and looks at clocks, as a proxy.

Answers are those of the API's reference: 412 PreconditionFailed when there is an object of that
key, 409 ConditionalRequestConflict while another request for it is under way, and 403
RequestTimeTooSkewed for a request that was signed more than 15 minutes from now.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ERROR = "<Error><Code>{code}</Code><Message>{said}</Message></Error>"
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "expect"})


@dataclass
class Conditions:
    """A running proxy.

    Attributes:
        port: where clients connect.
        first: called once, right before the next conditional request is looked at.
        conflicts: how many conditional requests are still answered with 409.
        answers: status of each conditional request.
    """

    port: int = 0
    first: Callable[[], None] | None = None
    conflicts: int = 0
    answers: list[int] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Set by the server that is made of it.
    target: ClassVar[str]
    conditions: ClassVar[Conditions]
    lock: ClassVar[threading.Lock]

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        signed = datetime.strptime(self.headers["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
        if abs(datetime.now(UTC) - signed) > timedelta(minutes=15):
            self._answer(_error(403, "RequestTimeTooSkewed", "The difference is too large"))
            return
        if self.headers.get("If-None-Match") != "*":
            self._answer(self._forwarded(body))
            return
        with self.lock:
            answer = self._conditional(body)
        self.conditions.answers.append(answer.status_code)
        self._answer(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - names of the base

    def _conditional(self, body: bytes) -> httpx.Response:
        if first := self.conditions.first:
            self.conditions.first = None
            first()
        if self.conditions.conflicts:
            self.conditions.conflicts -= 1
            return _error(409, "ConditionalRequestConflict", "The conditional request conflicts")
        key = urlsplit(self.path).path
        if httpx.head(f"{self.target}{key}", trust_env=False).status_code == httpx.codes.OK:
            return _error(412, "PreconditionFailed", "At least one precondition did not hold")
        return self._forwarded(body)

    def _forwarded(self, body: bytes) -> httpx.Response:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
        return httpx.request(
            self.command,
            f"{self.target}{self.path}",
            headers=headers,
            content=body,
            trust_env=False,
            timeout=30,
        )

    def _answer(self, answer: httpx.Response) -> None:
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in {*_HOP, "date", "server"}:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Keep silent."""


def _error(status: int, code: str, said: str) -> httpx.Response:
    return httpx.Response(status, text=_ERROR.format(code=code, said=said))


@contextmanager
def holding_conditions(target: str) -> Iterator[Conditions]:
    """Serve before an S3 API until the block ends.

    Args:
        target: its endpoint.
    """
    conditions = Conditions()
    names = {"target": target, "conditions": conditions, "lock": threading.Lock()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), names))
    server.daemon_threads = True
    conditions.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield conditions
    finally:
        server.shutdown()
        server.server_close()
