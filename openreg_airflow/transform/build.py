"""Building the sandbox image: wheels are fetched here, the image is made without a network."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.scratch import scratch_folder
from openreg_airflow.transform.engine import engine_errors
from openreg_airflow.transform.image_contract import RUNNER_FOLDER, RUNNER_LABEL, runner_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker import APIClient

#: Dockerfile and pinned requirements.
DEFINITION = Path(__file__).parent / "image"
#: The base when none is named, as the Dockerfile has it.
DEFAULT_BASE = "python:3.13-slim-bookworm"
_OLDEST_PYTHON = (3, 11)
_OLDEST_GLIBC = 17
_BUILD_SECONDS = 1800
_PROBE = (
    "import json, platform, sys; "
    "print(json.dumps([sys.version_info[:3], platform.machine(), platform.libc_ver()]))"
)
_NO_BASE = "Name an image with Python by --base, or make one from Debian packages by --debootstrap."


@dataclass(frozen=True)
class Interpreter:
    """The Python of a base image, as far as the choice of wheels depends on it.

    Attributes:
        version: of Python.
        machine: processor architecture, as in ``x86_64``.
        glibc: minor version of the C library, 36 for 2.36.
    """

    version: tuple[int, int, int]
    machine: str
    glibc: int

    @property
    def platforms(self) -> list[str]:
        """The platform tags of wheels that it can load, the newest first."""
        newest_first = range(self.glibc, _OLDEST_GLIBC - 1, -1)
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in newest_first]
        return [*tags, f"manylinux2014_{self.machine}"]


def build_image(
    client: APIClient, *, name: str, base: str = DEFAULT_BASE, say: Callable[[str], None]
) -> str:
    """Build the sandbox image.

    Args:
        client: the engine.
        name: name and tag of the result.
        base: image with Python; pulled when the engine does not have it.
        say: is told of the progress, line by line.

    Returns:
        The id of the image.

    Raises:
        SandboxUnavailableError: the base, the wheels or the engine cannot be had.
    """
    with engine_errors(f"building {name}"):
        _have(client, base, say)
        interpreter = interpreter_of(client, base)
        say(f"base {base}: Python {'.'.join(map(str, interpreter.version))}")
        with scratch_folder() as context:
            _fill(context, interpreter, say)
            labels = {RUNNER_LABEL: runner_digest()}
            build_context(client, context, name=name, base=base, labels=labels, say=say)
        return str(client.inspect_image(name)["Id"])  # type: ignore[no-untyped-call]


def _have(client: APIClient, base: str, say: Callable[[str], None]) -> None:
    from docker.errors import APIError, NotFound

    with suppress(NotFound):
        client.inspect_image(base)  # type: ignore[no-untyped-call]
        return
    say(f"pulling {base}")
    try:
        for line in client.pull(base, stream=True, decode=True):
            if "error" in line:
                message = f"cannot pull the base image {base}: {line['error']}"
                raise SandboxUnavailableError(message, hint=_NO_BASE)
    except APIError as error:
        message = f"cannot pull the base image {base}: {error.explanation or error}"
        raise SandboxUnavailableError(message, hint=_NO_BASE) from error


def interpreter_of(client: APIClient, base: str, python: str = "python3") -> Interpreter:
    """Ask an image's own Python.

    Raises:
        SandboxUnavailableError: it does not run, or is too old.
    """
    from docker.errors import APIError

    container = client.create_container(
        base,
        entrypoint=[python, "-c", _PROBE],
        command=[],
        host_config=client.create_host_config(network_mode="none"),
    )
    try:
        try:
            client.start(container["Id"])
        except APIError as error:
            message = f"{python} of the base image {base} does not start: {error.explanation}"
            raise SandboxUnavailableError(message, hint=_NO_BASE) from error
        status = client.wait(container["Id"], timeout=60)["StatusCode"]
        printed = client.logs(container["Id"], stdout=True, stderr=status != 0).decode()
    finally:
        client.remove_container(container["Id"], force=True)
    if status:
        message = f"{python} of the base image {base} does not run: {printed.strip()}"
        raise SandboxUnavailableError(message, hint=_NO_BASE)
    version, machine, (library, release) = json.loads(printed)
    if tuple(version[:2]) < _OLDEST_PYTHON or library != "glibc":
        message = (
            f"the base image {base} has Python {version[0]}.{version[1]} on "
            f"{library or 'another C library'}; 3.11 or newer on glibc is needed"
        )
        raise SandboxUnavailableError(message, hint=_NO_BASE)
    return Interpreter(tuple(version), machine, int(release.split(".")[1]))


def _fill(context: Path, interpreter: Interpreter, say: Callable[[str], None]) -> None:
    shutil.copy(DEFINITION / "Dockerfile", context)
    runner = context / "runner"
    runner.mkdir()
    for path in RUNNER_FOLDER.glob("*.py"):
        shutil.copy(path, runner)
    wheels = context / "wheels"
    for file in ("installer.txt", "requirements.txt"):
        wanted = applicable((DEFINITION / file).read_text(encoding="utf-8"), interpreter.version)
        (context / file).write_text(wanted, encoding="utf-8")
        say(f"fetching the wheels of {file}")
        download(context / file, wheels, interpreter)


def applicable(requirements: str, version: tuple[int, int, int]) -> str:
    """The requirements for one version of Python, without markers.

    pip evaluates markers for the Python that it runs in, whatever Python it downloads for.

    Args:
        requirements: a pinned and hashed requirements file.
        version: the Python to install into.
    """
    from packaging.requirements import Requirement

    environment = {
        "python_version": f"{version[0]}.{version[1]}",
        "python_full_version": ".".join(map(str, version)),
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    lines = requirements.replace("\\\n", " ").splitlines()
    kept = []
    for line in lines:
        specifier, *hashes = line.split("#", 1)[0].split(" --hash=")
        if not specifier.strip():
            continue
        requirement = Requirement(specifier.strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            pins = " ".join(f"--hash={digest.strip()}" for digest in hashes)
            kept.append(f"{requirement.name}{requirement.specifier} {pins}\n")
    return "".join(kept)


def download(
    requirements: Path,
    folder: Path,
    interpreter: Interpreter,
    *,
    source: Path | None = None,
    hashed: bool = True,
) -> None:
    """Fetch wheels with pip, for another Python than the one that it runs in.

    Args:
        requirements: a file of exact versions.
        folder: where the wheels go.
        interpreter: the Python that they are for.
        source: a folder of wheels to take them from; pip's index when None.
        hashed: every requirement names its hashes.

    Raises:
        SandboxUnavailableError: a wheel cannot be had.
    """
    short = f"{interpreter.version[0]}{interpreter.version[1]}"
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary=:all:", "--dest", str(folder),
        "--implementation", "cp", "--python-version", ".".join(map(str, interpreter.version)),
        "--abi", f"cp{short}", "--abi", "abi3", "--abi", "none",
        "--requirement", str(requirements),
    ]  # fmt: skip
    command += ["--require-hashes"] if hashed else []
    command += ["--no-index", "--find-links", str(source.resolve())] if source else []
    for platform in interpreter.platforms:
        command += ["--platform", platform]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"pip cannot fetch the wheels of {requirements.name}: {done.stderr.strip()}"
        hint = f"Put them into {source}." if source else "pip must reach its index from here."
        raise SandboxUnavailableError(message, hint=hint)


def build_context(
    client: APIClient,
    context: Path,
    *,
    name: str,
    base: str,
    labels: dict[str, str],
    say: Callable[[str], None],
) -> None:
    """Have the engine build a folder with a Dockerfile, without a network.

    Args:
        client: the engine.
        context: the folder.
        name: name and tag of the result.
        base: the Dockerfile's ``BASE``.
        labels: labels of the result.
        say: is told of the progress.

    Raises:
        SandboxUnavailableError: a step fails.
    """
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(context, arcname=".", filter=_anonymous)
        archive.seek(0)
        answers = client.build(
            fileobj=archive,
            custom_context=True,
            tag=name,
            buildargs={"BASE": base},
            labels=labels,
            network_mode="none",
            rm=True,
            forcerm=True,
            decode=True,
            timeout=_BUILD_SECONDS,
        )
        for line in _lines(answers):
            say(line)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


def _lines(answers: Iterator[dict[str, Any]]) -> Iterator[str]:
    last = io.StringIO()
    for answer in answers:
        if "error" in answer:
            message = f"the image cannot be built: {answer['error']}"
            raise SandboxUnavailableError(message, hint=last.getvalue().strip()[-2000:] or None)
        text = answer.get("stream", "")
        last.write(text)
        if line := text.strip():
            yield line
