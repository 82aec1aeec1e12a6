"""Running a job behind a fence, from its start to stored tables or to the reason why not."""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING

from openreg_airflow.errors import (
    OpenRegError,
    SandboxLimitError,
    SandboxUnavailableError,
    TransformError,
)
from openreg_airflow.transform.fence import LOG
from openreg_airflow.transform.inspection import Inspection
from openreg_airflow.transform.looked_up import uses_of
from openreg_airflow.transform.receiving import Receiver, number, text
from openreg_airflow.transform.script_log import ScriptLog

if TYPE_CHECKING:
    from openreg_airflow.records import Dataset
    from openreg_airflow.transform.fence import Ending, Fence
    from openreg_airflow.transform.job import Job
    from openreg_airflow.transform.spec import Limits
    from openreg_airflow.workspace import StageFolder

log = logging.getLogger(__name__)

#: Seconds between signs of life in the log of a script that says nothing.
_SILENCE = 5.0


def execute(fence: Fence, job: Job, folder: StageFolder) -> dict[str, Dataset]:
    """Run a job.

    Args:
        fence: where it runs; it is gone when this function returns or raises.
        job: what runs.
        folder: where the tables are stored, as ``NAME.parquet``, all of them or none.

    Returns:
        The stored tables by name.

    Raises:
        TransformError: the script raised, or returned what cannot be stored.
        SandboxLimitError: it was stopped at one of its limits.
        SandboxUnavailableError: the fence could not be put up, or was torn down from outside.
    """
    started = monotonic()
    printed = ScriptLog(logging.getLogger(f"{__name__}.script"))
    with ExitStack() as files:
        receiver = Receiver(job.spec, folder, files, files.enter_context(Inspection()))
        with fence:
            fence.start()
            try:
                _listen(fence, receiver, printed, job.spec.limits)
            finally:
                printed.close()
            ending = fence.ending()
        uses = uses_of(receiver.words.get("looked_up", {}), job)
        for use in uses:
            log.log(logging.WARNING if use.unmapped else logging.INFO, "%s", use)
        job.looked_up(uses)
        if "done" not in receiver.words:
            raise _failure(receiver, ending, job)
        received = receiver.tables()
    datasets = {name: table.dataset() for name, table in received.items()}
    done = receiver.words["done"]
    log.info(
        "transform made %s in %.1f s: %.1f s reading, %.1f s in %s, %.1f s writing; "
        "%d of %d MiB of memory",
        ", ".join(f"{name}: {d.rows:,} rows, {d.bytes:,} bytes" for name, d in datasets.items()),
        monotonic() - started,
        number(done, "read_seconds"),
        number(done, "script_seconds"),
        job.spec.script,
        number(done, "write_seconds"),
        number(done, "peak_mb"),
        job.spec.limits.memory_mb,
    )
    return datasets


def _listen(fence: Fence, receiver: Receiver, printed: ScriptLog, limits: Limits) -> None:
    """Pass on what the runner says until it ends or its time is up."""
    started = heard = monotonic()
    while (now := monotonic()) - started < limits.seconds:
        if now - heard >= _SILENCE:
            heard = now
            log.info(
                "the script runs for %d s of at most %d; %d bytes of tables received",
                now - started,
                limits.seconds,
                receiver.received,
            )
        try:
            pieces = fence.read(min(1.0, limits.seconds - (now - started)))
        except EOFError:
            return
        for stream, piece in pieces:
            if stream == LOG:
                printed.feed(piece)
                heard = now
            else:
                receiver.feed(piece)
    fence.kill()
    message = f"stopped at its time limit of {limits.seconds} s; see transform.limits.seconds"
    raise SandboxLimitError(message, hint="Make the script faster, or raise its limit.")


def _failure(receiver: Receiver, ending: Ending, job: Job) -> OpenRegError:
    """Why a runner ended without being done."""
    error, exit_ = receiver.words.get("error", {}), receiver.words.get("exit", {})
    if trace := text(error, "traceback"):
        log.error("%s failed:\n%s", job.spec.script, trace)
    limits = job.spec.limits
    if ending.out_of_memory or number(exit_, "memory_kills") or text(error, "kind") == "memory":
        message = (
            f"stopped at its memory limit of {limits.memory_mb} MiB; see transform.limits.memory_mb"
        )
        hint = "Read fewer columns, or raise the limit as far as [openreg] max_memory_mb allows."
        return SandboxLimitError(message, hint=hint)
    if error:
        return _described(error, job, refused=number(exit_, "process_refusals") > 0)
    if not exit_:
        message = f"the sandbox ended from outside, with status {ending.status}"
        return SandboxUnavailableError(message, hint="Look at the container engine's log.")
    return TransformError(
        f"{job.spec.script} ended its process {_manner(int(number(exit_, 'status')))}, "
        "before transform() returned",
        hint="Return the result from transform(), or raise an exception that says why not.",
    )


def _described(error: dict[str, object], job: Job, *, refused: bool) -> OpenRegError:
    line, source = int(number(error, "line")), text(error, "source")
    place = f"{job.spec.script} line {line}" if line else job.spec.script
    message = text(error, "message") or "the script failed without a word"
    hint = text(error, "hint") or None
    if refused:
        most = job.spec.limits.processes
        message = f"{message}; it met its limit of {most} processes and threads"
        hint = "See transform.limits.processes."
    return TransformError(f"{message}\n    {source}" if source else message, where=place, hint=hint)


def _manner(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"by signal {-status}"
