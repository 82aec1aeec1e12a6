"""Files on the worker's own disk, below folders that the admin allows."""

from __future__ import annotations

import hashlib
import stat
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract.files.place import FetchedFile, FoundFile, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class LocalFiles:
    """The local disk; see :class:`openreg_airflow.extract.files.place.Place`.

    Args:
        folders: the folders that may be read; a relative path is looked for below each.
    """

    server = "local disk"

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [folder.resolve() for folder in folders]

    def check(self) -> None:
        """Nothing: there is no connection."""

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder."""
        try:
            return [entry.name for entry in self._locate(folder).iterdir() if entry.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _refused(folder, error) from error

    def stat(self, path: str) -> FoundFile | None:
        """What is known of a file."""
        try:
            found = self._locate(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _refused(path, error) from error
        if not stat.S_ISREG(found.st_mode):
            message = f"{path} is not a file"
            raise SourceError(message, where=path, hint="Correct `path:`.")
        return FoundFile(
            path=path,
            bytes=found.st_size,
            version=f"{found.st_mtime_ns}-{found.st_ino}-{found.st_size}",
            modified=datetime.fromtimestamp(found.st_mtime, UTC).isoformat(),
        )

    def fetch(
        self,
        found: FoundFile,
        scratch: Path,  # noqa: ARG002
        check: Callable[[], None],  # noqa: ARG002
    ) -> FetchedFile:
        """Hash the file where it lies."""
        local = self._locate(found.path)
        try:
            with local.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise changed(found, None) from error
        except OSError as error:
            raise _refused(found.path, error) from error
        return FetchedFile(found=found, local=local, sha256=digest)

    def _locate(self, path: str) -> Path:
        """The real path, links followed, of what must lie below an allowed folder."""
        if not self._folders:
            message = "no folder of the worker's disk is open to file sources"
            hint = "Ask the admin to name the folder in [openreg] source_folders."
            raise SourceError(message, where=path, hint=hint)
        candidates = [(folder / path).resolve() for folder in self._folders]
        inside = [c for c in candidates if any(c.is_relative_to(f) for f in self._folders)]
        if not inside:
            message = f"{path} is not below a folder that file sources may read"
            allowed = ", ".join(map(str, self._folders))
            hint = f"Allowed by [openreg] source_folders: {allowed}."
            raise SourceError(message, where=path, hint=hint)
        return next((path for path in inside if path.exists()), inside[0])


@contextmanager
def open_local(folders: Sequence[Path]) -> Iterator[LocalFiles]:
    """Give the local disk."""
    yield LocalFiles(folders)


def _refused(path: str, error: OSError) -> SourceError | SourceUnavailableError:
    message = f"{path} cannot be read: {error.strerror}"
    if isinstance(error, PermissionError):
        hint = "Give the account of Airflow's workers leave to read it."
        return SourceError(message, where=path, hint=hint)
    return SourceUnavailableError(message, where=path, hint="It is tried again.")
