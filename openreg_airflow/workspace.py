"""Where the files of a run live.

Layout: ``ROOT/report_id/business_date/run/stage[/part]/file``. A file appears under its final
name only when it is complete, so a killed task leaves nothing that could be taken for a result.
The root is a local folder or any other ``UPath`` (Airflow's ``ObjectStoragePath`` is one) on a
store that publishes a file when its upload is complete, as object stores do: remote files are
written to and read through a local scratch folder.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import secrets
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from openreg_airflow.errors import IntegrityError, OpenRegError, StorageError
from openreg_airflow.records import FileRef
from openreg_airflow.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.records import RunKey

_PARTIAL = ".partial-"
#: Hexadecimal digits between the prefix of a partial file and its final name.
_TOKEN = 16
#: After so many seconds without a byte nobody writes a partial file of a shared folder any more.
_LEFTOVER_SECONDS = 6 * 3600.0
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES})


class Workspace:
    """The files of all runs below one root.

    Args:
        root: a ``pathlib.Path``, or a ``UPath`` such as Airflow's ``ObjectStoragePath``.
        scratch: local folder for temporary files and for files on their way to or from a remote
            root; the system's folder for temporary files when not given.
    """

    def __init__(self, root: Any, *, scratch: Path | None = None) -> None:
        self.root = root
        #: The root as a local folder, or None when it is remote.
        self.local = _as_local(root)
        self._scratch = scratch

    def folder(self, run: RunKey, stage: str, part: str | None = None) -> StageFolder:
        """The folder of one stage of one run; ``part`` separates parallel tasks of a stage."""
        names = [run.report_id, run.business_date.isoformat(), run_slug(run.run_id), stage]
        if part:
            names.append(part)
        return StageFolder(self, tuple(names))

    def shared(self, *names: str) -> StageFolder:
        """A folder of files that runs and reports share; no report is called like it."""
        return StageFolder(self, (f"_{names[0]}", *names[1:]), shared=True)

    @contextmanager
    def open_local(self, ref: FileRef) -> Iterator[Path]:
        """Give a local path to a recorded file, after checking that it is still the same.

        Raises:
            IntegrityError: the file is gone, or its size or SHA-256 is not the recorded one.
            StorageError: a remote file cannot be read, or there is no room for its copy.
        """
        if self.local is not None:
            path = Path(ref.uri)
            _check(path, ref)
            yield path
            return
        with self.scratch_folder() as folder:
            path = folder / ref.uri.rsplit("/", 1)[-1]
            with _told(f"cannot copy {ref.uri} to {folder}"):
                try:
                    with self._remote(ref.uri).open("rb") as remote, path.open("wb") as local:
                        shutil.copyfileobj(remote, local, 1 << 20)
                except FileNotFoundError as error:
                    raise _gone(ref) from error
            _check(path, ref)
            yield path

    def remove(self, uri: str) -> None:
        """Remove a file that was recorded; harmless when it is gone."""
        path = Path(uri) if self.local is not None else self._remote(uri)
        path.unlink(missing_ok=True)

    def has(self, uri: str) -> bool:
        """Whether a file that was recorded is still there; its content is not looked at."""
        path = Path(uri) if self.local is not None else self._remote(uri)
        return bool(path.exists())

    def open_stream(self, ref: FileRef) -> BinaryIO:
        """Open a recorded file where it lies, to look at its beginning; it is not checked.

        Raises:
            IntegrityError: the file is gone.
        """
        path = Path(ref.uri) if self.local is not None else self._remote(ref.uri)
        try:
            opened: BinaryIO = path.open("rb")
        except FileNotFoundError as error:
            raise _gone(ref) from error
        return opened

    def stages(self, run: RunKey) -> dict[str, tuple[Any, ...]]:
        """The files of a run that lie in its folder, by stage."""
        folder = (self.local or self.root).joinpath(
            run.report_id, run.business_date.isoformat(), run_slug(run.run_id)
        )
        found: dict[str, tuple[Any, ...]] = {}
        if folder.is_dir():
            for stage in sorted(folder.iterdir(), key=str):
                if stage.is_dir():
                    files = (path for path in stage.rglob("*") if path.is_file())
                    found[stage.name] = tuple(sorted(files, key=str))
        return found

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """Give a private local folder that is removed after the block."""
        with scratch_folder(self._scratch) as folder:
            yield folder

    def _remote(self, uri: str) -> Any:
        """The path of a recorded file, with the root's connection and options."""
        inside = uri.removeprefix(f"{self.root}/")
        if inside != uri:
            return self.root.joinpath(inside)
        return type(self.root)(uri, **self.root.storage_options)


