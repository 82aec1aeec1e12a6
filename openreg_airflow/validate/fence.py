"""Runs the rules in a process of its own, with a hard limit on memory and on time.

DuckDB keeps to its own limits almost always. This is for the rest: a statement that cannot be
interrupted, an allocation that DuckDB does not count, a crash. The process gets no environment
but what Python needs, so no secret of the installation is in it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Self

from openreg_airflow import errors
from openreg_airflow.errors import RuleEngineError, RuleLimitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.records import RuleResult
    from openreg_airflow.validate.job import Job

log = logging.getLogger(__name__)

#: Seconds that the process may take beyond the limit to start, to stop by itself, and to write.
GRACE = 20.0
#: Seconds between two lines about progress.
PROGRESS = 5.0
_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR")
_STDERR_SHOWN = 4000


def run_fenced(job: Job) -> tuple[RuleResult, ...]:
    """Evaluate a job's rules in a process of its own; see :class:`Fence`."""
    with Fence(job.scratch) as fence:
        return fence.run(job)


class Fence:
    """The process that evaluates rules; a context manager.

    It starts at once, and is ready by the time that the rules and tables are.

    Args:
        scratch: a private folder, that of the job.
    """

    def __init__(self, scratch: Path) -> None:
        self._trace = scratch / "stderr.txt"
        with self._trace.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "openreg_airflow.validate.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=scratch,
                env=_environment(),
                text=True,
                encoding="utf-8",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # A process that died before it read its job leaves part of it to be flushed.
                with suppress(BrokenPipeError):
                    pipe.close()

    def run(self, job: Job) -> tuple[RuleResult, ...]:
        """Evaluate a job's rules, once; see ``engine.run_rules``.

        Raises:
            RuleLimitError: the time limit was reached.
            RuleEngineError: the process died.
            StorageError: a file cannot be read or written.
            OSError: the disk is full.
        """
        return _converse(self._process, job, self._trace)


def _converse(process: subprocess.Popen[str], job: Job, trace: Path) -> tuple[RuleResult, ...]:
    # It takes long to import, and the process can do so at the same time.
    from openreg_airflow.records import RuleResult

    started = time.monotonic()
    deadline = started + job.limits.seconds + GRACE
    try:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        process.stdin.write(job.model_dump_json(by_alias=True) + "\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        raise _died(process, trace, None) from error
    rule: str | None = None
    begun = 0
    for message in _messages(process, deadline):
        if message is None:
            log.info(
                "Rule %s is running; %d of %d rules are done after %.0f s.",
                rule or "(none yet)",
                max(begun - 1, 0),
                len(job.rules),
                time.monotonic() - started,
            )
        elif "rule" in message:
            rule, begun = message["rule"], begun + 1
        elif "results" in message:
            return tuple(RuleResult.model_validate(result) for result in message["results"])
        elif "error" in message:
            raise _error(message["error"])
    if time.monotonic() >= deadline:
        text = (
            f"the rules did not stop at their limit of {job.limits.seconds} s and were killed "
            f"at rule {rule}"
        )
        raise RuleLimitError(text, hint="Make the rule cheaper, or raise validate.limits.seconds.")
    raise _died(process, trace, rule)


def _messages(process: subprocess.Popen[str], deadline: float) -> Iterator[dict[str, Any] | None]:
    """What the process says, and None whenever it was silent for a while; ends with the process."""
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    spoken = time.monotonic()
    while (now := time.monotonic()) < deadline:
        if now - spoken >= PROGRESS:
            spoken = now
            yield None
        try:
            line = lines.get(timeout=max(0.0, min(spoken + PROGRESS, deadline) - now))
        except queue.Empty:
            continue
        if line is None:
            return
        yield json.loads(line)


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    try:
        for line in stream:
            lines.put(line)
    except ValueError:  # The stream was closed because nobody waits for it any more.
        return
    finally:
        lines.put(None)


def _error(told: dict[str, Any]) -> Exception:
    if told["kind"] == "OSError":
        return OSError(told["errno"], told["text"])
    kind: type[errors.OpenRegError] = getattr(errors, told["kind"], RuleEngineError)
    return kind(told["text"], hint=told["hint"])


def _died(process: subprocess.Popen[str], trace: Path, rule: str | None) -> RuleEngineError:
    try:
        code = process.wait(timeout=PROGRESS)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    said = trace.read_text(encoding="utf-8", errors="replace")[:_STDERR_SHOWN].strip()
    if said:
        log.error("The process that evaluates the rules said:\n%s", said)
    message = f"the process that evaluates the rules {how} at rule {rule or '(none yet)'}"
    hint = "See the log above. SIGKILL means that the machine ran out of memory."
    return RuleEngineError(message, hint=hint)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    return kept | {"ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONUTF8": "1"}
