from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[2]


def run_demo(folder: Path, environment: dict[str, str]) -> str:
    """Run the demonstration as a person does, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "openreg_airflow.cli", "demo", "--folder", folder],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def processes_of(folder: Path) -> list[list[str]]:
    """What still runs for the sake of a demonstration's folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        home = (process.info["environ"] or {}).get("AIRFLOW_HOME", "")
        arguments = process.info["cmdline"] or []
        if home.startswith(str(folder)) or any(str(folder) in part for part in arguments):
            found.append(arguments)
    return found


def test_the_demo_gives_the_same_bytes_in_a_container_and_without(
    tmp_path: Path, sandbox_environment: dict[str, str]
) -> None:
    folder = tmp_path / "demo"
    first = run_demo(folder, sandbox_environment)
    assert "NO SANDBOX" not in first
    assert first.count("byte for byte the artifact") == 2
    assert "the same as last time" not in first
    second = run_demo(folder, {"DOCKER_HOST": f"unix://{tmp_path}/no-engine.sock"})
    assert "NO SANDBOX" in second
    assert second.count("byte for byte the artifact") == 2
    assert second.count("the same as last time") == 2
    hashes = re.findall(r"SHA-256 +([0-9a-f]{64})", first)
    assert hashes == re.findall(r"SHA-256 +([0-9a-f]{64})", second)
    assert processes_of(folder) == []
