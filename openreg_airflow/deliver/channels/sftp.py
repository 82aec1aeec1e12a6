"""SFTP by asyncssh.

asyncssh keeps many write requests on the way at once, and AES-GCM is done in one pass of OpenSSL,
which makes it several times faster than a client that waits for each block.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import posixpath
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import asyncssh

from openreg_airflow.deliver.channel import NameTakenError, Outcome
from openreg_airflow.deliver.channels import sftp_errors
from openreg_airflow.deliver.channels.sftp_login import SftpLogin
from openreg_airflow.deliver.placing import place
from openreg_airflow.deliver.progress import Progress
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from openreg_airflow.deliver.channel import Parcel, Verify
    from openreg_airflow.deliver.connection import Connection

T = TypeVar("T")

#: In order of preference: what processors do fastest comes first.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
    "chacha20-poly1305@openssh.com",
)
_READ = 4 << 20
#: Seconds for saying goodbye; the work is done by then.
_CLOSE_SECONDS = 5

log = logging.getLogger(__name__)


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
        login = SftpLogin.of(connection)
        # One line a request would bury our own; an admin may still set a level.
        if logging.getLogger("asyncssh").level == logging.NOTSET:
            asyncssh.set_log_level(logging.WARNING)
        with asyncio.Runner() as runner:
            session = SftpSession(runner, login, timeout_seconds)
            try:
                session.connect()
                yield session
            finally:
                session.close()


class SftpSession:
    """One SSH connection with one SFTP channel; the files at the other end.

    Args:
        runner: the event loop that lives as long as the session.
        login: where to, as whom, and the pinned host key.
        timeout_seconds: longest time without an answer.
    """

    def __init__(self, runner: asyncio.Runner, login: SftpLogin, timeout_seconds: float) -> None:
        self._runner = runner
        self._login = login
        self._timeout = timeout_seconds
        self._heard = 0.0
        self._silent = False
        self._ssh: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
        """Bring one parcel to a folder."""
        return place(self, parcel, folder, verify)

    def connect(self) -> None:
        """Connect, check the host key, log in and start SFTP."""
        self._run(self._connect(), f"connecting to {self._login.where}")

    def close(self) -> None:
        """End the connection; a server that does not answer is left alone."""
        if self._ssh is not None:
            self._runner.run(self._close(self._ssh))
            self._ssh = None

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it, where they are missing."""
        self._run(self._make_folder(folder), f"making folder {folder}")

    def names(self, folder: str) -> list[str] | None:
        """The names in a folder; None when listing it is not allowed."""
        return self._run(self._names(folder), f"listing folder {folder}")

    def size(self, path: str) -> int | None:
        """The size of a file; None when there is none."""
        return self._run(self._size(path), f"looking for {path}")

    def sha256(self, path: str) -> str | None:
        """Read a file and hash it; None when reading is not allowed."""
        return self._run(self._sha256(path), f"reading {path}")

    def upload(self, parcel: Parcel, path: str) -> None:
        """Write a new file and flush it to the server's disk where the server can."""
        self._run(self._upload(parcel, path), f"sending {parcel.filename} as {path}")

    def publish(self, temporary: str, final: str) -> None:
        """Rename without overwriting."""
        self._run(self._publish(temporary, final), f"renaming {temporary} to {final}")

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is no error."""
        self._run(self._remove(path), f"removing {path}")

    async def _connect(self) -> None:
        login = self._login
        self._ssh = await asyncssh.connect(
            login.host,
            login.port,
            username=login.login,
            password=login.password,
            client_keys=login.client_keys(),
            known_hosts=login.known_hosts(),
            server_host_key_algs=login.host_key_algorithms(),
            # Nothing of the account that the task runs under may take part.
            config=None,
            agent_path=None,
            gss_host=None,
            x509_trusted_certs=None,
            encryption_algs=_CIPHERS,
            compression_algs=("none",),
            connect_timeout=self._timeout,
            login_timeout=self._timeout,
        )
        self._sftp = await self._ssh.start_sftp_client()

    async def _close(self, ssh: asyncssh.SSHClientConnection) -> None:
        if self._sftp is not None and not self._silent:
            self._sftp.exit()
        ssh.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await ssh.wait_closed()
        except TimeoutError:
            ssh.abort()

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

    async def _upload(self, parcel: Parcel, path: str) -> None:
        progress = Progress(f"sent {parcel.filename}", parcel.bytes)

        def reached(_local: bytes, _remote: bytes, done: int, _total: int) -> None:
            self._hear()
            progress.reached(done)

        try:
            await self._client.put(str(parcel.path), path, sparse=False, progress_handler=reached)
            # Not every server can flush, and some let a file be written but not opened again.
            with suppress(asyncssh.SFTPOpUnsupported, asyncssh.SFTPPermissionDenied):
                async with await self._client.open(path, asyncssh.FXF_WRITE) as file:
                    await file.fsync()
        except asyncssh.SFTPFailure as error:
            # Version 3 of the protocol has no code for a full disk.
            if (free := await self._free(path)) is None or free >= parcel.bytes:
                raise
            raise sftp_errors.disk_full(self._login.where, free, parcel.bytes) from error

    async def _free(self, path: str) -> int | None:
        """Free bytes at the destination, what was already written included, if it tells."""
        try:
            disk = await self._client.statvfs(path)
        except asyncssh.SFTPError:
            return None
        return disk.bavail * disk.frsize

    async def _publish(self, temporary: str, final: str) -> None:
        # The plain rename of the protocol must not overwrite; OpenSSH's posix-rename does, so it
        # is only the second choice, for servers without the first.
        try:
            await self._client.rename(temporary, final)
        except asyncssh.SFTPFileAlreadyExists as error:
            raise self._taken(final) from error
        except asyncssh.SFTPFailure as error:
            if await self._client.exists(final):
                raise self._taken(final) from error
            raise
        except asyncssh.SFTPOpUnsupported as error:
            if await self._client.exists(final):
                raise self._taken(final) from error
            await self._client.posix_rename(temporary, final)

    async def _remove(self, path: str) -> None:
        with suppress(asyncssh.SFTPNoSuchFile):
            await self._client.remove(path)

    @property
    def _client(self) -> asyncssh.SFTPClient:
        if self._sftp is None:
            message = f"not connected to {self._login.where}"
            raise DeliveryError(message)
        return self._sftp

    def _taken(self, final: str) -> NameTakenError:
        return NameTakenError(
            f"{final} appeared at {self._login.where} while this artifact was being sent",
            hint="It was not overwritten. Find out what else delivers under this name.",
        )

    def _hear(self) -> None:
        self._heard = self._runner.get_loop().time()

    def _run(self, work: Coroutine[Any, Any, T], doing: str) -> T:
        """Run one step; end it when the other side is silent for too long."""
        try:
            return self._runner.run(self._watched(work))
        except (asyncssh.Error, OSError, UnicodeError) as error:
            if self._silent or isinstance(error, TimeoutError):
                message = f"{self._login.where} was silent for {self._timeout:g} s while {doing}"
                hint = "It is tried again. A slow server may need a longer timeout_seconds."
                raise DeliveryError(message, hint=hint) from error
            raise sftp_errors.translated(error, self._login, doing) from error

    async def _watched(self, work: Coroutine[Any, Any, T]) -> T:
        self._hear()
        watch = asyncio.create_task(self._watch())
        try:
            return await work
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        """Abort the connection when nothing was heard for too long.

        Cancelling the step would not do: its own clean-up asks the silent server again.
        """
        loop = asyncio.get_running_loop()
        while (left := self._heard + self._timeout - loop.time()) > 0:
            await asyncio.sleep(left)
        self._silent = True
        if self._ssh is not None:
            self._ssh.abort()
