from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from openreg_airflow.deliver.channel import Parcel
from openreg_airflow.deliver.channels.sftp import SftpChannel, SftpSession
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.errors import (
    DeliveryError,
    DeliveryRefusedError,
    IntegrityError,
    StoreNotReadyError,
)
from openreg_airflow.records import ArtifactFile
from openreg_airflow.workspace import Workspace, describe
from tests.delivery_house import MIB, RUN, House, make_house, start_victim
from tests.services import free_port, unavailable
from tests.services.overwriting_sftp import running_overwriting_sftp
from tests.services.sshd import other_host_key
from tests.services.tcp_proxy import stalling_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.sshd import SshServer

#: Never the right one, and nowhere to be read.
WORD = "hunter2-correct-horse"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path, 300_000)


@pytest.fixture
def big_house(tmp_path: Path) -> House:
    return make_house(tmp_path, 8 * MIB)


FINAL = "in/mifir/DEMO_DATTRA_DE_20260302.xml"


def test_artifact_arrives_byte_for_byte_under_its_name_alone(
    sshd: SshServer, big_house: House
) -> None:
    receipt = big_house.deliver(sshd.connection())

    assert sshd.files() == {FINAL: big_house.content}
    assert receipt.destination == f"sftp://127.0.0.1:{sshd.port}/{FINAL}"
    assert (receipt.bytes, receipt.sha256) == (8 * MIB, big_house.artifact.files[0].sha256)
    assert not receipt.already_there
    [attempt] = big_house.attempts
    assert (attempt.result, attempt.bytes) == ("delivered", 8 * MIB)
    assert attempt.destination == receipt.destination
    assert attempt.seconds > 0


def test_content_is_read_back_when_the_route_asks_for_it(sshd: SshServer, house: House) -> None:
    assert house.deliver(sshd.connection(), verify="content").bytes == 300_000
    assert sshd.files() == {FINAL: house.content}


def test_same_content_under_the_name_is_recognised_and_not_sent_again(
    sshd: SshServer, house: House
) -> None:
    house.deliver(sshd.connection())
    written = (sshd.inbox / FINAL).stat()

    receipt = house.deliver(sshd.connection())

    assert receipt.already_there
    assert (sshd.inbox / FINAL).stat().st_mtime_ns == written.st_mtime_ns
    assert (sshd.inbox / FINAL).stat().st_ino == written.st_ino
    assert [(a.attempt, a.result, a.bytes) for a in house.attempts] == [
        (1, "delivered", 300_000),
        (2, "already-there", 0),
    ]