class StageFolder:
    """The folder of one stage, or one that runs share; made by :class:`Workspace`."""

    def __init__(
        self, workspace: Workspace, names: tuple[str, ...], *, shared: bool = False
    ) -> None:
        self._workspace = workspace
        self._names = names
        # In a stage's own folder nobody else writes; elsewhere another run may write just now.
        self._leftover_after = _LEFTOVER_SECONDS if shared else 0.0

    @contextmanager
    def writing(self, name: str) -> Iterator[Pending]:
        """Write a file that appears under ``name`` only if the block ends without an error.

        Gives a :class:`Pending`: write to its ``path``; after the block its ``ref`` is the record
        of the published file. Leftovers of killed attempts are removed first.

        Args:
            name: the file's name, without any folder.

        Raises:
            StorageError: the disk is full or read-only, or a remote root does not take the file;
                the message says which folder.
            ValueError: ``name`` is not the name of a file in this folder.
        """
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            message = f"{name!r} is not the name of a file"
            raise ValueError(message)
        write = self._write_remote if self._workspace.local is None else self._write_local
        try:
            with write(name) as pending:
                yield pending
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            message = f"cannot write {name} to {self._workspace.root}: {error}"
            # What writes the file may have a full disk of temporary files, and seldom says so.
            hint = (
                f"Free space there or in {tempfile.gettempdir()}, or mend permissions, then clear "
                "the task."
            )
            raise StorageError(message, hint=hint) from error

    @contextmanager
    def _write_local(self, name: str) -> Iterator[Pending]:
        assert self._workspace.local is not None  # noqa: S101 - seen by the caller
        folder = self._workspace.local.joinpath(*self._names)
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder, name, self._leftover_after)
        # A token and not the process id: workers on several machines may share the folder.
        partial = folder / f"{_PARTIAL}{secrets.token_hex(_TOKEN // 2)}-{name}"
        try:
            pending = Pending(partial)
            yield pending
            try:
                _sync(partial)
                partial.replace(folder / name)
            except FileNotFoundError as error:
                message = f"{name} was gone before it could be published in {folder}"
                hint = "Nothing wrote it, or another attempt of the same task removed it."
                raise StorageError(message, hint=hint) from error
            _sync(folder)
            pending.ref = pending.describe(folder / name)
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def _write_remote(self, name: str) -> Iterator[Pending]:
        with self._workspace.scratch_folder() as scratch:
            pending = Pending(scratch / name)
            yield pending
            ref = pending.describe(pending.path)
            target = self._workspace.root.joinpath(*self._names, name)
            with _told(f"cannot write {name} to {self._workspace.root}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                # Stores put a whole file at once: what a killed upload leaves is never seen.
                target.fs.put_file(str(pending.path), target.path)
                size = target.fs.size(target.path)
                if size != ref.bytes:
                    message = f"{target} has {size} bytes after {ref.bytes} were written"
                    raise StorageError(message, hint="Clear the task to write it again.")
                if pending.tags and hasattr(target.fs, "put_tags"):
                    target.fs.put_tags(target.path, pending.tags)
            pending.ref = ref.model_copy(update={"uri": str(target)})


class Pending:
    """A file being written: ``path`` is where to write, ``ref`` its record once published.

    Attributes:
        written: bytes and SHA-256 as they were counted while writing; the file is read for them
            when this is not set.
        tags: what an object store that knows tags keeps beside the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: tuple[int, str] | None = None
        self.tags: dict[str, str] = {}
        self._ref: FileRef | None = None

    def describe(self, path: Path) -> FileRef:
        """The record of the finished file.

        Raises:
            StorageError: it does not have the bytes that were written.
        """
        if self.written is None:
            return describe(path)
        size, digest = self.written
        if (found := path.stat().st_size) != size:
            message = f"{path} has {found} bytes after {size} were written"
            raise StorageError(message, hint="Clear the task to write it again.")
        return FileRef(uri=str(path), bytes=size, sha256=digest)

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
    readable = re.sub(r"[^A-Za-z0-9]+", "-", run_id)[:60].strip("-") or "run"
    return f"{readable}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def describe(path: Path) -> FileRef:
    """The record of a local file: its size and SHA-256 are read from the disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRef(uri=str(path), bytes=path.stat().st_size, sha256=digest)


@contextmanager
def _told(failure: str) -> Iterator[None]:
    """Tell what a remote store's client raises, which is of any kind, as ours.

    Args:
        failure: what did not work, for the message.

    Raises:
        StorageError: it failed.
    """
    try:
        yield
    except OpenRegError:
        raise
    except Exception as error:
        message = f"{failure}: {str(error) or type(error).__name__}"
        hint = "See whether the storage is up, has room and may be used, then clear the task."
        raise StorageError(message, hint=hint) from error


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


def _remove_leftovers(folder: Path, name: str, seconds: float) -> None:
    """Remove what killed attempts left; others may be writing their own now.

    Args:
        folder: where they lie.
        name: the file's name. In a stage's own folder those at this very file go; in one that runs
            share, where a name may never come again, those at any file.
        seconds: what was written to since then is somebody's work, and stays; 0 in a stage's own
            folder.
    """
    written = ".+" if seconds else re.escape(name)
    pattern = re.compile(rf"{re.escape(_PARTIAL)}[0-9a-f]{{{_TOKEN}}}-{written}")
    for path in folder.iterdir():
        if pattern.fullmatch(path.name) and (not seconds or _age(path) >= seconds):
            path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """Seconds since a file was written to; more than any when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_local(root: Any) -> Path | None:
    if isinstance(root, Path):
        return root.absolute()
    protocol = getattr(root, "protocol", "")
    return Path(root.path).absolute() if protocol in ("", "file", "local") else None
