"""``openreg mappings unmapped``: what a report's last run did not find, as files to fill in."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - typer reads it
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.mappings.command_line import DAYS, Tenant, place, told
from openreg_airflow.store.commands import Url  # noqa: TC001 - typer reads it


def unmapped_command(
    *,
    report: Annotated[str, typer.Argument(help="The report's id.")],
    business_date: Annotated[
        datetime | None,
        typer.Option("--business-date", formats=DAYS, help="Of its last run for this day."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--set", help="The set, when the run used several.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The file to write, CSV or .xlsx; standard output when left out."),
    ] = None,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Write the values that a report's last run did not find in a mapping set.

    The file has a line for each, the most frequent first, with a mark where the values go: write
    them there, remove the lines that shall stay unmapped, and give the file to `openreg mappings
    import`, which refuses every line that still has the mark.
    """
    import sys

    from openreg_airflow.errors import MappingError
    from openreg_airflow.mappings.exporting import write_csv, write_file
    from openreg_airflow.mappings.reading import find_set, set_with_id
    from openreg_airflow.mappings.unmapped import lines, run_of, unmapped_of
    from openreg_airflow.store.mapping_runs import MappingRuns

    with told():
        runs = MappingRuns(place(url))
        run = run_of(runs, report, business_date.date() if business_date else None)
        uses = runs.uses(run)
        for use in uses:
            typer.echo(str(use), err=True)
        wanting = list(dict.fromkeys(use.name for use in uses if use.unmapped))
        typer.echo(f"business date {run.business_date}, run {run.run_id}", err=True)
        if name is None and len(wanting) > 1:
            message = f"the run did not find values in several sets: {', '.join(wanting)}"
            fail(MappingError(message, hint="Say which with --set."), 2)
        chosen = name or next(iter(wanting), None)
        if chosen is None:
            typer.echo("every value was found", err=True)
            return
        values = unmapped_of(uses, chosen)
        seen = {one.name: one.set_id for one in runs.snapshots(run)}
        with runs.reading() as connection:
            found = (
                find_set(connection, chosen, tenant)
                if tenant or chosen not in seen
                else set_with_id(connection, seen[chosen])
            )
        missing = lines(found, values)
        if output is None:
            write_csv(sys.stdout, missing)
        else:
            try:
                write_file(output, chosen, missing)
            except OSError as error:
                fail(f"{output} cannot be written: {error.strerror}")
        distinct = sum(use.distinct for use in uses if use.name == chosen)
        if distinct > len(values):
            typer.echo(f"of up to {distinct:,} different values the first are listed", err=True)
        if output is not None:
            typer.echo(f"{len(values):,} values of {chosen} in {output}", err=True)
            whose = f" --tenant {found.tenant}" if found.tenant else ""
            typer.echo(
                f"next: openreg mappings import {found.name} {output}{whose} --dry-run", err=True
            )
