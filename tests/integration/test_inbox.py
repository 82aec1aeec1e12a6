from __future__ import annotations

import asyncio
import os
import signal
import stat
from typing import TYPE_CHECKING

import asyncssh
import pytest

from openreg_airflow.deliver.channel import Parcel
from openreg_airflow.deliver.channels.sftp import SftpChannel
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.demo.inbox import Inbox, InboxError, make_key_pair, start
from openreg_airflow.errors import DeliveryRefusedError
from openreg_airflow.workspace import describe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    running = start(tmp_path / "regulator")
    yield running
    running.stop()


def connection(inbox: Inbox, **extra: str) -> Connection:
    return Connection(
        id="inbox",
        type="sftp",
        host=inbox.host,
        port=inbox.port,
        login=inbox.username,
        extra={"key_file": str(inbox.key_file), "host_key": inbox.host_key} | extra,
    )


def test_file_delivered_to_the_inbox_lies_in_its_folder(inbox: Inbox, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(b"a;b\n" * 100_000)
    found = describe(path)
    parcel = Parcel(path=path, filename=path.name, bytes=found.bytes, sha256=found.sha256)

    outcomes = []
    for _ in range(2):
        with SftpChannel().open(connection(inbox), timeout_seconds=10) as session:
            outcomes.append(session.deliver(parcel, "/in/positions", "content").already_there)

    assert outcomes == [False, True]
    files = [path for path in inbox.files.rglob("*") if path.is_file()]
    assert files == [inbox.files / "in" / "positions" / "report.csv"]
    assert files[0].read_bytes() == path.read_bytes()


def test_inbox_shows_nothing_but_its_folder(inbox: Inbox, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("private")

    async def look() -> list[str]:
        async with (
            asyncssh.connect(
                inbox.host,
                inbox.port,
                username=inbox.username,
                client_keys=[str(inbox.key_file)],
                known_hosts=([asyncssh.import_public_key(inbox.host_key)], [], []),
                config=None,
            ) as client,
            client.start_sftp_client() as sftp,
        ):
            with pytest.raises(asyncssh.Error):
                await client.run("id", check=True)
            with pytest.raises(asyncssh.SFTPError):
                await sftp.open("/../../outside", "rb")
            return [str(name) for name in await sftp.listdir("/..")]

    assert set(asyncio.run(look())) <= {".", ".."}


def test_inbox_knows_one_key_and_no_password(inbox: Inbox, tmp_path: Path) -> None:
    make_key_pair(tmp_path / "stranger", "stranger")

    with (
        pytest.raises(DeliveryRefusedError, match="refuses the login"),
        SftpChannel().open(
            connection(inbox, key_file=str(tmp_path / "stranger")), timeout_seconds=10
        ),
    ):
        pass


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    first = start(tmp_path)
    first.stop()
    second = start(tmp_path)
    second.stop()

    assert first.host_key == second.host_key
    for name in ("host_key", "client_key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_inbox_ends_on_sigterm_and_stopping_again_is_harmless(tmp_path: Path) -> None:
    inbox = start(tmp_path)
    os.kill(inbox.pid, signal.SIGTERM)

    inbox.stop()
    inbox.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(inbox.pid, 0)


def test_port_that_is_taken_is_told(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(InboxError, match="cannot listen"):
        start(tmp_path / "second", port=inbox.port)
