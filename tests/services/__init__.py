"""Real servers that the tests start for themselves, on free ports of 127.0.0.1."""

from __future__ import annotations

import os
import socket
from typing import NoReturn

import pytest


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
