"""FTP and FTPS by the standard library's client, in large blocks.

FTP has no rename that refuses to overwrite and many servers overwrite silently: the final name is
looked for right before the rename. A server that leaves out sizes, hashes or listings is still
served: what it cannot tell is read back.
"""

from __future__ import annotations

import ftplib
import hashlib
import logging
import posixpath
import re
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar

from openreg_airflow.deliver.channel import NameTakenError, Outcome
from openreg_airflow.deliver.channels import ftp_errors
from openreg_airflow.deliver.channels.ftp_client import PlainClient, TlsClient
from openreg_airflow.deliver.channels.ftp_login import FtpLogin
from openreg_airflow.deliver.placing import look, place
from openreg_airflow.deliver.progress import Progress
from openreg_airflow.errors import DeliveryRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openreg_airflow.deliver.channel import Parcel, Verify
    from openreg_airflow.deliver.connection import Connection

#: Bytes that are sent or read at a time: few calls, and still small enough for a cache.
_BLOCK = 1 << 18
_SHA256 = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")
_UNKNOWN_COMMAND = ("500", "501", "502", "504")

log = logging.getLogger(__name__)


class FtpChannel:
    """Delivery over plain FTP, for lines that are secured by other means."""

    connection_types: ClassVar[tuple[str, ...]] = ("ftp",)
    scheme: ClassVar[str] = "ftp"
    tls: ClassVar[bool] = False

    def destination(self, connection: Connection, folder: str, filename: str) -> str:
        """The place as a URL without credentials."""
        host = connection.host or "?"
        port = f":{connection.port}" if connection.port else ""
        parts = [part for part in folder.split("/") if part not in ("", ".")]
        at = f"{f'[{host}]' if ':' in host else host}{port}"
        return f"{self.scheme}://{at}/{'/'.join([*parts, filename])}"

    @contextmanager
    def open(self, connection: Connection, *, timeout_seconds: float) -> Iterator[FtpSession]:
        """Connect and log in; see :class:`openreg_airflow.deliver.channel.Channel`."""
        session = FtpSession(FtpLogin.of(connection, tls=self.tls), timeout_seconds)
        try:
            session.connect()
            yield session
        finally:
            session.close()


class FtpsChannel(FtpChannel):
    """Delivery over FTP with TLS; the certificate is always checked."""

    scheme = "ftps"
    tls = True


