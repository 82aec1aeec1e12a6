"""Private folders for temporary files, which do not long outlive a process that was killed."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

PREFIX = "openreg-scratch-"
_AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Give a private folder that is removed after the block.

    A process that is killed leaves its folders behind, with the rows of a report or even with keys.
    Each folder is locked while its process lives. Whoever makes another one beside it removes those
    that nobody holds any more.

    Args:
        parent: where it is made, and itself made when missing; the system's folder for temporary
            files when not given.
    """
    place = Path(tempfile.gettempdir()) if parent is None else parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_abandoned(place)
    folder, lock = _locked_folder(place)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _locked_folder(place: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            lock = os.open(folder, _AS_FOLDER)
        except FileNotFoundError:
            continue
        with suppress(OSError):  # A file system without locks: nobody removes anything there.
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Until it was locked it looked abandoned, and somebody may have been as fast.
        if folder.exists():
            return folder, lock
        os.close(lock)


def _remove_abandoned(place: Path) -> None:
    with os.scandir(place) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
    for path in found:
        lock = _open(Path(path))
        if lock is None:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            log.info("removing %s, which a process that was killed has left", path)
            _remove(Path(path))
        finally:
            os.close(lock)


def _open(folder: Path) -> int | None:
    """Open a folder of our own; None when it is gone, is somebody else's or is no folder."""
    try:
        opened = os.open(folder, _AS_FOLDER)
    except OSError:
        return None
    if os.fstat(opened).st_uid == os.geteuid():
        return opened
    os.close(opened)
    return None


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("temporary files in %s could not be removed: %s", folder, error.strerror)
