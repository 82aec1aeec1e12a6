"""What the commands of the exception queue have in common: their options."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
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


def wanted_of(  # noqa: PLR0917
    report: str | None,
    business_date: datetime | None,
    rule: str | None,
    states: list[str] | None,
    table: str | None,
    key: str | None,
) -> Wanted:
    """The filter that the options make.

    Raises:
        typer.BadParameter: there is no such state.
    """
    from openreg_airflow.exception_queue.listing import Wanted

    for state in states or ():
        if state not in _STATES:
            message = f"--state {state}: there are {', '.join(_STATES)}"
            raise typer.BadParameter(message)
    return Wanted(
        report_id=report,
        business_date=business_date.date() if business_date else None,
        rule=rule,
        states=tuple(states or ()),
        table=table,
        key=key,
    )


def say_progress() -> None:
    """Let long work say how far it is."""
    log = logging.getLogger("openreg_airflow.exception_queue")
    if not log.handlers:
        log.addHandler(_Echo())
        log.setLevel(logging.INFO)


class _Echo(logging.Handler):
    """Writes what is logged to where the command's errors go."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        typer.echo(self.format(record), err=True)
