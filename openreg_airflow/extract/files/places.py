"""Which place a connection leads to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from openreg_airflow.extract.files.place import FileConnection, Place

#: Airflow's connection types that lead to files.
TYPES = ("aws", "sftp", "ssh")
#: Longest time that a server may keep silent.
SILENCE_SECONDS = 60.0


def opener(
    connection: FileConnection | None,
    source_folders: Sequence[Path],
    *,
    silence_seconds: float = SILENCE_SECONDS,
) -> Callable[[], AbstractContextManager[Place]]:
    """What opens the place for a connection.

    Args:
        connection: None for the local disk.
        source_folders: folders of the local disk that may be read.
        silence_seconds: longest time that a server may keep silent.

    Raises:
        SpecError: connections of this type lead to no files.
    """
    if connection is None:
        from openreg_airflow.extract.files.local import open_local

        return partial(open_local, source_folders)
    if connection.type == "aws":
        from openreg_airflow.extract.files.s3 import open_s3

        return partial(open_s3, connection)
    if connection.type in TYPES:
        from openreg_airflow.extract.files.sftp import open_sftp

        return partial(open_sftp, connection, timeout_seconds=silence_seconds)
    message = f"connection {connection.id} is of type {connection.type!r}, which has no files"
    raise SpecError(message, hint=f"Use one of type {', '.join(TYPES)}.")
