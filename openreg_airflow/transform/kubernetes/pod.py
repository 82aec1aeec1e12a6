"""The runner in a pod with every limit on.

Inputs go in through the standard input of the pod's first container, which stores them in a volume
that the script's container can only read. The runner is started there by exec, so that neither the
request nor the tables pass through the logs of the node. The pod gets no credentials for any of
this, and the worker needs no storage that the cluster shares.
"""

from __future__ import annotations

import logging
import time
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn, Self

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.transform import handover
from openreg_airflow.transform.fence import LOG, PYTHON_OPTIONS, REPLY, Ending
from openreg_airflow.transform.image_contract import PYTHON, RUNNER, runner_digest
from openreg_airflow.transform.job import file_entry, request
from openreg_airflow.transform.kubernetes import rendering
from openreg_airflow.transform.kubernetes.line import STDERR, STDOUT, Line, cluster_errors
from openreg_airflow.transform.kubernetes.waiting import Waiting
from openreg_airflow.transform.runner import wire
from openreg_airflow.transform.script_log import printable

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from kubernetes.client import CoreV1Api, V1Pod

    from openreg_airflow.transform.job import Job

log = logging.getLogger(__name__)

_STREAMS = {STDOUT: REPLY, STDERR: LOG}
_PIECE = 1 << 20
#: Seconds for the first container's answer, and for the cluster to say how a container ended.
_ANSWER_SECONDS, _ENDED_SECONDS = 60, 15
#: Seconds within which a network policy must have taken hold of a new pod.
_SHUT_WITHIN_SECONDS = 10.0


class Pod:
    """A runner in a pod.

    Args:
        api: the cluster.
        pod: what :func:`~openreg_airflow.transform.kubernetes.rendering.render` made.
        job: what runs.
        start_seconds: how long the cluster may take to place the pod and pull its image.
    """

    def __init__(self, api: CoreV1Api, pod: V1Pod, job: Job, *, start_seconds: float = 600) -> None:
        self._api = api
        self._streams = _own_client(api)
        self._pod = pod
        self._job = job
        self._waiting = Waiting(api, pod, start_seconds, lambda: self._killed)
        self._lines: list[Line] = []
        self._runner: Line | None = None
        self._created = self._killed = False
        self._image: str | None = None

    @property
    def image(self) -> str | None:
        """Digest of the image, as the node that runs it names it."""
        return self._image

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def start(self) -> None:
        """Create the pod, hand it the inputs, start the runner and send it its request.

        Raises:
            SandboxUnavailableError: the cluster refuses one of these, changes the pod, does not
                start it in time, or does not shut its network; or the image has another runner.
        """
        name = self._pod.metadata.name
        with cluster_errors(f"the sandbox pod {name}"):
            reap(self._api, self._pod)
            self._created = True
            created = self._api.create_namespaced_pod(self._pod.metadata.namespace, self._pod)
            rendering.check_accepted(self._pod, created)
            self._waiting.until_running(rendering.INTAKE)
            self._hand_over(self._line(rendering.INTAKE))
            self._image = self._waiting.until_running(rendering.SCRIPT)
        log.info("sandbox pod %s runs %s", name, self._image)
        # As long as this line holds, so does the pod.
        self._line(rendering.SCRIPT)
        command = [PYTHON, *PYTHON_OPTIONS, "-m", RUNNER]
        self._runner = self._line(rendering.SCRIPT, command)
        self._runner.send(request(self._job, self._files(), rlimits=rendering.rlimits(self._job)))

    def _line(self, container: str, command: list[str] | None = None) -> Line:
        line = Line(self._streams, self._pod, container, command)
        self._lines.append(line)
        if self._killed:
            line.close()
        return line

    def _files(self) -> dict[str, dict[str, Any]]:
        return {
            source: file_entry(handover.inside(source), path, same_file=False)
            for source, path in self._job.files.items()
        }

    def _hand_over(self, line: Line) -> None:
        """Send the inputs to the first container and hear that it has them."""
        sizes = {source: path.stat().st_size for source, path in self._job.files.items()}
        asked = {
            "folder": handover.FOLDER,
            "files": sizes,
            "shut_within": _SHUT_WITHIN_SECONDS,
        }
        line.send(wire.pack_request(asked))
        talk = _Talk(line)
        runner = talk.event("hello").get("runner")
        if runner != runner_digest():
            message = f"the image {self._pod.spec.containers[0].image} has another version's runner"
            hint = "Build it with:  openreg sandbox build  and push it to the cluster's registry."
            raise SandboxUnavailableError(message, hint=hint)
        started = monotonic()
        for path in self._job.files.values():
            _send_file(line, path)
        network = talk.event("stored").get("network")
        if network is not False:
            found = "is open" if network else "cannot be tried"
            message = f"the network of the sandbox pod {found}: it must not reach anything"
            hint = (
                "Apply docker/kubernetes/sandbox.yaml, and use a network plug-in that enforces "
                "network policies."
            )
            raise SandboxUnavailableError(message, hint=hint)
        line.send(b"\n")
        size = sum(sizes.values())
        log.info("handed over %d bytes of inputs in %.1f s", size, monotonic() - started)

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        """Wait for bytes; see :class:`~openreg_airflow.transform.fence.Fence`."""
        if self._runner is None or self._killed:
            raise EOFError
        return [(_STREAMS[stream], data) for stream, data in self._runner.read(seconds)]

    def kill(self) -> None:
        """Delete the pod, which ends everything in it."""
        self._killed = True
        self._remove()

    def ending(self) -> Ending:
        """How the runner ended; the cluster is asked, for it alone knows of memory and evictions.

        Raises:
            SandboxUnavailableError: the pod was killed, evicted or deleted from outside.
        """
        if self._killed or self._runner is None:
            message = "the sandbox was stopped because its task was killed"
            raise SandboxUnavailableError(message, hint="Clear the task to run it again.")
        status = self._runner.exit_status
        if status == 0:
            return Ending(0)
        # The line may be gone before the cluster knows why.
        deadline = monotonic() + _ENDED_SECONDS
        while monotonic() < deadline:
            with cluster_errors(f"the sandbox pod {self._pod.metadata.name}"):
                reason = self._waiting.reason_of_end(rendering.SCRIPT)
            if reason == "OOMKilled":
                return Ending(status if status is not None else 137, out_of_memory=True)
            if reason is not None:
                message = f"the sandbox pod ended from outside: {printable(reason)}"
                raise SandboxUnavailableError(message, hint="Look at the events of its namespace.")
            if status is not None and status != 137:
                break
            time.sleep(0.5)
        return Ending(-1 if status is None else status)

    def _remove(self) -> None:
        from kubernetes.client.exceptions import ApiException

        for line in self._lines:
            line.close()
        if not self._created:
            return
        with cluster_errors(f"removing the sandbox pod {self._pod.metadata.name}"):
            try:
                _delete(self._api, self._pod.metadata.name, self._pod.metadata.namespace)
            except ApiException as error:
                if error.status != 404:
                    raise