@pytest.mark.parametrize("change", [lambda b: b + b"x", lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_other_content_under_the_name_is_refused_and_kept(
    sshd: SshServer, house: House, change: Callable[[bytes], bytes]
) -> None:
    other = change(house.content)
    place_remote(sshd, FINAL, other)

    with pytest.raises(DeliveryRefusedError, match="is there already"):
        house.deliver(sshd.connection())

    assert sshd.files() == {FINAL: other}
    assert house.attempts[0].result == "failed"


def test_same_size_file_that_may_not_be_read_is_refused(sshd: SshServer, house: House) -> None:
    place_remote(sshd, FINAL, house.content).chmod(0o200)

    with pytest.raises(DeliveryRefusedError, match="may not be read"):
        house.deliver(sshd.connection())


def test_changed_host_key_is_refused_before_logging_in(sshd: SshServer, house: House) -> None:
    with pytest.raises(DeliveryRefusedError, match="host key") as caught:
        house.deliver(sshd.connection(extra={"host_key": other_host_key()}))

    assert "not the pinned one" in str(caught.value)
    assert sshd.files() == {}
    [attempt] = house.attempts
    assert (attempt.result, attempt.error_class) == ("failed", "DeliveryRefusedError")
    assert "host key" in (attempt.error or "")


def test_one_of_several_pinned_host_keys_suffices(sshd: SshServer, house: House) -> None:
    keys = f"{other_host_key()}\n{sshd.host_key}\n"

    house.deliver(sshd.connection(extra={"host_key": keys}))

    assert sshd.files() == {FINAL: house.content}


@pytest.mark.parametrize("with_type", [True, False])
def test_pinned_key_of_a_type_that_the_server_lacks_is_refused(
    sshd: SshServer, house: House, with_type: bool
) -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()

    with pytest.raises(DeliveryRefusedError, match="not the pinned one"):
        house.deliver(sshd.connection(extra={"host_key": rsa if with_type else rsa.split(" ")[1]}))


def test_known_hosts_file_pins_the_host_key(sshd: SshServer, house: House, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    extra = {"host_key": None, "known_hosts": str(known)}

    house.deliver(sshd.connection(extra=extra))
    assert sshd.files() == {FINAL: house.content}

    known.write_text(f"[127.0.0.1]:{sshd.port} {other_host_key()}")
    with pytest.raises(DeliveryRefusedError, match="host key"):
        house.deliver(sshd.connection(extra=extra), again=True)


@pytest.mark.parametrize("content", ["", "# nothing\n", "other.example ssh-ed25519 AAAA"])
def test_known_hosts_file_without_the_host_is_refused(
    sshd: SshServer,
    house: House,
    tmp_path: Path,
    content: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(content)
    # The account's own file knows the host, and must not count.
    (tmp_path / ".ssh").mkdir()
    own = tmp_path / ".ssh" / "known_hosts"
    own.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(DeliveryRefusedError):
        house.deliver(sshd.connection(extra={"host_key": None, "known_hosts": str(known)}))


def test_wrong_key_is_refused(sshd: SshServer, house: House) -> None:
    with pytest.raises(DeliveryRefusedError, match="refuses the login"):
        house.deliver(sshd.connection(extra={"key_file": str(sshd.folder / "other_key")}))


def test_key_of_the_account_is_never_tried(
    sshd: SshServer, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    own = tmp_path / ".ssh" / "id_ed25519"
    own.write_bytes(sshd.key_file.read_bytes())
    own.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    connection = sshd.connection(extra={"key_file": None}, password=WORD)

    with pytest.raises(DeliveryRefusedError, match="refuses the login"):
        house.deliver(connection)


def test_private_key_with_passphrase_logs_in(sshd: SshServer, house: House) -> None:
    key = asyncssh.read_private_key(str(sshd.key_file))
    text = key.export_private_key(passphrase=WORD).decode()
    extra = {"key_file": None, "private_key": text, "private_key_passphrase": WORD}

    house.deliver(sshd.connection(extra=extra))

    assert sshd.files() == {FINAL: house.content}
    wrong = extra | {"private_key_passphrase": "other-phrase"}
    with pytest.raises(DeliveryRefusedError, match="private_key that cannot be read") as caught:
        house.deliver(sshd.connection(extra=wrong), again=True)
    assert "other-phrase" not in str(caught.value)


def test_folder_without_permission_is_refused(sshd: SshServer, house: House) -> None:
    sshd.inbox.chmod(0o555)
    try:
        with pytest.raises(DeliveryRefusedError, match="Permission denied"):
            house.deliver(sshd.connection())
    finally:
        sshd.inbox.chmod(0o755)


def test_server_that_lets_nobody_write_is_refused(read_only_sshd: SshServer, house: House) -> None:
    with pytest.raises(DeliveryRefusedError, match="Permission denied"):
        house.deliver(read_only_sshd.connection(), folder=".")
    assert read_only_sshd.files() == {}


def test_folder_that_is_a_file_is_refused(sshd: SshServer, house: House) -> None:
    place_remote(sshd, "in/mifir", b"a file")

    with pytest.raises(DeliveryRefusedError, match="in/mifir"):
        house.deliver(sshd.connection())


def test_name_that_the_server_cannot_store_is_refused(sshd: SshServer, house: House) -> None:
    [file] = house.artifact.files
    long = file.model_copy(update={"filename": "x" * 300})
    house.artifact = house.artifact.model_copy(update={"files": (long,)})

    with pytest.raises(DeliveryRefusedError, match=r"x{300}"):
        house.deliver(sshd.connection())
    assert sshd.files() == {}


def in_parts(house: House) -> list[ArtifactFile]:
    """Give the house an artifact of three files, the names of which are not in order."""
    files = []
    for part, name in enumerate(("z.xml", "m.xml", "a.xml"), 1):
        with Workspace(house.folder).folder(RUN, "artifact").writing(name) as pending:
            pending.path.write_bytes(name.encode() * part)
        files.append(ArtifactFile(**dict(pending.ref), filename=name, part=part, records=1))
    house.artifact = house.artifact.model_copy(update={"files": tuple(files)})
    return files


def test_files_of_an_artifact_go_by_part_over_one_connection(
    sshd: SshServer, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = in_parts(house)
    opened = []
    once = SftpChannel.open

    def counted(self: SftpChannel, *arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return once(self, *arguments, **options)

    monkeypatch.setattr(SftpChannel, "open", counted)
    receipts = house.deliver_all(sshd.connection())

    assert len(opened) == 1
    assert [receipt.filename for receipt in receipts] == ["z.xml", "m.xml", "a.xml"]
    assert [receipt.sha256 for receipt in receipts] == [file.sha256 for file in files]
    assert len({receipt.delivered_at for receipt in receipts}) == 3
    assert [(a.position, a.filename, a.result) for a in house.attempts] == [
        (1, "z.xml", "delivered"),
        (2, "m.xml", "delivered"),
        (3, "a.xml", "delivered"),
    ]
    assert sorted(sshd.files()) == ["in/mifir/a.xml", "in/mifir/m.xml", "in/mifir/z.xml"]


def test_retry_sends_only_the_files_that_are_not_there(sshd: SshServer, house: House) -> None:
    in_parts(house)
    place_remote(sshd, "in/mifir/m.xml", b"other")
    with pytest.raises(DeliveryRefusedError, match=r"m\.xml is there already"):
        house.deliver_all(sshd.connection())
    assert [(a.filename, a.result) for a in house.attempts] == [
        ("z.xml", "delivered"),
        ("m.xml", "failed"),
    ]

    (sshd.inbox / "in/mifir/m.xml").unlink()
    receipts = house.deliver_all(sshd.connection())
    assert [receipt.already_there for receipt in receipts] == [True, False, False]


def test_one_changed_part_keeps_all_of_them_in_the_house(sshd: SshServer, house: House) -> None:
    files = in_parts(house)
    Path(files[2].uri).write_bytes(b"changed")
    with pytest.raises(IntegrityError, match=r"a\.xml"):
        house.deliver_all(sshd.connection())
    assert sshd.files() == {}
    assert [a.result for a in house.attempts] == ["failed"]


def test_artifact_without_files_is_delivered_by_doing_nothing(house: House) -> None:
    house.artifact = house.artifact.model_copy(update={"files": ()})
    assert house.deliver_all(Connection(id="nowhere", type="sftp")) == ()
    assert house.attempts == ()


def test_unreachable_server_is_tried_again(sshd: SshServer, house: House) -> None:
    with pytest.raises(DeliveryError, match="cannot be reached"):
        house.deliver(sshd.connection(port=free_port()))


def test_unknown_host_name_is_tried_again(sshd: SshServer, house: House) -> None:
    with pytest.raises(DeliveryError, match=r"inbox\.invalid"):
        house.deliver(sshd.connection(host="inbox.invalid"))


def test_host_that_cannot_be_a_name_is_refused(sshd: SshServer, house: House) -> None:
    with pytest.raises(DeliveryRefusedError, match="cannot be spelled"):
        house.deliver(sshd.connection(host="x" * 300))


def test_server_that_never_answers_ends_in_a_time_out(sshd: SshServer, house: House) -> None:
    with (
        stalling_proxy(sshd.port, bytes_to_server=0) as proxy,
        pytest.raises(DeliveryError, match="silent for 1 s while connecting"),
    ):
        house.deliver(sshd.connection(port=proxy.port), timeout_seconds=1)


def test_server_that_stalls_in_the_middle_ends_in_a_time_out_and_a_retry_succeeds(
    sshd: SshServer, big_house: House
) -> None:
    with (
        stalling_proxy(sshd.port, bytes_to_server=3 * MIB) as proxy,
        pytest.raises(DeliveryError, match="silent for 1 s while sending"),
    ):
        big_house.deliver(sshd.connection(port=proxy.port), timeout_seconds=1)
    [leftover] = sshd.files()
    assert leftover.endswith(".part")

    big_house.deliver(sshd.connection())

    assert sshd.files() == {FINAL: big_house.content}
    assert [a.result for a in big_house.attempts] == ["failed", "delivered"]


def test_server_killed_in_the_middle_is_tried_again(sshd: SshServer, big_house: House) -> None:
    with stalling_proxy(sshd.port, bytes_to_server=3 * MIB) as proxy:
        victim = start_victim(big_house, sshd.connection(port=proxy.port))
        assert proxy.stalled.wait(60)
        sshd.stop()
        proxy.close()
        assert victim.wait(60) != 0
    assert FINAL not in sshd.files()
    assert [a.error_class for a in big_house.attempts] == ["DeliveryError"]

    sshd.start()
    big_house.deliver(sshd.connection())

    assert sshd.files() == {FINAL: big_house.content}


def test_process_killed_in_the_middle_of_sending_leaves_no_half_file(
    sshd: SshServer, big_house: House
) -> None:
    with stalling_proxy(sshd.port, bytes_to_server=3 * MIB) as proxy:
        victim = start_victim(big_house, sshd.connection(port=proxy.port), timeout_seconds=60)
        assert proxy.stalled.wait(60)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    [leftover] = sshd.files()
    assert leftover.endswith(".part")
    assert [a.result for a in big_house.attempts] == ["started"]

    big_house.deliver(sshd.connection())

    assert sshd.files() == {FINAL: big_house.content}
    assert [a.result for a in big_house.attempts] == ["started", "delivered"]


@pytest.mark.parametrize(
    "point",
    [
        f"{when} {step}"
        for step in ("connect", "make_folder", "upload", "publish", "close")
        for when in ("before", "after")
    ],
)
def test_process_killed_at_any_step_ends_with_one_file_after_a_retry(
    sshd: SshServer, house: House, point: str
) -> None:
    victim = start_victim(house, sshd.connection(), kill=point)
    assert victim.wait(60) == -signal.SIGKILL
    assert set(sshd.files().values()) <= {house.content}

    receipt = house.deliver(sshd.connection())

    assert sshd.files() == {FINAL: house.content}
    assert receipt.sha256 == house.artifact.files[0].sha256
    published = point in ("after publish", "before close", "after close")
    assert receipt.already_there == published
    # The line is closed after the last file's attempt has ended.
    assert [a.result for a in house.attempts] == [
        "delivered" if point.endswith("close") else "started",
        "already-there" if published else "delivered",
    ]


def test_full_disk_at_the_destination_is_tried_again(sshd: SshServer, house: House) -> None:
    small = sshd.inbox / "small"
    small.mkdir()
    owner = sshd.inbox.stat().st_uid
    command = ["mount", "-t", "tmpfs", "-o", f"size=128k,uid={owner}", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        unavailable("mounting a small file system needs root and CAP_SYS_ADMIN")
    try:
        with pytest.raises(DeliveryError, match=r"disk of .* is full"):
            house.deliver(sshd.connection(), folder="small")
        assert sshd.files() == {}
        subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
        house.deliver(sshd.connection(), folder="small")
        assert sshd.files() == {"small/DEMO_DATTRA_DE_20260302.xml": house.content}
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_folder_that_may_be_written_but_not_listed_takes_the_file(
    sshd: SshServer, house: House
) -> None:
    folder = place_remote(sshd, "drop/x", b"").parent
    (folder / "x").unlink()
    folder.chmod(0o333)
    try:
        house.deliver(sshd.connection(), folder="drop")
    finally:
        folder.chmod(0o755)

    assert sshd.files() == {f"drop/{house.artifact.files[0].filename}": house.content}


def test_server_that_renames_over_files_is_not_let_to(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = SftpSession.upload
    with running_overwriting_sftp(tmp_path / "inbox") as connection:
        final = tmp_path / "inbox" / "in" / "mifir" / house.artifact.files[0].filename

        def late(self: SftpSession, parcel: Parcel, path: str) -> None:
            upload(self, parcel, path)
            final.write_bytes(b"somebody else's")

        monkeypatch.setattr(SftpSession, "upload", late)
        with pytest.raises(DeliveryRefusedError, match="is there already"):
            house.deliver(connection)
    assert [path.name for path in final.parent.iterdir()] == [final.name]
    assert final.read_bytes() == b"somebody else's"


def test_crowded_folder_does_not_hide_a_leftover(sshd: SshServer, big_house: House) -> None:
    folder = place_remote(sshd, "in/mifir/x", b"").parent
    for number in range(500):
        (folder / f"other-{number}").touch()
    with stalling_proxy(sshd.port, bytes_to_server=3 * MIB) as proxy, pytest.raises(DeliveryError):
        big_house.deliver(sshd.connection(port=proxy.port), timeout_seconds=1)
    assert any(name.endswith(".part") for name in sshd.files())

    big_house.deliver(sshd.connection())

    assert not any(name.endswith(".part") for name in sshd.files())


def test_leftover_of_another_file_stays(sshd: SshServer, house: House) -> None:
    place_remote(sshd, "in/mifir/.openreg-000000000000-abc.part", b"of another delivery")

    house.deliver(sshd.connection())

    assert len(sshd.files()) == 2


def test_artifact_changed_after_it_was_recorded_is_not_sent(sshd: SshServer, house: House) -> None:
    Path(house.artifact.files[0].uri).write_bytes(house.content[:-1] + b"!")

    with pytest.raises(IntegrityError):
        house.deliver(sshd.connection())

    assert sshd.files() == {}
    assert [(a.result, a.error_class) for a in house.attempts] == [("failed", "IntegrityError")]


def test_nothing_is_sent_when_the_attempt_cannot_be_recorded(
    sshd: SshServer, house: House, tmp_path: Path
) -> None:
    house.store_url = f"sqlite:///{tmp_path / 'empty.db'}"

    with pytest.raises(StoreNotReadyError):
        house.deliver(sshd.connection())
    assert sshd.files() == {}


def test_several_files_go_over_one_connection(
    sshd: SshServer, house: House, tmp_path: Path
) -> None:
    with SftpChannel().open(sshd.connection(), timeout_seconds=10) as session:
        for number in range(3):
            path = tmp_path / f"{number}.csv"
            path.write_text(f"row {number}\n")
            found = describe(path)
            parcel = Parcel(path=path, filename=path.name, bytes=found.bytes, sha256=found.sha256)
            session.deliver(parcel, "csv", "size")

    assert sorted(sshd.files()) == ["csv/0.csv", "csv/1.csv", "csv/2.csv"]


def test_no_secret_reaches_log_error_or_store(
    sshd: SshServer, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    connection = sshd.connection(extra={"key_file": None}, password=WORD)

    with pytest.raises(DeliveryRefusedError) as caught:
        house.deliver(connection)

    told = f"{caught.value} {caplog.text} {house.attempts} {connection!r}"
    assert WORD not in told


def place_remote(sshd: SshServer, name: str, content: bytes) -> Path:
    """Put a file into the inbox as the login's own."""
    path = sshd.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if os.geteuid() == 0:
        owner = sshd.inbox.stat()
        for part in (path, *path.relative_to(sshd.inbox).parents):
            os.chown(sshd.inbox / part, owner.st_uid, owner.st_gid)
    return path
