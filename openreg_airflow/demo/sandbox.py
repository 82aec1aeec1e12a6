"""Where the demonstration's transforms run: in the sandbox if there is an engine for it."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

from openreg_airflow.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import APIClient
    from rich.console import Console

    from openreg_airflow.settings import SandboxKind

_WARNING = """\
  The transforms of this demonstration run as plain subprocesses, WITHOUT any fence:
  [openreg] sandbox = unsafe-subprocess. That is for development only. A script could read
  your files and reach your network. With a Docker engine they run in a container.
"""


def image() -> str:
    """The image that the demonstration uses: the configured one, or the usual one."""
    return os.environ.get("AIRFLOW__OPENREG__SANDBOX_IMAGE") or "openreg-sandbox:latest"


def choose_sandbox(console: Console) -> SandboxKind:
    """The container if an engine answers and has, or can build, the image; else a subprocess.

    Only the demonstration does this, and it says so: the product itself never leaves the
    container unless ``[openreg] sandbox`` is set to ``unsafe-subprocess``.
    """
    try:
        _image_ready(console)
    except SandboxUnavailableError as error:
        console.print(f"[bold white on red] NO SANDBOX [/] {error.message}.", highlight=False)
        console.print(_WARNING, style="bold red", markup=False, highlight=False)
        return "unsafe-subprocess"
    console.print(f"[bold]{'Sandbox':<18}[/] container from {image()}")
    return "docker"


def _image_ready(console: Console) -> None:
    from openreg_airflow.transform.engine import address_from_environment, connect
    from openreg_airflow.transform.image_contract import checked_image

    with closing(connect(address_from_environment())) as client:
        try:
            checked_image(client, image())
        except SandboxUnavailableError:
            console.print(f"[bold]{'Sandbox':<18}[/] building {image()}, once")
            _build(client, lambda line: console.print(f"  {line}", highlight=False))


def _build(client: APIClient, say: Callable[[str], None]) -> None:
    """Build on the usual base or, where no registry can be reached, on Debian packages."""
    from openreg_airflow.transform.build import build_image
    from openreg_airflow.transform.debian_base import import_debian

    try:
        build_image(client, name=image(), say=say)
    except SandboxUnavailableError as error:
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            raise
        say(f"{error.message}; making a base from Debian packages")
        build_image(client, name=image(), base=import_debian(client, say=say), say=say)
