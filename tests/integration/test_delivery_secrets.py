"""Whatever is wrong with a connection, its secrets are in no message, no log and no record."""

from __future__ import annotations

import base64
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.deliver.again import dry_run
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.delivery import Delivery
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError
from openreg_airflow.workspace import Workspace
from tests.channel_sites import SERVERS, SITES
from tests.delivery_house import RUN, House, make_house, route
from tests.services.https_inbox import HttpsInbox, running_https_inbox
from tests.services.mail import MailServer, running_mail_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.channel_sites import Site

#: With what regular expressions, URLs and shells make something of.
HOSTILE = r"p@ss/w:rd+?[a-z]*%41\1$(x)"
SECRET = "geheimwort"  # noqa: S105


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path, 1000)


@pytest.fixture(scope="module", params=SERVERS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with SITES[request.param]() as running:
        yield running


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsInbox]:
    with running_https_inbox(tmp_path_factory.mktemp("https")) as running:
        yield running


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with running_mail_server(tmp_path_factory.mktemp("mail"), tls="explicit") as running:
        yield running


def refused(
    house: House, connection: Connection, caplog: pytest.LogCaptureFixture, secret: str, **spec: Any
) -> str:
    """What the failure of a delivery says; the secret is nowhere, in a dry run neither."""
    caplog.set_level("DEBUG")
    with pytest.raises(DeliveryRefusedError) as caught:
        house.deliver(connection, **spec)
    wanted = Delivery(run=RUN, route="regulator", spec=route(**spec), artifact=house.artifact)
    found = list(
        dry_run(
            [wanted],
            connect=lambda _: connection,
            workspace=Workspace(house.folder),
            store=house.ledger,
        )
    )
    assert [one.refused for one in found] == [True]
    [attempt] = house.attempts
    assert (attempt.result, attempt.error_class) == ("failed", "DeliveryRefusedError")
    told = f"{caught.value!r} {caught.value} {caplog.text} {attempt} {found}"
    assert secret not in told
    return f"{caught.value}"


def test_a_password_of_any_characters_is_sent_as_it_is_and_told_nobody(
    site: Site, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    connection = site.connection(password=HOSTILE, extra={"key_file": None})
    said = refused(house, connection, caplog, HOSTILE, channel=site.channel, folder="in")
    assert "refuses the login" in said


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"host": f"bank:{SECRET}@localhost"}, "more than a host in its host"),
        ({"host": f"localhost?token={SECRET}"}, "more than a host in its host"),
        ({"password": f"{SECRET}\n"}, "control character in its password"),
        ({"login": f"bank\r\nPASS {SECRET}"}, "control character in its login"),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_unseen(
    site: Site,
    house: House,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    fault: str,
) -> None:
    connection = site.connection(**changes)
    assert fault in refused(house, connection, caplog, SECRET, channel=site.channel, folder="in")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"password": HOSTILE}, "refuses the login"),
        ({"host": f"bank:{SECRET}@localhost"}, "more than a host in its host"),
        ({"host": f"localhost/up?token={SECRET}"}, "more than a host in its host"),
        ({"extra": {"headers": {"X-Key": f"{SECRET}\n"}}}, "header X-Key with a character"),
        ({"extra": {"headers": {"X-Key": f"{SECRET}ä"}}}, "header X-Key with a character"),
        ({"extra": {"headers": {f"X-Key: {SECRET}": "x"}}}, "name that none can have"),
        ({"extra": {"headers": f"X-Key: {SECRET}"}}, "headers that are no JSON object"),
    ],
)
def test_no_secret_of_an_https_connection_is_told(
    inbox: HttpsInbox,
    house: House,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    fault: str,
) -> None:
    secret = HOSTILE if "password" in changes else SECRET
    connection = inbox.connection(**changes)
    assert fault in refused(house, connection, caplog, secret, channel="https", folder="in")


@pytest.mark.parametrize(
    ("word", "fault"),
    [(HOSTILE, "refuses the login"), (f"{SECRET}ä", "outside ASCII"), (f"{SECRET}\n", "control")],
)
def test_no_password_of_a_mail_server_is_told(
    mail: MailServer, house: House, caplog: pytest.LogCaptureFixture, word: str, fault: str
) -> None:
    connection = mail.connection(password=word)
    said = refused(house, connection, caplog, word, channel="mail", folder="a@b.example")
    assert fault in said


@contextmanager
def repeating_server() -> Iterator[int]:
    """A port where every line after the greeting is answered with an error that repeats it."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, client.makefile("rwb", 0) as line:
                    line.write(b"220 ready\r\n")
                    for said in line:
                        line.write(_answer(said.strip()))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _answer(said: bytes) -> bytes:
    if said.upper().startswith(b"EHLO"):
        return b"250-here\r\n250 AUTH PLAIN\r\n"
    if said.upper().startswith(b"USER"):
        return b"331 and now?\r\n"
    return b"451 '" + said + b"' is not understood\r\n"


@pytest.mark.parametrize("channel", ["ftp", "mail"])
def test_a_server_that_repeats_the_password_is_not_repeated(house: House, channel: str) -> None:
    with repeating_server() as port:
        connection = Connection(
            id="regulator",
            type="ftp" if channel == "ftp" else "smtp",
            host="127.0.0.1",
            port=port,
            login="bank",
            password=HOSTILE,
            extra={"from_email": "a@b.example", "disable_ssl": True, "disable_tls": True},
        )
        with pytest.raises(DeliveryError, match="is not understood") as caught:
            house.deliver(connection, channel=channel, folder="a@b.example")
    told = f"{caught.value} {house.attempts}"
    packed = [f"\0bank\0{HOSTILE}", HOSTILE]
    for secret in (HOSTILE, *(base64.b64encode(word.encode()).decode() for word in packed)):
        assert secret not in told
    assert "***" in told


def test_an_address_of_s3_with_a_login_is_refused_unseen(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    extra = {"endpoint_url": f"https://key:{SECRET}@s3.example"}
    connection = Connection(id="regulator_s3", type="aws", extra=extra, s3=lambda _: None)
    said = refused(house, connection, caplog, SECRET, channel="s3", folder="bucket/in")
    assert "more than an address in its endpoint_url" in said
