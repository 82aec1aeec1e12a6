"""``openreg sandbox``: build the image in which transforms run, and say what state it is in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail, find_report
from openreg_airflow.errors import OpenRegError, SandboxUnavailableError

if TYPE_CHECKING:
    from openreg_airflow.settings import Settings
    from openreg_airflow.transform.engine import EngineAddress

app = typer.Typer(help="The image in which transforms run.", no_args_is_help=True)

Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of the image; [openreg] sandbox_image when not given."),
]


@app.command()
def build(  # noqa: PLR0917 - what the command line takes
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
    report: Annotated[
        str | None,
        typer.Option("--for", help="A report: build the image with its packages instead."),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option("--wheels", help="With --for: folder of wheels; pip's index when not given."),
    ] = None,
) -> None:
    """Build the sandbox image; wheels are fetched with pip, the build itself has no network."""
    if report is not None:
        if base or debootstrap or mirror:
            message = "--for builds on the sandbox image; it takes no base"
            raise typer.BadParameter(message)
        _build_for(report, name, wheels)
        return
    from openreg_airflow.transform.build import DEFAULT_BASE, build_image
    from openreg_airflow.transform.debian_base import import_debian
    from openreg_airflow.transform.engine import connect

    if wheels is not None:
        message = "--wheels holds a report's packages; name the report with --for"
        raise typer.BadParameter(message)
    if mirror and not debootstrap:
        message = "--mirror is where --debootstrap gets Debian packages; name both"
        raise typer.BadParameter(message)
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
        fail(error)
    typer.secho(f"{image} is ready: {digest}", fg=typer.colors.GREEN)


def _build_for(report: str, name: str | None, wheels: Path | None) -> None:
    from dag_factory.load import load
    from openreg_airflow.transform.engine import connect
    from openreg_airflow.transform.package_build import build_for_packages
    from openreg_airflow.transform.packages import check_allowed, image_name

    try:
        settings, address = _installation()
        spec = load(find_report(report))
        packages = spec.transform.packages if spec.transform else {}
        if not packages:
            typer.echo(f"{spec.id} asks for no packages: it runs in the sandbox image itself")
            return
        check_allowed(packages, settings.sandbox_packages)
        base = name or settings.sandbox_image
        client = connect(address)
        digest = build_for_packages(client, packages, base=base, wheels=wheels, say=typer.echo)
    except OpenRegError as error:
        fail(error)
    typer.secho(f"{image_name(base, packages)} is ready: {digest}", fg=typer.colors.GREEN)


@app.command("list")
def list_images() -> None:
    """List the sandbox images of the engine, with their packages and whether they are current."""
    from openreg_airflow.transform.engine import connect, engine_errors
    from openreg_airflow.transform.image_contract import RUNNER_LABEL, runner_digest
    from openreg_airflow.transform.packages import PACKAGES_LABEL

    try:
        _, address = _installation()
        client = connect(address)
        with engine_errors("listing images"):
            found = client.images(filters={"label": RUNNER_LABEL})
    except OpenRegError as error:
        fail(error)
    for image in sorted(found, key=lambda one: one.get("RepoTags") or []):
        labels = image["Labels"]
        current = "current" if labels[RUNNER_LABEL] == runner_digest() else "outdated"
        packages = json.loads(labels.get(PACKAGES_LABEL) or "{}")
        listed = " ".join(f"{name}=={version}" for name, version in packages.items()) or "-"
        for tag in image.get("RepoTags") or ["<none>"]:
            size = image["Size"] >> 20
            typer.echo(f"{tag}  {image['Id'][7:19]}  {size} MiB  {current}  {listed}")


@app.command()
def status(name: Name = None) -> None:
    """Say where the engine is and whether its image fits; exit status 1 when it does not."""
    from openreg_airflow.transform.engine import connect
    from openreg_airflow.transform.image_contract import checked_image

    try:
        settings, address = _installation()
        image = name or settings.sandbox_image
        typer.echo(f"sandbox   {settings.sandbox}")
        if settings.sandbox == "kubernetes":
            _cluster_status(settings, image)
            return
        typer.echo(f"engine    {address.url}")
        client = connect(address)
        version = client.version()
        typer.echo(f"version   {version['Version']} (API {version['ApiVersion']})")
        typer.echo(f"image     {image}")
        typer.echo(f"digest    {checked_image(client, image)}")
    except SandboxUnavailableError as error:
        fail(error, 1)
    except OpenRegError as error:
        fail(error)


def _cluster_status(settings: Settings, image: str) -> None:
    from openreg_airflow.transform.kubernetes.line import cluster_errors
    from openreg_airflow.transform.kubernetes.rendering import SANDBOX
    from openreg_airflow.transform.operator import cluster_client

    namespace = settings.kubernetes_namespace
    typer.echo(f"namespace {namespace}")
    typer.echo(f"image     {image}")
    with cluster_errors("the Kubernetes cluster"):
        client = cluster_client(settings)
        typer.echo(f"cluster   {client.api_client.configuration.host}")
        found = client.list_namespaced_pod(namespace, label_selector=f"{SANDBOX}=true").items
    typer.echo(f"pods      {len(found)}")


@app.command()
def seccomp() -> None:
    """Print the seccomp profile for a cluster's nodes; see kubernetes_seccomp_profile."""
    from openreg_airflow.transform.seccomp import node_profile

    typer.echo(node_profile())


def _installation() -> tuple[Settings, EngineAddress]:
    from openreg_airflow import settings
    from openreg_airflow.transform.operator import engine_address

    found = settings.load()
    return found, engine_address(found.docker_conn_id)
