"""Who changes something, and from where; what the audit trail says of every change."""

from __future__ import annotations

import os
import pwd
import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """Somebody who changes something.

    Attributes:
        name: the operating-system user of the command line, or the report of a task.
        origin: where the change came from, such as ``command line on host.example``.
    """

    name: str
    origin: str

    @classmethod
    def of_command_line(cls) -> Actor:
        """The operating-system user of this process.

        The account of the process is asked, not the environment, which anybody can set.
        """
        number = os.getuid()
        try:
            name = pwd.getpwuid(number).pw_name
        except KeyError:
            name = f"uid {number}"
        return cls(name, f"command line on {socket.gethostname()}")

    @classmethod
    def of_task(cls, report_id: str, run_id: str) -> Actor:
        """A task of a report's run."""
        return cls(f"report {report_id}", f"run {run_id} on {socket.gethostname()}")
