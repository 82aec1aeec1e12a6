"""What a script is told about its run."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .wire import LEVEL_MARK

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Context:
    """The second argument of ``transform(inputs, context)``.

    Attributes:
        report_id: the report.
        run_id: Airflow's id of the run.
        business_date: the day that is reported.
        parameters: the spec's ``transform.parameters``.
        logger: a standard logger; its lines reach the task log with their level.
    """

    report_id: str
    run_id: str
    business_date: date
    parameters: Mapping[str, Any]
    logger: logging.Logger


def context_of(request: dict[str, Any]) -> Context:
    """The context that a request describes."""
    return Context(
        report_id=request["report_id"],
        run_id=request["run_id"],
        business_date=date.fromisoformat(request["business_date"]),
        parameters=MappingProxyType(
            {name: _parameter(value) for name, value in request["parameters"].items()}
        ),
        logger=logging.getLogger("transform"),
    )


def _parameter(value: Any) -> Any:
    return date.fromisoformat(value["date"]) if isinstance(value, dict) else value


class _MarkedLines(logging.Formatter):
    """Puts the level before each line, so that the task can log it with the same level."""

    def format(self, record: logging.LogRecord) -> str:
        mark = f"{LEVEL_MARK}{record.levelname}{LEVEL_MARK}"
        return "\n".join(mark + line for line in super().format(record).splitlines() or [""])


def prepare_streams() -> None:
    """Send prints and log lines to standard error line by line, whatever they hold."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(  # type: ignore[union-attr]
            encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_MarkedLines("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
