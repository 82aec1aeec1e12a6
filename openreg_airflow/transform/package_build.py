"""Building the image for a report's packages: on the sandbox image, offline, from wheels."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.scratch import scratch_folder
from openreg_airflow.transform.build import (
    DEFINITION,
    Interpreter,
    applicable,
    build_context,
    download,
    interpreter_of,
)
from openreg_airflow.transform.engine import engine_errors
from openreg_airflow.transform.image_contract import PYTHON, checked_image
from openreg_airflow.transform.packages import (
    PACKAGES_LABEL,
    WHEELS_LABEL,
    canonical,
    image_name,
    spelled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker import APIClient


def build_for_packages(
    client: APIClient,
    packages: Mapping[str, str],
    *,
    base: str,
    wheels: Path | None,
    say: Callable[[str], None],
) -> str:
    """Build the image for a set of packages.

    Args:
        client: the engine.
        packages: exact versions by name; whether they are allowed is up to the caller.
        base: name of the sandbox image.
        wheels: folder with the packages' wheels; pip's index when None.
        say: is told of the progress.

    Returns:
        The id of the image, whose name is :func:`~openreg_airflow.transform.packages.image_name`.

    Raises:
        SandboxUnavailableError: the base or a wheel cannot be had, or the set is not whole.
    """
    name = image_name(base, packages)
    with engine_errors(f"building {name}"):
        checked_image(client, base)
        interpreter = interpreter_of(client, base, PYTHON)
        with scratch_folder() as context:
            shutil.copy(DEFINITION / "packages.Dockerfile", context / "Dockerfile")
            found = _wheels(context, packages, interpreter, wheels, say)
            labels = {PACKAGES_LABEL: spelled(packages), WHEELS_LABEL: json.dumps(found)}
            build_context(client, context, name=name, base=base, labels=labels, say=say)
        return checked_image(client, name)


def _wheels(
    context: Path,
    packages: Mapping[str, str],
    interpreter: Interpreter,
    source: Path | None,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Fetch the wheels; give the SHA-256 of each."""
    folder = context / "wheels"
    pins = context / "packages.txt"
    pins.write_text("".join(f"{canonical(n)}=={v}\n" for n, v in packages.items()))
    say(f"fetching the wheels of {len(packages)} packages")
    download(pins, folder, interpreter, source=source, hashed=False)
    found = {
        wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()
        for wheel in sorted(folder.glob("*.whl"))
    }
    if len(found) != len(packages):
        message = f"{len(packages)} packages gave {len(found)} wheels: {', '.join(found)}"
        raise SandboxUnavailableError(message)
    installer = (DEFINITION / "installer.txt").read_text(encoding="utf-8")
    (context / "installer.txt").write_text(applicable(installer, interpreter.version))
    offline = source if source and any(source.glob("pip-*.whl")) else None
    download(context / "installer.txt", folder, interpreter, source=offline)
    return found
