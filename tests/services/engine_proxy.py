"""A container engine at a distance: its Unix socket behind TCP on 127.0.0.1, or behind TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.services.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 1 << 16


@dataclass(frozen=True)
class RemoteEngine:
    """Where the proxy listens.

    Attributes:
        port: TCP port on 127.0.0.1.
        ca_cert, client_cert, client_key: PEM files of a client; None without TLS.
    """

    port: int
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


@contextmanager
def remote_engine(socket_path: str, folder: Path | None = None) -> Iterator[RemoteEngine]:
    """Serve an engine's socket on a port until the block ends.

    Args:
        socket_path: the engine's Unix socket.
        folder: for certificates; a client must show one then. Without it there is no TLS.
    """
    tls = None
    engine = RemoteEngine(0)
    if folder is not None:
        authority = Authority(folder)
        server, client = authority.pair("server"), authority.pair("client")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(server.certificate, server.key)
        tls.load_verify_locations(authority.certificate)
        tls.verify_mode = ssl.CERT_REQUIRED
        engine = RemoteEngine(0, authority.certificate, client.certificate, client.key)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=_serve, args=(listener, socket_path, tls), daemon=True).start()
        port = listener.getsockname()[1]
        yield RemoteEngine(port, engine.ca_cert, engine.client_cert, engine.client_key)
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, socket_path: str, tls: ssl.SSLContext | None) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_forward, args=(near, socket_path, tls), daemon=True).start()


def _forward(near: socket.socket, socket_path: str, tls: ssl.SSLContext | None) -> None:
    """Carry bytes both ways; the end of either side ends both.

    One thread for both directions, because a TLS connection is not to be used by two.
    """
    import select

    far = socket.socket(socket.AF_UNIX)
    with suppress(OSError), closing(near), closing(far):
        if tls is not None:
            near = tls.wrap_socket(near, server_side=True)
        far.connect(socket_path)
        while True:
            waiting = isinstance(near, ssl.SSLSocket) and near.pending()
            ready = [near] if waiting else select.select([near, far], [], [])[0]
            for end in ready:
                piece = end.recv(_PIECE)
                if not piece:
                    near.close()
                    return
                (far if end is near else near).sendall(piece)
