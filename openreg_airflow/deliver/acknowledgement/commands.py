"""``openreg acks``: which deliveries still wait for the authority's answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError

if TYPE_CHECKING:
    from openreg_airflow.store.acknowledgement_records import AcknowledgementOfRun


def acks(
    report: Annotated[str | None, typer.Option("--report", help="Only this report.")] = None,
    business_date: Annotated[
        datetime | None,
        typer.Option(
            "--business-date", "--date", formats=["%Y-%m-%d"], help="Only this business date."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Settled ones too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the files that an answer is still awaited to, the most urgent first.

    Records that are pending at the authority are outstanding too. Files that came and were refused
    are named with the reason. Exit status 1 when an answer is
    overdue or a file was rejected.
    """
    from openreg_airflow import settings
    from openreg_airflow.store.acknowledgement_records import overdue
    from openreg_airflow.store.acknowledgements import Acknowledgements

    try:
        found = Acknowledgements(settings.load().store_url).outstanding(
            report_id=report,
            business_date=business_date.date() if business_date else None,
            everything=everything,
        )
    except OpenRegError as error:
        fail(error)
    if as_json:
        rows = [
            one.model_dump(mode="json") | {"overdue": overdue(one), "untold": one.untold}
            for one in found
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print(found)
    bad = any(overdue(one) or one.state in ("rejected", "corrupted") for one in found)
    raise typer.Exit(bad)


def _print(found: tuple[AcknowledgementOfRun, ...]) -> None:
    from rich.console import Console
    from rich.text import Text

    from openreg_airflow.calendars.cut_off import span
    from openreg_airflow.store.acknowledgement_records import overdue

    # Lines and not a table: names of files and runs stay whole however narrow a terminal is.
    console = Console()
    if not found:
        console.print("no answer is outstanding")
        return
    now = datetime.now(UTC)
    for one in found:
        late = overdue(one, now)
        due = f"OVERDUE by {span(now - one.due_at)}" if late else f"due in {span(one.due_at - now)}"
        state = one.state + (f": {one.untold}" if one.untold else "")
        told = state if one.settled else f"{state}, {due}"
        head = f"{one.report_id} {one.business_date}, route {one.route}: {told}"
        bad = late or one.state in ("rejected", "corrupted")
        console.print(Text(head, "bold red" if bad else "bold"), soft_wrap=True)
        counts = (
            f"{one.sent:,} sent, {one.accepted:,} accepted, {one.rejected:,} rejected, "
            f"{one.pending:,} pending"
        )
        console.print(Text(f"    {one.filename}: {counts}\n    run {one.run_id}"), soft_wrap=True)
        for name, reason in one.refused.items():
            text = f"    {name} came and was refused: {reason}"
            console.print(Text(text, "red"), soft_wrap=True)
