"""A folder of this machine: a mounted share, or the outbox of a transfer agent.

The Airflow connection is of type ``fs``; its extra field ``path`` is the folder below which all
deliveries stay. It must be there: a share that is not mounted would otherwise be filled on the
worker's own disk.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from openreg_airflow.deliver.channel import NameTakenError, Outcome
from openreg_airflow.deliver.placing import look, place
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.deliver.channel import Parcel, Verify
    from openreg_airflow.deliver.connection import Connection

_BLOCK = 4 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NAMES = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
#: What a file system without hard links answers.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
#: What Linux answers where a file system or a sandbox has no rename that refuses to overwrite.
_NO_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


class FolderChannel:
    """Delivery into a folder."""

    connection_types: ClassVar[tuple[str, ...]] = ("fs",)

    def destination(self, connection: Connection, folder: str, filename: str) -> str:
        """The place as a URL."""
        parts = [part for part in folder.split("/") if part not in ("", ".")]
        return Path(str(connection.extra.get("path") or "/?"), *parts, filename).as_uri()

    @contextmanager
    def open(self, connection: Connection, *, timeout_seconds: float) -> Iterator[FolderSession]:  # noqa: ARG002
        """See that the folder is there; see :class:`openreg_airflow.deliver.channel.Channel`."""
        path = str(connection.extra.get("path") or "")
        if not path.startswith("/"):
            raise connection.refused(
                fault="names no folder", hint="Put its absolute path into the extra field path."
            )
        root = Path(path)
        if not root.is_dir():
            message = f"the folder {root} of connection {connection.id} is not there"
            raise DeliveryError(message, hint="It is tried again. Is the share mounted?")
        yield FolderSession(root.resolve())


class FolderSession:
    """The files below one folder.

    Args:
        root: nothing is read or written outside it, whatever links lie in it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
        """Bring one parcel to a folder."""
        return place(self, parcel, folder, verify)

    def look(self, parcel: Parcel, folder: str) -> str:
        """Say what delivering it would find and do."""
        return look(self, parcel, folder)

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it, where they are missing."""
        with self._doing(f"making folder {folder}"):
            path = self._at(folder)
            try:
                path.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                message = f"{path} is not a folder"
                raise DeliveryRefusedError(
                    message, hint="Correct the folder in the spec."
                ) from error

    def names(self, folder: str) -> list[str] | None:
        """The names in a folder; None when listing it is not allowed."""
        with self._doing(f"listing folder {folder}"):
            try:
                return os.listdir(self._at(folder))  # noqa: PTH208 - names are wanted
            except (FileNotFoundError, NotADirectoryError):
                return []
            except PermissionError:
                return None

    def size(self, path: str) -> int | None:
        """The size of a file; None when there is none."""
        with self._doing(f"looking for {path}"):
            try:
                return self._at(path).stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    def changed(self, path: str) -> str:
        """When a file was last changed, in nanoseconds; empty when there is none."""
        with self._doing(f"looking for {path}"):
            try:
                return str(self._at(path).stat().st_mtime_ns)
            except (FileNotFoundError, NotADirectoryError):
                return ""

    def sha256(self, path: str) -> str | None:
        """Read a file and hash it; None when reading is not allowed."""
        with self._doing(f"reading {path}"):
            try:
                with self._at(path).open("rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
            except PermissionError:
                return None

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file to a new one."""
        with self._doing(f"reading {path}"):
            shutil.copyfile(self._at(path), target)

    def upload(self, parcel: Parcel, path: str) -> None:
        """Write a new file and flush it to the disk."""
        progress = parcel.progress("copied")
        with (
            self._doing(f"writing {path}"),
            parcel.path.open("rb") as source,
            self._at(path).open("xb") as target,
        ):
            while block := source.read(parcel.block(_BLOCK)):
                target.write(block)
                progress.reached(target.tell())
            target.flush()
            os.fsync(target.fileno())

    def publish(self, temporary: str, final: str) -> None:
        """Give the file its name, which must be free, in one step where the file system can.

        Elsewhere it has both names for a moment.
        """
        with self._doing(f"renaming {temporary} to {final}"):
            source, target = self._at(temporary), self._at(final)
            try:
                if not _renamed(source, target):
                    _link(source, target)
            except FileExistsError as error:
                raise _taken(target) from error
            self._flush(target.parent)

    def remove(self, path: str) -> bool:
        """Remove a file; False when it was gone already."""
        with self._doing(f"removing {path}"):
            try:
                self._at(path).unlink()
            except FileNotFoundError:
                return False
        return True

    def _at(self, path: str) -> Path:
        found = self._root / path.lstrip("/")
        if found != self._root and not found.parent.resolve().is_relative_to(self._root):
            message = f"{path} leads out of {self._root} by a link"
            raise DeliveryRefusedError(message, hint="Ask who manages that folder.")
        return found

    def _flush(self, folder: Path) -> None:
        """See that the name survives a power cut, where the file system can."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _doing(self, step: str) -> Iterator[None]:
        """Give the errors of one step their place and their class."""
        try:
            yield
        except OSError as error:
            text = f"{error.strerror or error} while {step} below {self._root}"
            if error.errno in _FULL:
                message = f"the disk is full: {text}"
                raise DeliveryError(message, hint="Make room; it is tried again.") from error
            if error.errno in _DENIED:
                hint = "The worker's account may not write there."
                raise DeliveryRefusedError(text, hint=hint) from error
            if error.errno in _NAMES:
                raise DeliveryRefusedError(text, hint="Check folder and filename.") from error
            raise DeliveryError(text, hint="It is tried again. Is the share mounted?") from error


def _renamed(source: Path, target: Path) -> bool:
    """Rename a file to a name that is free, in one step.

    A task that is killed between making a second name and removing the first leaves a temporary
    file that looks as if it was never published, once the receiver has taken the other.

    Returns:
        Whether it was done; the system may have no such call.

    Raises:
        FileExistsError: the name is taken.
        OSError: it is not possible.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = [ctypes.c_char_p(os.fsencode(path)) for path in (source, target)]
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_NOREPLACE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_RENAME:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))


def _link(source: Path, target: Path) -> None:
    """Give a file another name that is free, and remove the one that it has.

    Raises:
        FileExistsError: the name is taken.
        OSError: it is not possible.
    """
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        source.rename(target)
    else:
        source.unlink()


def _taken(path: Path) -> NameTakenError:
    return NameTakenError(
        f"{path} appeared while this artifact was being written",
        hint="It was not overwritten. Find out what else delivers under this name.",
    )
