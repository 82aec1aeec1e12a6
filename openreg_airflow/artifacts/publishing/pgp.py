"""PGP encryption and detached signatures, by GnuPG.

Every step has a key ring of its own in a private folder, with nothing but the keys of its
connection in it, and removes it at its end, together with the agent that held the secret key. A
pass phrase goes to GnuPG through a pipe: it is on no command line, in no file and in no log.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.publishing.digest import HashedFile
from openreg_airflow.errors import ArtifactError
from openreg_airflow.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.artifacts.publishing.digest import Digest

_READ = 1 << 20
#: What GnuPG says of a key that can no longer be used, in the second column of its listing.
_UNUSABLE = {"e": "has expired", "r": "was revoked", "d": "is disabled", "i": "is invalid"}
_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class PgpKey:
    """A key of an Airflow connection.

    Attributes:
        connection: the connection's id, for messages.
        key: the key as armored text: public to encrypt, private to sign.
        pass_phrase: what opens a private key.
    """

    connection: str
    key: str = field(repr=False)
    pass_phrase: str = field(default="", repr=False)


def encrypt(
    source: Path, name: str, target: Path, key: PgpKey, digest: Digest, *, armor: bool
) -> None:
    """Encrypt a file for the owners of all keys of a connection.

    Args:
        source: the file.
        name: its name, which goes with it.
        target: the encrypted file.
        key: the public key or keys.
        digest: takes in what is written to ``target``.
        armor: whether it is written as text.

    Raises:
        ArtifactError: the key cannot be used, or GnuPG is missing or refuses.
    """
    with _ring(key) as ring:
        recipients = ring.keys("pub")
        # Whose key it is was decided by the one who put it into the connection.
        options = ["--trust-model", "always", "--set-filename", name, "--encrypt"]
        for fingerprint in recipients:
            options += ["--recipient", fingerprint]
        ring.write([*_armor(armor), *options], source, name, target, digest)


def sign(
    source: Path, name: str, target: Path, key: PgpKey, digest: Digest, *, armor: bool
) -> None:
    """Write a detached signature of a file.

    Args:
        source: the file.
        name: its name, for messages.
        target: the signature.
        key: the private key.
        digest: takes in what is written to ``target``.
        armor: whether it is written as text.

    Raises:
        ArtifactError: the key cannot be used, its pass phrase is wrong, or GnuPG is missing.
    """
    with _ring(key) as ring:
        [signer, *more] = ring.keys("sec")
        if more:
            message = f"connection {key.connection} holds {1 + len(more)} private keys"
            raise ArtifactError(message, hint="Keep the one that signs.")
        options = ["--digest-algo", "SHA256", "--local-user", signer, "--detach-sign"]
        ring.write([*_armor(armor), *options], source, name, target, digest)


def fingerprints(key: PgpKey) -> list[str]:
    """The fingerprints of all keys and subkeys of a connection, sorted.

    Raises:
        ArtifactError: they cannot be read, or GnuPG is missing.
    """
    with _ring(key) as ring:
        lines = [line.split(":") for line in ring.listing("pub")]
        return sorted(columns[9] for columns in lines if columns[0] == "fpr")


class _Ring:
    """A key ring with the keys of one connection."""

    def __init__(self, program: str, home: Path, key: PgpKey) -> None:
        self._program = program
        self._home = home
        self._key = key

    def fill(self) -> None:
        """Put the connection's keys into it."""
        done = subprocess.run(
            self._command(["--import"]),
            input=self._key.key.encode(),
            capture_output=True,
            env=self._environment(),
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode:
            what = f"the key of connection {self._key.connection}"
            raise self._refused(what, done.stderr)

    def listing(self, kind: str) -> list[str]:
        """What GnuPG tells of its keys; ``kind`` is ``pub`` or ``sec``."""
        told = subprocess.run(
            self._command(
                ["--with-colons", "--list-keys" if kind == "pub" else "--list-secret-keys"]
            ),
            capture_output=True,
            env=self._environment(),
            timeout=_SECONDS,
            check=False,
        ).stdout.decode(errors="replace")
        return told.splitlines()

    def keys(self, kind: str) -> list[str]:
        """The fingerprints of its keys; ``kind`` is ``pub`` or ``sec``."""
        found: list[str] = []
        wants = False
        for line in self.listing(kind):
            columns = line.split(":")
            if columns[0] == kind:
                if columns[1] in _UNUSABLE:
                    message = (
                        f"key {columns[4]} of connection {self._key.connection} "
                        f"{_UNUSABLE[columns[1]]}"
                    )
                    raise ArtifactError(message, hint="Put a valid key into the connection.")
                wants = True
            elif columns[0] == "fpr" and wants:
                found.append(columns[9])
                wants = False
        if not found:
            noun = "public" if kind == "pub" else "private"
            message = f"connection {self._key.connection} holds no {noun} key"
            raise ArtifactError(message, hint=f"Put it into the extra as {noun}_key, armored.")
        return found

    def write(
        self, options: list[str], source: Path, name: str, target: Path, digest: Digest
    ) -> None:
        """Let GnuPG turn a file into another, hashing what it writes."""
        reading, writing = os.pipe()
        try:
            os.write(writing, f"{self._key.pass_phrase}\n".encode())
        finally:
            os.close(writing)
        secret = ["--pinentry-mode", "loopback", "--passphrase-fd", str(reading)]
        with tempfile.TemporaryFile() as said, source.open("rb") as file:
            try:
                process = subprocess.Popen(
                    self._command([*secret, "--output", "-", *options]),
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    pass_fds=(reading,),
                    env=self._environment(),
                )
            finally:
                os.close(reading)
            with process, HashedFile(target, digest) as written:
                assert process.stdout is not None  # noqa: S101 - it is a pipe
                while data := process.stdout.read(_READ):
                    written.write(data)
            if process.returncode:
                said.seek(0)
                raise self._refused(name, said.read())

    def _command(self, options: list[str]) -> list[str]:
        return [self._program, "--no-options", "--batch", "--no-tty", "--quiet", *options]

    def _environment(self) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        return {"GNUPGHOME": str(self._home), "PATH": path, "LC_ALL": "C.UTF-8"}

    def _refused(self, what: str, said: bytes) -> ArtifactError:
        lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
        reason = "; ".join(line.removeprefix("gpg: ") for line in lines[-3:]) or "no reason"
        message = f"GnuPG refuses {what}: {reason}"
        hint = f"Check key and pass phrase of connection {self._key.connection}."
        return ArtifactError(message, hint=hint)


@contextmanager
def _ring(key: PgpKey) -> Iterator[_Ring]:
    program = shutil.which("gpg")
    if program is None:
        message = "GnuPG is not installed here"
        raise ArtifactError(message, hint="Install it on the workers: Debian package gnupg.")
    # Not in the workspace's scratch folder: the name of the agent's socket has a short limit.
    with scratch_folder() as home:
        ring = _Ring(program, home, key)
        try:
            ring.fill()
            yield ring
        finally:
            if stop := shutil.which("gpgconf"):
                subprocess.run(
                    [stop, "--homedir", str(home), "--kill", "all"],
                    capture_output=True,
                    timeout=_SECONDS,
                    check=False,
                )
            # The agent removes its sockets while it ends.
            shutil.rmtree(home, ignore_errors=True)


def _armor(wanted: bool) -> list[str]:
    return ["--armor"] if wanted else []
