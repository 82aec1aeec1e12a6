"""Destinations of every protocol, as one shape: what the channel contract is run against."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from botocore.config import Config

from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.registry import load_channel
from tests.services import files_below
from tests.services.account import account
from tests.services.ftpd import running_ftpd
from tests.services.s3 import running_s3
from tests.services.sshd import running_sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from openreg_airflow.deliver.channel import Channel, Session
    from tests.services.s3 import S3Server


class Server(Protocol):
    """A server with one login, whose files lie on this machine."""

    port: int

    @property
    def inbox(self) -> Path:
        """The folder that a login starts in."""

    def connection(self, **changes: Any) -> Connection:
        """A connection that works, with changes."""

    def files(self) -> dict[str, bytes]:
        """Everything in the inbox by path, temporary files included."""


@dataclass
class Site:
    """One destination.

    Attributes:
        channel: the protocol's name.
        server: what runs behind it.
        extra: of the connections to it.
        root: what a route's folder begins with.
    """

    root: ClassVar[str] = ""

    channel: str
    server: Server
    extra: dict[str, Any]

    def __post_init__(self) -> None:
        self._channel: Channel = load_channel(self.channel)

    def connection(self, **changes: Any) -> Connection:
        """A connection that works, with changes."""
        return self.server.connection(**{"extra": self.extra | changes.pop("extra", {}), **changes})

    def open(
        self, connection: Connection | None = None, *, timeout_seconds: float = 20
    ) -> AbstractContextManager[Session]:
        """Connect."""
        return self._channel.open(connection or self.connection(), timeout_seconds=timeout_seconds)

    def files(self) -> dict[str, bytes]:
        """Everything that lies there."""
        return self.server.files()

    def put(self, path: str, content: bytes) -> None:
        """Place a file there as the receiver would."""
        file = self.server.inbox / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        owner = account("nobody")
        if owner is not None:
            for each in (file, *file.relative_to(self.server.inbox).parents):
                os.chown(self.server.inbox / each, owner.pw_uid, owner.pw_gid)

    def age(self, path: str, seconds: int) -> None:
        """Make a file so much older."""
        file = self.server.inbox / path
        os.utime(file, (file.stat().st_mtime - seconds,) * 2)

    def stamp(self, path: str) -> tuple[object, ...]:
        """What changes when a file is written again."""
        stat = (self.server.inbox / path).stat()
        return stat.st_ino, stat.st_mtime_ns

    def clear(self) -> None:
        """Remove everything that lies there."""
        for path in self.server.inbox.iterdir():
            path.chmod(0o755)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


class S3Site(Site):
    """A bucket."""

    server: S3Server

    #: Before every path: a route's folder begins with the bucket.
    root = "inbox-of-the-regulator/"

    def connection(self, **changes: Any) -> Connection:
        """A connection that works, with changes."""
        port = changes.pop("port", self.server.port)
        host = changes.pop("host", self.server.host)

        def client(timeout_seconds: float) -> Any:
            config = Config(
                connect_timeout=timeout_seconds,
                read_timeout=timeout_seconds,
                retries={"total_max_attempts": 1},
            )
            return self.server.make_client(f"http://{host}:{port}", config)

        return Connection(id="regulator_s3", type="aws", s3=client)

    def files(self) -> dict[str, bytes]:
        """Everything in the bucket."""
        return self.server.objects()

    def put(self, path: str, content: bytes) -> None:
        """Place an object there as the receiver would."""
        self.server.put(path, content)

    def age(self, path: str, seconds: int) -> None:
        """Nothing: only the store dates its objects. It also tells their tags."""

    def stamp(self, path: str) -> tuple[object, ...]:
        """What changes when an object is written again."""
        found = self.server.client.list_object_versions(Bucket=self.server.bucket, Prefix=path)
        return tuple(entry["VersionId"] for entry in found["Versions"])

    def clear(self) -> None:
        """Remove everything that lies there."""
        client = self.server.client
        found = client.list_object_versions(Bucket=self.server.bucket)
        for entry in (*found.get("Versions", ()), *found.get("DeleteMarkers", ())):
            client.delete_object(
                Bucket=self.server.bucket, Key=entry["Key"], VersionId=entry["VersionId"]
            )


@dataclass
class _Outbox:
    """A folder of this machine, as what a server's inbox is."""

    inbox: Path
    port: int = 0

    def connection(self, **changes: Any) -> Connection:
        """A connection of type ``fs``."""
        extra = {"path": str(self.inbox)} | changes.pop("extra", {})
        return Connection(id="outbox", type="fs", extra=extra)

    def files(self) -> dict[str, bytes]:
        """Everything in it by path."""
        return files_below(self.inbox)


@contextmanager
def _folder() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="openreg-outbox-") as name:
        yield Site("folder", _Outbox(Path(name)), {})


@contextmanager
def _s3() -> Iterator[Site]:
    with running_s3() as server:
        server.bucket = S3Site.root.rstrip("/")
        server.make_bucket()
        server.client.put_bucket_versioning(
            Bucket=server.bucket, VersioningConfiguration={"Status": "Enabled"}
        )
        yield S3Site("s3", server, {})


@contextmanager
def _sftp() -> Iterator[Site]:
    with running_sshd() as server:
        yield Site("sftp", server, {})


@contextmanager
def _ftp(*, passive: bool, tls: str | None = None) -> Iterator[Site]:
    with running_ftpd(tls=tls) as server:
        yield Site("ftps" if tls else "ftp", server, {"passive": passive})


#: Servers that files are sent to, by name: how to have one for a while.
SERVERS: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "sftp": _sftp,
    "ftp-passive": lambda: _ftp(passive=True),
    "ftp-active": lambda: _ftp(passive=False),
    "ftps-explicit": lambda: _ftp(passive=True, tls="explicit"),
    "ftps-implicit": lambda: _ftp(passive=True, tls="implicit"),
    "ftps-active": lambda: _ftp(passive=False, tls="explicit"),
}
#: Where a file goes up under another name and is renamed.
FILE_SITES = {**SERVERS, "folder": _folder}
SITES = {**FILE_SITES, "s3": _s3}
