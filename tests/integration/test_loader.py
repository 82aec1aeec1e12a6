from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dag_factory import loader
from dag_factory.broken import SpecErrorOperator
from dag_factory.load import load
from dag_factory.loader import load_dags
from dag_factory.scaffold import scaffold
from openreg_airflow.errors import PermanentError, SpecError

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "report_specs"
HEAVY = {
    "pyarrow", "pandas", "numpy", "duckdb", "lxml", "asyncssh", "sqlglot", "adbc_driver_manager",
    "alembic", "psycopg2", "stdnum", "rich", "typer",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("alpha", "beta"):
        scaffold(name, tmp_path)
    return tmp_path


def test_each_spec_is_a_dag_with_its_stages_in_order(root: Path) -> None:
    dags = load_dags([root])
    assert list(dags) == ["alpha", "beta"]
    order = [task.task_id for task in dags["alpha"].topological_sort()]
    assert order == ["extract", "transform", "validate", "artifact", "deliver"]
    assert dags["alpha"].params["business_date"] is None


def test_report_with_mapping_sets_snapshots_them_before_whoever_uses_them(root: Path) -> None:
    spec = root / "alpha" / "report.yaml"
    step = "{{table: {0}, phase: {1}, set: venues, key: [id], fill: {{mic: mic}}}}"
    spec.write_text(
        spec.read_text()
        + f"\nmap:\n  before: {step.format('trades', 'source')}\n"
        + f"  after: {step.format('report', 'transformed')}\n"
    )

    dags = load_dags([root])

    dag = dags["alpha"]
    assert dag.get_task("mappings").upstream_task_ids == set()
    assert dag.get_task("map_sources").upstream_task_ids == {"extract", "mappings"}
    assert dag.get_task("transform").upstream_task_ids == {"map_sources", "mappings"}
    assert dag.get_task("map").upstream_task_ids == {"transform", "mappings"}
    assert {"map", "mappings"} <= dag.get_task("validate").upstream_task_ids
    assert dag.params["mappings_known_at"] is None
    assert not dags["beta"].has_task("mappings")
    assert "mappings_known_at" not in dags["beta"].params


def test_several_sources_artifacts_and_routes_have_a_task_each(root: Path) -> None:
    spec = root / "alpha" / "report.yaml"
    text = spec.read_text()
    text = text.replace("  sources:\n", "  sources:\n    more: {connection: x, sql: trades.sql}\n")
    text = text.replace(
        "artifacts:\n", "artifacts:\n  copy: {format: csv, table: report, filename: c.csv}\n"
    )
    spec.write_text(
        text.replace(
            "  routes:\n",
            "  routes:\n    archive: {channel: sftp, connection: a, artifacts: [copy]}\n",
        )
    )
    dag = load_dags([root])["alpha"]
    assert {task.task_id for task in dag.tasks} == {
        "extract.more", "extract.trades", "transform", "validate",
        "artifact.copy", "artifact.report",
        "deliver.copy_to_archive", "deliver.copy_to_regulator", "deliver.report_to_regulator",
    }  # fmt: skip
    assert dag.get_task("deliver.copy_to_archive").upstream_task_ids == {"artifact.copy"}
    assert dag.get_task("artifact.copy").upstream_task_ids == {"transform", "validate"}


def test_sources_of_a_snapshot_share_a_task_and_keep_their_tables(root: Path) -> None:
    spec = root / "alpha" / "report.yaml"
    connection = load(root / "alpha").extract.sources["trades"].connection
    more = (
        f"  snapshot: true\n  sources:\n    more: {{connection: {connection}, sql: trades.sql}}\n"
    )
    spec.write_text(spec.read_text().replace("  sources:\n", more))

    dag = load_dags([root])["alpha"]

    assert next(task.task_id for task in dag.topological_sort()) == "extract"
    inputs = dag.get_task("transform").inputs
    assert {name: (table.operator.task_id, table.key) for name, table in inputs.items()} == {
        "more": ("extract", "more"),
        "trades": ("extract", "trades"),
    }


def test_incremental_report_moves_its_marks_last_and_runs_one_at_a_time(root: Path) -> None:
    spec = root / "alpha" / "report.yaml"
    new = "incremental: {column: trade_id, type: integer, start: 0}"
    spec.write_text(spec.read_text().replace("sql: trades.sql", f"sql: trades.sql\n      {new}"))

    dags = load_dags([root])

    last = dags["alpha"].get_task("move_marks")
    assert last.upstream_task_ids == {"deliver"}
    assert last.trigger_rule == "none_failed"
    assert dags["alpha"].max_active_runs == 1
    assert not dags["beta"].has_task("move_marks")


def test_the_first_day_of_a_schedule_begins_at_midnight_of_its_zone(root: Path) -> None:
    schedule = "{cron: 30 0 * * *, timezone: Europe/Berlin, start_date: 2026-03-02, catchup: true}"
    spec = root / "alpha" / "report.yaml"
    spec.write_text(f"{spec.read_text()}\nschedule: {schedule}\n")
    dag = load_dags([root])["alpha"]
    assert dag.start_date == datetime(2026, 3, 1, 23, 0, tzinfo=UTC)
    assert dag.catchup
    assert not load_dags([root])["beta"].catchup


def test_the_validate_task_knows_who_is_told(root: Path) -> None:
    spec = root / "alpha" / "report.yaml"
    desk = "{kind: email, connection: mail, to: [desk@example.org], on: [blocked, warned]}"
    spec.write_text(f"{spec.read_text()}\nnotify:\n  targets:\n    desk: {desk}\n")
    dags = load_dags([root])
    assert dags["alpha"].get_task("validate").notify.targets["desk"].to == ("desk@example.org",)
    assert dags["beta"].get_task("validate").notify is None


def test_the_validate_task_is_given_the_sources_that_rules_read(root: Path) -> None:
    spec = root / "alpha" / "report.yaml"
    text = spec.read_text()
    rule = "    raw: {title: Raw, phase: source, table: trades, row_count: {min: 1}, message: m}\n"
    assert "  rules:\n" in text
    spec.write_text(text.replace("  rules:\n", f"  rules:\n{rule}", 1))
    dags = load_dags([root])
    assert set(dags["alpha"].get_task("validate").sources) == {"trades"}
    assert dags["beta"].get_task("validate").sources == {}
    spec.write_text(spec.read_text().replace("table: trades, row", "table: deals, row", 1))
    broken = load_dags([root])["alpha"]
    assert "there is no source 'deals'" in (broken.doc_md or "")


def test_a_permanent_error_is_not_retried_and_others_are(root: Path) -> None:
    task = load_dags([root])["alpha"].get_task("deliver")
    assert task.retries == 3
    policy = task.retry_policy
    assert policy is not None
    assert policy.evaluate(PermanentError("no"), 1, 4).action.value == "fail"
    assert policy.evaluate(OSError("reset"), 1, 4).action.value != "fail"


def test_a_broken_spec_hides_no_other_and_shows_its_error(root: Path) -> None:
    spec = root / "alpha" / "report.yaml"
    spec.write_text(spec.read_text().replace("title:", "titel:", 1))
    dags = load_dags([root])
    assert set(dags) == {"alpha", "beta"}
    broken = dags["alpha"]
    assert "openreg-broken" in broken.tags
    shown = "- **report.yaml, line 4, column 1**: titel: unknown key (Did you mean title?)\n"
    assert shown in (broken.doc_md or "")
    assert broken.timetable.can_be_scheduled is False
    (task,) = broken.tasks
    assert isinstance(task, SpecErrorOperator)
    with pytest.raises(SpecError, match=r"report\.yaml:4:1: titel: unknown key"):
        task.execute({})


def test_what_a_broken_spec_says_is_no_markdown_in_the_ui(root: Path) -> None:
    spec = root / "alpha" / "report.yaml"
    text = spec.read_text()
    assert "severity: blocking" in text
    spec.write_text(text.replace("severity: blocking", 'severity: "<img src=x> [a](b) *c*"', 1))
    shown = load_dags([root])["alpha"].doc_md or ""
    assert r"'\<img src=x\> \[a\](b) \*c\*' is not one of" in shown
    assert r"validate.rules.price\_positive.severity" in shown


def test_folders_that_are_no_reports_stay_visible(root: Path) -> None:
    (root / "no spec here").mkdir()
    (root / ".hidden").mkdir()
    dags = load_dags([root, root / "gone"])
    assert set(dags) == {"alpha", "beta", "no_spec_here", "gone"}
    assert "no report.yaml" in (dags["no_spec_here"].doc_md or "")
    assert "cannot be read" in (dags["gone"].doc_md or "")


def test_a_report_that_is_there_twice_is_said(root: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    scaffold("alpha", second)
    dags = load_dags([root, second])
    assert "alpha.duplicate" in dags
    assert "there is another report 'alpha'" in (dags["alpha.duplicate"].doc_md or "")


def test_a_task_start_reads_its_own_spec_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = loader.load
    monkeypatch.setattr(loader, "load", lambda folder: (read.append(folder.name), whole(folder))[1])
    monkeypatch.setattr(loader, "report_folders", lambda root: pytest.fail("listed all reports"))
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "beta")
    assert list(load_dags([root])) == ["beta"]
    assert read == ["beta"]


def test_a_task_start_finds_a_broken_spec_of_an_odd_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "no spec here").mkdir()
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "no_spec_here")
    assert list(load_dags([root])) == ["no_spec_here"]


def test_parsing_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys, json
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, ObjectStoragePath, TaskGroup, Param, CronTriggerTimetable
from airflow.sdk.configuration import conf
conf.get("core", "dags_folder")
before = set(sys.modules)
from pathlib import Path
from dag_factory.load import load
from dag_factory.loader import load_dags
dags = load_dags([Path({str(EXAMPLES)!r})])
print(json.dumps([sorted(dags), sorted({{m.split(".")[0] for m in set(sys.modules) - before}})]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    dags, modules = json.loads(done.stdout.splitlines()[-1])
    assert {"mifir_transactions", "positions_return"} <= set(dags)
    assert HEAVY & set(modules) == set()
