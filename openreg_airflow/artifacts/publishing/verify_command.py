"""``openreg verify``: hold the files of artifacts against their record."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError

_RED = typer.colors.RED


def verify(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Ids of runs; all when none is given.")
    ] = None,
    report: Annotated[str | None, typer.Option("--report", help="Only this report.")] = None,
    business_date: Annotated[
        datetime | None,
        typer.Option(
            "--business-date", "--date", formats=["%Y-%m-%d"], help="Only this business date."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong.")] = False,
) -> None:
    """Read the files of artifacts again and compare them with what was recorded of them.

    Exit status 1 when a file was changed or is gone, 2 when there is nothing to verify. Files
    that the retention policy removed are named and count as right.
    """
    from openreg_airflow import settings
    from openreg_airflow.artifacts.publishing.verify import verify as read
    from openreg_airflow.stage import open_workspace
    from openreg_airflow.store.artifact_history import ArtifactHistory

    wrong = seen = 0
    try:
        here = settings.load()
        workspace = open_workspace(here)
        day = business_date.date() if business_date else None
        for kept in ArtifactHistory(here.store_url).find(
            runs=runs or (), report=report, business_date=day
        ):
            run = f"{kept.run.report_id} {kept.run.business_date} {kept.run.run_id}"
            if kept.removed_at is not None:
                if not quiet:
                    typer.echo(f"removed  {run}: {kept.artifact.name}, by the retention policy")
                seen += len(kept.artifact.files)
                continue
            for found in read(workspace, kept.artifact):
                seen += 1
                if found.state == "ok":
                    if not quiet:
                        typer.echo(f"ok       {run}: {found.filename}")
                    continue
                wrong += 1
                typer.secho(f"changed  {run}: {found.filename}: {found.message}", fg=_RED)
    except OpenRegError as error:
        fail(error, 2)
    if not seen:
        typer.echo("There is no recorded file to verify.", err=True)
        raise typer.Exit(2)
    typer.echo(f"{seen} files, {wrong} changed")
    if wrong:
        raise typer.Exit(1)