class _Talk:
    """What the first container says."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._decoder = wire.Decoder()
        self._events: list[dict[str, Any]] = []
        self._printed = b""

    def event(self, name: str) -> dict[str, Any]:
        """Wait for its next event, which must be this one."""
        deadline = monotonic() + _ANSWER_SECONDS
        while not self._events:
            try:
                pieces = self._line.read(1.0)
            except EOFError as error:
                self._refuse("ended", error)
            for stream, data in pieces:
                if stream == STDERR:
                    self._printed = (self._printed + data)[-2000:]
                    continue
                try:
                    frames = [*self._decoder.feed(data)]
                    self._events += [wire.parse_event(payload) for _, payload in frames]
                except wire.WireError as error:
                    self._refuse(f"said something else: {error}", error)
            if monotonic() > deadline:
                self._refuse(f"said nothing for {_ANSWER_SECONDS} s")
        found = self._events.pop(0)
        if found["event"] != name:
            self._refuse(f"said {found['event']!r:.80}")
        return found

    def _refuse(self, what: str, cause: Exception | None = None) -> NoReturn:
        said = printable(self._printed.decode(errors="replace")).strip()
        message = f"the pod's first container was to take the inputs, but it {what}. {said}"
        hint = "Is this the sandbox image?"
        raise SandboxUnavailableError(message.rstrip(), hint=hint) from cause


def _send_file(line: Line, path: Path) -> None:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            line.send(piece)


def reap(api: CoreV1Api, pod: V1Pod) -> None:
    """Delete what earlier attempts of the same task left, and whatever has outlived its time."""
    namespace, labels = pod.metadata.namespace, pod.metadata.labels
    found = api.list_namespaced_pod(namespace, label_selector=f"{rendering.SANDBOX}=true").items
    for other in found:
        theirs = other.metadata.labels or {}
        expires = (other.metadata.annotations or {}).get(rendering.EXPIRES, "")
        expired = expires.isdigit() and int(expires) < time.time()
        if expired or theirs.get(rendering.TASK) == labels[rendering.TASK]:
            log.warning("deleting pod %s that a killed task left", other.metadata.name)
            _delete_left_over(api, other)


def _delete_left_over(api: CoreV1Api, pod: V1Pod) -> None:
    from kubernetes.client.exceptions import ApiException

    try:
        _delete(api, pod.metadata.name, pod.metadata.namespace)
    except ApiException as error:
        log.debug("somebody else deletes it: %s", error)


def _delete(api: CoreV1Api, name: str, namespace: str) -> None:
    api.delete_namespaced_pod(name, namespace, grace_period_seconds=0)


def _own_client(api: CoreV1Api) -> CoreV1Api:
    """A client for lines alone: opening one changes the client for a moment."""
    from kubernetes.client import ApiClient, CoreV1Api

    return CoreV1Api(ApiClient(configuration=api.api_client.configuration))
