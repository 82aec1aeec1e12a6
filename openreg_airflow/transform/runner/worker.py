"""The child process in which the author's script runs."""

from __future__ import annotations

import base64
import os
import sys
import traceback
from time import monotonic
from typing import TYPE_CHECKING, Any

from .context import context_of, prepare_streams
from .faults import describe

if TYPE_CHECKING:
    from .wire import Reply


def run(request: dict[str, Any], reply: Reply) -> int:
    """Run the script and send its tables, or why there are none.

    Returns:
        The exit status of the process.
    """
    prepare_streams()
    owner = os.getpid()
    try:
        _transform(request, reply)
    except BaseException as error:  # noqa: BLE001  # the edge: whatever it is goes to the author
        if os.getpid() != owner:
            traceback.print_exc()
            return 1
        reply.event("error", **describe(error, request["script"]["name"]))
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _transform(request: dict[str, Any], reply: Reply) -> None:
    from .reading import fix_threads, read_inputs
    from .script import call, load
    from .tables import named_tables

    started = monotonic()
    fix_threads(request["threads"])
    paths = {name: file["path"] for name, file in request["files"].items()}
    inputs = read_inputs(paths, request["frames"])
    # One thread from here on: Arrow's grouping gives rows in another order with more.
    fix_threads(1)
    read = monotonic()
    owner = os.getpid()
    transform = load(request["script"]["name"], request["script"]["source"])
    result = call(transform, inputs, context_of(request))
    if os.getpid() != owner:
        # A process that the script forked comes back here as well; one answer is enough.
        return
    inputs.clear()
    called = monotonic()
    found = named_tables(result, declared=request["tables"], inputs=paths)
    del result
    _send(found, request["tables"], reply)
    reply.event(
        "done",
        tables=list(found),
        read_seconds=read - started,
        script_seconds=called - read,
        write_seconds=monotonic() - called,
    )


def _send(found: dict[str, Any], declared: dict[str, str | None], reply: Reply) -> None:
    import pyarrow as pa

    from .storing import send_table
    from .tables import to_arrow

    for name, table in found.items():
        encoded = declared.get(name)
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(encoded))) if encoded else None
        send_table(name, to_arrow(name, table), schema, reply)
