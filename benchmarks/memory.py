"""How much memory a way takes at most, with everything that it starts."""

from __future__ import annotations

import resource
import threading
from contextlib import suppress

import psutil

_LOOK_SECONDS = 0.02


class PeakMemory:
    """The most memory of this process and all that it starts, together, looked at often.

    Attributes:
        peak: bytes; complete when the block has ended.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        self.peak = max(self.peak, own)

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._over.wait(_LOOK_SECONDS):
            size = 0
            for process in (this, *this.children(recursive=True)):
                with suppress(psutil.Error):
                    size += process.memory_info().rss
            self.peak = max(self.peak, size)
