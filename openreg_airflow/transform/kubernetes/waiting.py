"""Waiting for a pod's containers, and learning how they ended."""

from __future__ import annotations

import logging
import time
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from openreg_airflow.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubernetes.client import CoreV1Api, V1Pod

log = logging.getLogger(__name__)

_POLL = 0.5
_SIGN_OF_LIFE = 5.0
#: Reasons for which a container never starts however long one waits.
_HOPELESS = {
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}


class Waiting:
    """Asks the cluster how a pod is getting on.

    Args:
        api: the cluster.
        pod: the pod, with its name and namespace.
        seconds: the longest wait for a container to run.
        killed: whether the task was killed meanwhile.
    """

    def __init__(
        self, api: CoreV1Api, pod: V1Pod, seconds: float, killed: Callable[[], bool]
    ) -> None:
        self._api = api
        self._name = pod.metadata.name
        self._namespace = pod.metadata.namespace
        self._seconds = seconds
        self._killed = killed

    def until_running(self, container: str) -> str | None:
        """Wait until a container runs.

        Returns:
            The id of its image.

        Raises:
            SandboxUnavailableError: it ends or cannot start, or takes too long.
        """
        started = said = monotonic()
        while True:
            pod = self._read()
            status = _status_of(pod, container)
            state = status.state if status else None
            if state and state.running:
                return str(status.image_id) if status.image_id else None
            reason = _reason(pod, state)
            if state and (
                state.terminated or (state.waiting and state.waiting.reason in _HOPELESS)
            ):
                self._fail(f"container {container} did not start: {reason}")
            if pod.status.phase in ("Failed", "Succeeded"):
                self._fail(f"it ended before container {container} ran: {reason}")
            if self._killed():
                self._fail("its task was killed")
            now = monotonic()
            if now - started > self._seconds:
                self._fail(
                    f"container {container} does not run after {self._seconds:g} s: {reason}"
                )
            if now - said > _SIGN_OF_LIFE:
                said = now
                log.info("waiting for container %s of pod %s: %s", container, self._name, reason)
            time.sleep(_POLL)

    def reason_of_end(self, container: str) -> str | None:
        """Why a container has ended, as the cluster says; None while it runs."""
        from kubernetes.client.exceptions import ApiException

        try:
            pod = self._read()
        except ApiException as error:
            if error.status == 404:
                return "it was deleted"
            raise
        status = _status_of(pod, container)
        ended = status.state.terminated if status and status.state else None
        if ended is not None and ended.reason == "OOMKilled":
            return "OOMKilled"
        if pod.status.reason:
            return f"{pod.status.reason}: {pod.status.message or ''}".rstrip(": ")
        return f"{ended.reason}, status {ended.exit_code}" if ended else None

    def _read(self) -> Any:
        return self._api.read_namespaced_pod(self._name, self._namespace)

    def _fail(self, why: str) -> NoReturn:
        hint = f"Look at:  kubectl --namespace {self._namespace} get events"
        message = f"the sandbox pod {self._name}: {why}"
        raise SandboxUnavailableError(message, hint=hint)


def _status_of(pod: Any, container: str) -> Any:
    every = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
    return next((status for status in every if status.name == container), None)


def _reason(pod: Any, state: Any) -> str:
    """The best that the cluster says of a container that does not run."""
    for part in (state and state.terminated, state and state.waiting):
        if part and (part.reason or part.message):
            return ": ".join(text for text in (part.reason, part.message) if text)
    for condition in pod.status.conditions or ():
        if condition.status == "False" and condition.message:
            return f"{condition.reason}: {condition.message}"
    return pod.status.message or pod.status.reason or str(pod.status.phase or "unknown")
