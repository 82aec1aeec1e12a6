"""Real servers that the tests start for themselves, on free ports of 127.0.0.1."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def unavailable(reason: str) -> NoReturn:
    """Skip the test because a service cannot be had here; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI every service must be there: {reason}")
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def files_below(folder: Path) -> dict[str, bytes]:
    """Everything that lies in a folder, by path, temporary files included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
