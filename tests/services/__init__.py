"""Real servers that the tests start for themselves, on free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import socket
from itertools import cycle, islice
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PORTS = 1000


def unavailable(reason: str) -> NoReturn:
    """Skip the test because a service cannot be had here; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI every service must be there: {reason}")
    pytest.skip(reason)


def _candidates() -> Iterator[int]:
    """Ports that this process of tests goes round in.

    They lie below those that a kernel gives to clients, so that no connection takes one before
    its server does; processes that run tests side by side have different ones.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw11").removeprefix("gw")) % 12
    start = os.getpid() % _PORTS
    first = 20_000 + worker * _PORTS
    return cycle([first + (start + n) % _PORTS for n in range(_PORTS)])


_ports = _candidates()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now."""
    for port in islice(_ports, _PORTS):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("all ports that the tests may take are taken")


def files_below(folder: Path) -> dict[str, bytes]:
    """Everything that lies in a folder, by path, temporary files included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
