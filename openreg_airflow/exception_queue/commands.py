"""``openreg exceptions``: look at what was set aside, and decide about it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError
from openreg_airflow.exception_queue import decision_commands, exchange_commands
from openreg_airflow.exception_queue.options import Filter, Why, filtered
from openreg_airflow.store.commands import Url, store_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.exception_queue.item import Item

app = typer.Typer(
    help="Records that were set aside, and what becomes of them.", no_args_is_help=True
)
app.add_typer(decision_commands.app)
app.add_typer(exchange_commands.app)

_SHOWN = 60


@app.command("list")
@filtered
def list_command(
    *,
    items: Filter,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    after: Annotated[int, typer.Option("--after", help="Only items with a larger number.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="All fields, as JSON lines.")] = False,
    url: Url = None,
) -> None:
    """List items, by default those that are still somebody's work."""
    from openreg_airflow.exception_queue.item import OPEN
    from openreg_airflow.exception_queue.listing import count, find

    try:
        wanted = items.wanted()
        if not wanted.states:
            wanted = replace(wanted, states=OPEN)
        place = store_url(url)
        found = list(find(place, replace(wanted, limit=limit, after=after)))
        total = count(place, wanted)
    except OpenRegError as error:
        fail(error)
    if as_json:
        for one in found:
            typer.echo(one.model_dump_json())
        return
    for line in _lines(found):
        typer.echo(line)
    typer.echo(f"{len(found):,} of {total:,} items")


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="The item's number.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the item as JSON.")] = False,
    url: Url = None,
) -> None:
    """Show one item: its values, what is wrong with it, and what happened to it."""
    from openreg_airflow.exception_queue.listing import get, history

    try:
        one = get(store_url(url), number)
        happened = history(store_url(url), one)
    except OpenRegError as error:
        fail(error)
    if as_json:
        typer.echo(one.model_dump_json(indent=2))
        return
    claimed = f", being resubmitted by {one.claimed_by}" if one.claimed_by else ""
    reported = f" by {one.reported_by}" if one.reported_by else ""
    typer.echo(f"item {one.id}, version {one.version}: {one.state}{reported}{claimed}")
    typer.echo(f"{one.report_id} {one.business_date}, run {one.run_id}, {one.table} {one.name}\n")
    for reason in one.reasons:
        reference = f" [{reason.reference}]" if reason.reference else ""
        typer.echo(f"{reason.rule}{reference}: {reason.message}")
    typer.echo("")
    for line in _values(one):
        typer.echo(line)
    typer.echo("")
    for event in happened:
        said = event.after.get("why") if isinstance(event.after, dict) else None
        typer.echo(
            f"{event.at:%Y-%m-%d %H:%M:%S} {event.actor}: {event.action}"
            + (f" ({said})" if said else "")
        )


@app.command()
def reconcile(
    report: Annotated[str, typer.Argument(help="The report's id.")],
    business_date: Annotated[
        datetime, typer.Option("--business-date", formats=["%Y-%m-%d"], help="The reported day.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
    url: Url = None,
) -> None:
    """Show that in = reported + rejected + pending.

    Exit status 0: it is so. 1: it is not. 2: there are no counts for that date.
    """
    from openreg_airflow.exception_queue.balance import balances

    try:
        found = balances(store_url(url), report, business_date.date())
    except OpenRegError as error:
        fail(error)
    if as_json:
        listed = [b.model_dump() | {"pending": b.pending, "holds": b.holds} for b in found]
        typer.echo(json.dumps(listed, indent=2))
    else:
        for balance in found:
            typer.echo(balance.line())
    if not found:
        typer.secho(f"no run of {report} was counted for that date", err=True)
        raise typer.Exit(2)
    raise typer.Exit(0 if all(balance.holds for balance in found) else 1)


@app.command("give-back")
def give_back_command(  # noqa: PLR0917 - what the command line takes
    report: Annotated[str, typer.Argument(help="The report's id.")],
    run: Annotated[str, typer.Option("--run", help="The id of the failed resubmission's run.")],
    business_date: Annotated[
        datetime, typer.Option("--business-date", formats=["%Y-%m-%d"], help="The reported day.")
    ],
    why: Why,
    force: Annotated[
        bool, typer.Option("--force", help="Also when a delivery of the run was begun.")
    ] = False,
    url: Url = None,
) -> None:
    """Give back what a failed resubmission holds; rather clear its failed task, if that helps."""
    from openreg_airflow.exception_queue.claims import give_back
    from openreg_airflow.records import RunKey
    from openreg_airflow.store.actor import Actor

    key = RunKey(report_id=report, business_date=business_date.date(), run_id=run)
    try:
        rows = give_back(store_url(url), key, Actor.of_command_line(), why, force=force)
    except OpenRegError as error:
        fail(error)
    typer.echo(f"{rows:,} items went back")


def _lines(found: list[Item]) -> Iterator[str]:
    """The items as a table."""
    head = ("item", "report", "date", "record", "state", "rule", "what is wrong")
    rows = [head]
    for one in found:
        reasons = [*one.reasons]
        state = f"{one.state}*" if one.claimed_by else one.state
        more = f" (+{len(reasons) - 1})" if len(reasons) > 1 else ""
        rule, message = (reasons[0].rule, reasons[0].message) if reasons else ("", "")
        text = _short(message) + more
        day = one.business_date.isoformat()
        rows.append((str(one.id), one.report_id, day, _short(one.name), state, rule, text))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _values(one: Item) -> Iterator[str]:
    row, inner = one.amended()
    width = max(map(len, row), default=0)
    for name, value in row.items():
        old = one.values[name]
        before = f"   (was {_told(old)})" if old != value else ""
        yield f"  {name.ljust(width)}  {_told(value)}{before}"
    for table, rows in inner.items():
        for number, below in enumerate(rows, start=1):
            told = ", ".join(f"{name}={_told(value)}" for name, value in below.items())
            yield f"  {table}.{number}: {told}"


def _told(value: Any) -> str:
    return "NULL" if value is None else _short(str(value), 200)


def _short(text: str, most: int = _SHOWN) -> str:
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: 2 * most])
    return text if len(text) <= most else f"{text[: most - 1]}…"
