"""Takes the input files into a pod, before the container of the script starts.

A pod's first container runs this. It says nothing before it is spoken to, since nobody may listen
yet; then it says which runner the image has and whether the pod's network is shut, stores the
files that come, and ends when the task has heard that.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from .identity import digest
from .wire import Reply, WireError, read_request

if TYPE_CHECKING:
    from collections.abc import Mapping

_STDIN, _STDOUT = 0, 1
_PIECE = 1 << 18
#: Longest time in seconds of one attempt to connect.
_ATTEMPT_SECONDS = 2.0


def main() -> int:
    """Serve one request: ``folder``, ``files`` in order with their sizes, and ``shut_within``."""
    request = read_request(_STDIN)
    reply = Reply(_STDOUT)
    reply.event("hello", runner=digest())
    network: list[bool | None] = []
    within = request["shut_within"]
    probe = threading.Thread(target=lambda: network.append(reaches_cluster(os.environ, within)))
    probe.start()
    for name, size in request["files"].items():
        _store(Path(request["folder"], f"{name}.parquet"), size)
    probe.join()
    reply.event("stored", network=network[0])
    return 0 if os.read(_STDIN, 1) else 1


def _store(path: Path, size: int) -> None:
    missing = size
    with path.open("xb") as file:
        while missing:
            piece = os.read(_STDIN, min(missing, _PIECE))
            if not piece:
                message = f"{path.name} ends {missing} bytes early"
                raise WireError(message)
            missing -= file.write(piece)
    path.chmod(0o444)


def reaches_cluster(environment: Mapping[str, str], within: float) -> bool | None:
    """Whether a connection to the cluster's API server can be made; None when that is not known.

    Args:
        environment: where every pod finds the server's address.
        within: seconds after which a network that is still open counts as open: a policy may take
            hold only after a pod has started.
    """
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    if not host or not port.isdigit():
        return None
    address: Any = (host, int(port))
    deadline = monotonic() + within
    while True:
        try:
            socket.create_connection(address, _ATTEMPT_SECONDS).close()
        except OSError:
            return False
        if monotonic() >= deadline:
            return True
        sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
