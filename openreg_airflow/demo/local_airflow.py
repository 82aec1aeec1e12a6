"""A complete Airflow on this machine, for the demonstration and for trying things out.

Its four processes listen on 127.0.0.1 only, log to files below its home, and are stopped one by
one by the process ids that were noted when they were started.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PROCESSES: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
_STOP_SECONDS = 20.0
_FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


class LocalAirflowError(Exception):
    """A process of the local Airflow did not start or died; the message names its log."""


class LocalAirflow:
    """One Airflow home and the processes that serve it.

    Args:
        home: AIRFLOW_HOME; created when missing.
        dags: the folder with the loader file.
        specs: the folder of report specs.
        port: TCP port of the API server on 127.0.0.1.
        options: further Airflow options as ``{"SECTION__OPTION": value}``.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags: Path,
        specs: Path,
        port: int,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home.absolute()
        self.dags = dags.absolute()
        self.specs = specs.absolute()
        self.port = port
        self._options = dict(options or {})
        self._pids = self.home / "processes.json"

    @property
    def url(self) -> str:
        """Address of the UI and the REST API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password_file(self) -> Path:
        """Where the admin's generated password is kept, readable by its owner only."""
        return self.home / "admin-password"

    @property
    def password(self) -> str:
        """The admin's password, generated when first asked for."""
        if not self.password_file.exists():
            self._write_secret(self.password_file, secrets.token_urlsafe(12))
        return self.password_file.read_text().strip()

    def environment(self) -> dict[str, str]:
        """The environment of every process of this Airflow; nothing of another one leaks in."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
        keys = self._secrets()
        options = {
            "CORE__DAGS_FOLDER": str(self.dags),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "3",
            "CORE__AUTH_MANAGER": _FAB,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__FERNET_KEY": keys["fernet"],
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__BASE_URL": self.url,
            "API__WORKERS": "1",
            "API__SECRET_KEY": keys["api"],
            "API_AUTH__JWT_SECRET": keys["jwt"],
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            # One person watches each step: between two steps a second of sleep would be most of it.
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
            "SCHEDULER__USAGE_DATA_COLLECTION_ENABLED": "False",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
            "OPENREG__SPEC_FOLDERS": str(self.specs),
            **self._options,
        }
        ours = {f"AIRFLOW__{key}": value for key, value in options.items()}
        return {**inherited, "AIRFLOW_HOME": str(self.home), **ours}

    def note_environment(self) -> Path:
        """Write the settings of this Airflow as a file that a shell can read; its owner only may.

        ``airflow`` and ``openreg`` then speak of this Airflow in that shell.
        """
        ours = {k: v for k, v in self.environment().items() if k.startswith("AIRFLOW")}
        file = self.home / "environment.sh"
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in ours.items()]
        self._write_secret(file, "".join(lines))
        return file

    def prepare(self, connections: Mapping[str, Mapping[str, Any]]) -> None:
        """Create the tables, the admin and the connections; safe to repeat.

        Args:
            connections: connection ids and their fields in Airflow's JSON form.

        Raises:
            LocalAirflowError: the preparation failed; the message ends with its last lines.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        admin = {"username": "admin", "password": self.password}
        done = subprocess.run(
            [sys.executable, "-m", "openreg_airflow.demo.prepare"],
            input=json.dumps({"admin": admin, "connections": dict(connections)}),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        log = self._log("prepare")
        log.write_text(done.stdout + done.stderr)
        if done.returncode:
            raise LocalAirflowError(_died("the preparation of Airflow", log))

    def check_startable(self) -> None:
        """Find out whether :meth:`start` would be refused, before anything is prepared.

        Raises:
            LocalAirflowError: it is running already, or another program has the port.
        """
        if self.running():
            message = "this Airflow is running already; `make down` stops it"
            raise LocalAirflowError(message)
        _check_port(self.port)

    def start(self, names: tuple[str, ...] = tuple(_PROCESSES)) -> None:
        """Start the processes in the background.

        Raises:
            LocalAirflowError: it is running already, or another program has the port.
        """
        self.check_startable()
        started: list[dict[str, Any]] = []
        for name in names:
            with self._log(name).open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "airflow", *_PROCESSES[name]],
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=self.home,
                )
            started.append(self._note(name, process.pid))
            self._pids.write_text(json.dumps(started, indent=2))

    def adopt(self, name: str, pid: int) -> None:
        """Note one more process that :meth:`stop` shall stop, such as the demo's inbox."""
        noted = json.loads(self._pids.read_text()) if self._pids.exists() else []
        self._pids.write_text(json.dumps([*noted, self._note(name, pid)], indent=2))

    def wait_until_healthy(self, *, seconds: float = 180.0) -> None:
        """Return when the API answers and scheduler and Dag processor report themselves healthy.

        Raises:
            LocalAirflowError: a process died, or the time is over; the message names the log.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for noted in self._noted():
                if _alive(noted) is None:
                    raise LocalAirflowError(_died(noted["name"], self._log(noted["name"])))
            if self._healthy():
                return
            time.sleep(0.5)
        message = (
            f"Airflow is not healthy after {seconds:.0f} s; see the logs in {self.home / 'logs'}"
        )
        raise LocalAirflowError(message)

    def stop(self) -> list[str]:
        """Stop every process that was noted, with its children; return their names."""
        stopped, family = [], []
        for noted in self._noted():
            process = _alive(noted)
            if process is not None:
                stopped.append(str(noted["name"]))
                family += [process, *process.children(recursive=True)]
        for process in family:
            _signal(process, signal.SIGTERM)
        _, stubborn = psutil.wait_procs(family, timeout=_STOP_SECONDS)
        for process in stubborn:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(stubborn, timeout=_STOP_SECONDS)
        self._pids.unlink(missing_ok=True)
        return stopped

    def running(self) -> bool:
        """Whether any process of this Airflow is alive."""
        return any(_alive(noted) is not None for noted in self._noted())

    def clear(self) -> None:
        """Remove the home with all that is in it; the processes must be stopped."""
        if self.home.exists():
            shutil.rmtree(self.home)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(  # noqa: S310 - our own address
                f"{self.url}/api/v2/monitor/health", timeout=5
            ) as answer:
                health = json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            return False
        names = {"scheduler", "dag_processor"}
        if any(noted["name"] == "triggerer" for noted in self._noted()):
            names.add("triggerer")
        return all((health.get(name) or {}).get("status") == "healthy" for name in names)

    def _noted(self) -> list[dict[str, Any]]:
        if not self._pids.exists():
            return []
        noted: list[dict[str, Any]] = json.loads(self._pids.read_text())
        return noted

    def _note(self, name: str, pid: int) -> dict[str, Any]:
        return {"name": name, "pid": pid, "created": psutil.Process(pid).create_time()}

    def _log(self, name: str) -> Path:
        folder = self.home / "logs" / "processes"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    def _secrets(self) -> dict[str, str]:
        file = self.home / "secrets.json"
        if not file.exists():
            from cryptography.fernet import Fernet

            keys = {
                "fernet": Fernet.generate_key().decode(),
                "api": secrets.token_urlsafe(32),
                "jwt": secrets.token_urlsafe(64),
            }
            self._write_secret(file, json.dumps(keys))
        found: dict[str, str] = json.loads(file.read_text())
        return found

    def _write_secret(self, file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(text)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"port {port} of 127.0.0.1 is taken; choose another with PORT=..."
            raise LocalAirflowError(message) from error


def _alive(noted: Mapping[str, Any]) -> psutil.Process | None:
    """The noted process, unless it has ended or its number was given to another one."""
    try:
        process = psutil.Process(noted["pid"])
        if process.create_time() != noted["created"] or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _died(name: str, log: Path) -> str:
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    return f"{name} ended; the last lines of {log}:\n{tail}"
