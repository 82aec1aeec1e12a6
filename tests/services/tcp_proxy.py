"""A network that misbehaves on demand: a proxy that stops forwarding without closing."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class TcpProxy:
    """Forwards 127.0.0.1 to a port until so many bytes went to the server, then keeps silent.

    Attributes:
        port: where clients connect.
        stalled: set once nothing is forwarded any more.
    """

    def __init__(self, target: int, *, bytes_to_server: int) -> None:
        self._target = target
        self._left = bytes_to_server
        self.stalled = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Cut every connection and stop listening."""
        for end in (self._listener, *self._sockets):
            # Closing alone does not wake a thread that waits in accept or recv.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while self._left > 0 and (data := client.recv(min(self._left, 1 << 16))):
                server.sendall(data)
                self._left -= len(data)
            if self._left <= 0:
                self.stalled.set()
                return
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if self.stalled.is_set():
                    return
                client.sendall(data)
        if not self.stalled.is_set():
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


@contextmanager
def stalling_proxy(target: int, *, bytes_to_server: int) -> Iterator[TcpProxy]:
    """Run a :class:`TcpProxy` in front of a port of 127.0.0.1."""
    proxy = TcpProxy(target, bytes_to_server=bytes_to_server)
    try:
        yield proxy
    finally:
        proxy.close()
