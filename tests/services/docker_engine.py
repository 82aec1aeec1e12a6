"""A real container engine and the real sandbox image.

An engine that answers already is used as it is. Otherwise, as root and with Docker installed, a
private one is started: its own socket and data, no network of any kind, stopped at the end. The
image is built by the code of ``openreg sandbox build --debootstrap`` and kept as a tar file between
runs, named by everything that it is made of.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.transform.build import DEFINITION, build_image
from openreg_airflow.transform.debian_base import SUITE, import_debian
from openreg_airflow.transform.engine import EngineAddress, address_from_environment, connect
from openreg_airflow.transform.image_contract import runner_digest
from tests.services import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import APIClient

_START_SECONDS = 30
_STOP_SECONDS = 30
_KEPT_IMAGES = 2


@dataclass(frozen=True)
class DockerEngine:
    """An engine to test with: where it listens, and a client of it."""

    url: str
    client: APIClient


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """An engine that answers: the machine's own, or one started for this test run."""
    if running := _running_engine():
        yield running
        return
    if os.geteuid() != 0:
        unavailable("no container engine answers, and only root can start one")
    if shutil.which("dockerd") is None:
        unavailable("no container engine answers, and docker.io is not installed")
    with _private_engine() as engine:
        yield engine


def _running_engine() -> DockerEngine | None:
    address = address_from_environment()
    try:
        return DockerEngine(address.url, connect(address))
    except SandboxUnavailableError:
        return None


@contextmanager
def _private_engine() -> Iterator[DockerEngine]:
    folder = Path(tempfile.mkdtemp(prefix="openreg-docker-"))
    url = f"unix://{folder}/docker.sock"
    command = [
        "dockerd", "--host", url, "--data-root", str(folder / "data"),
        "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid"),
        "--bridge", "none", "--iptables=false", "--ip6tables=false",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield DockerEngine(url, _wait_for(url, process, folder / "log"))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
        _unmount_below(folder)
        shutil.rmtree(folder)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> APIClient:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return connect(EngineAddress(url))
        except SandboxUnavailableError:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                unavailable(f"dockerd does not start: {said}")
            time.sleep(0.1)


def _unmount_below(folder: Path) -> None:
    """Network namespaces of ended containers stay mounted when the engine stops."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        target = line.split()[1]
        if target.startswith(f"{folder}/"):
            subprocess.run(["umount", target], check=False)


@pytest.fixture(scope="session")
def sandbox_base(docker_engine: DockerEngine) -> str:
    """The name of a base image made of Debian packages, which the engine has."""
    name = f"openreg-sandbox-base:{SUITE}"
    with _cache() as cache:
        _ensure_base(docker_engine.client, name, cache)
    return name


@pytest.fixture(scope="session")
def sandbox_image(docker_engine: DockerEngine) -> str:
    """The name of the sandbox image of this checkout, which the engine has."""
    client = docker_engine.client
    name = f"openreg-sandbox:test-{_key()}"
    base = f"openreg-sandbox-base:{SUITE}"
    with _cache() as cache:
        if not _has(client, name, cache):
            _ensure_base(client, base, cache)
            build_image(client, name=name, base=base, say=print)
            _keep(client, name, cache)
    return name


@contextmanager
def _cache() -> Iterator[Path]:
    """The folder of kept images; one session builds, the others wait and load what it has kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "openreg-tests"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        except SandboxUnavailableError as error:
            unavailable(f"the sandbox image cannot be built: {error}")


def _ensure_base(client: APIClient, name: str, cache: Path) -> None:
    if not _has(client, name, cache):
        import_debian(client, say=print)
        _keep(client, name, cache)


@pytest.fixture(scope="session")
def sandbox_environment(docker_engine: DockerEngine, sandbox_image: str) -> dict[str, str]:
    """Environment variables with which Airflow runs transforms in that engine and image."""
    return {
        "DOCKER_HOST": docker_engine.url,
        "AIRFLOW__OPENREG__SANDBOX": "docker",
        "AIRFLOW__OPENREG__SANDBOX_IMAGE": sandbox_image,
    }


def _key() -> str:
    digest = hashlib.sha256(f"{SUITE} {runner_digest()}".encode())
    for file in ("Dockerfile", "installer.txt", "requirements.txt"):
        digest.update((DEFINITION / file).read_bytes())
    return digest.hexdigest()[:16]


def _has(client: APIClient, name: str, cache: Path) -> bool:
    """Whether the engine has an image, now if not before."""
    kept = _tar(name, cache)
    if not client.images(name=name) and kept.exists():
        with kept.open("rb") as file:
            client.load_image(file)  # type: ignore[no-untyped-call]
    return bool(client.images(name=name))


def _keep(client: APIClient, name: str, cache: Path) -> None:
    kept = _tar(name, cache)
    partial = kept.with_suffix(".partial")
    with partial.open("wb") as file:
        chunks: Any = client.get_image(name)
        for chunk in chunks:
            file.write(chunk)
    partial.replace(kept)
    built = sorted(cache.glob("openreg-sandbox-test-*.tar"), key=lambda path: path.stat().st_mtime)
    for old in built[:-_KEPT_IMAGES]:
        old.unlink()


def _tar(name: str, cache: Path) -> Path:
    return cache / f"{name.replace(':', '-')}.tar"
