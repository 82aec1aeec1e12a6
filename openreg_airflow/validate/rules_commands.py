"""``openreg rules``: what rules can be written with."""

from __future__ import annotations

import typer

app = typer.Typer(help="What rules can be written with.", no_args_is_help=True)


@app.command()
def functions() -> None:
    """Print the reference of the functions of conditions, as Markdown."""
    from openreg_airflow.language.manual import reference

    typer.echo(reference(), nl=False)


@app.command()
def packs() -> None:
    """List the rule packs that reports can include."""
    from openreg_airflow.validate.pack import packs as names

    for name in names():
        typer.echo(name)
