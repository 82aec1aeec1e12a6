"""A certificate authority of the tests' own, for servers on 127.0.0.1."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """PEM files of a certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; its own is at ``certificate``, for clients to trust."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        root = self._sign(self._name, self._key, authority=True, begins=now - dt.timedelta(hours=1))
        self.certificate = folder / f"{name.replace(' ', '-')}.pem"
        self.certificate.write_bytes(root.public_bytes(serialization.Encoding.PEM))

    def pair(
        self,
        role: str,
        *,
        host: str = "localhost",
        begins: dt.datetime | None = None,
    ) -> Pair:
        """A certificate and its key.

        Args:
            role: names the files and the subject.
            host: the name in the certificate, beside the address 127.0.0.1 when it is localhost.
            begins: from when it holds, for a day; default: an hour ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)])
        begins = begins or dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
        certificate = self._sign(subject, key, authority=False, begins=begins, host=host)
        pair = Pair(self._folder / f"{role}.pem", self._folder / f"{role}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        pair.key.chmod(0o600)
        return pair

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        authority: bool,
        begins: dt.datetime,
        host: str = "localhost",
    ) -> x509.Certificate:
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            names.append(x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
