"""What is special about FTP: TLS, servers that leave commands out, limits, and death on the way."""

from __future__ import annotations

import datetime as dt
import ftplib
import logging
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import pytest
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

from openreg_airflow.deliver.channels.ftp import FtpChannel, FtpsChannel
from openreg_airflow.deliver.channels.ftp_login import FtpLogin
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.progress import Progress
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError
from tests.integration.test_channel_contract import MIB, NAME, make_parcel
from tests.services.certificates import Authority
from tests.services.ftpd import LOGIN, PASSWORD, running_ftpd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.deliver.channel import Outcome


def deliver(channel: FtpChannel, connection: Connection, folder: Path, size: int = 1000) -> Outcome:
    with channel.open(connection, timeout_seconds=10) as session:
        return session.deliver(make_parcel(folder, size), "in", "size")


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    other = Authority(tmp_path, "somebody else")
    with running_ftpd(tls="explicit") as server:
        connection = server.connection(extra={"ca_file": str(other.certificate)})
        with pytest.raises(
            DeliveryRefusedError, match=r"certificate of localhost:\d+ is not trusted"
        ):
            deliver(FtpsChannel(), connection, tmp_path)
        assert server.files() == {}


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    with (
        running_ftpd(tls="implicit", host="elsewhere.example") as server,
        pytest.raises(DeliveryRefusedError, match=r"(?i)hostname mismatch"),
    ):
        deliver(FtpsChannel(), server.connection(), tmp_path)


def test_a_certificate_from_the_future_names_the_clock(tmp_path: Path) -> None:
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    with (
        running_ftpd(tls="explicit", begins=tomorrow) as server,
        pytest.raises(DeliveryRefusedError, match="not yet valid") as caught,
    ):
        deliver(FtpsChannel(), server.connection(), tmp_path)
    assert "clock" in str(caught.value)


def test_data_connections_resume_the_session_that_logged_in(tmp_path: Path) -> None:
    with running_ftpd(tls="explicit") as server:
        fresh = ftplib.FTP_TLS(context=FtpLogin.of(server.connection(), tls=True).tls)  # noqa: S321
        fresh.connect("localhost", server.port)
        fresh.login(LOGIN, PASSWORD)
        fresh.prot_p()
        # The server refuses a client that begins anew; ours is let through.
        with pytest.raises((ftplib.Error, OSError)):
            fresh.nlst()
        assert deliver(FtpsChannel(), server.connection(), tmp_path).bytes_sent == 1000


def test_a_server_that_wants_tls_refuses_the_plain_channel(tmp_path: Path) -> None:
    with running_ftpd(tls="explicit") as server:
        with pytest.raises(DeliveryRefusedError, match=r"(?i)ssl|tls"):
            deliver(FtpChannel(), server.connection(), tmp_path)
        assert server.files() == {}


def test_a_login_without_a_password_is_refused_before_connecting(tmp_path: Path) -> None:
    connection = Connection(id="regulator_ftp", type="ftp", host="localhost", login="bank")
    with pytest.raises(DeliveryRefusedError, match="connection regulator_ftp has no password"):
        deliver(FtpChannel(), connection, tmp_path)


@pytest.mark.parametrize("extra", [{"ca_file": "/nowhere.pem"}, {"ca_cert": "no certificate"}])
def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, extra: dict[str, Any]) -> None:
    connection = Connection(
        id="regulator_ftp", type="ftp", host="localhost", login="b", password=PASSWORD, extra=extra
    )
    with pytest.raises(DeliveryRefusedError, match="cannot be read") as caught:
        deliver(FtpsChannel(), connection, tmp_path)
    assert "ca_file" in str(caught.value)


def test_a_file_over_the_quota_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    with running_ftpd(options="MaxStoreFileSize 100 Kb") as server:
        with pytest.raises(DeliveryError, match="quota is full"):
            deliver(FtpChannel(), server.connection(), tmp_path, 5 * MIB)
        assert server.files() == {}


