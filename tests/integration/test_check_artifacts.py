"""Rules over finished files, between artifact and delivery."""

from __future__ import annotations

import logging
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG

from dag_factory.build import build_dag
from dag_factory.check import check
from dag_factory.load import load
from openreg_airflow.errors import ArtifactError, BlockingRulesError
from openreg_airflow.records import Artifact, ArtifactFile, Dataset, RuleResult, RunKey, Verdict
from openreg_airflow.store import Store
from openreg_airflow.store.history import rule_outcomes
from openreg_airflow.validate.finished.form import FileForm
from openreg_airflow.validate.finished.operator import CheckArtifactsOperator
from openreg_airflow.validate.finished.resubmitted import of_any_records
from openreg_airflow.validate.job import Rule
from openreg_airflow.validate.spec import RuleSpec, ValidateSection
from openreg_airflow.workspace import Workspace
from tests.new_store import new_store
from tests.transform_bench import Bench

if TYPE_CHECKING:
    from pathlib import Path

RUN = RunKey(report_id="positions", business_date="2026-03-31", run_id="scheduled__1")
SECTION: dict[str, Any] = {
    "read_back": {"positions": {"columns": {"amount": "decimal(18,2)"}}},
    "rules": {
        "own": {"title": "t", "table": "positions", "message": "m", "row_count": {"min": 1}},
        "every_row": {
            "title": "Every row is in the file",
            "phase": "artifact",
            "table": "positions_records",
            "message": "{rows} records for {expected} rows",
            "row_count": {"same_as": "positions"},
        },
        "total": {
            "title": "The amounts add up",
            "phase": "artifact",
            "table": "positions_records",
            "message": "{total} is not {control_total}",
            "control_total": {"column": "amount", "table": "positions", "total": "amount"},
        },
        "trailer": {
            "title": "The trailer counts the records",
            "phase": "artifact",
            "table": "positions_files",
            "message": "{last_line} of {file} does not say {found}",
            "condition": "matches(last_line, r'T;[0-9]+') and found == declared",
        },
        "codes": {
            "title": "Ids look like ids",
            "phase": "artifact",
            "severity": "warning",
            "table": "positions_records",
            "message": "id {id} in record {record} of {file}",
            "condition": "matches(id, r'P[0-9]+')",
        },
    },
}
FORM = FileForm(format="csv", delimiter=";", after=1)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'store.db'}")


def dataset(workspace: Workspace, *amounts: str) -> dict[str, Any]:
    values = pa.array([Decimal(amount) for amount in amounts], pa.decimal128(18, 2))
    table = pa.table({"id": [f"P{n}" for n in range(len(amounts))], "amount": values})
    with workspace.folder(RUN, "transform").writing("positions.parquet") as pending:
        pq.write_table(table, pending.path)
    return Dataset(**pending.ref.model_dump(), rows=len(amounts), columns=()).model_dump(
        mode="json"
    )


def artifact(workspace: Workspace, text: str, records: int) -> dict[str, Any]:
    with workspace.folder(RUN, "artifact").writing("p.csv") as pending:
        pending.path.write_text(text)
    file = ArtifactFile(**pending.ref.model_dump(), filename="p.csv", records=records)
    made = Artifact(
        name="positions", format="csv", records=records, schema_check="-", files=(file,)
    )
    return made.model_dump(mode="json")


def operator(
    tmp_path: Path, tables: dict[str, Any], made: dict[str, Any], **more: Any
) -> CheckArtifactsOperator:
    with DAG("positions"):
        task = CheckArtifactsOperator(
            task_id="check",
            report_id="positions",
            folder=tmp_path,
            spec=ValidateSection.model_validate(SECTION),
            forms={"positions": FORM},
            artifacts={"positions": made},
            tables=tables,
            **more,
        )
    task.business_date = RUN.business_date.isoformat()
    return task


def execute(task: CheckArtifactsOperator) -> Verdict:
    context: Any = {"dag_run": SimpleNamespace(run_id=RUN.run_id)}
    return Verdict.model_validate(task.execute(context))


