"""The first process in the sandbox: it starts the script's process and outlives it.

It holds the line to the task that asked for the run. When that line breaks, because the task was
killed, it ends, and with it everything in the sandbox: no run goes on without an owner.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from .wire import Reply, read_request

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_PR_SET_DUMPABLE = 4


def main() -> int:
    """Serve one request from standard input, replying on standard output."""
    request = read_request(_STDIN)
    # From here on whatever is printed is log: the reply has a descriptor of its own, which no
    # program that the script starts inherits.
    reply = Reply(os.dup(_STDOUT))
    os.dup2(_STDERR, _STDOUT)
    strange = [name for name, file in request["files"].items() if not _is_given(file)]
    if strange:
        reply.event("invisible", inputs=strange)
        return 0
    _limit(request["rlimits"])
    before = _refusals()
    child = os.fork()
    if child == 0:
        os._exit(_child(request, reply))
    _watch_owner()
    status = _wait(child)
    after = _refusals()
    reply.event("exit", status=status, **{key: after[key] - before[key] for key in after})
    return 0


def _child(request: dict[str, Any], reply: Reply) -> int:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, _STDIN)
    os.close(null)
    _prefer_to_be_killed()
    from .worker import run

    return run(request, reply)


def _is_given(file: dict[str, Any]) -> bool:
    """Whether a file is the one that the task meant, and may be read.

    A task may see the same path as its container engine and yet another file there.
    """
    try:
        found = Path(file["path"]).stat()
    except OSError:
        return False
    expected = {"size": found.st_size, "inode": found.st_ino, "mtime_ns": found.st_mtime_ns}
    same = all(file[key] is None or file[key] == expected[key] for key in expected)
    return same and os.access(file["path"], os.R_OK)


def _limit(limits: dict[str, int]) -> None:
    """Set resource limits by name; only outside a container, where nothing better is there."""
    import resource

    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


def _prefer_to_be_killed() -> None:
    """When memory runs out the kernel shall take the script, not the process that reports it."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def _watch_owner() -> None:
    """End everything as soon as the task's end of standard input is closed."""
    shut_out_tracers()
    # Inside a container this is the first process, which ignores what it does not handle.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def wait_for_end() -> None:
        while os.read(_STDIN, 4096):
            pass
        try:
            os.killpg(0, signal.SIGKILL)
        finally:
            os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True).start()


def shut_out_tracers() -> None:
    """Keep a script of the same user from taking this process over by tracing it."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _wait(child: int) -> int:
    """Wait for the script's process, burying orphans meanwhile; give its exit status."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _refusals() -> dict[str, int]:
    """How often the kernel killed for memory and refused a process, as the control group counts.

    The names of the files are those of cgroup v2, then of v1.
    """
    return {
        "memory_kills": _count("oom_kill", "memory.events", "memory/memory.oom_control"),
        "process_refusals": _count("max", "pids.events", "pids/pids.events"),
    }


def _count(key: str, *files: str) -> int:
    for file in files:
        try:
            lines = Path("/sys/fs/cgroup", file).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == key and value.strip().isdigit():
                return int(value)
    return 0
