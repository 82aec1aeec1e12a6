"""Rules that are conditions or demands on a whole table, evaluated by the engine."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from pydantic import ValidationError

from openreg_airflow.validate import evaluation
from openreg_airflow.validate.engine import run_rules
from openreg_airflow.validate.job import Rule
from openreg_airflow.validate.spec import RuleSpec
from tests.unit.rule_jobs import failing_rows, job, trades

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.records import RuleResult


def rule(rule_id: str = "rule", **way: Any) -> Rule:
    fields = {"title": "A rule", "table": "trades", "message": "wrong"} | way
    return Rule(rule_id=rule_id, spec=RuleSpec.model_validate(fields), sql=way.get("sql", ""))


def outcome(folder: Path, *, tables: dict[str, pa.Table] | None = None, **way: Any) -> RuleResult:
    [result] = run_rules(job(folder, rule(**way), tables=tables))
    return result


def test_a_row_fails_unless_its_condition_is_true(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule("price", condition="price > 0", message="{transaction_id} costs {price}"),
        rule("venue", condition='venue == "XETR"'),
        rule("venue_if_given", condition='venue == "XETR"', unknown="pass"),
        rule("when", when="number >= 2", condition='venue == "XETR" and price > 0'),
        rule("when_unknown", when='venue == "XETR"', condition="number != 1"),
    )
    results = run_rules(work)
    assert [(result.failed, result.error) for result in results] == [
        (1, None),
        (1, None),
        (0, None),
        (0, None),
        (1, None),
    ]
    assert results[0].message == "T0000 costs 0.00000"
    assert failing_rows(work)[1]["values"]["transaction_id"] == "T0001"


def test_identifiers_are_checked_over_a_column(tmp_path: Path) -> None:
    leis = ["529900T8BM49AURSDO55", "529900T8BM49AURSDO56", None, "529900T8BM49AURSDO55"]
    table = pa.table({"lei": leis, "day": [date(2025, 12, 31), None, None, date(2026, 1, 1)],
                      "currency": ["BGN", "BGN", "BGN", "BGN"]})  # fmt: skip
    tables = {"trades": table}
    assert outcome(tmp_path, tables=tables, condition="lei.valid(lei)").failed == 2
    assert outcome(tmp_path, tables=tables, condition="lei is None or lei.valid(lei)").failed == 1
    dated = "currency.known(currency, on=day)"
    assert outcome(tmp_path, tables=tables, condition=dated).failed == 3
    assert outcome(tmp_path, tables=tables, condition=dated, unknown="pass").failed == 1


def test_columns_may_be_called_like_those_of_the_reference_tables(tmp_path: Path) -> None:
    table = pa.table(
        {
            "code": ["XETR", "ZZZZ"],
            "day": [date(2026, 4, 3), date(2026, 4, 7)],
            "number": [1, 2],
            "valid_from": ["DE", "ZZ"],
            "c": ["EUR", "XYZ"],
        }
    )
    for condition in (
        "mic.known(code, on=day)",
        "not business_day.valid(day)",
        "business_day.add(day, number) == date('2026-04-07')",
        "country.known(valid_from, on=day)",
        "currency.known(c)",
    ):
        assert outcome(tmp_path, tables={"trades": table}, condition=condition).failed == 1
    direct = "SELECT * FROM trades WHERE NOT mic_known(code, day)"
    assert outcome(tmp_path, tables={"trades": table}, sql=direct).failed == 1


def test_odd_names_and_texts_stay_names_and_texts(tmp_path: Path) -> None:
    odd = 'a"; DROP VIEW "trades'
    table = pa.table({odd: ["it's", "x"], "class": [1, 2], "ä": ["{", "}"]})
    tables = {"trades": table}
    condition = f"""col({odd!r}) == "it's" or col("class") == 2 and ä != "'; SELECT 1; --" """
    assert outcome(tmp_path, tables=tables, condition=condition).passed
    assert outcome(tmp_path, tables=tables, unique=[odd, "class"]).passed
    refers = {"columns": [odd], "table": "trades"}
    assert outcome(tmp_path, tables=tables, references=refers).passed


def test_rules_in_sql_have_the_standard_functions_too(tmp_path: Path) -> None:
    result = outcome(tmp_path, sql="SELECT * FROM trades WHERE NOT lei_valid(venue)")
    assert (result.failed, result.error) == (9, None)


@pytest.mark.parametrize("table", [trades(0), trades(3).slice(0, 0)])
def test_an_empty_table_breaks_no_condition(tmp_path: Path, table: pa.Table) -> None:
    result = outcome(tmp_path, tables={"trades": table}, condition="price > 0")
    assert (result.failed, result.error) == (0, None)


def test_a_table_of_only_nulls_breaks_every_condition_on_its_values(tmp_path: Path) -> None:
    nulls = pa.table({"price": pa.nulls(4, pa.decimal128(18, 5)), "lei": pa.nulls(4, pa.string())})
    for condition in ("price > 0", "not (price > 0)", "lei.valid(lei)"):
        result = outcome(tmp_path, tables={"trades": nulls}, condition=condition)
        assert (result.failed, result.error) == (4, None)
    assert outcome(tmp_path, tables={"trades": nulls}, condition="price is None").failed == 0


def test_a_condition_that_cannot_be_evaluated_fails_and_names_the_row(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule("zero", condition="100 / (number - 7) < 1000"),
        rule("overflow", condition=f"price * {10**30} * (number - 2) * 1000 > 0 or number < 5"),
        rule("text", condition="decimal(transaction_id, 2) > 0"),
        rule("fine", condition="number >= 0"),
    )
    zero, overflow, text, fine = run_rules(work)
    assert zero.error is not None
    assert "first at row 8 (number=7)" in zero.error
    assert "zero" in zero.error
    assert overflow.error is not None
    assert "first at row 2 (number=1, price=1.00000)" in overflow.error
    assert text.error is not None
    assert "first at row 1 (transaction_id=T0000)" in text.error
    assert fine.passed
    assert not zero.passed


def test_the_row_is_named_where_a_condition_reads_another_column_of_its_own_table(
    tmp_path: Path,
) -> None:
    condition = '100 / (number - 7) < 1000 and transaction_id not in table("trades").venue'

    [result] = run_rules(job(tmp_path, rule("own", condition=condition)))

    assert result.error is not None
    assert "first at row 8 (number=7, transaction_id=T0007, venue=XETR)" in result.error


def test_a_text_that_looks_like_the_business_date_hides_no_error(tmp_path: Path) -> None:
    looks = 'venue != "$business_date" and 100 / number > 0'
    asks = 'business_date > date("2000-01-01") and 100 / number > 0'
    for result in run_rules(
        job(tmp_path, rule("looks", condition=looks), rule("asks", condition=asks))
    ):
        assert "first at row 1 (" in (result.error or "")


def test_a_condition_guards_a_division_with_if(tmp_path: Path) -> None:
    guarded = outcome(tmp_path, condition="100 / number > 0 if number != 0 else True")
    assert (guarded.failed, guarded.error) == (0, None)
    unguarded = outcome(tmp_path, condition="number == 0 or 100 / number > 0")
    assert "first at row 1 (number=0)" in (unguarded.error or "")


def test_a_row_that_cannot_be_searched_for_stops_no_other_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise duckdb.OutOfMemoryException

    monkeypatch.setattr(evaluation, "erring_row", failing)
    zero, fine = run_rules(
        job(
            tmp_path,
            rule("zero", condition="100 / number > 0"),
            rule("fine", condition="number >= 0"),
        )
    )
    assert "zero" in (zero.error or "")
    assert fine.passed


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({"condition": "prise > 0"}, "no column 'prise' (line 1, column 1 of its condition)"),
        ({"condition": "price > 'a'"}, "cannot be compared with string"),
        ({"condition": "price > 0", "when": "price"}, "of its when)"),
        ({"condition": "foo(price)"}, "no function foo"),
        ({"unique": ["id"]}, "no column 'id'"),
        ({"references": {"columns": ["venue"], "table": "venues"}}, "no table 'venues'"),
        ({"row_count": {"same_as": "yesterday"}}, "no table 'yesterday'"),
        ({"control_total": {"column": "sum", "equals": 1}}, "no column 'sum'"),
        ({"complete_days": {"column": "day"}}, "no column 'day'"),
    ],
)
def test_a_rule_that_does_not_fit_the_table_has_an_error(
    tmp_path: Path, way: dict[str, Any], words: str
) -> None:
    result = outcome(tmp_path, **way)
    assert result.error is not None
    assert words in result.error
    assert not result.passed


def test_rows_with_the_same_key_are_all_shown(tmp_path: Path) -> None:
    table = pa.table({"id": ["A", "B", "A", None, None], "part": [1, 1, 1, 1, 2]})
    work = job(
        tmp_path,
        rule("id", unique=["id"], message="{id} is there {times} times"),
        rule("both", unique=["id", "part"]),
        tables={"trades": table},
    )
    by_id, by_both = run_rules(work)
    assert (by_id.failed, by_both.failed) == (4, 2)
    assert sorted(by_id.messages) == ["A is there 2 times"] * 2 + ["NULL is there 2 times"] * 2


@pytest.mark.parametrize(
    ("demand", "failed"),
    [
        ({"min": 10}, 0),
        ({"min": 11}, 1),
        ({"max": 10}, 0),
        ({"max": 9}, 1),
        ({"same_as": "before"}, 1),
        ({"same_as": "before", "within_percent": 25}, 0),
        ({"same_as": "before", "within_percent": "24.9"}, 1),
    ],
)
def test_row_counts(tmp_path: Path, demand: dict[str, Any], failed: int) -> None:
    tables = {"trades": trades(10), "before": trades(8)}
    assert outcome(tmp_path, tables=tables, row_count=demand).failed == failed


def test_sums_are_held_against_control_totals_to_the_last_digit(tmp_path: Path) -> None:
    control = pa.table({"total": pa.array([Decimal("44.99999")])})
    tables = {"trades": trades(10), "control": control, "none": control.slice(0, 0)}
    total = {"column": "price", "equals": 45}
    assert outcome(tmp_path, tables=tables, control_total=total).passed
    total = {"column": "price", "equals": "45.00001"}
    assert outcome(tmp_path, tables=tables, control_total=total).failed == 1
    total = {"column": "price", "table": "control", "total": "total"}
    result = outcome(
        tmp_path, tables=tables, control_total=total, message="{total} {control_total} {difference}"
    )
    assert result.message == "45.00000 44.99999 0.00001"
    within = total | {"tolerance": "0.00001"}
    assert outcome(tmp_path, tables=tables, control_total=within).passed
    missing = total | {"table": "none"}
    assert outcome(tmp_path, tables=tables, control_total=missing).failed == 1


def test_values_must_be_found_in_another_table(tmp_path: Path) -> None:
    venues = pa.table({"mic": ["XLON", None], "number": [1, 2]})
    tables = {"trades": trades(10), "venues": venues}
    refers = {"columns": ["venue"], "table": "venues", "to": ["mic"]}
    result = outcome(tmp_path, tables=tables, references=refers, message="{venue} is unknown")
    assert (result.failed, result.message) == (9, "XETR is unknown")
    refers = {"columns": ["number"], "table": "venues"}
    assert outcome(tmp_path, tables=tables, references=refers).failed == 8
    held = outcome(tmp_path, tables=tables, condition='number in table("venues").number')
    assert held.failed == 8


def test_every_business_day_must_have_a_row(tmp_path: Path) -> None:
    days = [date(2026, 3, day) for day in range(1, 32) if day not in (10, 14)]
    tables = {"trades": pa.table({"day": [*days, None]})}
    demand: dict[str, Any] = {"column": "day"}
    result = outcome(tmp_path, tables=tables, complete_days=demand, message="{day} is missing")
    assert result.messages == ("2026-03-10 is missing",)
    demand = {"column": "day", "since": date(2026, 2, 26), "calendar": "WEEKDAYS"}
    assert outcome(tmp_path, tables=tables, complete_days=demand).failed == 3


def test_the_business_date_is_the_last_day_that_must_have_a_row(tmp_path: Path) -> None:
    days = pa.table({"day": [date(2026, 3, day) for day in range(1, 31)]})
    demand = {"column": "day"}
    result = outcome(
        tmp_path, tables={"trades": days}, complete_days=demand, message="{day} is missing"
    )
    assert result.messages == ("2026-03-31 is missing",)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({}, "only one of them"),
        ({"sql": "SELECT 1", "condition": "True"}, "only one of them"),
        ({"sql": "SELECT 1", "when": "True"}, "go with a condition"),
        ({"unique": ["a"], "unknown": "pass"}, "go with a condition"),
        ({"unique": []}, "at least 1 item"),
        ({"row_count": {}}, "has min, max, same_as or previous"),
        ({"control_total": {"column": "a"}}, "either equals, or table and total"),
        ({"control_total": {"column": "a", "equals": 0.1}}, "in quotes"),
        ({"control_total": {"column": "a", "table": "b"}}, "either equals, or table and total"),
        ({"references": {"columns": ["a"], "table": "b", "to": ["c", "d"]}}, "cannot refer to 2"),
    ],
)
def test_a_rule_is_written_in_one_way(way: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rule(**way)


def test_rules_of_the_source_phase_see_the_extracted_tables(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule("raw", phase="source", condition="number >= 5"),
        rule("made", condition="number >= 1"),
        rule("lookup", condition='venue is None or venue in table("venues").mic'),
        rule("missing", phase="source", table="other", condition="True"),
        tables={"trades": trades(3)},
    )
    (tmp_path / "raw").mkdir()
    raw = job(tmp_path / "raw", tables={"trades": trades(10), "venues": pa.table({"mic": ["X"]})})
    results = run_rules(work.model_copy(update={"sources": raw.tables}))
    assert [(result.rule_id, result.failed, result.checked) for result in results] == [
        ("raw", 5, 10),
        ("made", 1, 3),
        ("lookup", 2, 3),
        ("missing", 0, 0),
    ]
    assert "there is no table 'other'" in (results[3].error or "")
    kept = failing_rows(work)
    assert [row["rule_id"] for row in kept] == ["raw"] * 5 + ["made"] + ["lookup"] * 2
