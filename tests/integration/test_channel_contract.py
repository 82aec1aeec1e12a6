"""What holds for every channel that leaves files somewhere, against its real server."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import time
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.deliver.channel import Mailbox, Parcel
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError, OpenRegError
from tests.channel_sites import FILE_SITES, SERVERS, SITES
from tests.services import free_port
from tests.services.tcp_proxy import stalling_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.deliver.connection import Connection
    from tests.channel_sites import Site

MIB = 1 << 20
NAME = "DEMO_DATTRA_DE_20260302.xml"
FINAL = f"in/mifir/{NAME}"
#: Never the right one, and nowhere to be read.
WRONG = "hunter2-correct-horse"


@pytest.fixture(scope="module")
def running_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with SITES[request.param]() as site:
        yield site


everywhere = pytest.mark.parametrize("running_site", SITES, indirect=True)
with_folders = pytest.mark.parametrize("running_site", FILE_SITES, indirect=True)
with_a_login = pytest.mark.parametrize("running_site", SERVERS, indirect=True)
over_a_network = pytest.mark.parametrize("running_site", [*SERVERS, "s3"], indirect=True)


@pytest.fixture
def site(running_site: Site) -> Iterator[Site]:
    yield running_site
    running_site.clear()


def failure(
    site: Site, connection: Connection, folder: Path, timeout_seconds: float = 20
) -> OpenRegError:
    """The error with which a delivery ends."""
    with (
        pytest.raises(OpenRegError) as caught,
        site.open(connection, timeout_seconds=timeout_seconds) as session,
    ):
        session.deliver(make_parcel(folder), site.root + "in", "size")
    assert site.files() == {}
    return caught.value


def make_parcel(folder: Path, size: int = 300_000, name: str = NAME) -> Parcel:
    content = random.Random(size).randbytes(size)  # noqa: S311
    path = folder / "artifact"
    path.write_bytes(content)
    return Parcel(path=path, filename=name, bytes=size, sha256=hashlib.sha256(content).hexdigest())


@everywhere
@pytest.mark.parametrize("verify", ["size", "content"])
def test_a_file_arrives_byte_for_byte_under_its_name_alone(
    site: Site, tmp_path: Path, verify: str
) -> None:
    parcel = make_parcel(tmp_path, 3 * MIB + 17)
    with site.open() as session:
        outcome = session.deliver(parcel, site.root + "in/mifir", verify)  # type: ignore[arg-type]
    assert site.files() == {FINAL: parcel.path.read_bytes()}
    assert (outcome.bytes_sent, outcome.already_there) == (parcel.bytes, False)


@everywhere
def test_several_files_go_over_one_connection_and_are_known_on_it(
    site: Site, tmp_path: Path
) -> None:
    with site.open() as session:
        for known in (False, True):
            for number in range(3):
                parcel = make_parcel(tmp_path, 1000 + number, f"part_{number}.xml")
                outcome = session.deliver(parcel, site.root + "in", "size")
                assert outcome.already_there is known
    assert {name: len(content) for name, content in site.files().items()} == {
        f"in/part_{number}.xml": 1000 + number for number in range(3)
    }


@everywhere
def test_the_same_content_is_recognised_and_not_sent_again(site: Site, tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path)
    site.put(FINAL, parcel.path.read_bytes())
    before = site.stamp(FINAL)
    with site.open() as session:
        outcome = session.deliver(parcel, site.root + "in/mifir", "size")
    assert (outcome.bytes_sent, outcome.already_there) == (0, True)
    assert site.stamp(FINAL) == before


@everywhere
@pytest.mark.parametrize("longer", [b"", b"x"], ids=["same size", "longer"])
def test_other_content_under_the_name_is_refused_and_kept(
    site: Site, tmp_path: Path, longer: bytes
) -> None:
    parcel = make_parcel(tmp_path)
    other = bytes(parcel.bytes) + longer
    site.put(FINAL, other)
    with site.open() as session, pytest.raises(DeliveryRefusedError, match="is there already"):
        session.deliver(parcel, site.root + "in/mifir", "size")
    assert site.files() == {FINAL: other}


@with_folders
def test_what_an_interrupted_try_left_behind_is_removed(site: Site, tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path)
    marked = hashlib.sha256(NAME.encode()).hexdigest()[:12]
    site.put(f"in/mifir/.openreg-{marked}-0123456789ab.part", b"half a fi")
    site.put("in/mifir/other.part", b"not ours")
    with site.open() as session:
        session.deliver(parcel, site.root + "in/mifir", "size")
    assert site.files() == {FINAL: parcel.path.read_bytes(), "in/mifir/other.part": b"not ours"}


@with_folders
def test_a_name_that_is_taken_meanwhile_is_not_overwritten(site: Site, tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path)
    with site.open() as session:
        publish = session.publish  # type: ignore[attr-defined]

        def late(temporary: str, final: str) -> None:
            site.put(FINAL, b"somebody else's")
            publish(temporary, final)

        session.publish = late  # type: ignore[attr-defined]
        with pytest.raises(DeliveryRefusedError, match="is there already"):
            session.deliver(parcel, site.root + "in/mifir", "size")
    assert site.files() == {FINAL: b"somebody else's"}


@with_a_login
def test_a_refused_login_is_final_and_tells_no_secret(site: Site, tmp_path: Path) -> None:
    connection = site.connection(login="stranger", password=WRONG, extra={"key_file": None})
    caught = failure(site, connection, tmp_path)
    assert isinstance(caught, DeliveryRefusedError)
    assert "refuses the login" in str(caught)
    assert WRONG not in f"{caught}{connection!r}"


@over_a_network
def test_a_server_that_is_not_there_is_tried_again(site: Site, tmp_path: Path) -> None:
    caught = failure(site, site.connection(port=free_port()), tmp_path)
    assert isinstance(caught, DeliveryError)
    assert "cannot be reached" in str(caught)


@with_a_login
def test_a_host_that_nobody_knows_is_named(site: Site, tmp_path: Path) -> None:
    caught = failure(site, site.connection(host="regulator.invalid"), tmp_path)
    assert isinstance(caught, DeliveryError)
    assert "the name regulator.invalid cannot be resolved" in str(caught)


@over_a_network
def test_a_silent_server_is_given_up_after_the_timeout(site: Site, tmp_path: Path) -> None:
    with stalling_proxy(site.server.port, bytes_to_server=4) as proxy:
        caught = failure(site, site.connection(port=proxy.port), tmp_path, timeout_seconds=1)
    assert isinstance(caught, DeliveryError)
    assert "was silent for 1 s" in str(caught)


@with_a_login
def test_a_folder_that_may_not_be_written_is_refused(site: Site, tmp_path: Path) -> None:
    site.put("closed/here", b"")
    (site.server.inbox / "closed").chmod(0o555)
    with (
        site.open() as session,
        pytest.raises(DeliveryRefusedError, match=r"(?i)permission|denied"),
    ):
        session.deliver(make_parcel(tmp_path), site.root + "closed", "size")
    assert site.files() == {"closed/here": b""}


@with_folders
def test_a_file_where_a_folder_should_be_is_refused(site: Site, tmp_path: Path) -> None:
    site.put("in", b"a file")
    with site.open() as session, pytest.raises(DeliveryRefusedError, match="not a folder"):
        session.deliver(make_parcel(tmp_path), site.root + "in/mifir", "size")
    assert site.files() == {"in": b"a file"}


@everywhere
@pytest.mark.parametrize("name", ["../escaped.xml", "a/b.xml", "", "..", "line\nbreak.xml"])
def test_a_name_that_leads_elsewhere_never_leaves_the_house(
    site: Site, tmp_path: Path, name: str
) -> None:
    with site.open() as session, pytest.raises(DeliveryRefusedError, match="cannot be the name"):
        session.deliver(make_parcel(tmp_path, name=name), site.root + "in", "size")
    assert site.files() == {}


@everywhere
def test_names_of_every_script_arrive_as_they_are(site: Site, tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path, name="Bericht 2026 – Größe 表.xml")
    with site.open() as session:
        session.deliver(parcel, site.root + "Eingang Ä", "content")
    assert list(site.files()) == ["Eingang Ä/Bericht 2026 – Größe 表.xml"]


@everywhere
@pytest.mark.parametrize(
    "name", ["-rf *;$(x)`y` %2e%2e.xml", " ~q?x=1#y .xml.", f"{'n' * 251}.xml"]
)
def test_names_that_mean_something_elsewhere_are_names_alone(
    site: Site, tmp_path: Path, name: str
) -> None:
    """To a shell, a URL, an option, a pattern; and one as long as a file's name may be."""
    with site.open() as session:
        for _ in range(2):
            session.deliver(make_parcel(tmp_path, 1000, name=name), site.root + "-in", "size")
    assert list(site.files()) == [f"-in/{name}"]