class FtpSession:
    """One control connection; the files at the other end.

    Args:
        login: where to and as whom.
        timeout_seconds: longest time without an answer.
    """

    def __init__(self, login: FtpLogin, timeout_seconds: float) -> None:
        self._login = login
        self._timeout = timeout_seconds
        self._features: frozenset[str] = frozenset()
        self._home = "/"
        self._ftp: PlainClient | TlsClient
        if login.tls is None:
            self._ftp = PlainClient(encoding=login.encoding)
        else:
            self._ftp = TlsClient(context=login.tls, encoding=login.encoding)
            self._ftp.implicit = login.implicit
        self._ftp.set_pasv(login.passive)

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
        """Bring one parcel to a folder."""
        return place(self, parcel, folder, verify)

    def look(self, parcel: Parcel, folder: str) -> str:
        """Say what delivering it would find and do."""
        return look(self, parcel, folder)

    def connect(self) -> None:
        """Connect, log in, and ask what the server can."""
        login = self._login
        with self._doing(f"connecting to {login.where}"):
            self._ftp.connect(login.host, login.port, self._timeout)
            self._ftp.enter(login)
            self._home = self._ftp.pwd() or "/"
            with suppress(ftplib.error_perm):
                lines = self._ftp.sendcmd("FEAT").splitlines()[1:-1]
                self._features = frozenset(
                    line.split()[0].upper() for line in lines if line.strip()
                )
            self._ftp.voidcmd("TYPE I")

    def close(self) -> None:
        """Say goodbye; a server that does not answer is left alone."""
        if self._ftp.sock is None:
            return
        try:
            self._ftp.quit()
        except ftp_errors.FAILURES:
            self._ftp.close()

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it, where they are missing."""
        path = self._home if not folder.startswith("/") else "/"
        with self._doing(f"making folder {folder}"):
            for part in filter(None, folder.split("/")):
                path = posixpath.join(path, part)
                if part == "." or self._is_folder(path):
                    continue
                try:
                    self._ftp.mkd(path)
                except ftplib.error_perm as error:
                    # Another delivery may have made it just now.
                    if self._is_folder(path):
                        continue
                    if not self._exists(path):
                        raise
                    message = f"{path} at {self._login.where} is not a folder"
                    raise DeliveryRefusedError(
                        message, hint="Correct the folder in the spec."
                    ) from error

    def names(self, folder: str) -> list[str] | None:
        """The names in a folder; None when listing it is not allowed or not known."""
        path = self._at(folder)
        with self._doing(f"listing folder {folder}"):
            try:
                return self._names(path)
            except (ftplib.error_perm, ftplib.error_temp) as error:
                if ftp_errors.code(error) not in ("450", "550", *_UNKNOWN_COMMAND):
                    raise
                return None if self._is_folder(path) else []

    def size(self, path: str) -> int | None:
        """The size of a file; None when there is none."""
        with self._doing(f"looking for {path}"):
            return self._size(self._at(path))

    def changed(self, path: str) -> str:
        """When a file was last changed (MDTM of RFC 3659); empty when the server does not tell."""
        with self._doing(f"looking for {path}"):
            try:
                return self._ftp.voidcmd(f"MDTM {self._at(path)}").partition(" ")[2].strip()
            except ftplib.error_perm:
                return ""

    def sha256(self, path: str) -> str | None:
        """The hash of a file, by the server if it can; None when reading is not allowed."""
        with self._doing(f"reading {path}"):
            at = self._at(path)
            return self._told_sha256(at) or self._read_sha256(at)

    def fetch(self, path: str, target: Path) -> None:
        """Copy a remote file to a new local one."""
        progress, done = Progress(f"fetched {path}", self.size(path) or 0), 0
        with target.open("xb") as file, self._doing(f"fetching {path}"):

            def take(block: bytes) -> None:
                nonlocal done
                done += file.write(block)
                progress.reached(done)

            self._ftp.retrbinary(f"RETR {self._at(path)}", take, blocksize=_BLOCK)

    def upload(self, parcel: Parcel, path: str) -> None:
        """Write a new file."""
        progress = parcel.progress("sent")
        done = 0

        def sent(block: bytes) -> None:
            nonlocal done
            done += len(block)
            progress.reached(done)

        with parcel.path.open("rb") as file, self._doing(f"sending {parcel.filename} as {path}"):
            try:
                block = parcel.block(_BLOCK)
                self._ftp.storbinary(f"STOR {self._at(path)}", file, blocksize=block, callback=sent)
            except (ConnectionError, ssl.SSLError):
                # A server that has no more room hangs up the data line, then says why.
                with suppress(OSError, EOFError):
                    self._ftp.voidresp()
                raise

    def publish(self, temporary: str, final: str) -> None:
        """Rename; a name that is taken is refused here, since servers overwrite."""
        with self._doing(f"renaming {temporary} to {final}"):
            at = self._at(final)
            if self._exists(at):
                raise self._taken(final)
            try:
                self._ftp.rename(self._at(temporary), at)
            except ftplib.error_perm as error:
                if self._exists(at):
                    raise self._taken(final) from error
                raise

    def remove(self, path: str) -> bool:
        """Remove a file; False when it was gone already."""
        with self._doing(f"removing {path}"):
            at = self._at(path)
            try:
                self._ftp.delete(at)
            except ftplib.error_perm:
                if self._exists(at):
                    raise
                return False
        return True

    def _at(self, path: str) -> str:
        """A path from the root, so that it means the same whatever folder we are in."""
        return posixpath.normpath(posixpath.join(self._home, path))

    def _is_folder(self, path: str) -> bool:
        try:
            self._ftp.cwd(path)
        except ftplib.error_perm:
            return False
        return True

    def _exists(self, path: str) -> bool:
        """Whether there is a file or a folder, also where sizes are kept from us."""
        if self._size(path) is not None:
            return True
        try:
            return posixpath.basename(path) in self._names(posixpath.dirname(path))
        except (ftplib.error_perm, ftplib.error_temp):
            return False

    def _names(self, path: str) -> list[str]:
        """The names in a folder, hidden ones included where the server can."""
        found: list[str] = []
        if "MLST" in self._features:
            found = [name for name, _ in self._ftp.mlsd(path, ["type"])]
        else:
            with suppress(ftplib.error_perm, ftplib.error_temp):
                found = self._ftp.nlst("-a", path)
            # To a server that knows no options, that was the name of a folder.
            found = found or self._ftp.nlst(path)
        return [name for name in map(posixpath.basename, found) if name not in ("", ".", "..")]

    def _size(self, path: str) -> int | None:
        try:
            # A listing leaves the connection in text mode, in which servers tell no sizes.
            self._ftp.voidcmd("TYPE I")
            return self._ftp.size(path)
        except ftplib.error_perm as error:
            if ftp_errors.code(error) not in _UNKNOWN_COMMAND:
                return None
        # The server cannot tell: count what it sends.
        count = 0

        def read(block: bytes) -> None:
            nonlocal count
            count += len(block)

        return count if self._read(path, read) else None

    def _told_sha256(self, path: str) -> str | None:
        """The server's own hash: HASH (draft-bryan-ftpext-hash) or the older XSHA256."""
        with suppress(ftplib.error_perm):
            if "HASH" in self._features:
                self._ftp.sendcmd("OPTS HASH SHA-256")
                reply = self._ftp.sendcmd(f"HASH {path}")
            elif "XSHA256" in self._features:
                reply = self._ftp.sendcmd(f"XSHA256 {path}")
            else:
                return None
            if found := _SHA256.search(reply):
                return found.group().lower()
        return None

    def _read_sha256(self, path: str) -> str | None:
        digest = hashlib.sha256()
        progress = Progress(f"read back {path}", self._size(path) or 0)
        done = 0

        def read(block: bytes) -> None:
            nonlocal done
            digest.update(block)
            done += len(block)
            progress.reached(done)

        return digest.hexdigest() if self._read(path, read) else None

    def _read(self, path: str, take: Callable[[bytes], None]) -> bool:
        """Read a file; False when the server does not give it."""
        try:
            self._ftp.retrbinary(f"RETR {path}", take, blocksize=_BLOCK)
        except ftplib.error_perm as error:
            if ftp_errors.code(error) == "530":
                raise
            return False
        return True

    def _taken(self, final: str) -> NameTakenError:
        return NameTakenError(
            f"{final} appeared at {self._login.where} while this artifact was being sent",
            hint="It was not overwritten. Find out what else delivers under this name.",
        )

    @contextmanager
    def _doing(self, step: str) -> Iterator[None]:
        """Give the errors of one step their place and their class."""
        try:
            yield
        except ftp_errors.FAILURES as error:
            raise ftp_errors.translated(error, self._login, self._timeout, step) from error
