"""The bytes of a text file: unpacked, and read by lines of bounded length."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, cast

from openreg_airflow.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.extract.file_spec import FileSpec

#: The longest line that is read. A line is held in memory as a whole.
LONGEST_LINE = 16 << 20

#: What a damaged gzip file raises.
BROKEN = (gzip.BadGzipFile, zlib.error, EOFError)


def unpacked(path: Path, spec: FileSpec) -> IO[bytes]:
    """Open a file for reading its bytes as they were before they were compressed."""
    if spec.compression == "gzip":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def damaged(name: str, error: Exception) -> SourceError:
    """The error for a compressed file that cannot be unpacked."""
    message = f"{name} cannot be unpacked as gzip: {error}"
    return SourceError(message, where=name, hint="Ask for the file again, or remove `compression`.")


def lines(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1, line ends included.

    Raises:
        SourceError: a line is longer than what is held in memory.
    """
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise too_long(name, number)
        yield number, line


def too_long(name: str, number: int) -> SourceError:
    """The error for a line that is too long."""
    message = f"the line is longer than {LONGEST_LINE >> 20} MiB"
    hint = "See whether the file is of this format, and whether a quote is not closed."
    return SourceError(message, where=f"{name}, line {number}", hint=hint)
