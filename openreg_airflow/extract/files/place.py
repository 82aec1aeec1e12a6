"""Where files lie: the interface that the local disk, S3 and SFTP implement."""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from openreg_airflow.errors import SourceError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from openreg_airflow.extract.file_spec import FileSpec

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 5.0
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


@dataclass(frozen=True, kw_only=True)
class FileConnection:
    """How to reach files: an Airflow connection without Airflow; None for the local disk.

    Attributes:
        id: its id, for messages.
        type: Airflow's connection type: ``aws``, ``sftp`` or ``ssh``.
        s3: makes a boto3 client with everything that the connection says.
    """

    id: str
    type: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    s3: Callable[[], Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """A file before it is read.

    Attributes:
        path: as the place spells it.
        bytes: its size.
        version: changes when the file does: time of the last change, with what else the place
            tells, such as an ETag.
        modified: the time of the last change, as text in UTC.
    """

    path: str
    bytes: int
    version: str
    modified: str


@dataclass(frozen=True, kw_only=True)
class FetchedFile:
    """A file that can be read.

    Attributes:
        found: what is known of it.
        local: where it can be read.
        sha256: of its bytes.
    """

    found: FoundFile
    local: Path
    sha256: str


class Place(Protocol):
    """An open place; its methods raise SourceError or SourceUnavailableError."""

    #: What it is, for the record.
    server: str

    def check(self) -> None:
        """Ask for as little as shows whether the connection works."""

    def names(self, folder: str) -> Iterable[str]:
        """The names of the files in a folder; none when there is no such folder."""

    def stat(self, path: str) -> FoundFile | None:
        """What is known of a file; None when there is none."""

    def fetch(self, found: FoundFile, scratch: Path, check: Callable[[], None]) -> FetchedFile:
        """Make a file readable here, in the folder ``scratch`` if it lies elsewhere.

        Args:
            found: the file.
            scratch: where a copy may be made.
            check: is called while bytes come; raises when it takes too long or is to stop.

        Raises:
            SourceUnavailableError: it is not, or no longer, the file that was found.
        """


class Opens(Protocol):
    """Opens a place for one extraction."""

    def __call__(
        self, connection: FileConnection | None, *, timeout_seconds: float
    ) -> AbstractContextManager[Place]:
        """Log in; the place is left with the block."""


def find(place: Place, spec: FileSpec, path: str) -> list[FoundFile]:
    """The files that a source reads, in the order of their names.

    Args:
        path: with the business date filled in.

    Raises:
        SourceUnavailableError: they are not there, and may still come.
        SourceError: they are not there, and the spec says that they must be.
    """
    if not spec.several:
        found = place.stat(path)
        if found is None:
            raise _missing(spec, f"the file {path} is not there ({place.server})")
        return [found]
    folder, slash, pattern = path.rpartition("/")
    names = sorted(
        name for name in place.names(folder + slash) if fnmatch.fnmatchcase(name, pattern)
    )
    files = [found for name in names if (found := place.stat(folder + slash + name)) is not None]
    if len(files) < spec.at_least:
        message = (
            f"{len(files)} files match {path}, expected are at least {spec.at_least} "
            f"({place.server})"
        )
        raise _missing(spec, message)
    return files


def changed(found: FoundFile, now: FoundFile | None) -> SourceUnavailableError:
    """The error for a file that changed while it was read."""
    size = "gone" if now is None else f"now {now.bytes} bytes, changed {now.modified}"
    return SourceUnavailableError(
        f"{found.path} changed while it was read: it had {found.bytes} bytes, changed "
        f"{found.modified}, and is {size}",
        where=found.path,
        hint="Whoever writes it should write under another name and rename; it is tried again.",
    )


@contextmanager
def copying(found: FoundFile, target: Path) -> Iterator[None]:
    """Tell what goes wrong with the copy on this side as such, not as the other side's fault.

    Args:
        found: the file.
        target: its copy.

    Raises:
        SourceUnavailableError: there is no room for the copy.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        message = f"{found.path} cannot be copied to {target.parent}: {error.strerror}"
        hint = "Free space for the worker's temporary files, or name another disk in TMPDIR."
        raise SourceUnavailableError(message, where=found.path, hint=hint) from error


def receive(
    found: FoundFile, blocks: Iterable[bytes], target: Path, check: Callable[[], None]
) -> FetchedFile:
    """Write a file that comes over the network; its size must be the one that was told.

    Args:
        found: the file.
        blocks: its bytes as they come.
        target: where they are written.
        check: see :meth:`Place.fetch`.

    Raises:
        SourceUnavailableError: more or fewer bytes came.
    """
    digest = hashlib.sha256()
    done = 0
    told = time.monotonic()
    with copying(found, target), target.open("xb") as file:
        for block in blocks:
            check()
            done += len(block)
            if done > found.bytes:
                break
            digest.update(block)
            file.write(block)
            if time.monotonic() - told >= _PROGRESS_SECONDS:
                told = time.monotonic()
                log.info("%s: %d of %d MiB fetched", found.path, done >> 20, found.bytes >> 20)
    if done != found.bytes:
        message = f"{found.path} has {found.bytes} bytes, but {done} came"
        raise SourceUnavailableError(message, where=found.path, hint="It is fetched again.")
    return FetchedFile(found=found, local=target, sha256=digest.hexdigest())


def _missing(spec: FileSpec, message: str) -> SourceError | SourceUnavailableError:
    if spec.if_missing == "fail":
        return SourceError(message, hint="Correct `path:`, or ask whoever sends it.")
    hint = "It may still come, so the task is tried again. Correct `path:` if it never will."
    return SourceUnavailableError(message, hint=hint)
