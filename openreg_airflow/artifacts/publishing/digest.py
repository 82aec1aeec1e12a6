"""Hashes of a file, taken while it is written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

_READ = 1 << 20


class Digest:
    """Length and hashes of what passes by.

    Args:
        md5: also take the MD5, which some authorities still ask for; nothing of ours trusts it.
    """

    def __init__(self, *, md5: bool = False) -> None:
        self._wants_md5 = md5
        self._begin()

    def _begin(self) -> None:
        self.bytes = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if self._wants_md5 else None

    def update(self, data: Any) -> None:
        """Take in the next bytes."""
        self.bytes += memoryview(data).nbytes
        self._sha256.update(data)
        if self._md5 is not None:
            self._md5.update(data)

    def read(self, path: Path) -> None:
        """Take in a whole file instead, whatever was taken in before."""
        self._begin()
        with path.open("rb") as file:
            while data := file.read(_READ):
                self.update(data)

    @property
    def sha256(self) -> str:
        """Lower-case hexadecimal SHA-256."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str | None:
        """Lower-case hexadecimal MD5; None when it was not asked for."""
        return self._md5.hexdigest() if self._md5 is not None else None


class HashedFile:
    """A file that is written from beginning to end, with its hashes.

    Args:
        path: the file.
        digest: takes in what is written.
    """

    def __init__(self, path: Path, digest: Digest) -> None:
        self._file = path.open("wb")
        self._digest = digest

    def write(self, data: Any) -> int:
        """Write bytes."""
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
