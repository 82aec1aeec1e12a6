from __future__ import annotations

import logging
import subprocess
import sys
from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG

from openreg_airflow.errors import (
    BlockingRulesError,
    IntegrityError,
    RuleLimitError,
    SpecError,
    StoreNotReadyError,
)
from openreg_airflow.records import Column, Dataset, RunKey, Verdict
from openreg_airflow.store import Store
from openreg_airflow.validate.operator import ValidateOperator
from openreg_airflow.validate.spec import ValidateSection
from openreg_airflow.workspace import Workspace
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = RunKey(report_id="positions", business_date=date(2026, 3, 31), run_id="manual__1")
PRICES: dict[str, Any] = {
    "title": "Prices are positive",
    "table": "positions",
    "sql_file": "rules/price.sql",
    "message": "price {price} of {isin} is not positive",
}
DATES: dict[str, Any] = {
    "title": "Positions are those of the business date",
    "table": "positions",
    "sql": "SELECT * FROM positions WHERE day <> $business_date",
    "message": "{isin} is of {day}, not {business_date}",
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    return Store(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "report_specs" / "positions"
    (folder / "rules").mkdir(parents=True)
    (folder / "rules" / "price.sql").write_text("SELECT * FROM positions WHERE price <= 0\n")
    return folder


@pytest.fixture(autouse=True)
def task_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger="openreg_airflow"):
        yield


def positions(workspace: Workspace, *prices: int, day: date = RUN.business_date) -> Dataset:
    table = pa.table(
        {
            "isin": [f"XS{number:010d}" for number in range(len(prices))],
            "price": pa.array(prices, pa.int64()),
            "day": pa.array([day] * len(prices), pa.date32()),
        }
    )
    with workspace.folder(RUN, "transform").writing("positions.parquet") as pending:
        pq.write_table(table, pending.path)
    return Dataset(
        **pending.ref.model_dump(),
        rows=table.num_rows,
        columns=tuple(Column(name=field.name, type=str(field.type)) for field in table.schema),
    )


def operator(folder: Path, dataset: Dataset, spec: dict[str, Any] | None = None) -> Any:
    section = ValidateSection.model_validate(
        spec if spec is not None else {"rules": {"price": PRICES, "dates": DATES}}
    )
    with DAG("positions"):
        task = ValidateOperator(
            task_id="validate",
            report_id=RUN.report_id,
            folder=folder,
            spec=section,
            tables={"positions": dataset.model_dump(mode="json")},
        )
    # What rendering the templates makes of the macro.
    task.business_date = RUN.business_date.isoformat()
    return task


def execute(task: Any) -> Verdict:
    returned = task.execute({"dag_run": SimpleNamespace(run_id=RUN.run_id)})
    return Verdict.model_validate(returned)


def test_right_data_pass_and_the_verdict_is_recorded(
    workspace: Workspace, store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = execute(operator(folder, positions(workspace, 1, 2)))
    assert [result.passed for result in verdict.results] == [True, True]
    assert store.verdict(RUN) == verdict
    assert verdict.failures is not None
    with workspace.open_local(verdict.failures) as path:
        assert pq.read_metadata(path).num_rows == 0
    assert "2 of 2 rules passed, 0 warned, 0 blocked" in caplog.text


def test_blocking_rule_stops_the_run_after_the_verdict_is_recorded(
    workspace: Workspace, store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BlockingRulesError) as caught:
        execute(operator(folder, positions(workspace, 1, 0, -5)))
    error = str(caught.value)
    assert error.startswith("report positions, stage validate: 1 blocking rule failed")
    assert "- price (Prices are positive): 2 of 3 rows failed" in error
    assert "price -5 of XS0000000002 is not positive" in error
    verdict = store.verdict(RUN)
    assert verdict is not None
    [price] = verdict.blocking
    assert (price.rule_id, price.failed, price.checked) == ("price", 2, 3)
    assert verdict.failures is not None
    with workspace.open_local(verdict.failures) as path:
        rows = pq.read_table(path).to_pylist(maps_as_pydicts="strict")
    assert [row["values"]["price"] for row in rows] == ["0", "-5"]
    assert "FAILED" in caplog.text
    [told] = [r for r in caplog.records if r.levelname == "WARNING"]
    assert "blocked" in told.getMessage()
    assert "(isin=XS0000000001, price=0, day=2026-03-31)" in caplog.text


def test_warnings_let_the_run_go_on(workspace: Workspace, store: Store, folder: Path) -> None:
    spec = {"rules": {"dates": DATES | {"severity": "warning"}}}
    verdict = execute(operator(folder, positions(workspace, 1, day=date(2026, 3, 30)), spec))
    [warning] = verdict.warnings
    assert warning.message == "XS0000000000 is of 2026-03-30, not 2026-03-31"
    assert store.verdict(RUN) == verdict


@pytest.mark.parametrize("severity", ["blocking", "warning"])
def test_rule_in_error_counts_as_failed(
    workspace: Workspace, store: Store, folder: Path, severity: str
) -> None:
    rule = DATES | {"sql": "SELECT * FROM positions WHERE prize > 0", "severity": severity}
    task = operator(folder, positions(workspace, 1), {"rules": {"broken": rule}})
    if severity == "blocking":
        with pytest.raises(
            BlockingRulesError, match=r'could not be evaluated: .*"prize" not found'
        ):
            execute(task)
    else:
        execute(task)
    verdict = store.verdict(RUN)
    assert verdict is not None
    [broken] = verdict.results
    assert not broken.passed
    assert "prize" in (broken.error or "")


def test_without_rules_the_verdict_is_empty(
    workspace: Workspace, store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = execute(operator(folder, positions(workspace, 0), {}))
    assert verdict == Verdict(results=())
    assert "There are no rules." in caplog.text


def test_missing_rule_file_fails_with_report_stage_and_file(
    workspace: Workspace, store: Store, folder: Path
) -> None:
    task = operator(folder, positions(workspace, 1))
    (folder / "rules" / "price.sql").unlink()
    with pytest.raises(SpecError) as caught:
        execute(task)
    error = str(caught.value)
    assert error.startswith("report positions, stage validate: ")
    assert "rule price: rules/price.sql cannot be read" in error
    (folder / "rules" / "price.sql").write_text("SELECT * FROM positions WHERE price <= 0\n")
    assert execute(task).results[0].passed


def test_rule_that_reads_a_file_is_refused_before_anything_runs(
    workspace: Workspace, store: Store, folder: Path
) -> None:
    (folder / "rules" / "price.sql").write_text("SELECT *\nFROM read_text('/etc/passwd')\n")
    with pytest.raises(
        SpecError, match=r"price\.sql, line 2, column 6: .*read_text is not allowed"
    ):
        execute(operator(folder, positions(workspace, 1)))
    assert store.verdict(RUN) is None


def test_changed_table_is_not_validated(workspace: Workspace, store: Store, folder: Path) -> None:
    dataset = positions(workspace, 1)
    positions(workspace, 2)
    with pytest.raises(IntegrityError, match="SHA-256"):
        execute(operator(folder, dataset))


def test_rules_that_take_too_long_fail_the_task(
    workspace: Workspace, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENREG__MAX_SECONDS", "1")
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a, b) = 1"
    spec = {"rules": {"endless": DATES | {"sql": endless, "message": "x"}}}
    with pytest.raises(RuleLimitError, match=r"report positions, stage validate: .* after 1 s"):
        execute(operator(folder, positions(workspace, 1), spec))
    left = list((workspace.root / "positions").rglob("*failing_rows*"))
    assert left == []


def test_store_without_tables_fails_with_a_hint(
    workspace: Workspace, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(StoreNotReadyError, match="openreg db upgrade"):
        execute(operator(folder, positions(workspace, 1)))


def test_retry_gives_the_same_verdict_and_the_same_file(
    workspace: Workspace, store: Store, folder: Path
) -> None:
    task = operator(folder, positions(workspace, 0, 1), {"rules": {"price": PRICES}})
    kept = []
    for _ in range(2):
        with pytest.raises(BlockingRulesError):
            execute(task)
        verdict = store.verdict(RUN)
        assert verdict is not None
        untimed = [result.model_copy(update={"seconds": 0.0}) for result in verdict.results]
        kept.append((untimed, verdict.failures))
    assert kept[0] == kept[1]


def test_parsing_a_dag_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "import openreg_airflow.validate.operator, openreg_airflow.validate.spec\n"
        "heavy = {'pyarrow', 'duckdb', 'pandas', 'lxml', 'sqlalchemy', 'sqlglot'}\n"
        "from airflow.sdk import BaseOperator\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    with_ours = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    bare = "import sys\nfrom airflow.sdk import BaseOperator, ObjectStoragePath\n" + "\n".join(
        script.splitlines()[2:]
    )
    without = subprocess.run(
        [sys.executable, "-c", bare], capture_output=True, text=True, check=True
    )
    assert with_ours.stdout.splitlines()[-1] == without.stdout.splitlines()[-1]
