from __future__ import annotations

import csv
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.conftest import DAY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Stack


def openreg(stack: Stack, *words: str) -> str:
    """What one of our commands prints, run in the installation's environment."""
    done = subprocess.run(
        [sys.executable, "-m", "openreg_airflow.cli", *words],
        env=stack.airflow.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_record_that_is_set_aside_and_amended_arrives_in_a_second_file(stack: Stack) -> None:
    first = stack.run("corrected")
    assert first.proven, first.failures
    assert first.verdict is not None
    assert first.verdict.set_aside == {"trades": 1}
    (file,) = stack.site.inbox.rglob("corrected_20260930.csv")
    assert rows(file) == [["id", "price"], ["1", "10.5"], ["3", "7.25"]]

    day = ("--business-date", DAY.isoformat())
    assert "price 0.00 of trade 2" in openreg(stack, "exceptions", "list", "--report", "corrected")
    amend = ("exceptions", "amend", "--report", "corrected", "--key", "2", "--set", "price=8.75")
    assert "1 items amended" in openreg(stack, *amend, "--why", "the price came late")
    said = openreg(stack, "resubmit", "corrected", *day)
    found = re.search(r"started run (\S+)", said)
    assert found, said
    second = stack.finish("corrected", found[1])

    assert second.proven, second.failures
    states = {name: task.state for name, task in stack.tasks("corrected", found[1]).items()}
    skipped = {name for name, state in states.items() if state == "skipped"}
    assert skipped == {"extract", "transform"}
    (file,) = stack.site.inbox.rglob("corrected_20260930_R1.csv")
    assert rows(file) == [["id", "price"], ["2", "8.75"]]
    counts = openreg(stack, "exceptions", "reconcile", "corrected", *day)
    assert counts.startswith("trades: in 3 = reported 3 + rejected 0 + pending 0")
