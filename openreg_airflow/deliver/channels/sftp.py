"""Delivery over SFTP."""

from __future__ import annotations

import hashlib
import posixpath
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, cast

import asyncssh

from openreg_airflow.deliver.channel import NameTakenError, Outcome
from openreg_airflow.deliver.placing import look, place
from openreg_airflow.deliver.progress import Progress
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError
from openreg_airflow.sftp import errors as sftp_errors
from openreg_airflow.sftp.link import SftpLink
from openreg_airflow.sftp.login import Faults, SftpLogin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.deliver.channel import Parcel, Verify
    from openreg_airflow.deliver.connection import Connection

FAULTS = Faults(DeliveryRefusedError, DeliveryError)

_READ = 4 << 20
#: What every server takes at a time; without a limit of speed it is asked for its largest.
_SURE_BLOCK = 32 << 10


class SftpChannel:
    """Delivery over SFTP; the host key is always checked against the one that is pinned."""

    connection_types: ClassVar[tuple[str, ...]] = ("sftp", "ssh")

    def destination(self, connection: Connection, folder: str, filename: str) -> str:
        """The place as a URL without credentials."""
        login = SftpLogin.address(connection)
        parts = [part for part in folder.split("/") if part not in ("", ".")]
        return f"sftp://{login}/{'/'.join([*parts, filename])}"

    @contextmanager
    def open(self, connection: Connection, *, timeout_seconds: float) -> Iterator[SftpSession]:
        """Connect and log in; see :class:`openreg_airflow.deliver.channel.Channel`."""
        login = SftpLogin.of(connection, FAULTS)
        with SftpSession.opened(login, timeout_seconds=timeout_seconds) as session:
            yield session


class SftpSession(SftpLink):
    """The files at the other end of one connection."""

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
        """Bring one parcel to a folder."""
        return place(self, parcel, folder, verify)

    def look(self, parcel: Parcel, folder: str) -> str:
        """Say what delivering it would find and do."""
        return look(self, parcel, folder)

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it, where they are missing."""
        self._run(self._make_folder(folder), f"making folder {folder}")

    def names(self, folder: str) -> list[str] | None:
        """The names in a folder; None when listing it is not allowed."""
        return self._run(self._names(folder), f"listing folder {folder}")

    def size(self, path: str) -> int | None:
        """The size of a file; None when there is none."""
        return self._run(self._size(path), f"looking for {path}")

    def changed(self, path: str) -> str:
        """When a file was last changed, as the server tells; empty when it does not."""
        return self._run(self._changed(path), f"looking for {path}")

    def sha256(self, path: str) -> str | None:
        """Read a file and hash it; None when reading is not allowed."""
        return self._run(self._sha256(path), f"reading {path}")

    def fetch(self, path: str, target: Path) -> None:
        """Copy a remote file to a new local one."""
        self._run(self._fetch(path, target), f"fetching {path}")

    def upload(self, parcel: Parcel, path: str) -> None:
        """Write a new file and flush it to the server's disk where the server can."""
        self._run(self._upload(parcel, path), f"sending {parcel.filename} as {path}")

    def publish(self, temporary: str, final: str) -> None:
        """Rename without overwriting."""
        self._run(self._publish(temporary, final), f"renaming {temporary} to {final}")

    def remove(self, path: str) -> bool:
        """Remove a file; False when it was gone already."""
        return self._run(self._remove(path), f"removing {path}")

    async def _make_folder(self, folder: str) -> None:
        client = self._client
        if await client.isdir(folder):
            return
        path = "/" if folder.startswith("/") else ""
        for part in filter(None, folder.split("/")):
            path = posixpath.join(path, part)
            if await client.isdir(path):
                continue
            try:
                await client.mkdir(path)
            except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists) as error:
                # Another delivery may have made it just now.
                if await client.isdir(path):
                    continue
                if not await client.exists(path):
                    raise
                message = f"{path} at {self._login.where} is not a folder"
                raise DeliveryRefusedError(
                    message, hint="Correct the folder in the spec."
                ) from error

    async def _names(self, folder: str) -> list[str] | None:
        try:
            names = []
            async for entry in self._client.scandir(folder):
                self._hear()
                names.append(str(entry.filename))
            return names
        except asyncssh.SFTPPermissionDenied:
            return None
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return []

    async def _size(self, path: str) -> int | None:
        try:
            found = await self._client.stat(path)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None
        return found.size or 0

    async def _changed(self, path: str) -> str:
        try:
            found = await self._client.stat(path)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return ""
        return "" if found.mtime is None else f"{found.mtime}.{found.mtime_ns or 0}"

    async def _sha256(self, path: str) -> str | None:
        digest = hashlib.sha256()
        done = 0
        try:
            file = await self._client.open(path, "rb")
        except asyncssh.SFTPPermissionDenied:
            return None
        async with file:
            progress = Progress(f"read back {path}", (await file.stat()).size or 0)
            while data := cast("bytes", await file.read(_READ, done)):
                self._hear()
                digest.update(data)
                done += len(data)
                progress.reached(done)
        return digest.hexdigest()

    async def _fetch(self, path: str, target: Path) -> None:
        progress = Progress(f"fetched {path}", await self._size(path) or 0)

        def reached(_remote: bytes, _local: bytes, done: int, _total: int) -> None:
            self._hear()
            progress.reached(done)

        await self._client.get(path, str(target), progress_handler=reached)

    async def _upload(self, parcel: Parcel, path: str) -> None:
        progress = parcel.progress("sent")

        def reached(_local: bytes, _remote: bytes, done: int, _total: int) -> None:
            progress.reached(done)
            # After any wait for a limited line, which is not the server's silence.
            self._hear()

        try:
            await self._client.put(
                str(parcel.path),
                path,
                sparse=False,
                block_size=parcel.block(_SURE_BLOCK) if parcel.bytes_per_second else -1,
                progress_handler=reached,
            )
            # Not every server can flush, and some let a file be written but not opened again.
            with suppress(asyncssh.SFTPOpUnsupported, asyncssh.SFTPPermissionDenied):
                async with await self._client.open(path, asyncssh.FXF_WRITE) as file:
                    await file.fsync()
        except asyncssh.SFTPFailure as error:
            # Version 3 of the protocol has no code for a full disk.
            if (free := await self._free(path)) is None or free >= parcel.bytes:
                raise
            raise sftp_errors.disk_full(self._login, free, parcel.bytes) from error

    async def _free(self, path: str) -> int | None:
        """Free bytes at the destination, what was already written included, if it tells."""
        try:
            disk = await self._client.statvfs(path)
        except asyncssh.SFTPError:
            return None
        return disk.bavail * disk.frsize

    async def _publish(self, temporary: str, final: str) -> None:
        # The plain rename of the protocol must not overwrite, which some servers do all the same;
        # OpenSSH's posix-rename does, so it is only the second choice, for servers without the
        # first.
        if await self._client.lexists(final):
            raise self._taken(final)
        try:
            await self._client.rename(temporary, final)
        except asyncssh.SFTPFileAlreadyExists as error:
            raise self._taken(final) from error
        except asyncssh.SFTPFailure as error:
            if await self._client.exists(final):
                raise self._taken(final) from error
            raise
        except asyncssh.SFTPOpUnsupported:
            await self._client.posix_rename(temporary, final)

    async def _remove(self, path: str) -> bool:
        try:
            await self._client.remove(path)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return False
        return True

    def _taken(self, final: str) -> NameTakenError:
        return NameTakenError(
            f"{final} appeared at {self._login.where} while this artifact was being sent",
            hint="It was not overwritten. Find out what else delivers under this name.",
        )
