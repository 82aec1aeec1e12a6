"""Where the files of a run live.

Layout: ``ROOT/report_id/business_date/run/stage[/part]/file``. A file appears under its final
name only when it is complete, so a killed task leaves nothing that could be taken for a result.
The root is a local folder or any other ``UPath`` (Airflow's ``ObjectStoragePath`` is one): remote
files are written to and read through a local scratch folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import IntegrityError, StorageError
from openreg_airflow.records import FileRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.records import RunKey

_PARTIAL = ".partial-"


class Workspace:
    """The files of all runs below one root.

    Args:
        root: a ``pathlib.Path``, or a ``UPath`` such as Airflow's ``ObjectStoragePath``.
        scratch: local folder for files on their way to or from a remote root; a temporary
            folder of the system when not given.
    """

    def __init__(self, root: Any, *, scratch: Path | None = None) -> None:
        self.root = root
        #: The root as a local folder, or None when it is remote.
        self.local = _as_local(root)
        self._scratch = scratch or Path(tempfile.gettempdir()) / f"openreg-{os.getuid()}"

    def folder(self, run: RunKey, stage: str, part: str | None = None) -> StageFolder:
        """The folder of one stage of one run; ``part`` separates parallel tasks of a stage."""
        names = [run.report_id, run.business_date.isoformat(), run_slug(run.run_id), stage]
        if part:
            names.append(part)
        return StageFolder(self, tuple(names))

    @contextmanager
    def open_local(self, ref: FileRef) -> Iterator[Path]:
        """Give a local path to a recorded file, after checking that it is still the same.

        Raises:
            IntegrityError: the file is gone, or its size or SHA-256 is not the recorded one.
        """
        if self.local is not None:
            path = Path(ref.uri)
            _check(path, ref)
            yield path
            return
        with self.scratch_folder() as folder:
            path = folder / ref.uri.rsplit("/", 1)[-1]
            source = type(self.root)(ref.uri)
            try:
                with source.open("rb") as remote, path.open("wb") as local:
                    shutil.copyfileobj(remote, local, 1 << 20)
            except FileNotFoundError as error:
                raise _gone(ref) from error
            _check(path, ref)
            yield path

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """Give a private local folder that is removed after the block."""
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            yield Path(folder)


class StageFolder:
    """The folder of one stage; made by :meth:`Workspace.folder`."""

    def __init__(self, workspace: Workspace, names: tuple[str, ...]) -> None:
        self._workspace = workspace
        self._names = names

    @contextmanager
    def writing(self, name: str) -> Iterator[Pending]:
        """Write a file that appears under ``name`` only if the block ends without an error.

        Gives a :class:`Pending`: write to its ``path``; after the block its ``ref`` is the record
        of the published file. Leftovers of killed attempts at the same file are removed first.

        Raises:
            StorageError: the disk is full or read-only; the message says which folder.
        """
        workspace = self._workspace
        try:
            if workspace.local is not None:
                folder = workspace.local.joinpath(*self._names)
                folder.mkdir(parents=True, exist_ok=True)
                for leftover in folder.glob(f"{_PARTIAL}*-{name}"):
                    leftover.unlink(missing_ok=True)
                partial = folder / f"{_PARTIAL}{os.getpid()}-{name}"
                try:
                    pending = Pending(partial)
                    yield pending
                    _sync(partial)
                    partial.replace(folder / name)
                    _sync(folder)
                    pending.ref = describe(folder / name)
                finally:
                    partial.unlink(missing_ok=True)
                return
            with workspace.scratch_folder() as scratch:
                pending = Pending(scratch / name)
                yield pending
                target = workspace.root.joinpath(*self._names, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with pending.path.open("rb") as local, target.open("wb") as remote:
                    shutil.copyfileobj(local, remote, 1 << 20)
                pending.ref = describe(pending.path).model_copy(update={"uri": str(target)})
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                message = (
                    f"cannot write {name} to {workspace.root}: {os.strerror(error.errno or 0)}"
                )
                raise StorageError(
                    message, hint="Free space or mend permissions, then clear the task."
                ) from error
            raise


class Pending:
    """A file being written: ``path`` is where to write, ``ref`` its record once published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ref: FileRef | None = None

    @property
    def ref(self) -> FileRef:
        """The record of the published file."""
        if self._ref is None:
            message = f"{self.path.name} is not published yet"
            raise RuntimeError(message)
        return self._ref

    @ref.setter
    def ref(self, value: FileRef) -> None:
        self._ref = value


def run_slug(run_id: str) -> str:
    """A run id as one safe path part: readable, and different for different run ids."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", run_id).strip("-")[:60]
    return f"{readable}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def describe(path: Path) -> FileRef:
    """The record of a local file: its size and SHA-256 are read from the disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRef(uri=str(path), bytes=path.stat().st_size, sha256=digest)


def _check(path: Path, ref: FileRef) -> None:
    try:
        found = describe(path)
    except FileNotFoundError as error:
        raise _gone(ref) from error
    if (found.bytes, found.sha256) != (ref.bytes, ref.sha256):
        message = (
            f"{ref.uri} has {found.bytes} bytes and SHA-256 {found.sha256}, "
            f"recorded were {ref.bytes} bytes and {ref.sha256}"
        )
        raise IntegrityError(
            message, hint="The file was changed after it was written. Clear the task that made it."
        )


def _gone(ref: FileRef) -> IntegrityError:
    return IntegrityError(
        f"{ref.uri} is gone",
        hint="It was removed after it was written. Clear the task that made it.",
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_local(root: Any) -> Path | None:
    if isinstance(root, Path):
        return root
    protocol = getattr(root, "protocol", "")
    return Path(root.path) if protocol in ("", "file", "local") else None
