from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from openreg_airflow.demo.local_airflow import LocalAirflow, LocalAirflowError, free_port

if TYPE_CHECKING:
    from pathlib import Path

# A process with a child of its own; both ignore the polite signal.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for its parent to notice."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def airflow(tmp_path: Path) -> LocalAirflow:
    home = tmp_path / "home"
    home.mkdir()
    return LocalAirflow(home, dags=tmp_path, specs=tmp_path, port=free_port())


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        airflow = LocalAirflow(tmp_path, dags=tmp_path, specs=tmp_path, port=port)
        with pytest.raises(LocalAirflowError, match=f"port {port}"):
            airflow.start()
    assert not airflow.running()


def test_stop_ends_what_was_started_with_its_children_and_nothing_else(
    airflow: LocalAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openreg_airflow.demo.local_airflow._STOP_SECONDS", 1.0)
    command = [sys.executable, "-c", STUBBORN]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ours,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
    ):
        assert ours.stdout
        assert other.stdout
        child, others_child = int(ours.stdout.readline()), int(other.stdout.readline())
        try:
            airflow.adopt("stubborn", ours.pid)
            with pytest.raises(LocalAirflowError, match="running already"):
                airflow.check_startable()
            assert airflow.stop() == ["stubborn"]
            assert ended(child)
            assert ours.poll() is not None
            assert other.poll() is None
            assert not airflow.running()
        finally:
            for pid in (others_child, other.pid):
                psutil.Process(pid).kill()


def test_a_process_number_that_was_given_away_is_left_alone(airflow: LocalAirflow) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        try:
            airflow.adopt("gone", process.pid)
            file = airflow.home / "processes.json"
            noted = json.loads(file.read_text())
            file.write_text(json.dumps([{**noted[0], "created": noted[0]["created"] - 100}]))
            assert airflow.stop() == []
            assert process.poll() is None
        finally:
            process.kill()


def test_a_shell_can_take_over_the_settings(tmp_path: Path) -> None:
    home = tmp_path / "it's here"
    home.mkdir()
    airflow = LocalAirflow(home, dags=tmp_path, specs=tmp_path, port=8080)
    file = airflow.note_environment()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    script = '. "$1" && exec python3 -c "import json, os; print(json.dumps(dict(os.environ)))"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", file], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    wanted = {k: v for k, v in airflow.environment().items() if k.startswith("AIRFLOW")}
    assert wanted == {k: v for k, v in found.items() if k in wanted}


def test_secrets_are_generated_once_and_readable_by_their_owner_only(
    airflow: LocalAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "of another Airflow")
    first = airflow.environment()
    assert first["AIRFLOW__CORE__FERNET_KEY"] != "of another Airflow"
    assert airflow.environment() == first
    assert airflow.password == airflow.password
    for name in ("secrets.json", "admin-password"):
        assert stat.S_IMODE((airflow.home / name).stat().st_mode) == 0o600
