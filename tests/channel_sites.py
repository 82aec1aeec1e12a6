"""Destinations of every protocol, as one shape: what the channel contract is run against."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from openreg_airflow.deliver.registry import load_channel
from tests.services.account import account
from tests.services.ftpd import running_ftpd
from tests.services.sshd import running_sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from openreg_airflow.deliver.channel import Channel, Session
    from openreg_airflow.deliver.connection import Connection


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
    """

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

    def put(self, path: str, content: bytes) -> Path:
        """Place a file there as the receiver would; give where it lies."""
        file = self.server.inbox / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        owner = account("nobody")
        if owner is not None:
            for each in (file, *file.relative_to(self.server.inbox).parents):
                os.chown(self.server.inbox / each, owner.pw_uid, owner.pw_gid)
        return file

    def clear(self) -> None:
        """Remove everything that lies there."""
        for path in self.server.inbox.iterdir():
            path.chmod(0o755)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def _sftp() -> Iterator[Site]:
    with running_sshd() as server:
        yield Site("sftp", server, {})


@contextmanager
def _ftp(*, passive: bool, tls: str | None = None) -> Iterator[Site]:
    with running_ftpd(tls=tls) as server:
        yield Site("ftps" if tls else "ftp", server, {"passive": passive})


#: By name, how to have one for a while.
SITES: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "sftp": _sftp,
    "ftp-passive": lambda: _ftp(passive=True),
    "ftp-active": lambda: _ftp(passive=False),
    "ftps-explicit": lambda: _ftp(passive=True, tls="explicit"),
    "ftps-implicit": lambda: _ftp(passive=True, tls="implicit"),
    "ftps-active": lambda: _ftp(passive=False, tls="explicit"),
}
