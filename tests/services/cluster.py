"""The API server of a Kubernetes cluster, as far as the sandbox speaks to one.

There is no cluster to be had in a test. This server takes pods as the real one takes them, over
HTTP, and carries the streams of attach and exec over WebSockets in the protocol of the real one.
Containers are plain processes here, which run what the pod says with the real runner: what is
tested is the way of the data and the behaviour when something breaks, not the fence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from openreg_airflow.transform.image_contract import PYTHON, RUNNER_FOLDER
from tests.waiting import wait_until

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.websockets import WebSocket

_PODS = "/api/v1/namespaces/{namespace}/pods"
_PIPE = asyncio.subprocess.PIPE


@dataclass
class Cluster:
    """A cluster of one node, which is this machine.

    Attributes:
        url: its API server.
        pods: the pods that are there, by name.
        created: every pod that was ever created, as it was asked for.
        admit: what admission makes of a pod.
        shut: whether the network of pods is shut.
        out_of_memory: whether a container that ends by a signal ran out of memory.
    """

    folder: Path
    url: str = ""
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    admit: Callable[[dict[str, Any]], None] = lambda _: None
    shut: bool = True
    out_of_memory: bool = False
    refuse: str | None = None
    processes: dict[str, list[Process]] = field(default_factory=dict)

    def app(self) -> Starlette:
        """The API server."""
        return Starlette(
            routes=[
                Route(_PODS, self._pods, methods=["GET", "POST"]),
                Route(_PODS + "/{name}", self._pod, methods=["GET", "DELETE"]),
                WebSocketRoute(_PODS + "/{name}/attach", self._attach),
                WebSocketRoute(_PODS + "/{name}/exec", self._exec),
            ]
        )

    def running(self) -> int:
        """How many processes of all pods still run."""
        return sum(p.returncode is None for every in self.processes.values() for p in every)

    async def _pods(self, request: Request) -> JSONResponse:
        if request.method == "GET":
            key, _, value = request.query_params["labelSelector"].partition("=")
            items = [p for p in self.pods.values() if p["metadata"]["labels"].get(key) == value]
            return JSONResponse({"kind": "PodList", "apiVersion": "v1", "items": items})
        if self.refuse is not None:
            answer = {"kind": "Status", "status": "Failure", "message": self.refuse, "code": 403}
            return JSONResponse(answer, status_code=403)
        pod = json.loads(await request.body())
        self.created.append(json.loads(json.dumps(pod)))
        self.admit(pod)
        name = pod["metadata"]["name"]
        pod["status"] = {"phase": "Pending"}
        self.pods[name], self.processes[name] = pod, []
        intake, script = pod["spec"]["initContainers"][0], pod["spec"]["containers"][0]
        first = await self._start(name, intake["command"])
        pod["status"]["initContainerStatuses"] = [_status(intake, {"running": {}})]
        task = asyncio.create_task(self._go_on(pod, first, script))
        pod_tasks.add(task)
        task.add_done_callback(pod_tasks.discard)
        return JSONResponse(pod, status_code=201)

    async def _go_on(self, pod: dict[str, Any], first: Process, script: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        code = await first.wait()
        pod["status"]["initContainerStatuses"][0]["state"] = {"terminated": {"exitCode": code}}
        if code:
            pod["status"]["phase"] = "Failed"
            return
        keeper = await self._start(name, script["command"])
        pod["status"]["phase"] = "Running"
        pod["status"]["containerStatuses"] = [_status(script, {"running": {}})]
        code = await keeper.wait()
        self._end(name)
        reason = "OOMKilled" if self.out_of_memory else "Completed"
        pod["status"]["phase"] = "Succeeded"
        ended = {"terminated": {"exitCode": code, "reason": reason}}
        pod["status"]["containerStatuses"] = [_status(script, ended)]

    async def _pod(self, request: Request) -> JSONResponse:
        name = request.path_params["name"]
        if name not in self.pods:
            return JSONResponse({"kind": "Status", "message": "not found"}, status_code=404)
        pod = self.pods[name]
        if request.method == "DELETE":
            self._end(name)
            del self.pods[name]
        return JSONResponse(pod)

    def _end(self, name: str) -> None:
        for process in self.processes[name]:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)

    async def _start(self, name: str, command: list[str]) -> Process:
        port = _listening() if not self.shut else _closed_port()
        process = await asyncio.create_subprocess_exec(
            *[sys.executable if part == PYTHON else part for part in command],
            env={
                "PYTHONPATH": str(self.folder),
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(port),
            },
            stdin=_PIPE,
            stdout=_PIPE,
            stderr=_PIPE,
            start_new_session=True,
            limit=1 << 20,
        )
        self.processes[name].append(process)
        return process

    async def _attach(self, line: WebSocket) -> None:
        """Of a container only the first process can be attached to: the newest one here."""
        await self._carry(line, self.processes[line.path_params["name"]][-1])

    async def _exec(self, line: WebSocket) -> None:
        command = line.query_params.getlist("command")
        process = await self._start(line.path_params["name"], command)
        await self._carry(line, process)

    async def _carry(self, line: WebSocket, process: Process) -> None:
        await line.accept(subprotocol="v4.channel.k8s.io")
        assert process.stdin
        assert process.stdout
        assert process.stderr

        async def take(stream: asyncio.StreamReader, channel: int) -> None:
            while piece := await stream.read(1 << 16):
                await line.send_bytes(bytes([channel]) + piece)

        async def give() -> None:
            stdin = process.stdin
            assert stdin
            with contextlib.suppress(WebSocketDisconnect, ConnectionError):
                while True:
                    message = await line.receive_bytes()
                    stdin.write(message[1:])
                    await stdin.drain()
            stdin.close()

        giving = asyncio.create_task(give())
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await asyncio.gather(take(process.stdout, 1), take(process.stderr, 2))
            code = await process.wait()
            await line.send_text("\x03" + json.dumps(_exit(code)))
            await line.close()
        await giving


pod_tasks: set[asyncio.Task[None]] = set()
_listeners: list[socket.socket] = []


def _listening() -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    _listeners.append(listener)
    return int(listener.getsockname()[1])


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _status(container: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "registry.example/openreg-sandbox@sha256:" + "ab" * 32,
        "ready": True,
        "restartCount": 0,
        "state": state,
    }


def _exit(code: int) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    code = 128 - code if code < 0 else code
    causes = [{"reason": "ExitCode", "message": str(code)}]
    details = {"causes": causes}
    return {"status": "Failure", "reason": "NonZeroExitCode", "details": details}


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster whose containers find the runner; everything in it ends with the block."""
    (folder / "openreg_runner").symlink_to(RUNNER_FOLDER)
    found = Cluster(folder)
    listener = socket.create_server(("127.0.0.1", 0))
    found.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(found.app(), log_level="warning", lifespan="off", ws_max_size=1 << 24)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield found
    finally:
        server.force_exit = server.should_exit = True
        thread.join()
        for listener in _listeners:
            listener.close()
        _listeners.clear()
