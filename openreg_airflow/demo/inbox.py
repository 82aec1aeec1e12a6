"""A regulator's inbox for the demonstration: a small SFTP server on 127.0.0.1.

It knows one client key and no password, offers SFTP and nothing else, and shows only its folder.
``python -m openreg_airflow.demo.inbox`` runs it in the foreground until SIGTERM; :func:`start`
runs that as a process of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import asyncssh
import typer

from openreg_airflow.errors import OpenRegError

if TYPE_CHECKING:
    from typing import IO

HOST = "127.0.0.1"
USERNAME = "openreg"
_READY = "listening on "
_STOP_SECONDS = 10

log = logging.getLogger(__name__)
app = typer.Typer(add_completion=False)


class InboxError(OpenRegError):
    """The inbox did not start or did not stop."""


@dataclass(frozen=True)
class Inbox:
    """A running inbox.

    Attributes:
        files: the folder that a client sees as ``/``.
        username: the login; the server accepts any, the key decides.
        key_file: the client's private key.
        host_key: the server's public key, as it is pinned in an Airflow connection.
        pid: its process.
    """

    files: Path
    host: str
    port: int
    username: str
    key_file: Path
    host_key: str
    pid: int
    _process: subprocess.Popen[str] = field(repr=False)

    def stop(self) -> None:
        """Stop the process and wait for its end.

        Raises:
            InboxError: it does not end within a few seconds.
        """
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            message = f"the inbox, process {self.pid}, does not end"
            raise InboxError(message, hint=f"End it by: kill -9 {self.pid}") from error


def start(folder: Path, *, port: int = 0, seconds: float = 30.0) -> Inbox:
    """Start an inbox as a process of its own, which outlives this one until it is stopped.

    Args:
        folder: holds its keys, its log and, in ``files``, what is delivered. Keys are made once.
        port: TCP port of 127.0.0.1; 0 takes a free one.
        seconds: how long to wait until it answers.

    Raises:
        InboxError: it ended or did not answer; the message has the end of its log.
    """
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    host_key, client_key = folder / "host_key", folder / "client_key"
    make_key_pair(host_key, "openreg demo inbox")
    make_key_pair(client_key, "openreg demo client")
    command = [sys.executable, "-m", "openreg_airflow.demo.inbox"]
    command += ["--folder", str(files), "--port", str(port), "--host-key", str(host_key)]
    command += ["--authorized-key", str(_public(client_key))]
    log_file = folder / "inbox.log"
    with log_file.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # Ctrl-C in a terminal is for the one who started us, who then stops us.
            start_new_session=True,
        )
    answer = _first_line(process, seconds)
    if not answer.startswith(_READY):
        process.kill()
        process.wait()
        told = log_file.read_text(errors="replace")[-2000:]
        message = f"the inbox did not start within {seconds:g} s: {told.strip() or 'no output'}"
        raise InboxError(message, hint=f"See {log_file}.", where=str(folder))
    return Inbox(
        files=files,
        host=HOST,
        port=int(answer.rsplit(":", 1)[1]),
        username=USERNAME,
        key_file=client_key.absolute(),
        host_key=_public(host_key).read_text().strip(),
        pid=process.pid,
        _process=process,
    )


def make_key_pair(path: Path, comment: str) -> None:
    """Make an Ed25519 key, readable by its owner alone, and its ``.pub``, unless it is there."""
    if path.exists() and _public(path).exists():
        return
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.export_private_key())
    _public(path).write_bytes(key.export_public_key())


async def serve(folder: Path, port: int, host_key: Path, authorized_key: Path) -> None:
    """Serve a folder until SIGTERM or SIGINT; prints where once it listens.

    Args:
        folder: what clients see as ``/``.
        port: TCP port of 127.0.0.1; 0 takes a free one.
        host_key: the server's private key.
        authorized_key: file with the public keys that may log in.
    """

    def only_folder(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=os.fsencode(folder.absolute()))

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await asyncssh.listen(
        HOST,
        port,
        server_host_keys=[str(host_key)],
        authorized_client_keys=str(authorized_key),
        sftp_factory=only_folder,
        agent_forwarding=False,
        compression_algs=("none",),
        config=None,
        gss_host=None,
        login_timeout=30,
        keepalive_interval=30,
    )
    async with server:
        sys.stdout.write(f"{_READY}{HOST}:{server.get_port()}\n")
        sys.stdout.flush()
        await stop.wait()
    log.info("stopped")


def _first_line(process: subprocess.Popen[str], seconds: float) -> str:
    """The first line that a process prints, or what it printed until the time was over."""
    stdout: IO[str] | None = process.stdout
    if stdout is None:
        return ""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        if selector.select(end - time.monotonic()):
            return stdout.readline().strip()
    return ""


def _public(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="What clients see as /.", file_okay=False)],
    host_key: Annotated[Path, typer.Option(help="The server's private key; made when missing.")],
    authorized_key: Annotated[Path, typer.Option(help="Public keys that may log in.")],
    port: Annotated[int, typer.Option(help="TCP port of 127.0.0.1; 0 takes a free one.")] = 0,
) -> None:
    """Serve a folder over SFTP on 127.0.0.1 until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    folder.mkdir(parents=True, exist_ok=True)
    make_key_pair(host_key, "openreg demo inbox")
    try:
        asyncio.run(serve(folder, port, host_key, authorized_key))
    except OSError as error:
        log.error("cannot listen on %s:%s: %s", HOST, port, error)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
