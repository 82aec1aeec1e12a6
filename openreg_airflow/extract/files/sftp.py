"""Files on an SFTP server whose host key is pinned."""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncssh

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract.files.place import FetchedFile, FoundFile, changed, copying
from openreg_airflow.sftp.link import SftpLink
from openreg_airflow.sftp.login import Faults, SftpLogin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openreg_airflow.extract.files.place import FileConnection

FAULTS = Faults(SourceError, SourceUnavailableError)
_PROGRESS_SECONDS = 5.0

log = logging.getLogger(__name__)


class SftpFiles(SftpLink):
    """The files at the other end; see :class:`openreg_airflow.extract.files.place.Place`."""

    server = "SFTP"

    def connect(self) -> None:
        """Connect, check the host key, log in and start SFTP."""
        super().connect()
        self.server = f"SFTP {self._login.where}"

    def check(self) -> None:
        """Look at the folder that a login starts in."""
        self._run(self._stat_folder(), "looking for the login's folder")

    def names(self, folder: str) -> list[str]:
        """The names in a folder."""
        return self._run(self._names(folder or "."), f"listing folder {folder}")

    def stat(self, path: str) -> FoundFile | None:
        """What is known of a file."""
        return self._run(self._stat(path), f"looking for {path}")

    def fetch(self, found: FoundFile, scratch: Path, check: Callable[[], None]) -> FetchedFile:
        """Download a file; it must still be the one that was found afterwards."""
        target = scratch / f"{len(list(scratch.iterdir()))}"
        self._run(self._fetch(found, target, check), f"reading {found.path}")
        size = target.stat().st_size
        now = self.stat(found.path)
        if size != found.bytes or now != found:
            raise changed(found, now)
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FetchedFile(found=found, local=target, sha256=digest)

    async def _names(self, folder: str) -> list[str]:
        names = []
        try:
            async for entry in self._client.scandir(folder):
                self._hear()
                if entry.attrs.type in (asyncssh.FILEXFER_TYPE_REGULAR, None):
                    names.append(str(entry.filename))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return []
        return names

    async def _stat_folder(self) -> None:
        await self._client.stat(".")

    async def _stat(self, path: str) -> FoundFile | None:
        try:
            found = await self._client.stat(path)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None
        if found.type == asyncssh.FILEXFER_TYPE_DIRECTORY:
            message = f"{path} is not a file"
            raise SourceError(message, where=path, hint="Correct `path:`.")
        changed_at = datetime.fromtimestamp(found.mtime or 0, UTC).isoformat()
        return FoundFile(
            path=path,
            bytes=found.size or 0,
            version=f"{found.mtime}-{found.size}",
            modified=changed_at,
        )

    async def _fetch(self, found: FoundFile, target: Path, check: Callable[[], None]) -> None:
        told = time.monotonic()

        def reached(_remote: bytes, _local: bytes, done: int, total: int) -> None:
            nonlocal told
            self._hear()
            check()
            if time.monotonic() - told >= _PROGRESS_SECONDS:
                told = time.monotonic()
                log.info("%s: %d of %d MiB fetched", found.path, done >> 20, total >> 20)

        with copying(found, target):
            await self._client.get(
                found.path,
                str(target),
                sparse=False,
                progress_handler=reached,
                follow_symlinks=True,
            )


@contextmanager
def open_sftp(connection: FileConnection, *, timeout_seconds: float) -> Iterator[SftpFiles]:
    """Connect, check the host key and log in."""
    login = SftpLogin.of(connection, FAULTS)
    with SftpFiles.opened(login, timeout_seconds=timeout_seconds) as link:
        yield link
