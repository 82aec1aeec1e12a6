"""``openreg sandbox``: build the image in which transforms run, and say what state it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from openreg_airflow.errors import OpenRegError

if TYPE_CHECKING:
    from openreg_airflow.settings import Settings
    from openreg_airflow.transform.engine import EngineAddress

app = typer.Typer(help="The image in which transforms run.", no_args_is_help=True)

Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of the image; [openreg] sandbox_image when not given."),
]


@app.command()
def build(
    base: Annotated[
        str | None, typer.Option("--base", help="Image with Python 3.11 or newer on glibc.")
    ] = None,
    debootstrap: Annotated[
        bool,
        typer.Option(
            "--debootstrap",
            help="Make the base from Debian packages, where no image registry can be reached. "
            "Needs root.",
        ),
    ] = False,
    mirror: Annotated[
        str | None,
        typer.Option("--mirror", help="Debian archive for --debootstrap; apt's when not given."),
    ] = None,
    name: Name = None,
) -> None:
    """Build the sandbox image; wheels are fetched with pip, the build itself has no network."""
    from openreg_airflow.transform.build import DEFAULT_BASE, build_image
    from openreg_airflow.transform.debian_base import import_debian
    from openreg_airflow.transform.engine import connect

    if debootstrap and base:
        message = "--debootstrap makes a base; it cannot be used with --base"
        raise typer.BadParameter(message)
    try:
        settings, address = _installation()
        client = connect(address)
        if debootstrap:
            base = import_debian(client, mirror=mirror, say=typer.echo)
        image = name or settings.sandbox_image
        digest = build_image(client, name=image, base=base or DEFAULT_BASE, say=typer.echo)
    except OpenRegError as error:
        _fail(error)
    typer.secho(f"{image} is ready: {digest}", fg=typer.colors.GREEN)


@app.command()
def status(name: Name = None) -> None:
    """Say where the engine is and whether its image fits; exit status 1 when it does not."""
    from openreg_airflow.transform.engine import connect
    from openreg_airflow.transform.image_contract import checked_image

    try:
        settings, address = _installation()
        image = name or settings.sandbox_image
        typer.echo(f"sandbox   {settings.sandbox}")
        typer.echo(f"engine    {address.url}")
        client = connect(address)
        version = client.version()
        typer.echo(f"version   {version['Version']} (API {version['ApiVersion']})")
        typer.echo(f"image     {image}")
        typer.echo(f"digest    {checked_image(client, image)}")
    except OpenRegError as error:
        _fail(error)


def _installation() -> tuple[Settings, EngineAddress]:
    from openreg_airflow import settings
    from openreg_airflow.transform.operator import engine_address

    found = settings.load()
    return found, engine_address(found.docker_conn_id)


def _fail(error: OpenRegError) -> NoReturn:
    typer.secho(str(error), err=True, fg=typer.colors.RED)
    raise typer.Exit(1) from error
