"""Waiting for something to happen elsewhere: in another process, on a server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float = 20, *, every: float = 0.05) -> None:
    """Return as soon as a condition is true.

    Args:
        condition: looked at again and again.
        seconds: the longest wait.
        every: seconds between two looks.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(every)
