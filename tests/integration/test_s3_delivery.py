"""What is special about S3: large objects in parts, conditional uploads, what a try leaves."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from openreg_airflow.deliver.channels import s3 as channel_module
from openreg_airflow.deliver.channels.s3 import S3Session
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError
from tests.channel_sites import S3Site
from tests.delivery_house import House, make_house, start_victim
from tests.integration.test_channel_contract import MIB, make_parcel
from tests.services.s3_conditions import holding_conditions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.s3 import S3Server

LARGE = 40 * MIB + 3


@pytest.fixture
def site(s3: S3Server) -> S3Site:
    return S3Site("s3", s3, {})


def sent_headers(client: Any, operation: str) -> list[dict[str, Any]]:
    """The headers of each request of that kind, from now on."""
    seen: list[dict[str, Any]] = []
    client.meta.events.register(
        f"before-call.s3.{operation}", lambda params, **_: seen.append(dict(params["headers"]))
    )
    return seen


def unfinished(s3: S3Server) -> list[str]:
    return [
        entry["Key"]
        for entry in s3.client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", ())
    ]


def test_a_large_file_goes_up_in_parts_and_arrives_whole(site: S3Site, tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path, LARGE)
    with site.open() as session:
        outcome = session.deliver(parcel, f"{site.server.bucket}/in", "content")
    assert outcome.bytes_sent == LARGE
    assert site.files() == {f"in/{parcel.filename}": parcel.path.read_bytes()}
    assert unfinished(site.server) == []


def kill(house: House, site: S3Site, point: str) -> None:
    victim = start_victim(
        house,
        site.connection(),
        kill=point,
        s3_url=site.server.url,
        channel="s3",
        folder=f"{site.server.bucket}/in",
    )
    assert victim.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize("point", ["before put", "before _complete", "after _complete"])
def test_a_try_that_died_anywhere_ends_with_one_object_and_one_receipt(
    site: S3Site, tmp_path: Path, point: str
) -> None:
    house = make_house(tmp_path, 1000)
    kill(house, site, point)
    receipt = house.deliver(site.connection(), channel="s3", folder=f"{site.server.bucket}/in")
    [content] = site.files().values()
    assert content == house.content
    assert receipt.already_there == (point == "after _complete")
    assert unfinished(site.server) == []
    again = house.deliver(site.connection(), channel="s3", folder=f"{site.server.bucket}/in")
    assert again.already_there


def test_an_object_that_was_taken_before_the_receipt_waits_for_a_person(
    site: S3Site, tmp_path: Path
) -> None:
    house = make_house(tmp_path, 1000)
    kill(house, site, "after _complete")
    [key] = site.files()
    site.server.client.delete_object(Bucket=site.server.bucket, Key=key)
    options: dict[str, Any] = {"channel": "s3", "folder": f"{site.server.bucket}/in"}
    with pytest.raises(DeliveryRefusedError, match="may have sent"):
        house.deliver(site.connection(), **options)
    assert site.files() == {}
    house.deliver(site.connection(), again=True, **options)
    assert list(site.files()) == [key]


def test_an_object_that_is_taken_at_once_was_delivered(
    site: S3Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = S3Session._complete

    def take(self: S3Session, upload: dict[str, Any], parts: list[dict[str, Any]]) -> None:
        complete(self, upload, parts)
        site.server.client.delete_object(Bucket=upload["Bucket"], Key=upload["Key"])

    monkeypatch.setattr(S3Session, "_complete", take)
    house = make_house(tmp_path, 1000)
    options: dict[str, Any] = {"channel": "s3", "folder": f"{site.server.bucket}/in"}
    assert not house.deliver(site.connection(), **options).already_there
    assert house.deliver(site.connection(), **options).already_there
    assert site.files() == {}


def test_the_store_itself_is_asked_not_to_overwrite(site: S3Site, tmp_path: Path) -> None:
    with site.open() as session:
        headers = sent_headers(session._client, "CompleteMultipartUpload")  # type: ignore[attr-defined]
        session.deliver(make_parcel(tmp_path, 1000), f"{site.server.bucket}/in", "size")
    assert [sent["If-None-Match"] for sent in headers] == ["*"]


SIZES = pytest.mark.parametrize("size", [1000, 17 * MIB], ids=["one part", "two parts"])


@SIZES
def test_other_bytes_that_appear_meanwhile_are_not_overwritten(
    site: S3Site, tmp_path: Path, size: int
) -> None:
    parcel = make_parcel(tmp_path, size)
    key = f"in/{parcel.filename}"
    with holding_conditions(site.server.url) as store:
        store.first = lambda: site.put(key, b"somebody else's")
        with (
            site.open(site.connection(port=store.port)) as session,
            pytest.raises(DeliveryRefusedError, match="is there already with 15 bytes"),
        ):
            session.deliver(parcel, f"{site.server.bucket}/in", "size")
    assert store.answers == [412]
    assert site.files() == {key: b"somebody else's"}
    assert unfinished(site.server) == []


@SIZES
def test_the_same_bytes_that_appear_meanwhile_are_the_delivery(
    site: S3Site, tmp_path: Path, size: int
) -> None:
    parcel = make_parcel(tmp_path, size)
    key, content = f"in/{parcel.filename}", parcel.path.read_bytes()
    with holding_conditions(site.server.url) as store:
        store.first = lambda: site.put(key, content)
        with site.open(site.connection(port=store.port)) as session:
            outcome = session.deliver(parcel, f"{site.server.bucket}/in", "size")
    assert (store.answers, outcome.already_there) == ([412], True)
    assert site.files() == {key: content}
    assert unfinished(site.server) == []


@SIZES
def test_a_request_that_another_one_is_in_the_way_of_is_tried_again(
    site: S3Site, tmp_path: Path, size: int
) -> None:
    parcel = make_parcel(tmp_path, size)
    with holding_conditions(site.server.url) as store:
        store.conflicts = 1
        with site.open(site.connection(port=store.port)) as session:
            with pytest.raises(DeliveryError, match="ConditionalRequestConflict"):
                session.deliver(parcel, f"{site.server.bucket}/in", "size")
            assert (site.files(), unfinished(site.server)) == ({}, [])
            session.deliver(parcel, f"{site.server.bucket}/in", "content")
    assert store.answers == [409, 200]
    assert site.files() == {f"in/{parcel.filename}": parcel.path.read_bytes()}


def test_a_try_that_fails_leaves_no_unfinished_upload(
    site: S3Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_self: object, done: int) -> None:
        message = "power cut"
        raise ConnectionAbortedError(message)

    monkeypatch.setattr(channel_module.Progress, "reached", die)
    with site.open() as session, pytest.raises(ConnectionAbortedError):
        session.deliver(make_parcel(tmp_path, LARGE), f"{site.server.bucket}/in", "size")
    assert site.files() == {}
    assert unfinished(site.server) == []


def test_what_a_killed_try_left_unfinished_is_ended(site: S3Site, tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path, LARGE)
    for key in (f"in/{parcel.filename}", "in/another.xml"):
        site.server.client.create_multipart_upload(Bucket=site.server.bucket, Key=key)
    with site.open() as session:
        session.deliver(parcel, f"{site.server.bucket}/in", "size")
    assert unfinished(site.server) == ["in/another.xml"]


def test_a_store_without_conditions_is_refused_and_gets_nothing(
    site: S3Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any) -> None:
        said = {"Code": "NotImplemented", "Message": "A header is not implemented"}
        raise ClientError({"Error": said}, "CompleteMultipartUpload")  # type: ignore[typeddict-item]

    monkeypatch.setattr(S3Session, "_complete", unknown)
    with site.open() as session, pytest.raises(DeliveryRefusedError, match="NotImplemented"):
        session.deliver(make_parcel(tmp_path), f"{site.server.bucket}/in", "size")
    assert (site.files(), unfinished(site.server)) == ({}, [])


def test_a_bucket_that_is_not_there_is_refused(site: S3Site, tmp_path: Path) -> None:
    with site.open() as session, pytest.raises(DeliveryRefusedError, match="bucket") as caught:
        session.deliver(make_parcel(tmp_path), "no-such-bucket-here/in", "size")
    assert "a route's folder is bucket/prefix" in str(caught.value).lower()


def test_a_store_that_fails_for_now_is_tried_again(site: S3Site, tmp_path: Path) -> None:
    with site.open() as session:

        def busy(parsed: dict[str, Any], http_response: Any, **_: Any) -> None:
            http_response.status_code = 503
            parsed["Error"] = {"Code": "SlowDown", "Message": "Please reduce your request rate."}

        session._client.meta.events.register("after-call.s3.UploadPart", busy)  # type: ignore[attr-defined]
        with pytest.raises(DeliveryError, match="SlowDown"):
            session.deliver(make_parcel(tmp_path), f"{site.server.bucket}/in", "size")


def test_a_wrong_clock_is_named(
    site: S3Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: tomorrow)
    with (
        holding_conditions(site.server.url) as store,
        site.open(site.connection(port=store.port)) as session,
        pytest.raises(DeliveryError, match="RequestTimeTooSkewed") as caught,
    ):
        session.put(make_parcel(tmp_path), f"{site.server.bucket}/in/a.xml")  # type: ignore[attr-defined]
    assert "clock is wrong" in str(caught.value)
