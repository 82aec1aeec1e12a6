"""Opens a finished file for reading, whatever it was packed in."""

from __future__ import annotations

import gzip
import zipfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"


@contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The bytes of the document in a file; they are unpacked while they are read.

    Args:
        path: the file.
        name: its name, for errors.

    Raises:
        ArtifactError: it is packed in a way that cannot be undone here.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_GZIP):
        with gzip.open(path, "rb") as unpacked:
            yield cast("IO[bytes]", unpacked)
        return
    if start == _ZIP:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != 1:
                message = f"{name} holds {len(members)} files; one can be read back"
                raise ArtifactError(message)
            with archive.open(members[0]) as member:
                yield member
        return
    with path.open("rb") as file:
        yield file
