"""A scripted SQL Server: it speaks the Tabular Data Stream and answers what a test tells it to.

It understands no SQL. The real driver logs in, sends its statements and parameters, reads rows,
errors and broken answers, and cancels; the test sees what arrived. No more than that is proved:
what a real server makes of a statement is not.

Packets and tokens: [MS-TDS] 2.2.3 and 2.2.7,
https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-tds
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.services import tds_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.services.certificates import Pair
    from tests.services.tds_values import Kind

_BATCH, _CALL, _ANSWER, _ATTENTION, _LOGIN, _PRELOGIN = 0x01, 0x03, 0x04, 0x06, 0x10, 0x12
_PACKET = 4096
_MORE, _ERROR, _COUNT, _STOPPED = 0x01, 0x02, 0x10, 0x20
_PREPARE_AND_RUN, _RUN_SQL, _UNPREPARE = 13, 10, 15
_SNAPSHOT = "sys.databases"


@dataclass(frozen=True)
class Rows:
    """A result.

    Attributes:
        cut: the connection breaks after so many rows.
        reset: it breaks with a reset, as a firewall breaks it, instead of an orderly end.
        then: it ends in an error.
        another: a further result of the same statement comes behind it.
    """

    columns: Sequence[tuple[str, Kind]]
    rows: Iterable[Sequence[Any]]
    cut: int | None = None
    reset: bool = True
    then: Refusal | None = None
    another: Rows | None = None


@dataclass(frozen=True)
class Refusal:
    """An error of the server."""

    number: int
    message: str
    severity: int = 16


@dataclass(frozen=True)
class Silence:
    """No answer until the client asks to stop or goes."""


Answer = Rows | Refusal | Silence


@dataclass(frozen=True)
class Login:
    """Who came: as the login packet says."""

    user: str
    password: str
    application: str
    database: str
    read_only: bool


@dataclass
class TdsServer:
    """The server and what it saw.

    Attributes:
        port: of 127.0.0.1.
        answers: what it answers to a statement that contains a text; asked in order.
        refuses: a login is answered with this, if anything.
        statements: every statement with its parameters, in order.
        stops: how often a client asked to stop a statement.
        running: statements that are being answered, and clients that are there.
    """

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    refuses: Refusal | None = None
    snapshots: bool = True
    logins: list[Login] = field(default_factory=list)
    statements: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    stops: int = 0
    running: int = 0
    clients: int = 0

    def answer(self, sql: str) -> Answer | None:
        """What a statement gets; None for one that returns nothing."""
        for text, answer in self.answers.items():
            if text in sql:
                return answer
        if _SNAPSHOT in sql:
            allowed = tds_values.integer(4)
            return Rows([("allowed", allowed)], [(int(self.snapshots),)])
        if "@@SPID" in sql:
            return Rows([("id", tds_values.integer(4))], [(51,)])
        return None


@contextmanager
def tds_server(pair: Pair | None = None) -> Iterator[TdsServer]:
    """Give a running server on a free port of 127.0.0.1; its connections end with the block.

    With a certificate and its key it speaks TLS from the first byte on, as version 8.0 does.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server = TdsServer(listener.getsockname()[1])
    clients: list[socket.socket] = []
    context = _tls(pair) if pair else None
    arguments = (listener, server, clients, context)
    threading.Thread(target=_accept, args=arguments, daemon=True).start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


