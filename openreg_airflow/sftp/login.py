"""Host, login and pinned host key of an SFTP server, from an Airflow connection.

The extra fields are those of Airflow's own ``sftp`` and ``ssh`` connections: ``private_key`` (its
text), ``key_file`` (its path), ``private_key_passphrase`` or ``passphrase``, ``host_key`` (one or
more OpenSSH public keys, one a line) or ``known_hosts`` (a file of OpenSSH's form). Where the
server wants a certificate with the key there is also ``certificate`` (its text) or
``certificate_file`` (its path), in OpenSSH's form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import asyncssh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.errors import PermanentError, TransientError

PORT = 22
_UNCHECKED = ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change")
#: Signature algorithms by preference, with the type of host key that each belongs to.
_ALGORITHMS = {
    "ssh-ed25519": "ssh-ed25519",
    "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384": "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521": "ecdsa-sha2-nistp521",
    "rsa-sha2-512": "ssh-rsa",
    "rsa-sha2-256": "ssh-rsa",
}
_PIN = (
    "Ask the authority for its host key, compare it with ssh-keyscan HOST, and put its line "
    "into the extra field host_key."
)


class Connection(Protocol):
    """What is read of an Airflow connection, whichever stage it is for."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def host(self) -> str | None: ...  # noqa: D102
    @property
    def port(self) -> int | None: ...  # noqa: D102
    @property
    def login(self) -> str | None: ...  # noqa: D102
    @property
    def password(self) -> str | None: ...  # noqa: D102
    @property
    def extra(self) -> Mapping[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Faults:
    """The errors of the stage that logs in.

    Attributes:
        refused: for what another try cannot mend.
        failed: for what it may.
    """

    refused: type[PermanentError]
    failed: type[TransientError]


@dataclass(frozen=True, kw_only=True)
class SftpLogin:
    """Everything needed to log in; secrets stay out of its ``repr``.

    Attributes:
        faults: the errors that are raised here and by whoever uses the login.
        host_key: OpenSSH public keys, one a line; any of them may be the server's.
        known_hosts_file: used when ``host_key`` is not given.
        certificate: OpenSSH certificate that goes with each private key.
        certificate_file: used when ``certificate`` is not given.
    """

    connection: Connection
    faults: Faults
    host: str
    port: int
    login: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    passphrase: str | None = field(default=None, repr=False)
    host_key: str | None = None
    known_hosts_file: Path | None = None
    certificate: str | None = None
    certificate_file: Path | None = None

    @classmethod
    def of(cls, connection: Connection, faults: Faults) -> SftpLogin:
        """Read a connection.

        Raises:
            PermanentError: of the given kind: host, login, credentials or the pinned host key are
                missing, or the connection asks not to check the host key.
        """
        extra = connection.extra

        def refused(*, fault: str, hint: str) -> PermanentError:
            return _refused(faults, connection, fault=fault, hint=hint)

        for name in _UNCHECKED:
            if str(extra.get(name, "")).strip().lower() in ("true", "1", "yes"):
                raise refused(
                    fault=f"sets {name}, and an unchecked host key is never accepted",
                    hint=f"Remove {name}. {_PIN}",
                )
        if not connection.host:
            raise refused(fault="has no host", hint="Fill in the host.")
        if not connection.login:
            raise refused(fault="has no login", hint="Fill in the login.")
        if not (extra.get("host_key") or extra.get("known_hosts")):
            raise refused(fault="pins no host key", hint=_PIN)
        if not (connection.password or extra.get("private_key") or extra.get("key_file")):
            raise refused(
                fault="has neither a password nor a key",
                hint="Set private_key, key_file or the password.",
            )
        return cls(
            connection=connection,
            faults=faults,
            host=connection.host,
            port=connection.port or PORT,
            login=connection.login,
            password=connection.password or None,
            private_key=_text(extra.get("private_key")),
            key_file=_path(extra.get("key_file")),
            passphrase=_text(extra.get("private_key_passphrase") or extra.get("passphrase")),
            host_key=_text(extra.get("host_key")),
            known_hosts_file=_path(extra.get("known_hosts")),
            certificate=_text(extra.get("certificate")),
            certificate_file=_path(extra.get("certificate_file")),
        )

    @staticmethod
    def address(connection: Connection) -> str:
        """Host and port as in a URL."""
        host = connection.host or "?"
        return f"{f'[{host}]' if ':' in host else host}:{connection.port or PORT}"

    @property
    def where(self) -> str:
        """Host and port, for messages."""
        return self.address(self.connection)

    def client_keys(self) -> list[Any] | None:
        """The private keys to log in with, each with its certificate if there is one.

        Returns:
            What asyncssh takes as ``client_keys``; None for a password alone.

        Raises:
            PermanentError: a key, a certificate or its file cannot be read.
        """
        certificate = self._certificate()
        texts = []
        if self.private_key:
            texts.append(("private_key", self.private_key.encode()))
        if self.key_file:
            texts.append((f"key_file {self.key_file}", self._read("key_file", self.key_file)))
        keys: list[Any] = []
        for name, text in texts:
            try:
                key = asyncssh.import_private_key(text, self.passphrase)
                keys.append(key if certificate is None else (key, certificate))
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
                raise self._refused(
                    fault=f"has a {name} that cannot be read: {error}",
                    hint="Check the key and the extra field private_key_passphrase.",
                ) from error
        return keys or None

    def _certificate(self) -> asyncssh.SSHCertificate | None:
        file = self.certificate_file
        if self.certificate is None and file is None:
            return None
        text = self.certificate or self._read("certificate_file", file or Path()).decode()
        try:
            return asyncssh.import_certificate(text)
        except (asyncssh.KeyImportError, ValueError) as error:
            raise self._refused(
                fault=f"has a certificate that cannot be read: {error}",
                hint="It is the line that ssh-keygen -s writes into a file ending in -cert.pub.",
            ) from error

    def known_hosts(
        self,
    ) -> tuple[list[asyncssh.SSHKey], list[Any], list[Any]] | asyncssh.SSHKnownHosts:
        """What asyncssh holds the server's host key against; never empty.

        Raises:
            PermanentError: the pinned key or the file cannot be read.
        """
        if self.host_key is None:
            file = self.known_hosts_file or Path()
            try:
                return asyncssh.import_known_hosts(self._read("known_hosts", file).decode())
            except ValueError as error:
                raise self._refused(
                    fault=f"names known_hosts {file}, which cannot be read: {error}",
                    hint="Write one line a host: its name, the key's type and the key.",
                ) from error
        keys = []
        for line in filter(None, map(str.strip, self.host_key.splitlines())):
            # Airflow's hook takes a key without its type for RSA.
            text = line if " " in line else f"ssh-rsa {line}"
            try:
                keys.append(asyncssh.import_public_key(text))
            except asyncssh.KeyImportError as error:
                raise self._refused(
                    fault=f"has a host_key that cannot be read: {error}", hint=_PIN
                ) from error
        if not keys:
            raise self._refused(fault="pins no host key", hint=_PIN)
        return keys, [], []

    def host_key_algorithms(self) -> tuple[str, ...]:
        """What to ask the server for: the pinned types first, then all others.

        Asked for the pinned types alone, a server without them just hangs up, and a changed key
        would look like a broken line. A ``known_hosts`` file leaves the choice to asyncssh, since
        it may name certificate authorities.
        """
        if self.host_key is None:
            return ()
        pinned = {line.split()[0] for line in self.host_key.splitlines() if " " in line.strip()}
        return tuple(
            sorted(_ALGORITHMS, key=lambda name: _ALGORITHMS[name] not in (pinned or {"ssh-rsa"}))
        )

    def _read(self, name: str, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._refused(
                fault=f"names {name} {path}, which cannot be read: {error.strerror}",
                hint="The file must be there, and readable, on every worker.",
            ) from error

    def _refused(self, *, fault: str, hint: str) -> PermanentError:
        return _refused(self.faults, self.connection, fault=fault, hint=hint)


def _refused(faults: Faults, connection: Connection, *, fault: str, hint: str) -> PermanentError:
    return faults.refused(f"connection {connection.id} {fault}", hint=hint)


def _text(value: object) -> str | None:
    return str(value) if value else None


def _path(value: object) -> Path | None:
    return Path(str(value)).expanduser() if value else None
