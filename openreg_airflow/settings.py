"""The ``[openreg]`` section of Airflow's configuration, read once into one plain object.

Every option may be set as in Airflow: in ``airflow.cfg``, by an environment variable such as
``AIRFLOW__OPENREG__WORKSPACE``, and, for the sensitive ones, by a command or a secrets backend.
:mod:`openreg_airflow.provider` declares the options with their defaults.
"""

from __future__ import annotations

import os
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from openreg_airflow.pools import Slots

#: Modules that a transform may import when the admin says nothing else.
SANDBOX_IMPORTS = "pandas numpy pyarrow lxml dateutil stdlib"

#: The most that a spec may ask of each limit when the admin says nothing else.
BOUNDS = {
    "memory_mb": "4096",
    "cpus": "2",
    "seconds": "3600",
    "processes": "256",
    "tmp_mb": "1024",
    "output_mb": "8192",
}

SandboxKind = Literal["docker", "kubernetes", "unsafe-subprocess"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an admin decides for the whole installation.

    Attributes:
        spec_folders: folders that hold one folder a report.
        workspace: root URI or path of the files of all runs.
        workspace_conn_id: Airflow connection for a remote workspace.
        store_url: SQLAlchemy URL of the product's own tables.
        schema_folders: where XSD files of authorities are looked for.
        sandbox: ``docker`` or ``kubernetes``; ``unsafe-subprocess`` is for development and has no
            fence.
        sandbox_image: image in which transforms run.
        docker_conn_id: Airflow connection of the engine; the local engine when None.
        kubernetes_conn_id: Airflow connection of the cluster; the one that the worker runs in, or
            that its kubeconfig names, when None.
        kubernetes_namespace: namespace of the sandbox's pods.
        kubernetes_pod_template: a file that says where pods run.
        kubernetes_seccomp_profile: a profile on the nodes; the runtime's own when None.
        sandbox_imports: modules that a transform may import.
        sandbox_packages: packages that a spec may ask for, as ``name`` or ``name==version``.
        artifact_threads: how many files of one artifact are written at a time.
        retention_days: how long files of artifacts are kept that nobody waits for any more; 0
            keeps them for good.
        source_pool_slots: how many tasks may read one source connection at a time, each
            connection in an Airflow pool of its own; 0 leaves it to the specs.
        destination_pool_slots: how many tasks may deliver over one connection at a time, likewise.
        source_folders: folders of the worker's own disk that file sources may read.
        max_memory_mb, max_cpus, max_seconds, max_processes, max_tmp_mb, max_output_mb: upper
            bounds for the limits in a spec.
    """

    spec_folders: tuple[Path, ...]
    workspace: str
    workspace_conn_id: str | None
    store_url: str
    schema_folders: tuple[Path, ...]
    sandbox: SandboxKind
    sandbox_image: str
    docker_conn_id: str | None
    sandbox_imports: tuple[str, ...]
    sandbox_packages: tuple[str, ...]
    max_memory_mb: int
    max_cpus: float
    max_seconds: int
    max_processes: int
    max_tmp_mb: int
    max_output_mb: int
    source_pool_slots: int = 0
    destination_pool_slots: int = 0
    artifact_threads: int = 1
    retention_days: int = 0
    source_folders: tuple[Path, ...] = ()
    kubernetes_conn_id: str | None = None
    kubernetes_namespace: str = "openreg-sandbox"
    kubernetes_pod_template: str | None = None
    kubernetes_seccomp_profile: str | None = None

    @property
    def pool_slots(self) -> Slots:
        """Slots of the pools that connections are given."""
        return Slots(source=self.source_pool_slots, destination=self.destination_pool_slots)


def airflow_home() -> Path:
    """Airflow's home folder, as Airflow itself determines it."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


def load() -> Settings:
    """Read the settings from Airflow's configuration.

    Raises:
        openreg_airflow.errors.SpecError: an option has a value that is not allowed, or cannot be
            read.
    """
    from airflow.sdk.configuration import conf

    from openreg_airflow.errors import SpecError

    def text(option: str, default: str = "") -> str:
        try:
            found = conf.get("openreg", option, fallback=default)
        except Exception as error:  # commands and secrets backends fail in any way they like
            message = f"[openreg] {option} cannot be read: {type(error).__name__}"
            hint = f"Try the command of {option}_cmd, or the secrets backend, by hand."
            raise SpecError(message, hint=hint) from error
        # A command, as of `store_url_cmd`, ends its answer with a line end.
        return str(found or "").strip() or default

    home = airflow_home()
    sandbox = text("sandbox", "docker")
    if sandbox not in get_args(SandboxKind):
        message = f"[openreg] sandbox is {sandbox!r}"
        hint = "Set it to docker or kubernetes, or to unsafe-subprocess for development."
        raise SpecError(message, hint=hint)
    return Settings(
        spec_folders=paths(text("spec_folders")) or (home / "report_specs",),
        workspace=text("workspace") or str(home / "openreg" / "workspace"),
        workspace_conn_id=text("workspace_conn_id") or None,
        store_url=text("store_url") or f"sqlite:///{home / 'openreg' / 'store.db'}",
        schema_folders=paths(text("schema_folders")),
        sandbox=sandbox,  # type: ignore[arg-type]
        sandbox_image=text("sandbox_image", "openreg-sandbox:latest"),
        docker_conn_id=text("docker_conn_id") or None,
        kubernetes_conn_id=text("kubernetes_conn_id") or None,
        kubernetes_namespace=text("kubernetes_namespace", "openreg-sandbox"),
        kubernetes_pod_template=text("kubernetes_pod_template") or None,
        kubernetes_seccomp_profile=text("kubernetes_seccomp_profile") or None,
        sandbox_imports=names(text("sandbox_imports", SANDBOX_IMPORTS)),
        sandbox_packages=names(text("sandbox_packages")),
        source_pool_slots=int(text("source_pool_slots", "0")),
        destination_pool_slots=int(text("destination_pool_slots", "0")),
        artifact_threads=int(text("artifact_threads", "1")),
        retention_days=int(text("retention_days", "0")),
        source_folders=paths(text("source_folders")),
        max_memory_mb=int(text("max_memory_mb", BOUNDS["memory_mb"])),
        max_cpus=float(text("max_cpus", BOUNDS["cpus"])),
        max_seconds=int(text("max_seconds", BOUNDS["seconds"])),
        max_processes=int(text("max_processes", BOUNDS["processes"])),
        max_tmp_mb=int(text("max_tmp_mb", BOUNDS["tmp_mb"])),
        max_output_mb=int(text("max_output_mb", BOUNDS["output_mb"])),
    )


def without_airflow(option: str, default: str) -> str:
    """A plain option as Airflow would give it, for commands that do without Airflow.

    Args:
        option: name of an option of ``[openreg]`` that takes no command and no secrets backend.
        default: what counts when neither the environment nor ``airflow.cfg`` has it.
    """
    if value := os.environ.get(f"AIRFLOW__OPENREG__{option.upper()}"):
        return value
    file = Path(os.environ.get("AIRFLOW_CONFIG") or airflow_home() / "airflow.cfg").expanduser()
    parser = ConfigParser(interpolation=None, strict=False)
    parser.read(file, encoding="utf-8")
    return parser.get("openreg", option, fallback="") or default


def names(text: str) -> tuple[str, ...]:
    """Names separated by spaces or commas."""
    return tuple(text.replace(",", " ").split())


def paths(text: str) -> tuple[Path, ...]:
    """Folders separated by the system's path separator, as in ``PATH``."""
    return tuple(Path(part).expanduser() for part in text.split(os.pathsep) if part.strip())
