"""The runner in a container with every limit on."""

from __future__ import annotations

import logging
import socket
import struct
import uuid
from typing import TYPE_CHECKING, Any, Self

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.transform import handover, hardening, ownership
from openreg_airflow.transform.engine import engine_errors
from openreg_airflow.transform.execution import execute
from openreg_airflow.transform.fence import ENVIRONMENT, PYTHON_OPTIONS, Ending
from openreg_airflow.transform.image_contract import PYTHON, RUNNER, checked_image
from openreg_airflow.transform.job import file_entry, request
from openreg_airflow.transform.packages import image_name
from openreg_airflow.transform.receiving import InputsNotVisibleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from docker import APIClient

    from openreg_airflow.records import Dataset
    from openreg_airflow.transform.fence import Fence
    from openreg_airflow.transform.job import Job
    from openreg_airflow.workspace import StageFolder

log = logging.getLogger(__name__)

#: The engine puts it before each piece of output: a stream's number, and the piece's length.
_HEADER = struct.Struct(">BxxxL")
_ENDED_SECONDS = 60


def run_in_container(
    client: APIClient,
    image: str,
    job: Job,
    folder: StageFolder,
    *,
    local: bool,
    starting: Callable[[Fence], None] = lambda _: None,
) -> dict[str, Dataset]:
    """Run a job in a container, handing its inputs over in the way that this engine can take.

    Args:
        client: the engine.
        image: name of the sandbox image; a job with packages runs in the one made of it.
        job: what runs.
        folder: where the tables are stored.
        local: whether the engine may see this machine's files; if it turns out not to, the files
            are copied.
        starting: is told of each container before it is made, so that it can be killed.

    Raises:
        TransformError, SandboxLimitError, SandboxUnavailableError: as
            :func:`openreg_airflow.transform.execution.execute`.
    """
    with engine_errors("the container engine"):
        ownership.reap(client, job)
        if packages := job.spec.packages:
            image = image_name(image, packages)
            how = f"Build it with:  openreg sandbox build --for {job.run.report_id}"
            digest = checked_image(client, image, how)
        else:
            digest = checked_image(client, image)
    log.info("sandbox image %s (%s)", image, digest)
    if local and all(path.stat().st_mode & 0o004 for path in job.files.values()):
        fence = Container(client, digest, job)
        starting(fence)
        try:
            return execute(fence, job, folder)
        except InputsNotVisibleError:
            log.info("the container engine does not see this machine's files: copying them")
    fence = Container(client, digest, job, copy=True)
    starting(fence)
    return execute(fence, job, folder)


