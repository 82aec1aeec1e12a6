from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dag_factory.check import check

REPORTS = Path(__file__).resolve().parents[2] / "report_specs"


def findings(tmp_path: Path, report: str, **changes: Any) -> list[str]:
    """What is wrong with an example report after some changes of its spec."""
    folder = tmp_path / report
    shutil.copytree(REPORTS / report, folder)
    spec = yaml.safe_load((folder / "report.yaml").read_text())
    for section, value in changes.items():
        spec[section] = spec.get(section, {}) | value if isinstance(value, dict) else value
    (folder / "report.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return [finding.message for finding in check(folder)]


def test_tables_and_columns_of_records_must_be_there(tmp_path: Path) -> None:
    records = {"trades": {"key": ["id"]}}
    [found] = findings(tmp_path, "mifir_transactions", records=records)
    assert found == "records.trades: there is no table 'trades'"
    records = {"transactions": {"key": ["transaction_ident"]}}
    found_too = findings(tmp_path / "too", "mifir_transactions", records=records)
    assert any("has no column 'transaction_ident'" in one for one in found_too)


def test_inner_tables_of_a_layout_belong_to_the_record(tmp_path: Path) -> None:
    records: dict[str, Any] = {"transactions": {"key": ["transaction_id"]}}
    found = findings(tmp_path, "mifir_all_fields", records=records)
    assert any("rows of parties stand inside transactions" in one for one in found)


@pytest.mark.parametrize("declared", [True, False])
def test_a_correctable_rule_needs_records(tmp_path: Path, declared: bool) -> None:
    rule = {
        "title": "A price",
        "table": "transactions",
        "severity": "correctable",
        "condition": "price is not None",
        "message": "no price",
    }
    records = {"transactions": {"key": ["transaction_id"]}} if declared else {}
    found = findings(
        tmp_path, "mifir_transactions", validate={"rules": {"priced": rule}}, records=records
    )
    assert found == ([] if declared else [
        "rule priced is correctable, but nothing names a record of transactions"
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({"row_count": {"min": 1}}, "row_count speaks of a whole table"),
        ({"condition": "price > 0", "phase": "source"}, "phase: transformed"),
    ],
)
def test_only_rules_about_rows_of_the_report_are_correctable(
    tmp_path: Path, way: dict[str, Any], words: str
) -> None:
    rule = {"title": "A", "table": "transactions", "severity": "correctable", "message": "m"} | way
    found = findings(tmp_path, "mifir_transactions", validate={"rules": {"rule": rule}})
    assert any(words in one for one in found)
