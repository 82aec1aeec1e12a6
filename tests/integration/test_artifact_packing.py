from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from openreg_airflow.artifacts.operator import pgp_key
from openreg_airflow.artifacts.produce import produce
from openreg_airflow.artifacts.publishing.pgp import PgpKey
from openreg_airflow.errors import ArtifactError
from openreg_airflow.store_records import Allocation
from openreg_airflow.workspace import Workspace
from tests.artifact_files import RUN, dataset, spec_of
from tests.services import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.records import Artifact

#: Nowhere to be read but by GnuPG.
PHRASE = "correct-horse-hunter2"
SPEC: dict[str, Any] = {"format": "csv", "filename": "out.csv"}
PLAIN = b"a\n" + b"".join(b"%d\n" % n for n in range(5000))


class KeyRing:
    """A GnuPG of an authority and of a sender, each with a key."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        command = ["gpg", "--batch", "--no-tty", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(
            command,
            input=data,
            capture_output=True,
            check=True,
            env={**os.environ, "GNUPGHOME": str(self.home)},
        ).stdout

    def make(self, name: str, phrase: str, expires: str = "never") -> None:
        self.gpg(
            "--passphrase", phrase, "--quick-gen-key", name, "future-default", "default", expires
        )

    def public(self, name: str) -> str:
        return self.gpg("--armor", "--export", name).decode()

    def private(self, name: str, phrase: str) -> str:
        options = ("--armor", "--passphrase", phrase, "--export-secret-keys", name)
        return self.gpg(*options).decode()


@pytest.fixture(scope="module")
def ring() -> Iterator[KeyRing]:
    if shutil.which("gpg") is None:
        unavailable("GnuPG is not installed: tools/debian-packages tests")
    # The name of the agent's socket has a short limit.
    home = Path(tempfile.mkdtemp(prefix="openreg-test-gpg-"))
    made = KeyRing(home)
    made.make("authority@example.org", "")
    made.make("sender@example.org", PHRASE)
    yield made
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def keys(ring: KeyRing) -> Any:
    found = {
        "authority": PgpKey(connection="authority", key=ring.public("authority@example.org")),
        "sender": PgpKey(
            connection="sender",
            key=ring.private("sender@example.org", PHRASE),
            pass_phrase=PHRASE,
        ),
    }
    return found.__getitem__


def made(folder: Path, package: dict[str, Any], **changes: Any) -> Artifact:
    folder.mkdir(exist_ok=True)
    table = pa.table({"a": list(range(5000))})
    fields: dict[str, Any] = {
        "name": "out",
        "spec": spec_of(**SPEC, package=package),
        "folder": folder,
        "run": RUN,
        "tables": {"rows": dataset(table, folder / "in" / "rows.parquet")},
        "workspace": Workspace(folder / "workspace"),
    }
    return produce(**(fields | changes))


def data(artifact: Artifact) -> dict[str, bytes]:
    return {file.filename: Path(file.uri).read_bytes() for file in artifact.files}


def test_gzip_holds_the_file_and_no_time(tmp_path: Path) -> None:
    artifact = made(tmp_path, {"compress": "gzip"})
    [(name, packed)] = data(artifact).items()
    assert name == "out.csv.gz"
    assert gzip.decompress(packed) == PLAIN
    assert packed[3] == 0  # no name
    assert packed[4:8] == bytes(4)  # no time
    [file] = artifact.files
    assert file.sha256 == hashlib.sha256(packed).hexdigest()
    assert file.document_sha256 == hashlib.sha256(PLAIN).hexdigest()


def test_zip_is_read_by_unzip_and_names_the_file_inside(tmp_path: Path) -> None:
    artifact = made(tmp_path, {"compress": "zip"})
    [(name, packed)] = data(artifact).items()
    assert name == "out.zip"
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        [entry] = archive.infolist()
        assert archive.testzip() is None
        assert archive.read("out.csv") == PLAIN
    assert entry.date_time == (1980, 1, 1, 0, 0, 0)
    assert len(packed) < len(PLAIN)


@pytest.mark.parametrize("compress", ["gzip", "zip"])
def test_packing_again_gives_the_same_bytes_with_any_number_of_threads(
    tmp_path: Path, compress: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(
        format="csv",
        filename="out_{part}.csv",
        split={"records": 700},
        package={"compress": compress, "checksums": ["sha256", "md5"]},
    )
    one = made(tmp_path / "one", {}, spec=spec)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    many = made(tmp_path / "many", {}, spec=spec, threads=4)
    assert data(one) == data(many)
    assert len(one.files) == 8 * 3
    assert [f.part for f in many.files] == [part for part in range(1, 9) for _ in range(3)]


def test_checksum_files_are_what_sha256sum_and_md5sum_read(tmp_path: Path) -> None:
    artifact = made(tmp_path, {"compress": "gzip", "checksums": ["sha256", "md5"]})
    assert [(file.filename, file.role) for file in artifact.files] == [
        ("out.csv.gz", "report"),
        ("out.csv.gz.sha256", "checksum"),
        ("out.csv.gz.md5", "checksum"),
    ]
    folder = Path(artifact.files[0].uri).parent
    for program, kind in (("sha256sum", "sha256"), ("md5sum", "md5")):
        done = subprocess.run(
            [program, "--strict", "-c", f"out.csv.gz.{kind}"],
            cwd=folder,
            capture_output=True,
            check=True,
        )
        assert done.stdout == b"out.csv.gz: OK\n"
    packed = data(artifact)["out.csv.gz"]
    assert artifact.files[0].md5 == hashlib.md5(packed, usedforsecurity=False).hexdigest()


def test_name_of_the_package_follows_the_spec(tmp_path: Path) -> None:
    artifact = made(tmp_path, {"compress": "zip", "filename": "{stem}_1.ZIP"})
    assert [file.filename for file in artifact.files] == ["out_1.ZIP"]
    with pytest.raises(ValidationError, match="unknown here"):
        spec_of(**SPEC, package={"filename": "{part}.zip"})
    with pytest.raises(ValidationError, match="names one twice"):
        spec_of(**SPEC, package={"checksums": ["md5", "md5"]})


@pytest.mark.parametrize("armor", [True, False])
def test_authority_decrypts_and_verifies_what_it_gets(
    tmp_path: Path, ring: KeyRing, keys: Any, armor: bool
) -> None:
    package = {
        "compress": "gzip",
        "encrypt": {"connection": "authority", "armor": armor},
        "sign": {"connection": "sender", "armor": armor},
        "checksums": ["sha256"],
    }
    artifact = made(tmp_path, package, keys=keys)
    [report, signature, checksum] = artifact.files
    ending = "asc" if armor else "pgp"
    assert report.filename == f"out.csv.gz.{ending}"
    assert signature.filename == f"{report.filename}.{'asc' if armor else 'sig'}"
    assert (signature.role, checksum.role) == ("signature", "checksum")
    assert gzip.decompress(ring.gpg("--decrypt", report.uri)) == PLAIN
    ring.gpg("--verify", signature.uri, report.uri)
    with pytest.raises(subprocess.CalledProcessError):
        ring.gpg("--verify", signature.uri, checksum.uri)
    assert report.sha256 == hashlib.sha256(Path(report.uri).read_bytes()).hexdigest()


def test_same_content_keeps_its_encrypted_file(tmp_path: Path, keys: Any) -> None:
    package = {"encrypt": {"connection": "authority"}}
    first = made(tmp_path, package, keys=keys)
    given = Allocation(finished=first)
    other = RUN.model_copy(update={"run_id": "another"})
    second = made(tmp_path, package, keys=keys, run=other, allocate=lambda *_: given)
    assert data(second) == data(first)
    assert second.files[0].uri != first.files[0].uri
    # Where the earlier file is gone there is nothing to keep.
    Path(first.files[0].uri).unlink()
    third = made(tmp_path, package, keys=keys, allocate=lambda *_: given)
    assert data(third) != data(second)


def test_same_content_is_packed_anew_when_a_key_was_replaced(
    tmp_path: Path, ring: KeyRing, keys: Any
) -> None:
    package = {"encrypt": {"connection": "authority"}, "sign": {"connection": "sender"}}
    first = made(tmp_path, package, keys=keys)
    assert sorted(first.metadata["keys"]) == ["authority", "sender"]
    assert all(len(text) == 40 for each in first.metadata["keys"].values() for text in each)
    given = Allocation(finished=first, version=first.version)
    ring.make("renewed@example.org", "")
    renewed = PgpKey(connection="authority", key=ring.public("renewed@example.org"))

    second = made(
        tmp_path,
        package,
        keys=lambda name: renewed if name == "authority" else keys(name),
        allocate=lambda *_: given,
    )

    assert (second.content, second.version) == (first.content, first.version)
    [report, _] = second.files
    receivers = ring.gpg("--list-packets", report.uri).decode()
    assert receivers.count("pubkey enc packet") == 1
    keyid = ring.gpg("--with-colons", "--list-keys", "renewed@example.org").decode()
    [sub] = [line.split(":")[4] for line in keyid.splitlines() if line.startswith("sub")]
    assert sub in receivers
    assert ring.gpg("--decrypt", report.uri) == PLAIN


def test_wrong_pass_phrase_is_told_without_a_word_of_it(
    tmp_path: Path, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    key = PgpKey(
        connection="sender",
        key=ring.private("sender@example.org", PHRASE),
        pass_phrase="wrong-" + PHRASE,
    )
    package = {"sign": {"connection": "sender"}}
    with pytest.raises(
        ArtifactError, match=r"GnuPG refuses out\.csv: signing failed: Bad passphrase"
    ) as caught:
        made(tmp_path, package, keys=lambda _: key)
    assert "sender" in str(caught.value.hint)
    told = f"{caught.value} {caplog.text} {key!r}"
    assert PHRASE not in told
    assert "PRIVATE KEY" not in told
    assert not [path for path in (tmp_path / "workspace").rglob("*") if path.is_file()]


def test_pass_phrase_is_on_no_command_line_and_the_ring_is_gone(
    tmp_path: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def listen(event: str, arguments: Any) -> None:
        if event == "subprocess.Popen" and listening:
            seen.append(f"{arguments[1]} {arguments[3]}")

    listening = [True]
    sys.addaudithook(listen)
    short = Path(tempfile.mkdtemp(prefix="t-"))
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    package = {"sign": {"connection": "sender"}, "encrypt": {"connection": "authority"}}
    made(tmp_path, package, keys=keys)
    listening.clear()
    assert any("--detach-sign" in line for line in seen)
    assert not any(PHRASE in line for line in seen)
    assert list(short.iterdir()) == []
    short.rmdir()
    agents = [
        path.read_bytes()
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and str(short).encode() in path.read_bytes()
    ]
    assert agents == []


def test_keys_come_from_airflow_connections(
    ring: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define = {
        "OUR_PGP": {
            "conn_type": "generic",
            "password": PHRASE,
            "extra": {"private_key": ring.private("sender@example.org", PHRASE)},
        },
        "THEIR_PGP": {
            "conn_type": "generic",
            "extra": {"public_key": ring.public("authority@example.org")},
        },
        "EMPTY_PGP": {"conn_type": "generic", "extra": {}},
    }
    for name, fields in define.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(fields))
    package = {"encrypt": {"connection": "their_pgp"}, "sign": {"connection": "our_pgp"}}
    artifact = made(tmp_path, package, keys=pgp_key)
    [report, signature] = artifact.files
    assert ring.gpg("--decrypt", report.uri) == PLAIN
    ring.gpg("--verify", signature.uri, report.uri)
    for name, said in (("nowhere", "no Airflow connection nowhere"), ("empty_pgp", "neither")):
        with pytest.raises(ArtifactError, match=said):
            made(tmp_path, {"sign": {"connection": name}}, keys=pgp_key)


def test_expired_or_missing_key_is_refused(tmp_path: Path, ring: KeyRing) -> None:
    package = {"encrypt": {"connection": "authority"}}
    ring.gpg(
        "--faked-system-time", "20200101T000000", "--passphrase", "",
        "--quick-gen-key", "old@example.org", "future-default", "default", "2d",
    )  # fmt: skip
    old = PgpKey(connection="authority", key=ring.public("old@example.org"))
    with pytest.raises(ArtifactError, match=r"key \w{16} of connection authority has expired"):
        made(tmp_path, package, keys=lambda _: old)
    none = PgpKey(connection="authority", key="no key")
    with pytest.raises(ArtifactError, match="GnuPG refuses the key of connection authority"):
        made(tmp_path, package, keys=lambda _: none)
    public = PgpKey(connection="sender", key=ring.public("sender@example.org"))
    with pytest.raises(ArtifactError, match="connection sender holds no private key"):
        made(tmp_path, {"sign": {"connection": "sender"}}, keys=lambda _: public)
