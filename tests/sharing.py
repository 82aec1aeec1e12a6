"""How the tests are shared out between processes, one file at a time, when there are several.

What starts the same dear servers stays together: each process has servers of its own, so that no
test ever meets another one's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

_MOST_PROCESSES = 6
#: Room for a process with its servers, in bytes.
_MEMORY_EACH = 2 << 30
#: Whatever takes longest begins first, or everybody waits for it in the end.
_ORDER = ("tests/e2e", "tests/integration", "tests/unit")
_SANDBOX = ("test_demo", "test_sandbox_", "test_transform_")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores, for many a test waits; as far as memory goes."""
    cores = len(os.sched_getaffinity(0))
    room = psutil.virtual_memory().available // _MEMORY_EACH
    return max(1, min(cores + 1, room, _MOST_PROCESSES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Take the place of ``--dist loadfile``."""
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return _Sharing(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests in the order in which they are shared out."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test by its argument where bytes are packed: they may hold the time of packing.

    All processes must know a test by the same name.
    """
    return argname if isinstance(val, bytes) and not val.isascii() else None


class _Sharing(LoadFileScheduling):  # type: ignore[misc]
    """Gives each process one file after the other; some files belong together."""

    def _split_scope(self, nodeid: str) -> str:
        return _together(nodeid) or nodeid.split("::", 1)[0]


def _together(nodeid: str) -> str | None:
    """The name of what a test is run together with, unless that is its file."""
    file = nodeid.split("::", 1)[0]
    name = file.rsplit("/", 1)[-1]
    if not file.startswith("tests/unit/") and name.startswith(_SANDBOX):
        return "the sandbox"
    return "the Airflow" if file.startswith("tests/e2e/") else None


def _rank(nodeid: str) -> tuple[int, bool]:
    floor = next((n for n, name in enumerate(_ORDER) if nodeid.startswith(name)), len(_ORDER))
    together = _together(nodeid)
    return (0, together == "the sandbox") if together else (floor, False)
