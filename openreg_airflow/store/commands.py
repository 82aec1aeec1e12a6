"""``openreg db``: make the store's tables and say what state they are in."""

from __future__ import annotations

from typing import Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError

app = typer.Typer(help="The product's own tables.", no_args_is_help=True)

Url = Annotated[
    str | None,
    typer.Option(
        help="SQLAlchemy URL of the store; [openreg] store_url when not given.",
        envvar="OPENREG_STORE_URL",
        show_envvar=False,
    ),
]


@app.command()
def upgrade(url: Url = None) -> None:
    """Create the tables or bring them to this version; safe to run twice."""
    from openreg_airflow.store import schema

    try:
        before, after = schema.upgrade(store_url(url))
    except OpenRegError as error:
        fail(error)
    if before == after:
        typer.echo(f"The store is up to date: revision {after}.")
    else:
        typer.echo(f"The store is now at revision {after} (before: {before or 'no tables'}).")


@app.command()
def status(url: Url = None) -> None:
    """Say where the store is and whether its tables fit; exit status 1 when they do not."""
    from openreg_airflow.store import schema
    from openreg_airflow.store.engine import parse_url, shown

    try:
        place = store_url(url)
        found = schema.current(place)
        typer.echo(f"store     {shown(parse_url(place))}")
    except OpenRegError as error:
        fail(error)
    typer.echo(f"revision  {found or 'no tables'}")
    typer.echo(f"needed    {schema.REVISION}")
    if found != schema.REVISION:
        newer = found is not None and found > schema.REVISION
        typer.echo(
            "Install the newer openreg-airflow that made it."
            if newer
            else "Run: openreg db upgrade",
            err=True,
        )
        raise typer.Exit(1)


def store_url(given: str | None) -> str:
    """The URL that was given, or that of the configuration."""
    if given:
        return given
    from openreg_airflow import settings

    return settings.load().store_url