def test_right_file_passes_and_both_verdicts_are_kept(
    workspace: Workspace, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = RuleResult(
        rule_id="own", title="t", severity="blocking", table="positions", failed=0, checked=2,
        seconds=0.1, message="",
    )  # fmt: skip
    store.record_verdict(RUN, Verdict(results=(before,)))
    made = artifact(workspace, "id;amount\nP0;1.50\nP1;2\nT;2\n", 2)
    task = operator(tmp_path, {"positions": dataset(workspace, "1.50", "2")}, made)

    with caplog.at_level(logging.INFO):
        verdict = execute(task)

    assert [result.rule_id for result in verdict.results] == [
        "every_row", "total", "trailer", "codes",
    ]  # fmt: skip
    assert all(result.passed for result in verdict.results)
    assert {result.phase for result in verdict.results} == {"artifact"}
    assert store.verdict(RUN, finished=True) == verdict
    assert store.verdict(RUN) == Verdict(results=(before,))
    # A try that is repeated replaces its own results alone, and so does the validation's.
    execute(task)
    store.record_verdict(RUN, Verdict(results=(before,)))
    repeated = store.verdict(RUN, finished=True)
    assert repeated is not None
    assert len(repeated.results) == 4
    outcomes = rule_outcomes(f"sqlite:///{tmp_path / 'store.db'}", "positions")
    assert [one.rule_id for one in outcomes] == ["own", "every_row", "total", "trailer", "codes"]
    assert "4 of 4 rules passed" in caplog.text


def test_blocking_failure_names_record_and_file_and_stops_the_run(
    workspace: Workspace, store: Store, tmp_path: Path
) -> None:
    made = artifact(workspace, "id;amount\nP0;1.50\nX1;3\nP2;1\nT;none\n", 3)
    task = operator(tmp_path, {"positions": dataset(workspace, "1.50", "2")}, made)

    with pytest.raises(BlockingRulesError) as raised:
        execute(task)

    assert "3 records for 2 rows" in str(raised.value)
    assert "5.50 is not 3.50" in str(raised.value)
    assert "T;none of p.csv does not say 3" in str(raised.value)
    verdict = store.verdict(RUN, finished=True)
    assert verdict is not None
    assert [result.failed for result in verdict.results] == [1, 1, 1, 1]
    assert verdict.warnings[0].messages == ("id X1 in record 2 of p.csv",)


def test_rows_that_were_set_aside_are_not_missed(workspace: Workspace, tmp_path: Path) -> None:
    left = Dataset.model_validate(dataset(workspace, "1.50"))
    before = Verdict(results=(), tables={"positions": left}, set_aside={"positions": 1})
    made = artifact(workspace, "id;amount\nP0;1.50\nT;1\n", 1)
    task = operator(tmp_path, {}, made, verdict=before.model_dump(mode="json"))
    assert not execute(task).blocking


def test_values_of_the_file_are_looked_up_in_mapping_sets(
    workspace: Workspace, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, "subprocess")
    always = pa.array([None], pa.date32())
    known = {"id": ["P0"], "label": ["first"], "effective_from": always, "effective_to": always}
    bench.mapping("known", pa.table(known), {"id": "string"}, label="string")
    snapshot = bench.mappings["known"].snapshot.model_dump(mode="json")
    made = artifact(workspace, "id;amount\nP0;1.50\nP1;2\nT;2\n", 2)
    task = operator(tmp_path, {"positions": dataset(workspace, "1.50", "2")}, made,
                    mappings={"known": snapshot})  # fmt: skip
    rule = {
        "title": "Known ids", "phase": "artifact", "table": "positions_records",
        "message": "{id} is unknown", "condition": 'id in mapping("known")', "severity": "warning",
    }  # fmt: skip
    task.spec = ValidateSection.model_validate({"rules": {"known": rule}})
    assert execute(task).results[0].messages == ("P1 is unknown",)


def test_file_that_cannot_be_read_back_stops_the_run(
    workspace: Workspace, store: Store, tmp_path: Path
) -> None:
    made = artifact(workspace, "id;amount\nP0;1,50\nT;1\n", 1)
    task = operator(tmp_path, {"positions": dataset(workspace, "1.50")}, made)
    with pytest.raises(ArtifactError, match="record 1, amount: '1,50' is no decimal"):
        execute(task)


def test_resubmission_is_not_held_against_a_whole_day() -> None:
    base = {"title": "t", "phase": "artifact", "table": "out_records", "message": "m"}
    ways: dict[str, dict[str, Any]] = {
        "same": {"row_count": {"same_as": "trades"}},
        "sum": {"control_total": {"column": "a", "table": "trades", "total": "a"}},
        "row": {"condition": "a > 0"},
        "least": {"row_count": {"min": 100}},
        "before": {"row_count": {"previous_within_percent": 5}},
        "fixed": {"control_total": {"column": "a", "equals": 7}},
        "days": {"complete_days": {"column": "day"}},
        "average": {"sql": "SELECT 1 FROM openreg_history"},
    }
    rules = tuple(
        Rule(rule_id=name, spec=RuleSpec.model_validate(base | way), sql=way.get("sql", ""))
        for name, way in ways.items()
    )
    assert [rule.rule_id for rule in of_any_records(rules)] == ["same", "sum", "row"]


REPORT = """\
openreg: 1
id: positions
title: Positions
extract:
  sources:
    trades: {connection: warehouse, sql: trades.sql}
validate:
  rules:
    every_row:
      {title: t, phase: artifact, table: out_records, message: m, row_count: {same_as: trades}}
artifacts:
  out: {format: csv, table: trades, filename: "a.csv"}
  other: {format: csv, table: trades, filename: "b.csv"}
deliver:
  routes:
    authority: {channel: sftp, connection: inbox, folder: in}
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "positions"
    folder.mkdir()
    (folder / "report.yaml").write_text(REPORT)
    (folder / "trades.sql").write_text("SELECT 1 AS id")
    return folder


def test_nothing_is_delivered_before_the_files_are_checked(report: Path) -> None:
    assert check(report) == []
    dag = build_dag(load(report), report)
    task = dag.get_task("check")
    assert set(dag.get_task("check").forms) == {"out"}
    assert task.upstream_task_ids >= {"artifact.out", "validate"}
    assert task.downstream_task_ids == {
        "deliver.out_to_authority", "deliver.other_to_authority",
    }  # fmt: skip


def test_report_without_such_rules_has_no_such_task(report: Path) -> None:
    text = REPORT.replace("phase: artifact, table: out_records", "table: trades")
    (report / "report.yaml").write_text(text)
    assert "check" not in build_dag(load(report), report).task_ids


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("table: out_records, message", "table: outer, message", "there is no table 'outer'"),
        ("validate:\n", "validate:\n  read_back: {x: {}}\n", "there is no artifact 'x'"),
        ("validate:\n", "validate:\n  read_back: {out: {record: a}}\n", "go with XML"),
        ("message: m,", "message: m, severity: correctable,", "phase: transformed"),
    ],
)
def test_wrong_rules_about_files_are_found_by_check(
    report: Path, old: str, new: str, expected: str
) -> None:
    (report / "report.yaml").write_text(REPORT.replace(old, new, 1))
    assert expected in "\n".join(finding.message for finding in check(report))
