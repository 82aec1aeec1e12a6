"""``openreg cache``: the results of queries that reports share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from openreg_airflow.errors import OpenRegError

app = typer.Typer(help="Results of queries that reports share.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Results of queries that reports share."""


@app.command("list")
def list_command() -> None:
    """Show what is in the cache, the newest first."""
    from rich.console import Console
    from rich.table import Table

    from openreg_airflow import settings
    from openreg_airflow.command_line import fail
    from openreg_airflow.store.source_cache import SourceCache

    try:
        results = SourceCache(settings.load().store_url).results()
    except OpenRegError as error:
        fail(error)
    table = Table("connection", "business date", "read at", "until", "rows", "bytes", "by")
    for result in results:
        origin = result.origin
        table.add_row(
            result.connection,
            origin.business_date.isoformat(),
            f"{origin.read_at:%Y-%m-%d %H:%M:%S}Z",
            f"{result.keep_until:%Y-%m-%d %H:%M:%S}Z",
            str(result.file.rows),
            str(result.file.bytes),
            f"{origin.report_id}, {origin.source}",
        )
    console = Console()
    if results:
        console.print(table)
    console.print(f"{len(results)} results", highlight=False)


@app.command()
def drop(
    connection: Annotated[
        str | None, typer.Option(help="Only what was read from this connection.")
    ] = None,
    expired: Annotated[bool, typer.Option("--expired", help="Only what is out of date.")] = False,
) -> None:
    """Remove results, so that the next run reads anew.

    What is out of date is never used, and goes by itself when the next result is shared.
    """
    from openreg_airflow import settings
    from openreg_airflow.command_line import fail
    from openreg_airflow.extract.cache import remove_files
    from openreg_airflow.stage import open_workspace
    from openreg_airflow.store.source_cache import SourceCache

    try:
        found = settings.load()
        results = SourceCache(found.store_url).take_out(
            expired_at=datetime.now(UTC) if expired else None, connection_id=connection
        )
        remove_files(open_workspace(found), list(results))
    except (OpenRegError, OSError) as error:
        fail(error)
    typer.echo(f"{len(results)} results dropped")
