from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from openreg_airflow.deliver.routing import FACTS, check_condition, facts_of, holds
from openreg_airflow.errors import DeliveryRefusedError
from openreg_airflow.records import Artifact, ArtifactFile, RunKey

RUN = RunKey(report_id="mifir", business_date=date(2026, 3, 6), run_id="scheduled__2026-03-06")


def facts(**changes: Any) -> dict[str, Any]:
    file = ArtifactFile(uri="u", bytes=1000, sha256="ab" * 32, filename="a.xml", records=7)
    fields = {
        "name": "transactions",
        "format": "xml",
        "records": 7,
        "schema_check": "valid",
        "files": (file, file),
        "version": 2,
        "metadata": {"rules": {"failed_warning": 3}},
    } | changes
    return facts_of(RUN, Artifact(**fields))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("records > 0", True),
        ("bytes > 10_000_000", False),
        ("bytes == 2000 and files == 2", True),
        ('status == "warnings" and rules_failed == 3', True),
        ("correction", True),
        ("not correction", False),
        ('report in ["mifir", "emir"] and artifact == "transactions"', True),
        ('business_date >= date("2026-01-01")', True),
        ('run_kind == "backfill"', False),
        ('matches(run_id, r"scheduled__.*")', True),
        ('schema_check == "valid" if format == "xml" else True', True),
    ],
)
def test_a_condition_speaks_of_run_and_artifact(condition: str, expected: bool) -> None:
    assert check_condition(condition) is None
    assert holds(condition, facts()) is expected


def test_an_artifact_without_rules_is_not_called_validated() -> None:
    assert facts(metadata={})["status"] == "unvalidated"
    assert facts(metadata={"rules": {"failed_warning": 0}})["status"] == "passed"


def test_every_fact_has_a_value_of_its_type() -> None:
    assert set(facts()) == set(FACTS)
    for name in FACTS:
        assert holds(f"{name} is not None", facts())


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ("record > 0", "record"),
        ("records > 'many'", ""),
        ("records", "true or false"),
        ("__import__('os')", ""),
        ("records >", ""),
    ],
)
def test_a_wrong_condition_is_found_with_its_place(condition: str, fault: str) -> None:
    error = check_condition(condition)
    assert error is not None
    assert fault in str(error)
    assert error.line == 1


def test_a_condition_that_is_unknown_is_refused() -> None:
    unknown = facts() | {"schema_check": None}
    with pytest.raises(DeliveryRefusedError, match="neither true nor false"):
        holds('schema_check == "valid"', unknown)
