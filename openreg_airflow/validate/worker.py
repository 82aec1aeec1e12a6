"""The process in which rules are evaluated; started by :mod:`openreg_airflow.validate.fence`.

It reads one job as a line of JSON from its input and writes lines of JSON: ``{"rule": id}`` when a
rule begins, and at the end ``{"results": [...]}`` or ``{"error": {...}}``. It dies when its input
ends, which is when its parent is gone.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import threading
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from openreg_airflow.errors import OpenRegError

#: Address space that DuckDB's own accounting does not cover, in MiB: Python, stacks of threads,
#: values of one batch. Blocks that were freed and not yet returned may double the rest.
HEADROOM_MB = 512
_ORPHANED = 3


class _Without(MetaPathFinder):
    """Hides what Arrow would import if it is there: half a second that rules do not need."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG002
        """Refuse those modules."""
        if fullname in ("numpy", "pandas"):
            message = f"rules do without {fullname}"
            raise ImportError(message)


def main() -> None:
    """Evaluate the job of the standard input."""
    faulthandler.enable()
    sys.meta_path.insert(0, _Without())
    from openreg_airflow.validate.duckdb_syntax import functions
    from openreg_airflow.validate.engine import run_rules
    from openreg_airflow.validate.job import Job

    functions()  # While the job is still being put together.
    job = Job.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    limit_memory(job.limits.memory_mb)
    try:
        results = run_rules(job, starting=lambda rule_id: _tell({"rule": rule_id}))
    except OpenRegError as error:
        _tell({"error": {"kind": type(error).__name__, "text": error.message, "hint": error.hint}})
    except OSError as error:
        _tell({"error": {"kind": "OSError", "text": str(error), "errno": error.errno}})
    else:
        _tell({"results": [result.model_dump(mode="json") for result in results]})


def limit_memory(memory_mb: int) -> None:
    """Cap what the process may allocate beyond what it has now.

    DuckDB's limit does not cover the values inside one function call, such as a text that is
    repeated a billion times; behind this cap such an allocation fails and the rule with it.

    Args:
        memory_mb: DuckDB's own limit, in MiB.
    """
    cap = _data_bytes() + (2 * memory_mb + HEADROOM_MB << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        cap = min(cap, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (cap, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    message = "/proc/self/status has no VmData"
    raise OSError(message)


def _die_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(_ORPHANED)


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
