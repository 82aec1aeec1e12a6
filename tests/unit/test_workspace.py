from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from upath import UPath

from openreg_airflow.errors import IntegrityError, StorageError
from openreg_airflow.records import FileRef, RunKey
from openreg_airflow.workspace import StageFolder, Workspace, describe, run_slug

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = RunKey(report_id="positions", business_date=date(2026, 3, 31), run_id="manual__1")

names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))


@pytest.fixture(params=["local", "local_upath", "remote"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    if request.param == "local":
        return Workspace(tmp_path / "root")
    if request.param == "local_upath":
        return Workspace(UPath(f"file://{tmp_path}/root"))
    return Workspace(UPath(f"memory://{uuid4()}/root"), scratch=tmp_path / "scratch")


@pytest.fixture
def local(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "root")


def write(workspace: Workspace, content: bytes, name: str = "table.parquet") -> FileRef:
    with workspace.folder(RUN, "extract", "trades").writing(name) as pending:
        pending.path.write_bytes(content)
    return pending.ref


def write_half(workspace: Workspace) -> None:
    with workspace.folder(RUN, "extract", "trades").writing("table.parquet") as pending:
        pending.path.write_bytes(b"half")
        raise ZeroDivisionError


def read(workspace: Workspace, ref: FileRef) -> bytes:
    with workspace.open_local(ref) as path:
        return path.read_bytes()


def files(workspace: Workspace) -> list[str]:
    root = workspace.root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_file_lies_where_its_run_and_stage_say(workspace: Workspace) -> None:
    ref = write(workspace, b"rows")
    assert files(workspace) == [
        f"positions/2026-03-31/{run_slug('manual__1')}/extract/trades/table.parquet"
    ]
    assert ref.uri.endswith(files(workspace)[0])


def test_a_written_file_is_recorded_and_read_again(workspace: Workspace) -> None:
    ref = write(workspace, b"rows")
    assert (ref.bytes, ref.sha256) == (4, hashlib.sha256(b"rows").hexdigest())
    assert read(workspace, FileRef.model_validate(ref.model_dump(mode="json"))) == b"rows"


def test_an_empty_file_is_a_file(workspace: Workspace) -> None:
    assert read(workspace, write(workspace, b"")) == b""


def test_a_large_file_passes_in_pieces(workspace: Workspace) -> None:
    content = os.urandom(5 << 20)
    assert read(workspace, write(workspace, content)) == content


def test_a_file_has_no_record_before_it_is_published(workspace: Workspace) -> None:
    with workspace.folder(RUN, "extract").writing("table.parquet") as pending:
        pending.path.write_bytes(b"rows")
        with pytest.raises(RuntimeError, match="not published"):
            _ = pending.ref
        assert not [name for name in files(workspace) if name.endswith("/table.parquet")]


def test_a_block_that_fails_publishes_nothing(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError):
        write_half(workspace)
    assert files(workspace) == []


def test_a_block_that_fails_leaves_the_file_of_the_attempt_before(workspace: Workspace) -> None:
    ref = write(workspace, b"first")
    with pytest.raises(ZeroDivisionError):
        write_half(workspace)
    assert read(workspace, ref) == b"first"


def test_a_block_that_writes_nothing_is_an_error(local: Workspace) -> None:
    with (
        pytest.raises(StorageError, match=r"table\.parquet was gone before"),
        local.folder(RUN, "extract").writing("table.parquet"),
    ):
        pass
    assert files(local) == []


def test_a_repeated_write_replaces_the_file(workspace: Workspace) -> None:
    first, second = write(workspace, b"first"), write(workspace, b"second")
    assert first.uri == second.uri
    assert read(workspace, second) == b"second"
    with pytest.raises(IntegrityError):
        read(workspace, first)


def test_the_same_bytes_give_the_same_record(workspace: Workspace) -> None:
    assert write(workspace, b"rows") == write(workspace, b"rows")


def test_a_file_that_is_gone_is_an_integrity_error(workspace: Workspace) -> None:
    ref = write(workspace, b"rows")
    (workspace.root / files(workspace)[0]).unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        read(workspace, ref)


def test_a_changed_file_is_an_integrity_error(workspace: Workspace) -> None:
    ref = write(workspace, b"rows")
    (workspace.root / files(workspace)[0]).write_bytes(b"Rows")
    with pytest.raises(IntegrityError, match=r"has 4 bytes and SHA-256 [0-9a-f]{64}, recorded"):
        read(workspace, ref)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "../a", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(workspace: Workspace, name: str) -> None:
    with (
        pytest.raises(ValueError, match="not the name of a file"),
        workspace.folder(RUN, "extract").writing(name),
    ):
        pass


def test_scratch_folders_are_private_and_removed(workspace: Workspace) -> None:
    with workspace.scratch_folder() as one, workspace.scratch_folder() as other:
        assert one != other
        assert one.stat().st_mode & 0o777 == 0o700
        (one / "file").write_bytes(b"x")
    assert not one.exists()
    assert not other.exists()


def test_nothing_of_a_remote_file_stays_on_the_local_disk(tmp_path: Path) -> None:
    workspace = Workspace(UPath(f"memory://{uuid4()}"), scratch=tmp_path / "scratch")
    ref = write(workspace, b"rows")
    with workspace.open_local(ref) as path:
        assert path.is_relative_to(tmp_path / "scratch")
        assert path.name == "table.parquet"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_remote_file_is_read_with_the_options_of_the_root() -> None:
    root = UPath(f"memory://{uuid4()}", skip_instance_cache=True)
    workspace = Workspace(root)
    outside = FileRef(uri=f"memory://{uuid4()}/gone", bytes=1, sha256="0" * 64)
    for uri in (write(workspace, b"rows").uri, outside.uri):
        assert workspace._remote(uri).storage_options == {"skip_instance_cache": True}
    with pytest.raises(IntegrityError, match="is gone"):
        read(workspace, outside)


def test_a_relative_root_survives_a_change_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(Path("root"))
    ref = write(workspace, b"rows")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read(workspace, ref) == b"rows"


# Killed writers


WRITER = """
import sys
from datetime import date
from pathlib import Path
from openreg_airflow.records import RunKey
from openreg_airflow.workspace import Workspace
run = RunKey(report_id="positions", business_date=date(2026, 3, 31), run_id="manual__1")
folder = Workspace(Path(sys.argv[1])).folder(run, "extract", "trades")
mode = sys.argv[2]
version = 0
while True:
    version += 1
    with folder.writing("table.parquet") as pending:
        with pending.path.open("wb") as file:
            for _ in range(64):
                file.write(str(version % 10).encode() * 4096)
                file.flush()
                if mode == "hang":
                    print("half", flush=True)
                    sys.stdin.read()
    print(version, flush=True)
"""


def started_writer(workspace: Workspace, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(workspace.root), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(writer: subprocess.Popen[str]) -> None:
    writer.kill()
    writer.communicate()


def test_a_killed_writer_leaves_nothing_under_the_final_name(local: Workspace) -> None:
    writer = started_writer(local, "hang")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    kill(writer)
    [leftover] = files(local)
    assert re.search(r"/\.partial-[0-9a-f]+-table\.parquet$", leftover)
    ref = write(local, b"rows")
    assert [Path(name).name for name in files(local)] == ["table.parquet"]
    assert read(local, ref) == b"rows"


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(local: Workspace) -> None:
    for published in range(1, 30, 3):
        writer = started_writer(local, "loop")
        assert writer.stdout is not None
        for _ in range(published):
            assert writer.stdout.readline().strip().isdigit()
        kill(writer)
        [final] = [name for name in files(local) if Path(name).name == "table.parquet"]
        content = (local.root / final).read_bytes()
        assert len(content) == 64 * 4096
        assert len(set(content)) == 1


def test_leftovers_of_other_files_are_left_alone(local: Workspace) -> None:
    folder = local.folder(RUN, "extract", "trades")
    others = ["a-table.parquet", "table.parquet.sha256", "[t]able.parquet", "table_parquet"]
    with folder.writing(others[0]) as pending:
        pending.path.write_bytes(b"other")
        for number, name in enumerate(others[1:]):
            (pending.path.parent / f".partial-{number:016x}-{name}").write_bytes(b"other")
        (pending.path.parent / f".partial-{9:016x}-table.parquet").write_bytes(b"leftover")
        write(local, b"rows")
    found = {Path(name).name for name in files(local)}
    assert found == {
        "a-table.parquet",
        "table.parquet",
        *(f".partial-{number:016x}-{name}" for number, name in enumerate(others[1:])),
    }


def test_an_attempt_that_was_overtaken_does_not_publish(local: Workspace) -> None:
    old = local.folder(RUN, "extract", "trades").writing("table.parquet")
    pending = old.__enter__()
    pending.path.write_bytes(b"the old attempt")
    ref = write(local, b"the new attempt")
    with pytest.raises(StorageError, match="another attempt"):
        old.__exit__(None, None, None)
    assert read(local, ref) == b"the new attempt"


# Disks that refuse


def test_an_upload_that_is_cut_short_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(UPath(f"memory://{uuid4()}"))
    store = type(workspace.root.fs)

    def cut(self: object, source: str, target: str) -> None:
        with workspace.root.fs.open(target, "wb") as file:
            file.write(Path(source).read_bytes()[:-1])

    monkeypatch.setattr(store, "put_file", cut)
    with pytest.raises(StorageError, match="has 3 bytes after 4 were written"):
        write(workspace, b"rows")


@pytest.mark.parametrize(
    "said", [OSError(errno.EBUSY, "reduce your request rate"), RuntimeError("no answer")]
)
def test_a_store_that_fails_is_told_with_the_place_and_worth_another_try(
    monkeypatch: pytest.MonkeyPatch, said: Exception
) -> None:
    # What a client of a remote store raises may be of any kind.
    root = f"memory://{uuid4()}"
    workspace = Workspace(UPath(root))
    ref = write(workspace, b"rows")

    def fail(*_: object, **__: object) -> None:
        raise said

    with monkeypatch.context() as broken:
        broken.setattr(type(workspace.root.fs), "put_file", fail)
        with pytest.raises(
            StorageError, match=f"cannot write table.parquet to {root}.*{said.args[-1]}"
        ):
            write(workspace, b"new")
    assert read(workspace, ref) == b"rows"
    monkeypatch.setattr(type(workspace.root.fs), "_open", fail)
    with pytest.raises(StorageError, match=f"cannot copy {ref.uri} to .*{said.args[-1]}"):
        read(workspace, ref)


def test_other_errors_of_the_block_stay_what_they_are(workspace: Workspace) -> None:
    with (
        pytest.raises(ConnectionResetError),
        workspace.folder(RUN, "extract").writing("table.parquet"),
    ):
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")


def test_a_root_that_is_a_file_is_an_error_that_names_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "root").write_bytes(b"a file, not a folder")
    with pytest.raises(OSError, match="root"):
        write(Workspace(tmp_path / "root"), b"rows")


# Properties


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[StageFolder]:
    with tempfile.TemporaryDirectory() as folder:
        yield Workspace(Path(folder)).folder(RUN, "extract")


@settings(deadline=None, max_examples=50)
@given(name=names, content=st.binary())
def test_any_name_and_content_is_published_as_it_is(
    shared_folder: StageFolder, name: str, content: bytes
) -> None:
    assume(len(name.encode()) < 200)
    with shared_folder.writing(name) as pending:
        pending.path.write_bytes(content)
    assert Path(pending.ref.uri).name == name
    assert Path(pending.ref.uri).read_bytes() == content
    assert pending.ref == describe(Path(pending.ref.uri))
    Path(pending.ref.uri).unlink()
    assert list(Path(pending.ref.uri).parent.iterdir()) == []


@settings(deadline=None, max_examples=50)
@given(content=st.binary(), changed=st.binary())
def test_any_change_of_a_file_is_noticed(content: bytes, changed: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        ref = write(workspace, content)
        Path(ref.uri).write_bytes(changed)
        if changed == content:
            assert read(workspace, ref) == content
        else:
            with pytest.raises(IntegrityError):
                read(workspace, ref)


@given(st.text())
def test_a_run_slug_is_one_safe_path_part(run_id: str) -> None:
    slug = run_slug(run_id)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{1,68}", slug)
    assert slug == run_slug(run_id)


@given(st.text(), st.text())
def test_different_run_ids_have_different_slugs(one: str, other: str) -> None:
    assume(one != other)
    assert run_slug(one) != run_slug(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("manual__2026-03-31T00:00:00+00:00", "manual__2026-03-31T00:00:00-00:00"),
        ("a/b", "a-b"),
        ("a", "a "),
        ("x" * 100 + "1", "x" * 100 + "2"),
        ("", "run"),
    ],
)
def test_run_ids_that_read_alike_have_different_slugs(one: str, other: str) -> None:
    assert run_slug(one) != run_slug(other)


def test_runs_that_write_one_shared_file_at_once_both_succeed(tmp_path: Path) -> None:
    folder = Workspace(tmp_path).shared("mappings", "venues")
    with folder.writing("a.parquet") as first:
        first.path.write_bytes(b"same")
        with folder.writing("a.parquet") as second:
            second.path.write_bytes(b"same")

    assert first.ref == second.ref
    assert Path(first.ref.uri).read_bytes() == b"same"


def test_leftovers_of_a_shared_folder_go_when_nobody_can_be_writing_them(tmp_path: Path) -> None:
    folder = Workspace(tmp_path).shared("mappings", "venues")
    with folder.writing("a.parquet") as pending:
        # What is never written under the same name again, such as a result of a query.
        left = [pending.path.with_name(f".partial-{'0' * 16}-{n}.parquet") for n in "ab"]
        pending.path.write_bytes(b"x")
    for file in left:
        file.write_bytes(b"old")
        os.utime(file, (0, 0))
    alive = left[0].with_name(f".partial-{'1' * 16}-c.parquet")
    alive.write_bytes(b"new")

    with folder.writing("a.parquet") as pending:
        pending.path.write_bytes(b"x")

    assert [file.exists() for file in (*left, alive)] == [False, False, True]
