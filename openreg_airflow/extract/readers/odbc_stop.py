"""How a query of an ODBC driver is stopped: by another session, since the driver's own waits."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress

#: Logs in once more to stop a query; secrets go by its input, not its arguments.
_STOP = (
    "import json, sys, pyodbc; text, stop = json.load(sys.stdin); "
    "pyodbc.connect(text, timeout=5, autocommit=True).execute(stop)"
)
_STOP_SECONDS = 8


def stop_query(text: str, statement: str) -> None:
    """Run the statement that stops another session's query; that it cannot is not told.

    Args:
        text: ODBC's connection string.
        statement: what the product stops a session's query with.
    """
    with suppress(subprocess.SubprocessError, OSError):
        subprocess.run(
            [sys.executable, "-I", "-c", _STOP],
            input=json.dumps([text, statement]).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_STOP_SECONDS,
            check=False,
        )


class TaskWatch:
    """Ends this process, and its query on the server, when the task is gone that it works for.

    A task that is killed outright ends nothing itself, and a driver that waits for its server does
    not notice that nobody asks any more.
    """

    def __init__(self) -> None:
        self._query: tuple[str, str] | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def stops(self, text: str, statement: str) -> None:
        """Say how the query is stopped, once that is known; see :func:`stop_query`."""
        self._query = (text, statement)

    def _watch(self) -> None:
        requests = select.poll()
        requests.register(sys.stdin.fileno(), 0)  # a hang-up is told even so
        requests.poll()
        if self._query is not None:
            stop_query(*self._query)
        os.kill(os.getpid(), signal.SIGKILL)
