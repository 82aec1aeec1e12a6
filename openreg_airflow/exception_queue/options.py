"""What the commands of the exception queue have in common: their options."""

from __future__ import annotations

import functools
import inspect
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openreg_airflow.exception_queue.listing import Wanted

Numbers = Annotated[list[int] | None, typer.Argument(help="Numbers of items.")]
Report = Annotated[str | None, typer.Option("--report", help="Only of this report.")]
Day = Annotated[
    datetime | None,
    typer.Option("--business-date", formats=["%Y-%m-%d"], help="Only of this reported day."),
]
Rule = Annotated[str | None, typer.Option("--rule", help="Only those that fail this rule.")]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        help="pending, amended, released, rejected, reported or superseded; repeatable.",
    ),
]
Table = Annotated[str | None, typer.Option("--table", help="Only of this table of records.")]
Key = Annotated[
    str | None, typer.Option("--key", help="Only this record; several columns as a JSON array.")
]
Why = Annotated[str, typer.Option("--why", help="The reason, for the audit trail.")]
Version = Annotated[
    int | None,
    typer.Option("--version", help="The item's version that you have seen; refused if it changed."),
]
_STATES = ("pending", "amended", "released", "rejected", "reported", "superseded")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which items a command is about, as its options say."""

    report: Report = None
    business_date: Day = None
    rule: Rule = None
    state: States = None
    table: Table = None
    key: Key = None

    def wanted(self) -> Wanted:
        """The same for the queue.

        Raises:
            typer.BadParameter: there is no such state.
        """
        from openreg_airflow.exception_queue.listing import Wanted

        for state in self.state or ():
            if state not in _STATES:
                message = f"--state {state}: there are {', '.join(_STATES)}"
                raise typer.BadParameter(message)
        return Wanted(
            report_id=self.report,
            business_date=self.business_date.date() if self.business_date else None,
            rule=self.rule,
            states=tuple(self.state or ()),
            table=self.table,
            key=self.key,
        )


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a filter.

    Args:
        command: takes a :class:`Filter` as ``items``; on the command line the options stand where
            that argument stands.
    """
    options = inspect.signature(Filter, eval_str=True).parameters
    parameters: list[inspect.Parameter] = []
    for one in inspect.signature(command, eval_str=True).parameters.values():
        parameters += options.values() if one.name == "items" else [one]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        items = Filter(**{name: given.pop(name) for name in options})
        command(**given, items=items)

    # Typer reads both.
    vars(with_options)["__signature__"] = inspect.Signature(parameters)
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options


@contextmanager
def said_progress() -> Iterator[None]:
    """Let long work say how far it is, meanwhile."""
    log = logging.getLogger("openreg_airflow.exception_queue")
    handler = _Echo()
    log.addHandler(handler)
    level, propagate = log.level, log.propagate
    log.setLevel(logging.INFO)
    # Airflow's configuration of logging would show each line once more.
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


class _Echo(logging.Handler):
    """Writes what is logged to where the command's errors go."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        typer.echo(self.format(record), err=True)
