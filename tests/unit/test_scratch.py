from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.scratch import PREFIX, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Makes a folder with a file in it, tells its name, and keeps it.
_HOLDER = """
import sys
from pathlib import Path
from openreg_airflow.scratch import scratch_folder

with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "rows").write_text("secret")
    print(folder, flush=True)
    sys.stdin.read()  # Until it is killed, or nobody is there any more.
"""


@contextmanager
def another_process(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    command = [sys.executable, "-c", _HOLDER, str(parent)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_folder_is_private_and_removed_after_the_block(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "new") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "rows").write_text("x")
        assert folder.parent == tmp_path / "new"
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_is_removed_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), scratch_folder(tmp_path) as folder:
        (folder / "rows").rename(folder / "missing" / "rows")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with another_process(tmp_path) as (process, left):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (left / "rows").exists()
        with caplog.at_level(logging.INFO), scratch_folder(tmp_path) as folder:
            assert list(tmp_path.iterdir()) == [folder]
    assert str(left) in caplog.text


def test_the_folder_of_a_living_process_stays(tmp_path: Path) -> None:
    with another_process(tmp_path) as (_, held), scratch_folder(tmp_path) as folder:
        with scratch_folder(tmp_path) as inner:
            assert set(tmp_path.iterdir()) == {held, folder, inner}
        assert (held / "rows").read_text() == "secret"
        assert folder.exists()


def test_nothing_but_abandoned_folders_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    place = tmp_path / "place"
    place.mkdir()
    (place / f"{PREFIX}link").symlink_to(elsewhere)
    (place / f"{PREFIX}file").write_text("x")
    (place / "other").mkdir()
    before = sorted(place.iterdir())
    with scratch_folder(place):
        pass
    assert sorted(place.iterdir()) == before
    assert (elsewhere / "kept").exists()
    assert caplog.records == []


def test_the_folder_of_another_account_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / f"{PREFIX}other"
    other.mkdir()
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with scratch_folder(tmp_path):
        assert other.exists()
    monkeypatch.undo()
    with scratch_folder(tmp_path):
        assert not other.exists()


def test_a_folder_is_made_where_the_server_gives_it_to_another_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with scratch_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_taken_for_abandoned_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    real, taken = fcntl.flock, []

    def flock(lock: int, how: int) -> None:
        if how == fcntl.LOCK_EX and not taken:
            [made] = tmp_path.iterdir()
            made.rmdir()
            taken.append(made)
        real(lock, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with scratch_folder(tmp_path) as folder:
        assert taken
        assert folder.is_dir()
