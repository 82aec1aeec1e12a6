"""The ``[openreg]`` section of Airflow's configuration, read once into one plain object.

Every option may be set as in Airflow: in ``airflow.cfg``, by an environment variable such as
``AIRFLOW__OPENREG__WORKSPACE``, and, for the sensitive ones, by a command or a secrets backend.
:mod:`openreg_airflow.provider` declares the options with their defaults.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SandboxKind = Literal["docker", "unsafe-subprocess"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an admin decides for the whole installation.

    Attributes:
        spec_folders: folders that hold one folder a report.
        workspace: root URI or path of the files of all runs.
        workspace_conn_id: Airflow connection for a remote workspace.
        store_url: SQLAlchemy URL of the product's own tables.
        schema_folders: where XSD files of authorities are looked for.
        sandbox: ``docker``; ``unsafe-subprocess`` is for development and has no fence.
        sandbox_image: image in which transforms run.
        docker_conn_id: Airflow connection of the engine; the local engine when None.
        max_memory_mb, max_cpus, max_seconds: upper bounds for the limits in a spec.
    """

    spec_folders: tuple[Path, ...]
    workspace: str
    workspace_conn_id: str | None
    store_url: str
    schema_folders: tuple[Path, ...]
    sandbox: SandboxKind
    sandbox_image: str
    docker_conn_id: str | None
    max_memory_mb: int
    max_cpus: float
    max_seconds: int


def airflow_home() -> Path:
    """Airflow's home folder, as Airflow itself determines it."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


def load() -> Settings:
    """Read the settings from Airflow's configuration.

    Raises:
        openreg_airflow.errors.SpecError: an option has a value that is not allowed.
    """
    from airflow.sdk.configuration import conf

    from openreg_airflow.errors import SpecError

    def text(option: str, default: str = "") -> str:
        return str(conf.get("openreg", option, fallback=default) or default)

    home = airflow_home()
    sandbox = text("sandbox", "docker")
    if sandbox not in ("docker", "unsafe-subprocess"):
        message = f"[openreg] sandbox is {sandbox!r}"
        raise SpecError(message, hint="Set it to docker, or to unsafe-subprocess for development.")
    return Settings(
        spec_folders=paths(text("spec_folders")) or (home / "report_specs",),
        workspace=text("workspace") or str(home / "openreg" / "workspace"),
        workspace_conn_id=text("workspace_conn_id") or None,
        store_url=text("store_url") or f"sqlite:///{home / 'openreg' / 'store.db'}",
        schema_folders=paths(text("schema_folders")),
        sandbox=sandbox,  # type: ignore[arg-type]
        sandbox_image=text("sandbox_image", "openreg-sandbox:latest"),
        docker_conn_id=text("docker_conn_id") or None,
        max_memory_mb=int(text("max_memory_mb", "4096")),
        max_cpus=float(text("max_cpus", "2")),
        max_seconds=int(text("max_seconds", "3600")),
    )


def paths(text: str) -> tuple[Path, ...]:
    """Folders separated by the system's path separator, as in ``PATH``."""
    return tuple(Path(part).expanduser() for part in text.split(os.pathsep) if part.strip())
