"""How much memory a way takes at most, by itself and with everything that it starts."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from pathlib import Path

import psutil

_LOOK_SECONDS = 0.02


def own_peak() -> int:
    """The most memory in bytes that this process had since its program began.

    The kernel counts it for the program's own memory; what it tells of resources (``ru_maxrss``)
    is never less than what the process that started this one had at that time.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        message = "this kernel does not tell the most memory of a process"
        raise OSError(message)
    return int(found[1]) << 10


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
        self.peak = max(self.peak, own_peak())

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._over.wait(_LOOK_SECONDS):
            size = 0
            for process in (this, *this.children(recursive=True)):
                with suppress(psutil.Error):
                    size += process.memory_info().rss
            self.peak = max(self.peak, size)
