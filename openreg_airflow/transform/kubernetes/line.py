"""Lines to processes in a pod: the streams of the API server's attach and exec.

The API server carries them over a WebSocket. Each message is one byte for the stream and its data.
"""

from __future__ import annotations

import json
import select
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kubernetes.client import CoreV1Api, V1Pod

_STDIN, STDOUT, STDERR, _STATUS = 0, 1, 2, 3
_PIECE = 1 << 18
#: Longest time for one message to be sent or to come to its end.
_SECONDS = 60
_HINT = (
    "See what docs/sandbox.md asks of the cluster: the namespace, and the rights of the workers' "
    "service account in it."
)


class Line:
    """The streams of one process.

    Args:
        api: a client of the cluster that nobody else uses at the same time.
        pod: the pod.
        container: which of its containers.
        command: what to start there; None for the container's own first process.

    Raises:
        SandboxUnavailableError: the API server refuses.
    """

    def __init__(
        self, api: CoreV1Api, pod: V1Pod, container: str, command: Sequence[str] | None = None
    ) -> None:
        from kubernetes.stream import stream

        how: dict[str, Any] = {"container": container, "stdin": True, "stdout": True, "tty": False}
        call = api.connect_get_namespaced_pod_attach
        if command is not None:
            call = api.connect_get_namespaced_pod_exec
            how["command"] = list(command)
        name, namespace = pod.metadata.name, pod.metadata.namespace
        with cluster_errors(f"a line to the sandbox pod {name}"):
            client = stream(
                call, name, namespace, stderr=True, binary=True, _preload_content=False, **how
            )
        self._socket = client.sock
        self._socket.settimeout(_SECONDS)
        self._status = b""

    def send(self, content: bytes | memoryview) -> None:
        """Send bytes to the process's standard input.

        Raises:
            SandboxUnavailableError: the line broke.
        """
        from websocket import ABNF

        view = memoryview(content)
        with cluster_errors("the line to the sandbox pod"):
            for start in range(0, len(view), _PIECE):
                piece = bytes([_STDIN]) + view[start : start + _PIECE]
                self._socket.send(piece, opcode=ABNF.OPCODE_BINARY)

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        """Wait at most ``seconds`` for a message; give it with its stream.

        Raises:
            EOFError: the process has ended, or the line broke.
        """
        from websocket import ABNF, WebSocketException

        try:
            if not self._waiting(seconds):
                return []
            opcode, frame = self._socket.recv_data_frame(control_frame=True)
        except (WebSocketException, OSError, ValueError) as error:
            raise EOFError(str(error)) from error
        if opcode == ABNF.OPCODE_CLOSE:
            raise EOFError
        if opcode not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) or not frame.data:
            return []
        stream, data = frame.data[0], bytes(frame.data[1:])
        if stream == _STATUS:
            self._status += data
        return [(stream, data)] if stream in (STDOUT, STDERR) and data else []

    def _waiting(self, seconds: float) -> bool:
        """Whether a message is there; TLS may have read it already where polling cannot see it."""
        raw = self._socket.sock
        if raw is None:
            raise EOFError
        if isinstance(raw, ssl.SSLSocket) and raw.pending():
            return True
        poll = select.poll()
        poll.register(raw, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    @property
    def exit_status(self) -> int | None:
        """The exit status of a started process, once the line has ended; None when none came."""
        try:
            status = json.loads(self._status)
            if status.get("status") == "Success":
                return 0
            return int(status["details"]["causes"][0]["message"])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return None

    def close(self) -> None:
        """Break the line; may be called at any time, also from a signal handler."""
        with suppress(OSError):
            self._socket.shutdown()


@contextmanager
def cluster_errors(what: str) -> Iterator[None]:
    """Name what failed when the cluster refuses or cannot be reached.

    Raises:
        SandboxUnavailableError: in place of the client's own errors.
    """
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError
    from websocket import WebSocketException

    try:
        yield
    except ApiException as error:
        message = f"{what}: {_said(error)}"
        raise SandboxUnavailableError(message, hint=_HINT) from error
    except (HTTPError, WebSocketException, ConfigException, OSError) as error:
        message = f"{what}: the cluster does not answer: {error}"
        raise SandboxUnavailableError(message, hint=_HINT) from error


def _said(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason or error)
