"""Saying in the log how far a long transfer is."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

MIB = 1 << 20


class Progress:
    """Logs bytes, share and speed, at most once every few seconds.

    Args:
        what: verb and name, such as ``sent report.xml``.
        total: bytes to come.
        every: seconds between lines.
        bytes_per_second: waits so that no more go through; None for no limit.
    """

    def __init__(
        self, what: str, total: int, *, every: float = 5.0, bytes_per_second: int | None = None
    ) -> None:
        self._what = what
        self._total = total
        self._every = every
        self._limit = bytes_per_second
        self._began = self._said = time.monotonic()

    def reached(self, done: int) -> None:
        """Note that ``done`` bytes are through; wait when they are through too soon."""
        if self._limit is not None:
            time.sleep(max(done / self._limit - (time.monotonic() - self._began), 0.0))
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        log.info(
            "%s: %.1f of %.1f MiB (%d %%), %.1f MiB/s",
            self._what,
            done / MIB,
            self._total / MIB,
            100 * done // max(self._total, 1),
            done / MIB / (now - self._began),
        )
