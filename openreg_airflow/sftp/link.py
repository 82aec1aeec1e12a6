"""One SSH connection with one SFTP channel, driven step by step from ordinary code.

asyncssh keeps many requests on the way at once, and AES-GCM is done in one pass of OpenSSL, which
makes it several times faster than a client that waits for each block.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import asyncssh

from openreg_airflow.sftp import errors

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from openreg_airflow.sftp.login import SftpLogin

T = TypeVar("T")

#: In order of preference: what processors do fastest comes first.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
    "chacha20-poly1305@openssh.com",
)
#: Seconds for saying goodbye; the work is done by then.
_CLOSE_SECONDS = 5


class SftpLink:
    """A connection; a subclass adds what is done with the files at the other end.

    Every step raises the errors of the login's stage: ``login.faults.refused`` for what another
    try cannot mend, ``login.faults.failed`` for what it may.

    Args:
        runner: the event loop that lives as long as the link.
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

    @classmethod
    @contextmanager
    def opened(cls, login: SftpLogin, *, timeout_seconds: float) -> Iterator[Self]:
        """Give a link that is connected and logged in; it ends with the block."""
        # One line a request would bury our own; an admin may still set a level.
        if logging.getLogger("asyncssh").level == logging.NOTSET:
            asyncssh.set_log_level(logging.WARNING)
        with asyncio.Runner() as runner:
            link = cls(runner, login, timeout_seconds)
            try:
                link.connect()
                yield link
            finally:
                link.close()

    def connect(self) -> None:
        """Connect, check the host key, log in and start SFTP."""
        self._run(self._connect(), f"connecting to {self._login.where}")

    def close(self) -> None:
        """End the connection; a server that does not answer is left alone."""
        if self._ssh is not None:
            self._runner.run(self._close(self._ssh))
            self._ssh = None

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

    @property
    def _client(self) -> asyncssh.SFTPClient:
        if self._sftp is None:
            message = f"not connected to {self._login.where}"
            raise self._login.faults.failed(message)
        return self._sftp

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
                raise self._login.faults.failed(message, hint=hint) from error
            raise errors.translated(error, self._login, doing) from error

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
