from __future__ import annotations

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from openreg_airflow.cli import app
from openreg_airflow.records import RunKey, Verdict
from openreg_airflow.store import Store
from openreg_airflow.store.history import RuleOutcome, rule_outcomes
from openreg_airflow.validate.quality import indicators, pass_rate
from tests.new_store import new_store
from tests.unit.test_verdict_summary import result

if TYPE_CHECKING:
    from pathlib import Path

FIRST = date(2026, 3, 2)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    return url


def record(url: str, day: int, *failed: int, run: str = "a", **fields: Any) -> None:
    key = RunKey(report_id="prices", business_date=FIRST + timedelta(days=day), run_id=run)
    results = (
        result(f"r{number}", failed=rows, checked=1000, **fields)
        for number, rows in enumerate(failed)
    )
    Store(url).record_verdict(key, Verdict(results=tuple(results)))


def outcome(failed: int, checked: int, error: str | None = None, day: int = 0) -> RuleOutcome:
    return RuleOutcome(
        business_date=FIRST + timedelta(days=day),
        run_id="a",
        rule_id="r",
        title="",
        severity="blocking",
        failed=failed,
        checked=checked,
        error=error,
    )


def command(*arguments: str) -> Any:
    given = ["quality", "prices", "--from", "2026-03-01", "--to", "2026-04-01", *arguments]
    return CliRunner().invoke(app, given)


def test_the_last_recorded_run_of_a_date_counts(url: str) -> None:
    record(url, 0, 500, run="a")
    record(url, 0, 100, run="b")
    record(url, 1, 0, run="c")
    assert [(one.run_id, one.failed) for one in rule_outcomes(url, "prices")] == [
        ("b", 100),
        ("c", 0),
    ]
    record(url, 0, 300, run="a")
    assert rule_outcomes(url, "prices")[0].failed == 300


def test_only_the_asked_dates_and_report_are_read(url: str) -> None:
    for day in range(5):
        record(url, day, day)
    found = rule_outcomes(url, "prices", FIRST + timedelta(days=1), FIRST + timedelta(days=3))
    assert [one.failed for one in found] == [1, 2, 3]
    assert rule_outcomes(url, "another") == ()


def test_rates_trend_and_line() -> None:
    rows = [outcome(failed, 1000, day=day) for day, failed in enumerate((0, 10, 20, 500))]
    report, rule = indicators(rows)
    assert rule.rates == (1.0, 0.99, 0.98, 0.5)
    assert (rule.latest, rule.lowest, rule.failed) == (0.5, 0.5, 500)
    assert rule.trend == "worse"
    assert rule.change == pytest.approx(0.5 - 0.99)
    assert rule.line() == "███▁"
    assert report.rates == (1.0, 0.0, 0.0, 0.0)


def test_a_rule_in_error_has_no_rate_and_pulls_the_trend_down() -> None:
    report, rule = indicators([outcome(0, 10), outcome(0, 10, "Binder Error", day=1)])
    assert rule.rates == (1.0, None)
    assert rule.line() == "█×"
    assert (rule.trend, report.trend) == ("worse", "worse")


def test_rules_that_are_gone_are_not_listed(url: str) -> None:
    record(url, 0, 1, 2)
    record(url, 1, 3)
    names = [one.name for one in indicators(rule_outcomes(url, "prices"))]
    assert names == ["", "r0"]


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_rate_is_a_share_and_all_only_when_nothing_failed(failed: int, checked: int) -> None:
    rate = pass_rate(outcome(failed, checked))
    assert rate is not None
    assert 0 <= rate <= 1
    assert (rate == 1) == (failed == 0)


def test_the_command_prints_a_table(url: str) -> None:
    for day, failed in enumerate((0, 0, 1)):
        record(url, day, failed, 0)
    done = command()
    assert done.exit_code == 0, done.output
    assert "2026-03-02 to 2026-03-04: 3 business dates" in done.output
    lines = done.output.splitlines()
    assert lines[2].split() == [
        "rule",
        "severity",
        "days",
        "failed",
        "pass",
        "rate",
        "at",
        "least",
        "lowest",
        "trend",
    ]
    assert "99.9000 %" in lines[4]
    assert "-0.10 points" in lines[4]
    assert "██▁" in lines[4]
    assert "steady" in lines[5]


def test_a_tiny_share_is_never_shown_as_all(url: str) -> None:
    key = RunKey(report_id="prices", business_date=FIRST, run_id="a")
    one = result("r0", failed=1, checked=10**9)
    Store(url).record_verdict(key, Verdict(results=(one,)))
    assert "99.9999 %" in command().output


def test_the_command_fails_below_a_threshold(url: str) -> None:
    record(url, 0, 10, 0)
    assert command("--at-least", "99").exit_code == 0
    done = command("--at-least", "99.5")
    assert done.exit_code == 1
    assert "Below what is demanded: r0 (99.5 %)" in done.output


SPEC = """\
openreg: 1
id: prices
title: Prices
extract:
  sources:
    trades: {connection: warehouse, sql: trades.sql}
validate:
  quality: {at_least: 98, rules_pass: 50}
  rules:
    r0: {title: t, table: trades, message: m, sql: SELECT 1, quality_at_least: 99.9}
    r1: {title: t, table: trades, message: m, sql: SELECT 1}
artifacts:
  out: {format: csv, table: trades, filename: "a.csv"}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "specs" / "prices"
    folder.mkdir(parents=True)
    (folder / "trades.sql").write_text("SELECT 1")
    (folder / "report.yaml").write_text(SPEC)
    monkeypatch.setenv("AIRFLOW__OPENREG__SPEC_FOLDERS", str(tmp_path / "specs"))
    return folder / "report.yaml"


@pytest.mark.parametrize(
    ("failed", "below"),
    [
        ((0, 0), []),
        ((1, 0), []),
        ((2, 0), ["r0 (99.9 %)"]),
        ((0, 20), []),
        ((0, 21), ["r1 (98 %)"]),
        ((2, 21), ["rules that pass (50 %)", "r0 (99.9 %)", "r1 (98 %)"]),
    ],
)
def test_thresholds_of_the_spec_hold_for_rules_and_report(
    url: str, spec: Path, failed: tuple[int, int], below: list[str]
) -> None:
    record(url, 0, 5, 500)
    record(url, 1, *failed)
    done = command()
    assert done.exit_code == (1 if below else 0), done.output
    assert ("Below what is demanded: " + ", ".join(below) in done.output) == bool(below)
    # What the command line demands counts instead.
    assert command("--at-least", "90").exit_code == 0


def test_rule_in_error_is_below_any_threshold(url: str, spec: Path) -> None:
    record(url, 0, 0, error="no such column")
    assert command().exit_code == 1


def test_broken_spec_is_told(url: str, spec: Path) -> None:
    record(url, 0, 0)
    spec.write_text(SPEC.replace("at_least: 98", "at_least: 980"))
    assert command().exit_code == 2


def test_json_has_the_thresholds(url: str, spec: Path) -> None:
    record(url, 0, 2)
    report, rule = json.loads(command("--json").output.split("Below")[0])
    assert (report["at_least"], rule["at_least"]) == ("50", "99.9")


def test_the_command_gives_json(url: str) -> None:
    record(url, 0, 10)
    report, rule = json.loads(command("--json").output)
    assert (report["failed"], rule["rates"], rule["trend"]) == (1, [0.99], "new")


def test_nothing_to_tell_is_exit_status_2(url: str) -> None:
    done = command()
    assert done.exit_code == 2
    assert "No rule of prices was evaluated" in done.output
