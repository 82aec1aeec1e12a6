"""A listener of Oracle's network protocol that never lets anyone in.

It answers the first packet of a login in one way, which is as far as the tests get without a
database: a refusal as a real listener words it, nonsense, the end of the connection, or nothing.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFUSE = 4
_HEADER = 8


def refusal(number: int) -> bytes:
    """A REFUSE packet with a number of Oracle's."""
    text = (
        f"(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR={number})"
        f"(ERROR_STACK=(ERROR=(CODE={number})(EMFI=4))))"
    ).encode()
    body = struct.pack(">BBH", 0x22, 0, len(text)) + text
    return struct.pack(">HHBBH", _HEADER + len(body), 0, _REFUSE, 0, 0) + body


@contextmanager
def tns_listener(answer: bytes | None) -> Iterator[int]:
    """Give the port of 127.0.0.1 where every login is answered so; None is no answer at all."""
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []
    threading.Thread(target=_accept, args=(listener, answer, clients), daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for client in clients:
            client.close()


def _accept(listener: socket.socket, answer: bytes | None, clients: list[socket.socket]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            clients.append(client)
            if answer is None:
                continue
            client.recv(1 << 16)
            client.sendall(answer)
            client.close()
