"""What a task expects of a sandbox image, and the runner that the image must carry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.transform.runner.identity import digest

if TYPE_CHECKING:
    from docker import APIClient

#: The interpreter in the image, and the runner's module name there.
PYTHON = "/opt/openreg/bin/python"
RUNNER = "openreg_runner"
#: Image label: which runner is inside.
RUNNER_LABEL = "org.openreg.sandbox.runner"
RUNNER_FOLDER = Path(__file__).parent / "runner"
_BUILD = "Build it with:  openreg sandbox build"


def runner_digest() -> str:
    """SHA-256 over the names and bytes of the runner's modules."""
    return digest(RUNNER_FOLDER)


def checked_image(client: APIClient, name: str, how: str = _BUILD) -> str:
    """The id of the sandbox image, if it is there and carries the runner of this version.

    Args:
        client: the engine.
        name: the image's name.
        how: the way to build it, for the error.

    Raises:
        SandboxUnavailableError: it is not there, or was built by another version.
    """
    from docker.errors import NotFound

    try:
        found = client.inspect_image(name)  # type: ignore[no-untyped-call]
    except NotFound as error:
        message = f"there is no sandbox image {name}"
        raise SandboxUnavailableError(message, hint=how) from error
    inside = (found["Config"].get("Labels") or {}).get(RUNNER_LABEL)
    if inside != runner_digest():
        message = f"the sandbox image {name} was not built by this version of the product"
        raise SandboxUnavailableError(message, hint=how)
    return str(found["Id"])
