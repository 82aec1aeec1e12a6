"""A container engine at a distance: its Unix socket behind TCP on 127.0.0.1, or behind TLS."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
        ca, server, client = _certificates(folder)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*server)
        tls.load_verify_locations(ca)
        tls.verify_mode = ssl.CERT_REQUIRED
        engine = RemoteEngine(0, ca, *client)
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


def _certificates(folder: Path) -> tuple[Path, tuple[Path, Path], tuple[Path, Path]]:
    """A certificate authority, and a certificate with its key for a server and for a client."""
    authority = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    ca = folder / "ca.pem"
    root = _certificate(name, authority, name, authority, authority=True)
    ca.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    pairs = []
    for role in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)])
        certificate = _certificate(subject, key, name, authority, authority=False)
        paths = (folder / f"{role}.pem", folder / f"{role}.key")
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        pairs.append(paths)
    return ca, pairs[0], pairs[1]


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
