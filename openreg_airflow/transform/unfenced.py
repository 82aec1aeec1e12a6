"""The runner as a plain process, for development: there is no fence around it at all."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess
import sys
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Self

from openreg_airflow.scratch import scratch_folder
from openreg_airflow.transform.fence import ENVIRONMENT, LOG, PYTHON_OPTIONS, REPLY, Ending
from openreg_airflow.transform.job import file_entry, request

if TYPE_CHECKING:
    from types import TracebackType

    from openreg_airflow.transform.job import Job

log = logging.getLogger(__name__)

_MODULE = "openreg_airflow.transform.runner"
_WARNING = (
    "[openreg] sandbox = unsafe-subprocess: %s runs WITHOUT ANY FENCE, with the rights of this "
    "task: it can read every file and reach every host that the task can. For development only."
)
#: Seconds to wait for the rest of the streams when a process has escaped and holds them open.
_DRAIN = 2.0


class UnfencedProcess:
    """A runner in a process of its own, with an empty environment and a few resource limits.

    Args:
        job: what runs.
    """

    image: str | None = None

    def __init__(self, job: Job) -> None:
        self._job = job
        self._scratch = ExitStack()
        self._folder = str(self._scratch.enter_context(scratch_folder()))
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: float | None = None
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ended is None:
            self.kill()
        self._selector.close()
        if self._process is not None:
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()
        self._scratch.close()

    def start(self) -> None:
        """Start the runner and send it its request."""
        log.warning(_WARNING, self._job.spec.script)
        self._process = process = subprocess.Popen(
            [sys.executable, *PYTHON_OPTIONS, "-m", _MODULE],
            bufsize=0,
            cwd=self._folder,
            env={
                **ENVIRONMENT,
                "PATH": os.defpath,
                "HOME": self._folder,
                "TMPDIR": self._folder,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018
        self._selector.register(process.stdout, selectors.EVENT_READ, REPLY)
        self._selector.register(process.stderr, selectors.EVENT_READ, LOG)
        files = {
            name: file_entry(str(path), path, same_file=True)
            for name, path in self._job.files.items()
        }
        content = memoryview(request(self._job, files, rlimits=self._rlimits()))
        try:
            while content:
                content = content[process.stdin.write(content) :]
        except BrokenPipeError:
            log.debug("the runner ended before it had read its request")

    def _rlimits(self) -> dict[str, int]:
        limits = self._job.spec.limits
        return {
            "CORE": 0,
            "NOFILE": 1024,
            "DATA": limits.memory_mb << 20,
            "FSIZE": limits.tmp_mb << 20,
        }

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        """Wait for bytes; see :class:`~openreg_airflow.transform.fence.Fence`."""
        if not self._selector.get_map() or self._drained():
            raise EOFError
        pieces = []
        for key, _ in self._selector.select(min(seconds, 0.2) if self._exited() else seconds):
            piece = os.read(key.fd, 1 << 16)
            if piece:
                pieces.append((key.data, piece))
            else:
                self._selector.unregister(key.fileobj)
        return pieces

    def _exited(self) -> bool:
        """Whether the first process is gone; what it left running is ended then."""
        if self._ended is None and self._process and self._process.poll() is not None:
            self._ended = monotonic()
            self.kill()
        return self._ended is not None

    def _drained(self) -> bool:
        return self._ended is not None and monotonic() - self._ended > _DRAIN

    def kill(self) -> None:
        """End the runner and its process group."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def ending(self) -> Ending:
        """How the runner ended."""
        assert self._process is not None  # noqa: S101
        return Ending(self._process.wait())