@everywhere
def test_a_limited_line_carries_no_more_than_was_asked(site: Site, tmp_path: Path) -> None:
    size = 16 * MIB if site.channel == "s3" else MIB
    parcel = dataclasses.replace(make_parcel(tmp_path, size), bytes_per_second=size)
    with site.open() as session:
        began = time.monotonic()
        session.deliver(parcel, site.root + "in/mifir", "size")
        # The last block may go in a burst.
        assert time.monotonic() - began >= 0.7
    assert site.files() == {FINAL: parcel.path.read_bytes()}


@with_folders
def test_a_name_that_is_too_long_is_refused_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    long = make_parcel(tmp_path, name="x" * 300)
    with site.open() as session, pytest.raises(DeliveryRefusedError, match=r"x{300}"):
        session.deliver(long, site.root + "in", "size")
    assert site.files() == {}


@everywhere
def test_an_empty_file_is_no_report(site: Site, tmp_path: Path) -> None:
    with site.open() as session, pytest.raises(DeliveryRefusedError, match="is empty"):
        session.deliver(make_parcel(tmp_path, 0), site.root + "in", "size")


@everywhere
def test_what_the_other_side_left_is_listed_and_fetched(site: Site, tmp_path: Path) -> None:
    content = random.Random(7).randbytes(200_000)  # noqa: S311
    site.put("out/feedback 1.xml", content)
    site.put("out/deeper/another.xml", b"x")
    with site.open() as session:
        assert isinstance(session, Mailbox)
        assert "feedback 1.xml" in (session.names(site.root + "out") or [])
        path = f"{site.root}out/feedback 1.xml"
        assert session.size(path) == len(content)
        session.fetch(path, tmp_path / "fetched")
        assert (session.names(site.root + "nowhere") or []) == []
    assert (tmp_path / "fetched").read_bytes() == content


@everywhere
def test_a_file_is_told_from_a_later_one_of_its_name_and_size(site: Site) -> None:
    site.put("out/feedback.xml", b"PDNG")
    site.age("out/feedback.xml", 60)
    with site.open() as session:
        assert isinstance(session, Mailbox)
        path = f"{site.root}out/feedback.xml"
        first = session.changed(path)
        assert first
        assert session.changed(path) == first
        site.put("out/feedback.xml", b"ACPT")
        assert session.changed(path) not in ("", first)
        assert session.changed(f"{site.root}out/nowhere.xml") == ""
