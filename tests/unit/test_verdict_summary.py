from __future__ import annotations

from typing import Any

from openreg_airflow.records import FileRef, RuleResult, Verdict
from openreg_airflow.validate import summary

FAILURES = FileRef(uri="/workspace/failing_rows.parquet", bytes=1, sha256="0" * 64)


def result(rule_id: str = "price", **fields: Any) -> RuleResult:
    known = {
        "rule_id": rule_id,
        "title": "Prices are positive",
        "severity": "blocking",
        "table": "trades",
        "failed": 0,
        "checked": 10_000,
        "seconds": 0.125,
        "message": "",
    }
    return RuleResult.model_validate(known | fields)


FAILED = result(
    failed=1234,
    message="price 0 of T1",
    messages=("price 0 of T1", "price -1 of T2"),
    samples=({"price": "0", "venue": None}, {"price": "-1", "venue": "XETR"}),
    reference="RTS 22, field 33",
)


def test_the_log_shows_a_table_of_rules_and_samples_of_the_failed_ones() -> None:
    verdict = Verdict(
        results=(FAILED, result("venue", severity="warning", failed=1), result("id")),
        failures=FAILURES,
    )
    assert list(summary.lines(verdict)) == [
        "rule   severity  result  failed  checked  seconds  title",
        "price  blocking  FAILED   1,234   10,000     0.12  Prices are positive",
        "venue  warning   FAILED       1   10,000     0.12  Prices are positive",
        "id     blocking  passed       0   10,000     0.12  Prices are positive",
        "blocking rule price [RTS 22, field 33]: 1,234 of 10,000 rows failed",
        "    price 0 of T1    (price=0, venue=NULL)",
        "    price -1 of T2    (price=-1, venue=XETR)",
        "warning rule venue: 1 of 10,000 rows failed",
        "Failing rows: /workspace/failing_rows.parquet",
    ]
    assert summary.count(verdict) == "1 of 3 rules passed, 1 warned, 1 blocked"


def test_no_file_of_failing_rows_is_named_when_none_failed() -> None:
    verdict = Verdict(results=(result("id"),), failures=FAILURES)
    assert not [line for line in summary.lines(verdict) if line.startswith("Failing rows")]


def test_a_rule_that_could_not_be_evaluated_counts_as_failed() -> None:
    error = "Binder Error: no column prize"
    broken = result("broken", error=error, message=error)
    warned = result("warned", error=error, message=error, severity="warning")
    verdict = Verdict(results=(broken, warned))
    assert verdict.blocking == (broken,)
    assert verdict.warnings == (warned,)
    assert "ERROR" in list(summary.lines(verdict))[1]
    assert f"could not be evaluated: {error}" in str(summary.blocking_error(verdict))


def test_the_error_of_a_blocked_run_names_rules_counts_and_messages() -> None:
    error = summary.blocking_error(Verdict(results=(FAILED, result("ok")), failures=FAILURES))
    assert error.message == (
        "1 blocking rule failed\n"
        "- price (Prices are positive): 1,234 of 10,000 rows failed\n"
        "    price 0 of T1\n"
        "    price -1 of T2"
    )
    assert FAILURES.uri in (error.hint or "")


def test_ten_thousand_failed_rules_give_a_short_error_and_a_bounded_log() -> None:
    results = tuple(result(f"r{n}", failed=1, messages=("m",)) for n in range(10_000))
    verdict = Verdict(results=results)
    assert len(str(summary.blocking_error(verdict)).splitlines()) < 30
    assert len(list(summary.lines(verdict))) < 1000


def test_many_passed_rules_do_not_hide_the_failed_one() -> None:
    verdict = Verdict(results=(*(result(f"r{n}") for n in range(10_000)), FAILED))
    lines = list(summary.lines(verdict))
    assert [line.split()[0] for line in lines[:3]] == ["rule", "price", "..."]
    assert lines[2] == "... and 10,000 rules more."


def test_no_rules_is_said() -> None:
    assert list(summary.lines(Verdict(results=()))) == ["There are no rules."]


def test_what_is_set_aside_is_counted_and_told() -> None:
    aside = result(severity="correctable", failed=3, message="no price")
    verdict = Verdict(results=(aside,), set_aside={"trades": 3})
    lines = list(summary.lines(verdict))
    assert "price  correctable  set aside       3" in lines[1]
    assert lines[-1] == "Set aside: 3 records of trades. See: openreg exceptions list"
    assert summary.count(verdict) == "0 of 1 rules passed, 1 warned, 0 blocked, 3 records set aside"


def test_a_message_to_people_says_how_many_were_set_aside() -> None:
    from datetime import date

    from openreg_airflow.notify.message import message
    from openreg_airflow.records import RunKey

    aside = result(severity="correctable", failed=3, message="no price")
    verdict = Verdict(results=(aside,), set_aside={"trades": 3})
    run = RunKey(report_id="prices", business_date=date(2026, 3, 31), run_id="one")
    told = message(run, verdict, "warned", None)
    assert "3 records set aside" in told.text
    assert told.data["set_aside"] == {"trades": 3}
