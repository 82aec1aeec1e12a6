from __future__ import annotations

import base64
import socket
from contextlib import nullcontext
from functools import partialmethod
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.deliver.channels.https import HttpsChannel
from openreg_airflow.errors import (
    DeliveryError,
    DeliveryRefusedError,
    DoubtfulDeliveryError,
)
from tests.delivery_house import make_house
from tests.integration.test_channel_contract import MIB, WRONG, make_parcel
from tests.services import free_port
from tests.services.certificates import Authority
from tests.services.https_inbox import _Handler, running_https_inbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.deliver.channel import Outcome, Parcel, Verify
    from openreg_airflow.deliver.connection import Connection
    from tests.services.https_inbox import HttpsInbox


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[HttpsInbox]:
    with running_https_inbox(tmp_path) as running:
        yield running


def send(
    connection: Connection, parcel: Parcel, verify: Verify = "size", timeout: float = 10
) -> Outcome:
    with HttpsChannel().open(connection, timeout_seconds=timeout) as session:
        return session.deliver(parcel, "in/mifir", verify)


@pytest.mark.parametrize("verify", ["size", "content"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_file_arrives_byte_for_byte(
    inbox: HttpsInbox, tmp_path: Path, verify: Verify, method: str
) -> None:
    parcel = make_parcel(tmp_path, 3 * MIB + 1, "Größe 1.xml")
    connection = inbox.connection(extra={"method": method})
    outcome = send(connection, parcel, verify)
    assert inbox.uploads == {"in/mifir/Größe 1.xml": parcel.path.read_bytes()}
    assert (outcome.bytes_sent, outcome.already_there) == (parcel.bytes, False)
    [headers] = inbox.sent
    digest = base64.b64encode(bytes.fromhex(parcel.sha256)).decode()
    assert headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert headers["If-None-Match"] == "*"


def test_the_same_content_is_recognised_and_not_sent_again(
    inbox: HttpsInbox, tmp_path: Path
) -> None:
    parcel = make_parcel(tmp_path)
    send(inbox.connection(), parcel)
    assert send(inbox.connection(), parcel).already_there
    assert len(inbox.sent) == 1


def test_other_content_under_the_name_is_refused_and_kept(
    inbox: HttpsInbox, tmp_path: Path
) -> None:
    parcel = make_parcel(tmp_path)
    inbox.uploads[f"in/mifir/{parcel.filename}"] = b"other"
    with pytest.raises(DeliveryRefusedError, match="is there already"):
        send(inbox.connection(), parcel)
    assert inbox.uploads[f"in/mifir/{parcel.filename}"] == b"other"


def test_a_server_that_lets_nobody_look_still_does_not_overwrite(
    inbox: HttpsInbox, tmp_path: Path
) -> None:
    parcel = make_parcel(tmp_path)
    inbox.answers |= {"HEAD": 405, "GET": 405}
    assert send(inbox.connection(), parcel).bytes_sent == parcel.bytes
    with pytest.raises(DeliveryRefusedError, match="is taken: 412"):
        send(inbox.connection(), parcel)
    assert len(inbox.sent) == 1


@pytest.mark.parametrize("verify", ["size", "content"])
def test_what_the_server_took_and_does_not_show_is_not_sent_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: HttpsInbox, verify: Verify
) -> None:
    def take(self: Any) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.inbox.sent.append(dict(self.headers))
        self._answer(202)

    monkeypatch.setattr(_Handler, "do_PUT", take)
    house = make_house(tmp_path, 1000)
    for _ in range(2):
        house.deliver(inbox.connection(), channel="https", verify=verify)
    assert len(inbox.sent) == 1
    assert [each.result for each in house.attempts] == ["delivered", "already-there"]


@pytest.mark.parametrize("readable", [True, False])
def test_a_file_whose_size_is_not_told_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: HttpsInbox, readable: bool
) -> None:
    def look(self: Any) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    monkeypatch.setattr(_Handler, "do_HEAD", look)
    inbox.answers |= {} if readable else {"GET": 403}
    parcel = make_parcel(tmp_path)
    inbox.uploads[f"in/mifir/{parcel.filename}"] = b"other"
    said = "already with 5 bytes" if readable else "does not show what it is"
    with pytest.raises(DeliveryRefusedError, match=said):
        send(inbox.connection(), parcel)
    assert inbox.sent == []


def test_a_size_is_asked_for_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: HttpsInbox
) -> None:
    asked: list[str] = []
    look = _Handler.do_HEAD

    def noted(self: Any) -> None:
        asked.append(self.headers["Accept-Encoding"])
        look(self)

    monkeypatch.setattr(_Handler, "do_HEAD", noted)
    send(inbox.connection(), make_parcel(tmp_path))
    assert set(asked) == {"identity"}


