"""A base image straight from Debian packages, where no image registry can be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, cast

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.scratch import scratch_folder
from openreg_airflow.transform.engine import engine_errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker import APIClient

#: The Debian release of the base; 12 has Python 3.11.
SUITE = "bookworm"
#: Not needed at run time, and about a third of the size.
_LEFT_OUT = (
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
    "./usr/share/doc/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
)


def import_debian(
    client: APIClient,
    *,
    suite: str = SUITE,
    mirror: str | None = None,
    say: Callable[[str], None],
) -> str:
    """Make a base image with debootstrap; only root can.

    Args:
        client: the engine.
        suite: name of the Debian release.
        mirror: URL of a Debian archive; when None, the one that this machine's apt uses for the
            suite, or else debootstrap's own.
        say: is told of the progress.

    Returns:
        The name of the image.

    Raises:
        SandboxUnavailableError: debootstrap is missing or fails.
    """
    if shutil.which("debootstrap") is None:
        message = "debootstrap is not installed"
        raise SandboxUnavailableError(message, hint="apt-get install debootstrap")
    if os.geteuid() != 0:
        message = "debootstrap needs root"
        raise SandboxUnavailableError(message, hint="Run this as root, or name an image by --base.")
    name = f"openreg-sandbox-base:{suite}"
    source = mirror or mirror_of(suite, _apt_sources())
    with scratch_folder() as parent:
        root = parent / "root"
        say(f"debootstrap {suite}: about a minute")
        _debootstrap(suite, root, source)
        say(f"importing {name}")
        with engine_errors(f"importing {name}"):
            _import(client, root, name)
    return name


def mirror_of(suite: str, sources: str) -> str | None:
    """The archive that apt takes a suite from.

    Args:
        suite: name of the Debian release.
        sources: lines of a URI, a release's name and a component.
    """
    for line in sources.splitlines():
        match line.split():
            case [uri, release, "main"] if release == suite:
                return uri
    return None


def _apt_sources() -> str:
    if shutil.which("apt-get") is None:
        return ""
    done = subprocess.run(
        [
            "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return done.stdout


def _debootstrap(suite: str, root: Path, mirror: str | None) -> None:
    command = ["debootstrap", "--variant=minbase", "--include=python3", suite, str(root)]
    done = subprocess.run(
        [*command, mirror] if mirror else command, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        message = f"debootstrap {suite} failed: {said}"
        raise SandboxUnavailableError(message, hint="It must reach a Debian archive from here.")


def _import(client: APIClient, root: Path, name: str) -> None:
    repository, _, tag = name.partition(":")
    excluded = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    command = ["tar", "--numeric-owner", "--create", "--directory", str(root), *excluded, "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
        client.import_image(
            src=cast("Any", tar.stdout),
            repository=repository,
            tag=tag,
            changes=["ENV LANG=C.UTF-8"],
            stream_src=True,
        )
    if tar.returncode:
        message = f"tar of the Debian base ended with status {tar.returncode}"
        raise SandboxUnavailableError(message)
