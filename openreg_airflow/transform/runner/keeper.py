"""The first process of a pod's container: it waits, and everything in the container ends with it.

The runner itself is started beside it by the task, because what the first process prints would be
kept in the logs of the node. The task holds the line to its standard input; when that breaks,
because the task was killed, the pod ends.
"""

from __future__ import annotations

import os
import signal
import sys

from .supervisor import shut_out_tracers

_STDIN = 0


def main() -> int:
    """Wait until standard input ends."""
    shut_out_tracers()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Whose parent has died becomes a child of the first process, which has to bury it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while os.read(_STDIN, 4096):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