def break_off(self: Any, *, takes: int | None = None) -> None:
    """Hang up on an upload after some of it, or where its answer should come."""
    self.rfile.read(takes or int(self.headers["Content-Length"]))
    self.connection.close()
    self.close_connection = True


@pytest.mark.parametrize("shown", [True, False])
def test_an_upload_that_broke_off_is_in_doubt_when_all_of_it_had_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: HttpsInbox, shown: bool
) -> None:
    inbox.answers |= {} if shown else {"HEAD": 405, "GET": 405}
    # More than the line holds.
    house = make_house(tmp_path, 24 * MIB)
    with monkeypatch.context() as patched:
        patched.setattr(_Handler, "do_PUT", partialmethod(break_off, takes=MIB))
        with pytest.raises(DeliveryError, match="dropped the connection"):
            house.deliver(inbox.connection(), channel="https")
    house.deliver(inbox.connection(), channel="https")
    assert len(inbox.sent) == 1

    with monkeypatch.context() as patched:
        patched.setattr(_Handler, "do_PUT", break_off)
        with pytest.raises(DeliveryError):
            house.deliver(inbox.connection(), channel="https", folder="other")
    with pytest.raises(DoubtfulDeliveryError, match="may have sent"):
        house.deliver(inbox.connection(), channel="https", folder="other")
    assert len(inbox.sent) == 1


@pytest.mark.parametrize(
    ("status", "shown", "doubtful"),
    [(503, True, False), (503, False, True), (504, True, True), (429, False, False)],
)
def test_an_upload_that_was_not_taken_is_tried_again_where_the_answer_leaves_no_doubt(
    tmp_path: Path, inbox: HttpsInbox, status: int, shown: bool, doubtful: bool
) -> None:
    inbox.answers |= {"PUT": status} | ({} if shown else {"HEAD": 405, "GET": 405})
    house = make_house(tmp_path, 1000)
    with pytest.raises(DeliveryError, match=str(status)):
        house.deliver(inbox.connection(), channel="https")
    del inbox.answers["PUT"]
    with pytest.raises(DoubtfulDeliveryError) if doubtful else nullcontext():
        house.deliver(inbox.connection(), channel="https")
    assert len(inbox.sent) == (not doubtful)


def test_a_token_in_the_headers_lets_in(inbox: HttpsInbox, tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer of-the-bank"}
    send(inbox.connection(login=None, extra={"headers": headers}), make_parcel(tmp_path))
    assert len(inbox.uploads) == 1


def test_a_refused_login_is_final_and_tells_no_secret(inbox: HttpsInbox, tmp_path: Path) -> None:
    connection = inbox.connection(password=WRONG)
    with pytest.raises(DeliveryRefusedError, match="refuses the login") as caught:
        send(connection, make_parcel(tmp_path))
    assert WRONG not in f"{caught.value}{connection!r}"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (503, DeliveryError),
        (429, DeliveryError),
        (507, DeliveryError),
        (400, DeliveryRefusedError),
        (403, DeliveryRefusedError),
        (413, DeliveryRefusedError),
        (302, DeliveryRefusedError),
    ],
)
def test_an_answer_decides_whether_it_is_tried_again(
    inbox: HttpsInbox, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    inbox.answers["PUT"] = status
    with pytest.raises(error, match=str(status)):
        send(inbox.connection(), make_parcel(tmp_path))
    assert inbox.uploads == {}


def test_an_unknown_certificate_is_refused(inbox: HttpsInbox, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    extra = {"ca_file": str(Authority(folder).certificate)}
    with pytest.raises(DeliveryRefusedError, match="certificate of https://localhost"):
        send(inbox.connection(extra=extra), make_parcel(tmp_path))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"schema": "http"}, "does not speak https"),
        ({"host": "http://localhost"}, "does not speak https"),
        ({"host": None}, "has no host"),
        ({"extra": {"method": "DELETE"}}, "has the method DELETE"),
    ],
)
def test_a_connection_that_cannot_be_used_says_why(
    inbox: HttpsInbox, tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises(DeliveryRefusedError, match=fault):
        send(inbox.connection(**changes), make_parcel(tmp_path))


def test_a_server_that_is_not_there_is_tried_again(inbox: HttpsInbox, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="cannot be reached"):
        send(inbox.connection(port=free_port()), make_parcel(tmp_path))


def test_a_silent_server_is_given_up(inbox: HttpsInbox, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connection = inbox.connection(port=mute.getsockname()[1])
        with pytest.raises(DeliveryError, match="was silent for 1 s"):
            send(connection, make_parcel(tmp_path), timeout=1)
