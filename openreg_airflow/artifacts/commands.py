"""``openreg layout``: begin a layout from the schema of an authority."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError

app = typer.Typer(help="Layouts of XML artifacts.", no_args_is_help=True)


@app.callback()
def _layout() -> None:
    """Layouts of XML artifacts."""


@app.command()
def scaffold(
    schema: Annotated[Path, typer.Argument(help="The XML schema (XSD).", dir_okay=False)],
    root: Annotated[str, typer.Option("--root", help="The document's first element.")],
    table: Annotated[
        str, typer.Option("--table", help="The table whose rows are the records.")
    ] = "records",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file; printed when left out.")
    ] = None,
) -> None:
    """Write a first layout with every element of a schema, to be cut down."""
    from openreg_airflow.artifacts.layouts import layout_scaffold
    from openreg_airflow.artifacts.validity.xsd_model import Schema

    if not schema.is_file():
        fail(f"{schema} is not a file")
    try:
        text = layout_scaffold.scaffold(Schema([schema]), root, table)
    except OpenRegError as error:
        fail(error, 2)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{output} is there already")
    typer.echo(f"wrote {output}")
