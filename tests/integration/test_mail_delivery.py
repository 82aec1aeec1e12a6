from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.deliver.channels.mail import MailChannel
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError
from tests.integration.test_channel_contract import WRONG, make_parcel
from tests.services import free_port
from tests.services.certificates import Authority
from tests.services.mail import running_mail_server

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.deliver.channel import Outcome, Parcel
    from openreg_airflow.deliver.connection import Connection

TO = "inbox@authority.example"


def send(connection: Connection, parcel: Parcel, to: str = TO, timeout: float = 10) -> Outcome:
    with MailChannel().open(connection, timeout_seconds=timeout) as session:
        return session.deliver(parcel, to, "size")


@pytest.mark.parametrize("tls", [None, "explicit", "implicit"])
@pytest.mark.parametrize("name", ["report.xml", "positions_Größe.csv", "a.txt"])
def test_the_attachment_arrives_byte_for_byte(tmp_path: Path, tls: str | None, name: str) -> None:
    parcel = make_parcel(tmp_path, name=name)
    with running_mail_server(tmp_path, tls=tls) as server:
        outcome = send(server.connection(), parcel, f"{TO}, copy@authority.example")
    [(recipients, mail)] = server.mails
    assert recipients == [TO, "copy@authority.example"]
    assert (mail["From"], mail["Subject"]) == ("reports@bank.example", name)
    [attachment] = mail.iter_attachments()
    assert attachment.get_filename() == name
    assert attachment.get_payload(decode=True) == parcel.path.read_bytes()
    assert parcel.sha256 in mail.get_body().get_content()  # type: ignore[union-attr]
    assert outcome.bytes_sent > parcel.bytes


def test_the_same_file_to_the_same_people_has_the_same_message_id(tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path)
    with running_mail_server(tmp_path) as server:
        for to in (TO, TO, "other@authority.example"):
            send(server.connection(), parcel, to)
    first, second, other = (mail["Message-ID"] for _, mail in server.mails)
    assert first == second != other


def test_a_mail_goes_to_all_recipients_or_to_none(tmp_path: Path) -> None:
    with running_mail_server(tmp_path) as server:
        server.refuse["gone@authority.example"] = "550 no such mailbox"
        with pytest.raises(DeliveryRefusedError, match=r"no such mailbox.*gone@authority.example"):
            send(server.connection(), make_parcel(tmp_path), f"{TO},gone@authority.example")
        assert server.mails == []


def test_a_busy_server_is_tried_again(tmp_path: Path) -> None:
    with running_mail_server(tmp_path) as server:
        server.refuse[TO] = "451 come back later"
        with pytest.raises(DeliveryError, match="come back later"):
            send(server.connection(), make_parcel(tmp_path))


def test_a_refused_login_is_final_and_tells_no_secret(tmp_path: Path) -> None:
    with running_mail_server(tmp_path, tls="explicit") as server:
        connection = server.connection(password=WRONG)
        with pytest.raises(DeliveryRefusedError, match="refuses the login of bank") as caught:
            send(connection, make_parcel(tmp_path))
    assert WRONG not in f"{caught.value}{connection!r}"


def test_a_mail_over_the_server_s_limit_is_not_even_begun(tmp_path: Path) -> None:
    with running_mail_server(tmp_path, size_limit=10_000) as server:
        with pytest.raises(DeliveryRefusedError, match="mails of at most 10000 bytes"):
            send(server.connection(), make_parcel(tmp_path, 20_000))
        assert server.mails == []


def test_an_unknown_certificate_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    unknown = Authority(other).certificate
    with running_mail_server(tmp_path, tls="implicit") as server:
        connection = server.connection(extra={"ca_file": str(unknown)})
        with pytest.raises(DeliveryRefusedError, match="certificate of localhost"):
            send(connection, make_parcel(tmp_path))


def test_a_server_without_tls_is_refused_unless_the_connection_allows_it(tmp_path: Path) -> None:
    with running_mail_server(tmp_path) as server:
        connection = server.connection(extra={"disable_tls": False})
        with pytest.raises(DeliveryRefusedError, match="STARTTLS"):
            send(connection, make_parcel(tmp_path))


def test_a_server_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    with running_mail_server(tmp_path) as server:
        connection = server.connection(port=free_port())
        with pytest.raises(DeliveryError, match="cannot be reached"):
            send(connection, make_parcel(tmp_path))


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    with running_mail_server(tmp_path) as server, socket.create_server(("127.0.0.1", 0)) as mute:
        connection = server.connection(port=mute.getsockname()[1], host="127.0.0.1")
        with pytest.raises(DeliveryError, match="was silent for 1 s"):
            send(connection, make_parcel(tmp_path), timeout=1)


@pytest.mark.parametrize("folder", [".", "inbox", "a@b@c", "a@", "x@y.example\nBcc: z@y.example"])
def test_what_is_no_address_is_refused(tmp_path: Path, folder: str) -> None:
    with (
        running_mail_server(tmp_path) as server,
        pytest.raises(DeliveryRefusedError, match="is not an e-mail address"),
    ):
        send(server.connection(), make_parcel(tmp_path), folder)


def test_a_connection_without_a_sender_is_refused(tmp_path: Path) -> None:
    with running_mail_server(tmp_path) as server:
        extra: dict[str, Any] = {"from_email": ""}
        with pytest.raises(DeliveryRefusedError, match="has no from_email"):
            send(server.connection(extra=extra), make_parcel(tmp_path))
