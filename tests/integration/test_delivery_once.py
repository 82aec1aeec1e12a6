"""Nothing lost, nothing twice: death at every step, collected files, runs that are repeated."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.deliver.channels.mail import MailSession
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.errors import DeliveryRefusedError, IntegrityError
from openreg_airflow.records import RunKey
from openreg_airflow.store import audit_trail
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.deliveries import place_of
from tests.channel_sites import FILE_SITES
from tests.delivery_house import RUN, House, make_house, start_victim
from tests.services.mail import running_mail_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.channel_sites import Site

FINAL = "in/mifir/DEMO_DATTRA_DE_20260302.xml"
LATER = RunKey(report_id=RUN.report_id, business_date=RUN.business_date, run_id="manual__2")

STEPS = [
    f"{when} {step}"
    for step in ("make_folder", "upload", "publish")
    for when in ("before", "after")
]


@pytest.fixture(scope="module", params=["sftp", "ftp-passive", "folder"])
def running_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with FILE_SITES[request.param]() as site:
        yield site


@pytest.fixture
def site(running_site: Site) -> Iterator[Site]:
    yield running_site
    running_site.clear()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path, 300_000)


def corrected(house: House) -> House:
    """Another content under the same file name, of a later run."""
    other = make_house(house.folder.parent / "corrected", 300_001)
    return replace(other, store_url=house.store_url)


def kill(house: House, site: Site, point: str) -> None:
    victim = start_victim(house, site.connection(), kill=point, channel=site.channel)
    assert victim.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize("point", STEPS)
def test_a_try_that_died_anywhere_ends_with_one_file_and_one_receipt(
    site: Site, house: House, point: str
) -> None:
    kill(house, site, point)
    receipt = house.deliver(site.connection(), channel=site.channel)
    assert site.files() == {FINAL: house.content}
    assert receipt.already_there == (point == "after publish")
    assert [attempt.result for attempt in house.attempts] == [
        "started",
        "already-there" if point == "after publish" else "delivered",
    ]


def test_a_file_that_was_taken_before_the_receipt_is_not_sent_again(
    site: Site, house: House
) -> None:
    kill(house, site, "after publish")
    assert site.files() == {FINAL: house.content}
    site.clear()

    receipt = house.deliver(site.connection(), channel=site.channel)

    assert receipt.already_there
    assert site.files() == {}


@pytest.mark.parametrize("taken", [True, False])
def test_a_correction_finds_out_what_became_of_the_try_before_it(
    site: Site, house: House, taken: bool
) -> None:
    kill(house, site, "after publish" if taken else "before publish")
    if taken:
        site.clear()
    correction = corrected(house)
    assert not correction.deliver(site.connection(), run=LATER, channel=site.channel).already_there
    assert site.files() == {FINAL: correction.content}

    # Whether the first content is still wanted there is what its own try finds.
    if taken:
        assert house.deliver(site.connection(), channel=site.channel).already_there
    else:
        with pytest.raises(DeliveryRefusedError, match="is there already"):
            house.deliver(site.connection(), channel=site.channel)
    assert site.files() == {FINAL: correction.content}


def test_a_repeated_run_does_not_send_what_was_delivered_and_taken(
    site: Site, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.deliver(site.connection(), channel=site.channel)
    site.clear()
    receipt = house.deliver(site.connection(), run=LATER, channel=site.channel)
    assert receipt.already_there
    assert site.files() == {}
    [attempt] = house.store.attempts(LATER)
    assert (attempt.result, attempt.bytes) == ("already-there", 0)

    caplog.set_level("INFO")
    house.deliver(site.connection(), run=LATER, channel=site.channel)
    assert f"by run {RUN.run_id}; it is not sent again" in caplog.text


def test_a_repeated_task_does_without_files_that_were_delivered_and_are_kept_no_longer(
    site: Site, house: House
) -> None:
    house.deliver(site.connection(), channel=site.channel)
    [file] = house.artifact.files
    Path(file.uri).unlink()
    assert house.deliver(site.connection(), channel=site.channel).already_there
    with pytest.raises(IntegrityError, match="is gone"):
        house.deliver(site.connection(), again=True, channel=site.channel)


def test_what_the_operator_wants_again_is_sent_again(site: Site, house: House) -> None:
    house.deliver(site.connection(), channel=site.channel)
    site.clear()
    receipt = house.deliver(site.connection(), channel=site.channel, again=True)
    assert not receipt.already_there
    assert site.files() == {FINAL: house.content}


def test_another_folder_or_login_is_another_place(site: Site, house: House) -> None:
    house.deliver(site.connection(), channel=site.channel)
    assert not house.deliver(
        site.connection(), channel=site.channel, folder="elsewhere"
    ).already_there
    assert len(site.files()) == 2


def test_one_sequence_number_never_carries_two_reports(site: Site, house: House) -> None:
    numbered = house.artifact.model_copy(update={"sequence": "bafin", "numbers": (17,)})
    house = replace(house, artifact=numbered)
    kill(house, site, "after publish")
    site.clear()
    tomorrow = RUN.model_copy(update={"business_date": RUN.business_date.replace(day=3)})
    for said in ("may have gone out already", "went out already"):
        with pytest.raises(DeliveryRefusedError, match=f"number 17 of sequence bafin {said}"):
            house.deliver(site.connection(), run=tomorrow, channel=site.channel)
        house.deliver(site.connection(), channel=site.channel)

    assert site.files() == {}


def test_a_reason_for_sending_again_is_on_the_audit_trail(tmp_path: Path) -> None:
    house = make_house(tmp_path, 10)
    (tmp_path / "outbox").mkdir()
    connection = Connection(id="outbox", type="fs", extra={"path": str(tmp_path / "outbox")})
    receipt = house.deliver(connection, channel="folder", folder=".")
    [entry] = house.ledger.at(place_of("folder", "", receipt.destination))
    house.ledger.note_again(Actor("alice", "command line on here"), entry, "the authority lost it")
    [noted] = audit_trail.read(house.store_url)
    assert (noted.actor, noted.action, noted.kind) == ("alice", "send again", "delivery")
    assert receipt.destination in noted.subject
    assert "the authority lost it" in str(noted.after)


def test_a_mail_of_which_nobody_knows_whether_it_went_waits_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(tmp_path, 1000)
    options: dict[str, Any] = {"channel": "mail", "folder": "inbox@authority.example"}
    with running_mail_server(tmp_path) as server:
        with monkeypatch.context() as patched:
            send = MailSession._send

            def die(self: MailSession, *arguments: Any) -> None:
                send(self, *arguments)
                raise KeyboardInterrupt

            patched.setattr(MailSession, "_send", die)
            with pytest.raises(KeyboardInterrupt):
                house.deliver(server.connection(), **options)
        assert len(server.mails) == 1

        with pytest.raises(DeliveryRefusedError, match="may have sent") as caught:
            house.deliver(server.connection(), **options)
        assert "Ask the receiver" in str(caught.value)
        assert len(server.mails) == 1

        house.deliver(server.connection(), again=True, **options)
        assert len(server.mails) == 2
        assert house.deliver(server.connection(), **options).already_there
        assert len(server.mails) == 2


def test_a_mail_that_was_refused_is_tried_again_without_a_doubt(tmp_path: Path) -> None:
    house = make_house(tmp_path, 1000)
    options: dict[str, Any] = {"channel": "mail", "folder": "inbox@authority.example"}
    with running_mail_server(tmp_path) as server:
        server.refuse["inbox@authority.example"] = "550 closed"
        with pytest.raises(DeliveryRefusedError, match="closed"):
            house.deliver(server.connection(), **options)
        server.refuse.clear()
        assert not house.deliver(server.connection(), **options).already_there
        assert len(server.mails) == 1