def _tls(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.set_alpn_protocols(["tds/8.0"])
    return context


def _accept(
    listener: socket.socket,
    server: TdsServer,
    clients: list[socket.socket],
    context: ssl.SSLContext | None,
) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            clients.append(client)
            threading.Thread(target=_serve, args=(client, server, context), daemon=True).start()


def _serve(client: socket.socket, server: TdsServer, context: ssl.SSLContext | None) -> None:
    server.clients += 1
    try:
        with client, suppress(OSError, EOFError):
            if context is not None:
                client = context.wrap_socket(client, server_side=True)
            _Conversation(client, server).run()
    finally:
        server.clients -= 1


class _Conversation:
    """One client's connection."""

    def __init__(self, client: socket.socket, server: TdsServer) -> None:
        self._client = client
        self._server = server
        self._numbers = count(1)
        self._pending = bytearray()
        self._handles = count(1)

    def run(self) -> None:
        while True:
            kind, data = self._receive()
            if kind == _PRELOGIN:
                self._send(_prelogin(), last=True)
            elif kind == _LOGIN:
                self._login(data)
            elif kind == _BATCH:
                [skip] = struct.unpack_from("<I", data)
                self._statement(data[skip:].decode("utf-16-le"), (), called=False)
            elif kind == _CALL:
                self._call(data)
            elif kind == _ATTENTION:
                self._stop()
            else:
                message = f"a packet of type 0x{kind:02x}"
                raise NotImplementedError(message)

    def _receive(self) -> tuple[int, bytes]:
        whole = b""
        while True:
            kind, status, length = struct.unpack(">BBH", self._exactly(8)[:4])
            whole += self._exactly(length - 8)
            if status & 1:
                return kind, whole

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._client.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _send(self, data: bytes, *, last: bool = False) -> None:
        """Put data into packets; full ones go at once, the rest with the ``last``."""
        self._pending += data
        room = _PACKET - 8
        while len(self._pending) > room:
            self._packet(bytes(self._pending[:room]), last=False)
            del self._pending[:room]
        if last:
            self._packet(bytes(self._pending), last=True)
            self._pending.clear()

    def _packet(self, data: bytes, *, last: bool) -> None:
        number = next(self._numbers) & 0xFF
        head = struct.pack(">BBHHBB", _ANSWER, last, len(data) + 8, 51, number, 0)
        self._client.sendall(head + data)

    def _login(self, data: bytes) -> None:
        found = _login(data)
        self._server.logins.append(found)
        if self._server.refuses is not None:
            self._send(_error(self._server.refuses) + _done(_ERROR), last=True)
            return
        parts = _changed(1, found.database or "master", "master") + _collation()
        parts += _changed(2, "us_english", "") + _changed(4, str(_PACKET), str(_PACKET))
        self._send(parts + _login_done() + _done(0), last=True)

    def _call(self, data: bytes) -> None:
        [skip] = struct.unpack_from("<I", data)
        [length] = struct.unpack_from("<H", data, skip)
        if length == 0xFFFF:
            [procedure] = struct.unpack_from("<H", data, skip + 2)
            start = skip + 4 + 2
        else:
            name = data[skip + 2 : skip + 2 + 2 * length].decode("utf-16-le").lower()
            procedure = {"sp_prepexec": _PREPARE_AND_RUN, "sp_executesql": _RUN_SQL}.get(name, 0)
            start = skip + 2 + 2 * length + 2
        values = []
        while start < len(data) and procedure in (_PREPARE_AND_RUN, _RUN_SQL):
            value, start = tds_values.parameter(data, start)
            values.append(value)
        if procedure == _PREPARE_AND_RUN:
            self._statement(values[2], tuple(values[3:]), called=True, prepared=True)
        elif procedure == _RUN_SQL:
            self._statement(values[0], tuple(values[2:]), called=True)
        else:
            self._send(_returned() + _done(0, 0xFE), last=True)

    def _statement(
        self, sql: str, values: tuple[Any, ...], *, called: bool, prepared: bool = False
    ) -> None:
        self._server.statements.append((sql, values))
        self._server.running += 1
        try:
            end = self._answer(self._server.answer(sql), called=called)
        finally:
            self._server.running -= 1
        if end is None:
            return
        if called:
            handle = _handle(next(self._handles)) if prepared else b""
            end += _returned() + handle + _done(0, 0xFE)
        self._send(end, last=True)

    def _answer(self, answer: Answer | None, *, called: bool) -> bytes | None:
        """Answer all but the end, and return that; None when the client asked to stop."""
        token, more = (0xFF, _MORE) if called else (0xFD, 0)
        if isinstance(answer, Refusal):
            return _error(answer) + _done(_ERROR | more, token)
        if isinstance(answer, Silence):
            self._stop_when_asked()
            return None
        rows = 0
        if answer is not None:
            self._send(tds_values.columns(answer.columns))
            for values in answer.rows:
                if rows == answer.cut:
                    self._cut(reset=answer.reset)
                self._send(tds_values.row(answer.columns, values))
                rows += 1
                if self._asked():
                    self._pending.clear()
                    self._stop_when_asked()
                    return None
            if answer.then is not None:
                return _error(answer.then) + _done(_ERROR | more, token)
            if answer.another is not None:
                self._send(_done(_COUNT | _MORE, token, rows))
                return self._answer(answer.another, called=called)
        return _done(_COUNT | more if answer is not None else more, token, rows)

    def _cut(self, *, reset: bool) -> None:
        """Send what there is so far, and break the connection."""
        self._packet(bytes(self._pending), last=False)
        if reset:
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.close()
        raise EOFError

    def _asked(self) -> bool:
        return bool(select.select([self._client], [], [], 0)[0])

    def _stop_when_asked(self) -> None:
        while self._receive()[0] != _ATTENTION:
            pass
        self._stop()

    def _stop(self) -> None:
        self._server.stops += 1
        self._send(_done(_STOPPED), last=True)


def _prelogin() -> bytes:
    """The server's version, and that it has no encryption and no parallel results."""
    values = [(0, struct.pack(">BBHH", 16, 0, 4135, 0)), (1, b"\x02"), (2, b"\x00"), (4, b"\x00")]
    offset = 5 * len(values) + 1
    head = body = b""
    for code, value in values:
        head += struct.pack(">BHH", code, offset + len(body), len(value))
        body += value
    return head + b"\xff" + body


def _login(data: bytes) -> Login:
    def part(place: int) -> bytes:
        offset, length = struct.unpack_from("<HH", data, place)
        return data[offset : offset + 2 * length]

    # Each byte of a password has its halves changed and is mixed with a constant.
    password = bytes(((b ^ 0xA5) << 4 | (b ^ 0xA5) >> 4) & 0xFF for b in part(44))
    return Login(
        user=part(40).decode("utf-16-le"),
        password=password.decode("utf-16-le"),
        application=part(48).decode("utf-16-le"),
        database=part(68).decode("utf-16-le"),
        read_only=bool(data[26] & 0x20),
    )


def _counted(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def _changed(code: int, new: str, old: str) -> bytes:
    body = bytes([code]) + _counted(new) + _counted(old)
    return struct.pack("<BH", 0xE3, len(body)) + body


def _collation() -> bytes:
    body = bytes([7, 5]) + tds_values.COLLATION + b"\x00"
    return struct.pack("<BH", 0xE3, len(body)) + body


def _login_done() -> bytes:
    body = b"\x01" + struct.pack(">I", 0x74000004) + _counted("Microsoft SQL Server")
    body += struct.pack(">BBH", 16, 0, 4135)
    return struct.pack("<BH", 0xAD, len(body)) + body


def _error(refusal: Refusal) -> bytes:
    text = refusal.message.encode("utf-16-le")
    body = struct.pack("<iBB", refusal.number, 1, refusal.severity)
    body += struct.pack("<H", len(refusal.message)) + text + _counted("scripted") + _counted("")
    body += struct.pack("<I", 1)
    return struct.pack("<BH", 0xAA, len(body)) + body


def _done(status: int, token: int = 0xFD, rows: int = 0) -> bytes:
    return struct.pack("<BHHQ", token, status, 0xC1 if status & _COUNT else 0, rows)


def _returned() -> bytes:
    return struct.pack("<Bi", 0x79, 0)


def _handle(number: int) -> bytes:
    return (
        struct.pack("<BHB", 0xAC, 0, 0) + b"\x01" + struct.pack("<IH", 0, 1)
        + bytes([0x26, 4, 4]) + struct.pack("<i", number)
    )  # fmt: skip
