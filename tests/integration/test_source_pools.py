from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.definitions._internal.abstractoperator import DEFAULT_POOL_NAME

from dag_factory.build import build_dag
from dag_factory.load import load
from dag_factory.loader import load_dags
from dag_factory.scaffold import scaffold
from openreg_airflow.pools import Slots, needed

if TYPE_CHECKING:
    from pathlib import Path

_TABLE = """
from airflow import settings
from airflow.models.pool import Pool
from airflow.models.team import Team
Pool.metadata.create_all(settings.get_engine(), [Team.__table__, Pool.__table__])
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One report that leaves its pool to the installation, and one that names its own."""
    root = tmp_path / "report_specs"
    for name in ("alpha", "beta"):
        scaffold(name, root)
    spec = root / "beta" / "report.yaml"
    lines = spec.read_text().replace("sql: trades.sql", "sql: trades.sql\n      pool: night shift")
    spec.write_text(lines)
    return root


def pools(root: Path) -> dict[str, str]:
    return {name: dag.get_task("extract").pool for name, dag in load_dags([root]).items()}


def test_task_waits_in_the_pool_that_its_spec_names(root: Path) -> None:
    assert pools(root) == {"alpha": DEFAULT_POOL_NAME, "beta": "night shift"}


def test_each_connection_has_a_pool_where_the_installation_wants_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENREG__SOURCE_POOL_SLOTS", "2")

    found = pools(root)

    assert found["beta"] == "night shift"
    assert found["alpha"].startswith("openreg_source_")


def test_source_in_parts_takes_a_slot_for_each_and_its_pool_has_them(root: Path) -> None:
    spec = root / "beta" / "report.yaml"
    parted = "pool: night shift\n      partition: {column: trade_id, parts: 6}"
    spec.write_text(spec.read_text().replace("pool: night shift", parted))

    assert load_dags([root])["beta"].get_task("extract").pool_slots == 6
    assert load_dags([root])["alpha"].get_task("extract").pool_slots == 1
    [pool] = needed([load(root / "alpha"), load(root / "beta")], Slots())
    assert (pool.name, pool.at_least) == ("night shift", 6)


def deliveries(root: Path) -> dict[str, str]:
    return {name: dag.get_task("deliver").pool for name, dag in load_dags([root]).items()}


def test_deliveries_wait_in_pools_of_their_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = root / "beta" / "report.yaml"
    spec.write_text(
        spec.read_text().replace("channel: sftp", "channel: sftp\n      pool: one door")
    )
    assert deliveries(root) == {"alpha": DEFAULT_POOL_NAME, "beta": "one door"}

    monkeypatch.setenv("AIRFLOW__OPENREG__DESTINATION_POOL_SLOTS", "3")

    found = deliveries(root)
    assert found["beta"] == "one door"
    assert found["alpha"].startswith("openreg_destination_")
    reports = [load(root / name) for name in ("alpha", "beta")]
    pools = {pool.name: pool for pool in needed(reports, Slots(source=0, destination=3))}
    assert set(pools) == {"night shift", "one door", found["alpha"]}
    [connection] = pools[found["alpha"]].connections
    assert found["alpha"] == f"openreg_destination_{connection}"
    assert (pools[found["alpha"]].reports, pools[found["alpha"]].slots) == (("alpha",), 3)
    assert pools["one door"].reports == ("beta",)


def test_looking_for_answers_takes_a_slot_of_the_place_where_they_are(root: Path) -> None:
    answer = "channel: sftp\n      acknowledgement: {pattern: '{stem}_FDB.csv'"
    for name, more in (("alpha", ""), ("beta", ", connection: answers")):
        spec = root / name / "report.yaml"
        spec.write_text(spec.read_text().replace("channel: sftp", f"{answer}{more}}}"))
    slots = Slots(source=0, destination=1)
    reports = [load(root / name) for name in ("alpha", "beta")]

    deliver, acknowledge = (
        {
            spec.id: build_dag(spec, root / spec.id, pools=slots).get_task(task).pool
            for spec in reports
        }
        for task in ("deliver", "acknowledge")
    )

    assert acknowledge["alpha"] == deliver["alpha"] == deliver["beta"]
    assert acknowledge["beta"] == "openreg_destination_answers"
    made = {pool.name: pool.connections for pool in needed(reports, slots)}
    assert made["openreg_destination_answers"] == ("answers",)
    assert set(deliver.values()) <= set(made)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Runs Python beside a metadata database that has Airflow's table of pools."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__OPENREG__SOURCE_POOL_SLOTS": "2",
        "AIRFLOW__OPENREG__SPEC_FOLDERS": str(root),
        "COLUMNS": "120",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=root.parent,
            capture_output=True,
            text=True,
            check=False,
        )

    made = run("-c", _TABLE)
    assert made.returncode == 0, made.stderr
    return run


def slots(tmp_path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as connection:
        return dict(connection.execute("SELECT pool, slots FROM slot_pool").fetchall())


def test_pools_that_are_missing_are_said_and_made(run: Run, tmp_path: Path) -> None:
    command = ("-m", "openreg_airflow.cli", "connections", "pools")

    before, created = run(*command), run(*command, "--create", "--slots", "3")

    assert (before.returncode, before.stdout.count("missing")) == (1, 2), before.stderr
    assert (created.returncode, created.stdout.count("missing")) == (0, 0), created.stderr
    rows = slots(tmp_path)
    assert rows.pop("night shift") == 3
    assert list(rows.values()) == [3]


def test_a_component_that_starts_makes_missing_pools_and_keeps_the_others(
    run: Run, root: Path, tmp_path: Path
) -> None:
    broken = root / "broken"
    broken.mkdir()
    (broken / "report.yaml").write_text("openreg: 7")
    start = ("-c", "from airflow.jobs.job import Job; Job()")
    assert run(*start).returncode == 0
    first = slots(tmp_path)
    assert sorted(first.values()) == [2, 2]

    with closing(sqlite3.connect(tmp_path / "airflow.db")) as connection, connection:
        connection.execute("UPDATE slot_pool SET slots = 9 WHERE pool = 'night shift'")
    assert run(*start).returncode == 0
    assert slots(tmp_path) == first | {"night shift": 9}


def test_a_component_starts_even_where_pools_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "airflow.db").unlink()
    started = run("-c", "from airflow.jobs.job import Job; Job(); print('started')")
    assert "started" in started.stdout
    assert "the pools of reports could not be made" in started.stdout + started.stderr