def test_a_server_that_dies_on_the_way_leaves_no_file_under_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_ftpd() as server:
        connection = server.connection()

        def die(self: Progress, done: int) -> None:
            if done >= 4 * MIB:
                server.stop()

        with monkeypatch.context() as patched:
            patched.setattr(Progress, "reached", die)
            with pytest.raises(DeliveryError, match="dropped the connection"):
                deliver(FtpChannel(), connection, tmp_path, 32 * MIB)
        assert f"in/{NAME}" not in server.files()
        assert len(server.files()) == 1, "the half file is there under a temporary name"

        server.start()
        assert deliver(FtpChannel(), connection, tmp_path, 32 * MIB).bytes_sent == 32 * MIB
        assert list(server.files()) == [f"in/{NAME}"]


@pytest.mark.parametrize(("channel", "tls"), [(FtpChannel(), None), (FtpsChannel(), "explicit")])
def test_a_data_connection_that_stalls_is_given_up_and_a_retry_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channel: FtpChannel, tls: str | None
) -> None:
    with running_ftpd(tls=tls) as server:
        connection = server.connection()

        def stall(self: Progress, done: int) -> None:
            assert server.process is not None
            if done >= 4 * MIB:
                for process in psutil.Process(server.process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        process.suspend()

        with monkeypatch.context() as patched:
            patched.setattr(Progress, "reached", stall)
            with (
                pytest.raises(DeliveryError, match=rf"silent for 1 s while sending {NAME}"),
                channel.open(connection, timeout_seconds=1) as session,
            ):
                session.deliver(make_parcel(tmp_path, 32 * MIB), "in", "size")
        assert f"in/{NAME}" not in server.files()

        server.stop()
        server.start()
        assert deliver(channel, server.connection(), tmp_path, 32 * MIB).bytes_sent == 32 * MIB
        assert list(server.files()) == [f"in/{NAME}"]


def test_a_server_without_listing_still_receives(tmp_path: Path, caplog: Any) -> None:
    denied = "<Limit LIST NLST MLSD>\n  DenyAll\n</Limit>"
    with running_ftpd(options=denied) as server, caplog.at_level(logging.WARNING):
        deliver(FtpChannel(), server.connection(), tmp_path)
        assert list(server.files()) == [f"in/{NAME}"]
    assert "may not be listed" in caplog.text


def test_a_server_that_does_not_rename_is_refused_and_tidied(tmp_path: Path) -> None:
    denied = "<Limit RNFR RNTO>\n  DenyAll\n</Limit>"
    with running_ftpd(options=denied) as server:
        with pytest.raises(DeliveryRefusedError, match="renaming"):
            deliver(FtpChannel(), server.connection(), tmp_path)
        assert server.files() == {}


class _Sparse(FTPHandler):  # type: ignore[misc]
    """A server of 1985: no sizes, no machine-readable lists, no features."""

    proto_cmds: ClassVar[dict[str, Any]] = {
        name: command
        for name, command in FTPHandler.proto_cmds.items()
        if name not in ("SIZE", "MLST", "MLSD", "FEAT", "MDTM")
    }


@contextmanager
def sparse_server(inbox: Path) -> Iterator[Connection]:
    authorizer = DummyAuthorizer()
    authorizer.add_user(LOGIN, PASSWORD, str(inbox), perm="elradfmwMT")

    class Handler(_Sparse):
        pass

    Handler.authorizer = authorizer
    with FTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"timeout": 0.05, "handle_exit": False}
        )
        thread.start()
        try:
            yield Connection(
                id="old", type="ftp", host="127.0.0.1", port=server.address[1],
                login=LOGIN, password=PASSWORD,
            )  # fmt: skip
        finally:
            server.close_all()
            thread.join()


@pytest.mark.parametrize("verify", ["size", "content"])
def test_what_a_sparse_server_cannot_tell_is_read_back(tmp_path: Path, verify: Any) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    parcel = make_parcel(tmp_path)
    with sparse_server(inbox) as connection:
        with FtpChannel().open(connection, timeout_seconds=10) as session:
            assert session.deliver(parcel, "in", verify).bytes_sent == parcel.bytes
            assert session.deliver(parcel, "in", verify).already_there
        (inbox / "in" / NAME).write_bytes(bytes(parcel.bytes))
        with (
            FtpChannel().open(connection, timeout_seconds=10) as session,
            pytest.raises(DeliveryRefusedError, match="other content"),
        ):
            session.deliver(parcel, "in", verify)
