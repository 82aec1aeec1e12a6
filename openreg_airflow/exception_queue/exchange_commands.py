"""``openreg exceptions export`` and ``import``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError
from openreg_airflow.exception_queue.options import Filter, filtered, said_progress
from openreg_airflow.store.commands import Url, store_url

app = typer.Typer()


@app.command()
@filtered
def export(
    file: Annotated[Path, typer.Argument(help="CSV file to write; - for the output.")],
    *,
    items: Filter,
    url: Url = None,
) -> None:
    """Write items as CSV, to be corrected in a spreadsheet and read back with import."""
    from openreg_airflow.exception_queue.exchange import write_csv

    wanted = items.wanted()
    try:
        if str(file) == "-":
            write_csv(store_url(url), wanted, sys.stdout)
            return
        # With its mark, spreadsheets know that the file is UTF-8.
        with file.open("w", encoding="utf-8-sig", newline="") as target:
            rows = write_csv(store_url(url), wanted, target)
    except OpenRegError as error:
        fail(error)
    except OSError as error:
        fail(f"{file} cannot be written: {error}")
    typer.echo(f"{rows:,} items are in {file}")


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A corrected file of export.")],
    why: Annotated[
        str | None, typer.Option("--why", help="The reason of lines that give none.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change; change nothing.")
    ] = False,
    url: Url = None,
) -> None:
    """Do what a corrected CSV file asks for, all of it or nothing.

    Exit status 0: done, or with --dry-run possible. 1: lines are wrong, and nothing was changed.
    """
    from openreg_airflow.exception_queue.exchange import apply, read_csv
    from openreg_airflow.store.actor import Actor

    try:
        with file.open(encoding="utf-8-sig", newline="") as source, said_progress():
            found = read_csv(store_url(url), source, why)
        for fault in found.faults:
            typer.secho(fault, err=True, fg=typer.colors.RED)
        asked = ", ".join(f"{found.decided(a):,} to {a}" for a in ("amend", "reject", "release"))
        typer.echo(f"{asked}; {found.unchanged:,} unchanged, {found.faulty:,} lines wrong")
        if found.faulty:
            raise typer.Exit(1)
        if dry_run:
            return
        with said_progress():
            apply(store_url(url), found, Actor.of_command_line())
    except OpenRegError as error:
        fail(error)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}")
    typer.echo("done")
