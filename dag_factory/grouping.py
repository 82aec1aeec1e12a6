"""How the tasks of a stage stand together in a Dag."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractContextManager


def stage_group(name: str, tasks: Collection[Any]) -> AbstractContextManager[Any]:
    """A group for a stage of several tasks; nothing for a stage of one."""
    return TaskGroup(name) if len(tasks) > 1 else nullcontext()
