"""The child process in which the author's script runs."""

from __future__ import annotations

import os
import resource
import sys
import traceback
from collections.abc import Iterator
from datetime import date
from time import monotonic
from typing import TYPE_CHECKING, Any

from .context import context_of, prepare_streams
from .faults import describe
from .wire import WireError

if TYPE_CHECKING:
    from .mapping import MappingSets
    from .wire import Reply


def run(request: dict[str, Any], reply: Reply) -> int:
    """Run the script and send its tables, or why there are none.

    Returns:
        The exit status of the process.
    """
    prepare_streams()
    # A process that the script forks comes back here as well; one answer is enough.
    owner = reply.owner = os.getpid()
    try:
        _transform(request, reply)
    except BaseException as error:  # noqa: BLE001  # the edge: whatever it is goes to the author
        if os.getpid() != owner:
            if not isinstance(error, WireError):
                traceback.print_exc()
            return 1
        reply.event("error", **describe(error, request["script"]["name"]))
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _transform(request: dict[str, Any], reply: Reply) -> None:
    from .mapping import MappingSets

    paths = {name: file["path"] for name, file in request["files"].items()}
    day = date.fromisoformat(request["business_date"])
    mappings = MappingSets(request["mappings"], paths, day)
    for one in request["mappings"].values():
        paths = {name: path for name, path in paths.items() if name != one["file"]}
    try:
        _call(request, reply, paths, mappings)
    finally:
        # A process that the script forked comes by here as well.
        if os.getpid() == reply.owner and (told := mappings.told()):
            reply.event("looked_up", uses=told)


def _call(
    request: dict[str, Any], reply: Reply, paths: dict[str, str], mappings: MappingSets
) -> None:
    from .reading import fix_threads, read_inputs
    from .script import call, load
    from .sending import Sending

    started = monotonic()
    fix_threads(request["threads"])
    inputs = read_inputs(paths, request["frames"], request["batch_rows"])
    # One thread from here on: Arrow's grouping gives rows in another order with more.
    fix_threads(1)
    read = monotonic()
    script = request["script"]
    transform = load(script["name"], script["source"], request["imports"])
    result = call(transform, inputs, context_of(request, mappings))
    if not isinstance(result, Iterator):
        inputs.clear()
    sending = Sending(request["tables"], list(paths), reply)
    waiting = [result]
    del result
    # Nothing here holds the tables, so that each can go as soon as it is sent.
    names = sending.send(waiting.pop())
    reply.event(
        "done",
        tables=names,
        read_seconds=read - started,
        script_seconds=monotonic() - read - sending.seconds,
        write_seconds=sending.seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    )
