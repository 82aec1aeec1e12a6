"""An SFTP server whose plain rename overwrites, against the protocol, as some products' does."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncssh

from openreg_airflow.deliver.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Login(asyncssh.SSHServer):
    """Lets in whoever has a key."""

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True


class _Files(asyncssh.SFTPServer):
    """Files below one folder."""

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        os.replace(self.map_path(oldpath), self.map_path(newpath))  # noqa: PTH105 - bytes


@contextmanager
def running_overwriting_sftp(root: Path) -> Iterator[Connection]:
    """Serve a new folder until the block ends; gives a connection that works."""
    root.mkdir()
    host_key, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=_Login,
            server_host_keys=[host_key],
            sftp_factory=lambda channel: _Files(channel, chroot=os.fsencode(root)),
        )

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
    try:
        yield Connection(
            id="regulator_sftp",
            type="sftp",
            host="127.0.0.1",
            port=server.get_port(),
            login="bank",
            extra={
                "private_key": key.export_private_key().decode(),
                "host_key": host_key.export_public_key().decode(),
            },
        )
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
