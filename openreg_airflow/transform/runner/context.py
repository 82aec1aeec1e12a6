"""What a script is told about its run, and what it may tell in return."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from datetime import date
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .wire import LEVEL_MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .mapping import MappingSet, MappingSets

#: Seconds between two lines of progress in the log.
PROGRESS_SECONDS = 2.0


class Progress:
    """Says how far a script is, at most every :data:`PROGRESS_SECONDS`.

    Args:
        logger: where the lines go.
        clock: seconds from any starting point.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._said_at = clock()
        self._last: tuple[float, float | None] | None = None

    def __call__(self, done: float, total: float | None = None) -> None:
        """Take what :meth:`Context.progress` is told."""
        for number in (done, total):
            if number is not None and not number >= 0:
                message = f"progress({done!r}, {total!r}): neither may be negative"
                raise ValueError(message)
        complete = total is not None and done >= total
        now = self._clock()
        if (done, total) == self._last or (now - self._said_at < PROGRESS_SECONDS and not complete):
            return
        self._said_at, self._last = now, (done, total)
        if total:
            share = 100 * done / total
            self._logger.info("progress: %s of %s (%.0f %%)", f"{done:,}", f"{total:,}", share)
        else:
            self._logger.info("progress: %s", f"{done:,}")


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
    _progress: Progress = field(repr=False, compare=False)
    _mappings: MappingSets = field(repr=False, compare=False)

    def progress(self, done: float, total: float | None = None) -> None:
        """Say in the task log how far the script is; may be called as often as one likes.

        Args:
            done: how much is done, in any unit.
            total: how much there is, if that is known.
        """
        self._progress(done, total)

    def mapping(self, name: str) -> MappingSet:
        """A mapping set of the installation, as it was known when the run began.

        Args:
            name: the set's name; the spec names it under ``mappings.sets``.

        Returns:
            The set: ``m["XETR"]`` looks a code up on the business date, ``m.map(column)`` a whole
            column.

        Raises:
            LookupError: the spec does not name it.
        """
        return self._mappings.get(name)


def context_of(request: dict[str, Any], mappings: MappingSets) -> Context:
    """The context that a request describes."""
    logger = logging.getLogger("transform")
    return Context(
        report_id=request["report_id"],
        run_id=request["run_id"],
        business_date=date.fromisoformat(request["business_date"]),
        parameters=MappingProxyType(
            {name: _parameter(value) for name, value in request["parameters"].items()}
        ),
        logger=logger,
        _progress=Progress(logger),
        _mappings=mappings,
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
