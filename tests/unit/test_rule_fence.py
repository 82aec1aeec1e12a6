from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from openreg_airflow.errors import RuleEngineError, RuleLimitError
from openreg_airflow.validate import fence
from openreg_airflow.validate.engine import run_rules
from openreg_airflow.validate.fence import run_fenced
from tests.unit.rule_jobs import failing_rows, job, rule, trades

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.records import RuleResult

#: One call of one function that DuckDB cannot interrupt and that runs for many seconds.
STUBBORN = "SELECT length(lpad('x' || number, 1000000000, 'y')) FROM trades"


def untimed(results: tuple[RuleResult, ...]) -> list[RuleResult]:
    return [result.model_copy(update={"seconds": 0.0}) for result in results]


def workers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "openreg_airflow.validate.worker" in child.cmdline():
                found.append(child)
    return found


def test_the_process_gives_what_the_engine_gives(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule("SELECT * FROM trades WHERE price <= 0", message="price {price}, venue é {venue}"),
        rule("SELECT * FROM nowhere", "broken"),
        rule("SELECT * FROM trades WHERE price < 0", "passing"),
    )
    inside = untimed(run_rules(work))
    written = work.failures.read_bytes()
    work.failures.unlink()
    assert untimed(run_fenced(work)) == inside
    assert work.failures.read_bytes() == written
    assert workers() == []


def test_an_allocation_that_duckdb_does_not_count_fails_its_rule_only(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule("SELECT length(repeat('x', 3000000000))", "text"),
        rule("SELECT len(range(1, 300000000)) FROM trades", "numbers"),
        rule("SELECT * FROM trades", "modest"),
        memory_mb=64,
    )
    text, numbers, modest = run_fenced(work)
    assert text.error is not None
    assert "Out of Memory" in text.error
    assert numbers.error is not None
    assert "Out of Memory" in numbers.error
    assert modest.failed == 10


def test_memory_stays_bounded_whatever_fails(tmp_path: Path) -> None:
    wide = "SELECT *, repeat('x', 5000) AS text FROM trades"
    work = job(
        tmp_path,
        rule(wide, "filtered", message="{text}"),
        rule(f"{wide} JOIN trades b USING (number)", "sorted", message="{text}"),
        tables={"trades": trades(100_000)},
        failing_rows=20_000,
        memory_mb=128,
    )
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from openreg_airflow.validate.fence import run_fenced\n"
        "from openreg_airflow.validate.job import Job\n"
        "run_fenced(Job.model_validate_json(sys.stdin.read()))\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=work.model_dump_json(by_alias=True),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 500 * 1024
    kept = Counter(row["rule_id"] for row in failing_rows(work))
    assert kept["filtered"] == 20_000


def test_a_time_limit_is_told_as_the_engine_tells_it(tmp_path: Path) -> None:
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a, b) = 1"
    work = job(tmp_path, rule(endless, "endless"), seconds=1)
    with pytest.raises(RuleLimitError, match="after 1 s at rule endless"):
        run_fenced(work)


def test_a_process_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "GRACE", 2.0)
    work = job(tmp_path, rule(STUBBORN, "stubborn"), seconds=1, memory_mb=4000)
    started = time.monotonic()
    with pytest.raises(RuleLimitError, match="killed at rule stubborn"):
        run_fenced(work)
    assert time.monotonic() - started < 10
    assert workers() == []


def test_a_process_that_is_killed_from_outside_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "PROGRESS", 0.05)
    killed: list[int] = []

    def kill_once(*_: object) -> None:
        if not killed:
            [worker] = workers()
            worker.kill()
            killed.append(worker.pid)

    monkeypatch.setattr(fence.log, "info", kill_once)
    work = job(tmp_path, rule(STUBBORN, "stubborn"), memory_mb=4000)
    with pytest.raises(RuleEngineError, match="was killed by SIGKILL"):
        run_fenced(work)


def test_a_process_that_cannot_begin_is_reported_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuleEngineError, match="ended with status 1 at rule"):
        run_fenced(job(tmp_path, rule("SELECT 1")))
    failing = tmp_path / "failing-python"
    failing.write_text("#!/bin/sh\necho no module of that name >&2\nexit 7\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    with pytest.raises(RuleEngineError, match="ended with status 7"):
        run_fenced(job(tmp_path, rule("SELECT 1")))
    assert "no module of that name" in caplog.text


def test_a_process_dies_with_its_parent(tmp_path: Path) -> None:
    work = job(tmp_path, rule(STUBBORN, "stubborn"), memory_mb=4000)
    script = (
        "import sys\n"
        "from openreg_airflow.validate.fence import run_fenced\n"
        "from openreg_airflow.validate.job import Job\n"
        "run_fenced(Job.model_validate_json(sys.stdin.read()))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, text=True)
    assert parent.stdin is not None
    parent.stdin.write(work.model_dump_json(by_alias=True))
    parent.stdin.close()
    watched = psutil.Process(parent.pid)
    while not (children := watched.children()):
        assert parent.poll() is None
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_a_full_disk_is_the_disks_fault(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT * FROM trades")).model_copy(update={"failures": "/dev/full"})
    with pytest.raises(OSError, match="No space left") as caught:
        run_fenced(work)
    assert caught.value.errno == errno.ENOSPC


def test_the_process_has_no_secret_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", "postgresql://user:secret@host/db")
    reporter = tmp_path / "reporter"
    reporter.write_text(
        f"#!{sys.executable}\n"
        "import json, os\n"
        "print(json.dumps({'error': {'kind': 'RuleEngineError', 'hint': None,"
        " 'text': json.dumps(sorted(os.environ))}}))\n"
    )
    reporter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(reporter))
    with pytest.raises(RuleEngineError) as caught:
        run_fenced(job(tmp_path, rule("SELECT 1")))
    names = json.loads(caught.value.message)
    assert "ARROW_DEFAULT_MEMORY_POOL" in names
    assert not [name for name in names if name.startswith("AIRFLOW")]


def test_long_work_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fence, "PROGRESS", 0.2)
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a, b) = 1"
    work = job(tmp_path, rule("SELECT 1", "quick"), rule(endless, "endless"), seconds=3)
    with caplog.at_level("INFO"), pytest.raises(RuleLimitError):
        run_fenced(work)
    assert "Rule endless is running; 1 of 2 rules are done" in caplog.text
