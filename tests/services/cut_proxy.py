"""A network that breaks in the middle of an answer."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def cutting_proxy(target: int, *, bytes_to_client: int, reset: bool) -> Iterator[int]:
    """Forward a port of 127.0.0.1; cut a connection after so many bytes of its answer.

    Args:
        target: the server's port.
        bytes_to_client: how much of the answer passes on each connection.
        reset: cut with a reset, as a firewall does, instead of an orderly end.

    Yields:
        The port where clients connect.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(
        target=_accept, args=(listener, target, bytes_to_client, reset), daemon=True
    ).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, target: int, limit: int, reset: bool) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", target))
            threading.Thread(target=_forward, args=(client, server), daemon=True).start()
            threading.Thread(
                target=_answer, args=(server, client, limit, reset), daemon=True
            ).start()


def _forward(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while data := client.recv(1 << 16):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)


def _answer(server: socket.socket, client: socket.socket, left: int, reset: bool) -> None:
    with suppress(OSError):
        while left > 0 and (data := server.recv(min(left, 1 << 16))):
            client.sendall(data)
            left -= len(data)
    with suppress(OSError):
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Wakes the thread that reads from it: only then the close below takes effect.
            client.shutdown(socket.SHUT_RD)
        else:
            client.shutdown(socket.SHUT_RDWR)
        server.shutdown(socket.SHUT_RDWR)
    client.close()
    server.close()
