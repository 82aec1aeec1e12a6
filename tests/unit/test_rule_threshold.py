from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from openreg_airflow.records import Verdict
from openreg_airflow.validate import summary
from openreg_airflow.validate.engine import run_rules
from openreg_airflow.validate.threshold import Threshold
from tests.unit.rule_jobs import job, rule

if TYPE_CHECKING:
    from pathlib import Path


def verdict(folder: Path, sql: str, **at_most: Any) -> Verdict:
    return Verdict(results=run_rules(job(folder, rule(sql, at_most=at_most))))


def test_few_failing_rows_only_warn(tmp_path: Path) -> None:
    found = verdict(tmp_path, "SELECT * FROM trades WHERE number < 2", percent=20)
    assert (len(found.blocking), len(found.warnings)) == (0, 1)
    text = "\n".join(summary.lines(found))
    assert "2 of 10 rows failed (within at most 20 % of rows)" in text
    assert "  tolerated  " in text


def test_one_row_more_blocks(tmp_path: Path) -> None:
    found = verdict(tmp_path, "SELECT * FROM trades WHERE number < 3", percent=20)
    assert (len(found.blocking), len(found.warnings)) == (1, 0)
    assert "3 of 10 rows failed (more than at most 20 % of rows)" in str(
        summary.blocking_error(found)
    )


def test_both_limits_must_hold(tmp_path: Path) -> None:
    sql = "SELECT * FROM trades WHERE number < 2"
    assert verdict(tmp_path, sql, percent=90, rows=1).blocking
    assert verdict(tmp_path, sql, percent=10, rows=9).blocking
    assert not verdict(tmp_path, sql, percent=20, rows=2).blocking


def test_a_rule_in_error_is_never_tolerated(tmp_path: Path) -> None:
    assert verdict(tmp_path, "SELECT * FROM trades WHERE 1 / number > 0", percent=100).blocking
    # It can be counted, but not shown.
    assert verdict(tmp_path, "SELECT 1 / (number - 1) FROM trades", percent=100).blocking


def test_no_failing_row_passes_and_is_not_called_tolerated(tmp_path: Path) -> None:
    [result] = verdict(tmp_path, "SELECT * FROM trades WHERE false", rows=0).results
    assert result.passed
    assert not result.tolerated


def test_a_missing_row_of_an_empty_table_is_not_tolerated() -> None:
    assert not Threshold(percent=Decimal(50)).allows(1, 0)


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.decimals(0, 100, places=6, allow_nan=False, allow_infinity=False),
)
def test_percentages_are_exact(failed: int, checked: int, percent: Decimal) -> None:
    exact = Fraction(failed) <= Fraction(checked) * Fraction(percent) / 100
    assert Threshold(percent=percent).allows(failed, checked) == exact


def test_a_tenth_of_a_percent_is_what_its_author_wrote() -> None:
    threshold = Threshold.model_validate({"percent": 0.1})
    assert threshold.percent == Decimal("0.1")
    assert str(threshold) == "at most 0.1 % of rows"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"at_most": {}}, "rows, percent, or both"),
        ({"at_most": {"percent": 101}}, "less than or equal to 100"),
        ({"at_most": {"rows": -1}}, "greater than or equal to 0"),
        ({"at_most": {"rows": 1}, "severity": "warning"}, "severity: blocking"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        rule("SELECT 1", **fields)
