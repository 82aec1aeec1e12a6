from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.errors import SpecError
from openreg_airflow.validate import pack
from openreg_airflow.validate.check import check
from openreg_airflow.validate.prepare import read_rules
from openreg_airflow.validate.spec import ValidateSection

if TYPE_CHECKING:
    from pathlib import Path

PACK = """
openreg_rules: 1
title: House rules
table: trades
columns: {price: "decimal(18,5)", venue: string}
rules:
  price_positive:
    title: Prices are positive
    condition: price > 0
    message: "{price}"
    examples:
      pass: [{price: 1.5}, [{price: 1}, {price: 2}]]
      fail: [{price: 0}, {price: null}, [{price: 1}, {price: 0}]]
  venue_known:
    title: Venues are known
    severity: warning
    condition: mic.known(venue)
    message: "{venue}"
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    (tmp_path / "_packs").mkdir()
    (tmp_path / "_packs" / "house.yaml").write_text(PACK)
    folder = tmp_path / "report"
    folder.mkdir()
    return folder


def section(**data: Any) -> ValidateSection:
    return ValidateSection.model_validate(data)


def including(**more: Any) -> ValidateSection:
    return section(include=[{"file": "_packs/house.yaml"} | more])


def rewrite(report: Path, old: str, new: str) -> None:
    file = report.parent / "_packs" / "house.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_the_rules_of_a_pack_come_before_the_reports_own(report: Path) -> None:
    spec = section(
        include=[{"file": "_packs/house.yaml"}],
        rules={"own": {"title": "O", "table": "trades", "message": "m", "unique": ["venue"]}},
    )
    rules = read_rules(spec, report)
    assert [rule.rule_id for rule in rules] == ["price_positive", "venue_known", "own"]
    assert [rule.spec.table for rule in rules] == ["trades"] * 3
    assert (
        list(check(spec, report, {"trades": {"price": "decimal(18,5)", "venue": "string"}})) == []
    )


def test_a_report_changes_table_and_severity_and_leaves_rules_out(report: Path) -> None:
    spec = including(
        table="deals", severity={"price_positive": "warning"}, leave_out=["venue_known"]
    )
    [rule] = read_rules(spec, report)
    assert (rule.spec.table, rule.spec.severity) == ("deals", "warning")
    assert rule.spec.examples.fail


@pytest.mark.parametrize(
    ("include", "words"),
    [
        ({"severity": {"prise": "warning"}}, "has no rule 'prise'"),
        ({"leave_out": ["prise"]}, "has no rule 'prise'"),
        ({"file": "_packs/none.yaml"}, "cannot be read: No such file"),
        ({"file": "_packs"}, "cannot be read: Is a directory"),
        ({"file": None, "pack": "nothing"}, "there is no rule pack 'nothing'"),
        ({"file": None, "pack": "../packs/mifir_transactions"}, "there is no rule pack"),
    ],
)
def test_a_pack_that_cannot_be_used_is_told_of(
    report: Path, include: dict[str, Any], words: str
) -> None:
    spec = including(**include)
    [problem] = check(spec, report)
    assert words in problem.message
    with pytest.raises(SpecError, match="rule"):
        read_rules(spec, report)


@pytest.mark.parametrize(
    ("old", "new", "words", "line"),
    [
        ("condition: price > 0", "condition: [1", "not readable YAML", 10),
        ("condition: price > 0", "condidion: price > 0", "condidion", 9),
        ("condition: price > 0", "sql_file: a.sql", "stand in its own file", 9),
        ("openreg_rules: 1", "openreg_rules: 2", "openreg_rules", 2),
        ("table: trades\n", "", "table", 1),
    ],
)
def test_faults_of_a_packs_file_have_their_line(
    report: Path, old: str, new: str, words: str, line: int
) -> None:
    rewrite(report, old, new)
    [problem] = check(including(), report)
    assert words in problem.message
    assert problem.file == report.parent / "_packs" / "house.yaml"
    assert problem.line == line


def test_the_same_rule_twice_is_refused(report: Path) -> None:
    spec = section(include=[{"file": "_packs/house.yaml"}] * 2)
    [problem] = check(spec, report)
    assert "price_positive of _packs/house.yaml is there already" in problem.message


def test_rules_of_a_pack_are_held_against_the_reports_columns(report: Path) -> None:
    problems = list(check(including(), report, {"trades": {"price": "string", "venue": "string"}}))
    assert any("cannot be compared" in problem.message for problem in problems)
    assert {(problem.file, problem.line, problem.column) for problem in problems} == {
        (report.parent / "_packs" / "house.yaml", 9, 24)
    }
    assert problems[0].hint is not None
    assert problems[0].hint.splitlines()[1:] == ["      price > 0", "              ^"]
    [problem] = check(including(leave_out=["venue_known"]), report, {"deals": None})
    assert "there is no table 'trades'" in problem.message


def test_packs_come_from_installed_packages(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "house"

        def load(self) -> Path:
            return report.parent / "_packs" / "house.yaml"

    monkeypatch.setattr(pack, "entry_points", lambda group: [Point()] if "packs" in group else [])
    assert len(read_rules(section(include=[{"pack": "house"}]), report)) == 2
    assert pack.packs() == ["house", "mifir_transactions"]


def test_an_example_that_ends_otherwise_is_a_fault(report: Path) -> None:
    rewrite(report, "{price: 0}, {price: null}", "{price: 3}, {price: null}")
    [problem] = check(
        including(), report, {"trades": {"price": "decimal(18,5)", "venue": "string"}}
    )
    assert problem.message == "rule price_positive: the example keeps the rule (fail 0)"


def test_a_message_that_shows_an_unknown_column_is_found(tmp_path: Path) -> None:
    rule = {"title": "R", "table": "trades", "message": "{prise} on {business_date}"}
    spec = section(rules={"rule": rule | {"condition": "price > 0"}})
    [problem] = check(spec, tmp_path, {"trades": {"price": "integer"}})
    assert "the message shows prise" in problem.message
    assert problem.hint == "Did you mean price?"


def test_ten_thousand_conditions_are_checked(tmp_path: Path) -> None:
    rule = {"title": "R", "table": "trades", "message": "m"}
    rules = {
        f"r{n}": rule | {"condition": f'price > {n}.5 and matches(venue, r"[A-Z]{{4}}") or n < {n}'}
        for n in range(10_000)
    }
    rules["r5000"]["condition"] = "prise > 0"
    columns = {"price": "decimal(18,5)", "venue": "string", "n": "integer"}
    [problem] = check(section(rules=rules), tmp_path, {"trades": columns})
    assert problem.keys == ("rules", "r5000", "condition")


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"condition": "a > 0", "examples": {"pass": [{"a": 1}], "fail": [{"a": 0}]}}, []),
        ({"condition": "a > 0", "examples": {"pass": [{"a": 0}]}}, ["breaks the rule (pass 0)"]),
        ({"condition": "a > 0", "examples": {"fail": [{"b": 0}]}}, ["no column 'a'"]),
        ({"condition": "1 / a > 0", "examples": {"fail": [{"a": 0}]}}, ["cannot be tried"]),
        (
            {"sql": "SELECT * FROM t WHERE a <= 0",
             "examples": {"pass": [{"a": 1}], "fail": [{"a": 0}]}},
            [],
        ),
        (
            {"unique": ["a"], "examples": {"pass": [[{"a": 1}, {"a": 2}]], "fail": [{"a": 1}]}},
            ["keeps the rule (fail 0)"],
        ),
        (
            {"references": {"columns": ["a"], "table": "u"},
             "examples": {"pass": [{"a": 1}], "fail": [{"a": 2}], "tables": {"u": [{"a": 1}]}}},
            [],
        ),
        (
            {"condition": "d == business_date",
             "examples": {"business_date": "2026-01-02", "pass": [{"d": "2026-01-02"}]}},
            ["cannot be compared"],
        ),
        ({"row_count": {"min": 1}, "examples": {"pass": [{"a": 1}], "fail": [[]]}}, []),
    ],
)  # fmt: skip
def test_examples_of_every_way_are_tried(
    tmp_path: Path, rule: dict[str, Any], found: list[str]
) -> None:
    spec = section(rules={"rule": {"title": "R", "table": "t", "message": "m"} | rule})
    problems = [problem.message for problem in check(spec, tmp_path, {"t": None, "u": None})]
    assert len(problems) == len(found)
    for message, words in zip(problems, found, strict=True):
        assert words in message