class Container:
    """A runner in a container.

    Args:
        client: the engine.
        image: the image's id.
        job: what runs.
        copy: hand the inputs over through the engine's API rather than by mounting them.
    """

    def __init__(self, client: APIClient, image: str, job: Job, *, copy: bool = False) -> None:
        self._client = client
        self._image = image
        self._job = job
        self._copy = copy
        self._labels = ownership.labels(job)
        self._name = f"openreg-{job.run.report_id[:40].replace('_', '-')}-{uuid.uuid4().hex[:12]}"
        self._socket: socket.socket | None = None
        self._handle: Any = None
        self._buffer = bytearray()
        self._killed = False
        self.id: str | None = None

    @property
    def image(self) -> str | None:
        """Digest of the image."""
        return self._image

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hang_up()
        self._remove()

    def start(self) -> None:
        """Create the container, attach to it, start it and send the runner its request.

        Raises:
            SandboxUnavailableError: the engine refuses one of these.
            InputsNotVisibleError: the files to be mounted are not there for the engine.
        """
        with engine_errors("the sandbox container"):
            self._create()
            assert self.id is not None  # noqa: S101
            self._handle = self._client.attach_socket(
                self.id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
            # Over plain connections the client wraps the socket, over TLS it does not.
            self._socket = getattr(self._handle, "_sock", self._handle)
            if self._killed:
                return
            self._client.start(self.id)
            self._send(request(self._job, self._files()))

    def _create(self) -> None:
        config = hardening.host_config(self._client, self._job.spec.limits, self._mounts())
        try:
            created = self._client.create_container(
                self._image,
                name=self._name,
                entrypoint=[PYTHON, *PYTHON_OPTIONS, "-m", RUNNER],
                command=[],
                user=hardening.USER,
                working_dir="/tmp",  # noqa: S108
                hostname="sandbox",
                environment={**ENVIRONMENT, "HOME": "/tmp", "TMPDIR": "/tmp"},  # noqa: S108
                stdin_open=True,
                tty=False,
                labels=self._labels,
                host_config=config,
            )
        except Exception as error:
            if not self._copy and "bind source path does not exist" in str(error):
                message = f"the container engine has no such files: {error}"
                raise InputsNotVisibleError(message) from error
            raise
        self.id = created["Id"]
        for warning in created.get("Warnings") or ():
            log.warning("container engine: %s", warning)
        accepted = self._client.inspect_container(self.id)["HostConfig"]
        hardening.check_accepted(config, accepted)

    def _mounts(self) -> list[Any]:
        if not self._copy:
            return list(handover.bound(self._job.files))
        return list(
            handover.copied(
                self._client,
                self._image,
                self._job.files,
                volume=self._name,
                labels=self._labels,
            )
        )

    def _files(self) -> dict[str, dict[str, Any]]:
        return {
            source: file_entry(handover.inside(source), path, same_file=not self._copy)
            for source, path in self._job.files.items()
        }

    def _send(self, content: bytes) -> None:
        assert self._socket is not None  # noqa: S101
        self._socket.settimeout(_ENDED_SECONDS)
        try:
            self._socket.sendall(content)
        except (BrokenPipeError, ConnectionResetError) as error:
            log.debug("the runner ended before it had read its request: %s", error)

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        """Wait for bytes; see :class:`~openreg_airflow.transform.fence.Fence`."""
        if self._socket is None or self._killed:
            raise EOFError
        self._socket.settimeout(max(seconds, 0.001))
        try:
            received = self._socket.recv(1 << 18)
        except TimeoutError:
            return []
        except ConnectionResetError:
            received = b""
        except OSError as error:
            message = f"the line to the sandbox container broke: {error}"
            raise SandboxUnavailableError(message) from error
        if not received:
            raise EOFError
        self._buffer += received
        return self._pieces()

    def _pieces(self) -> list[tuple[int, bytes]]:
        pieces = []
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            stream, length = _HEADER.unpack_from(self._buffer, start)
            end = start + _HEADER.size + length
            if len(self._buffer) < end:
                break
            pieces.append((stream, bytes(self._buffer[start + _HEADER.size : end])))
            start = end
        del self._buffer[:start]
        return pieces

    def kill(self) -> None:
        """Remove the container, which ends everything in it."""
        self._killed = True
        self._hang_up()
        self._remove()

    def ending(self) -> Ending:
        """How the runner ended; the engine is asked, for it alone knows of memory.

        Raises:
            SandboxUnavailableError: the container was killed or removed from outside.
        """
        if self._killed or self.id is None:
            message = "the sandbox was stopped because its task was killed"
            raise SandboxUnavailableError(message, hint="Clear the task to run it again.")
        with engine_errors("the sandbox container"):
            self._client.wait(self.id, timeout=_ENDED_SECONDS)
            state = self._client.inspect_container(self.id)["State"]
        return Ending(state["ExitCode"], out_of_memory=bool(state.get("OOMKilled")))

    def _hang_up(self) -> None:
        """End the line before the container: an engine that still has output for it waits."""
        if self._socket is None:
            return
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("the line to the sandbox container is down already: %s", error)
        self._handle.close()

    def _remove(self) -> None:
        from docker.errors import APIError, NotFound

        with engine_errors(f"removing the sandbox container {self._name}"):
            if self.id is not None:
                try:
                    self._client.remove_container(self.id, force=True, v=True)
                except NotFound:
                    log.debug("container %s is gone already", self._name)
                except APIError as error:
                    # Two at once: the task's own clean-up and the signal that kills it.
                    if error.status_code != 409:
                        raise
            if self._copy:
                try:
                    self._client.remove_volume(self._name, force=True)
                except NotFound:
                    log.debug("volume %s is gone already", self._name)
