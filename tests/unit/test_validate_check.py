from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from openreg_airflow.errors import SpecError
from openreg_airflow.validate.check import check
from openreg_airflow.validate.prepare import read_rules
from openreg_airflow.validate.spec import ValidateSection

if TYPE_CHECKING:
    from pathlib import Path

RULE: dict[str, Any] = {"title": "A rule", "table": "trades", "message": "wrong {price}"}


def section(**rules: dict[str, Any]) -> ValidateSection:
    return ValidateSection.model_validate(
        {"rules": {rule_id: RULE | rule for rule_id, rule in rules.items()}}
    )


def test_rules_that_are_right_have_no_problem(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "price.sql").write_text("\ufeffSELECT * FROM trades", encoding="utf-8")
    spec = section(
        file={"sql_file": "rules/price.sql"}, inline={"sql": "SELECT * FROM anything_else"}
    )
    assert list(check(spec, tmp_path)) == []
    assert [rule.sql for rule in read_rules(spec, tmp_path)] == [
        "SELECT * FROM trades",
        "SELECT * FROM anything_else",
    ]


def test_every_fault_of_every_rule_is_found_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "empty.sql").write_text("  \n")
    (tmp_path / "latin.sql").write_bytes("SELECT 'ü'".encode("latin-1"))
    (tmp_path / "wrong.sql").write_text("SELECT *\nFROM read_csv('x')\n")
    (tmp_path / "folder.sql").mkdir()
    spec = section(
        missing={"sql_file": "missing.sql"},
        empty={"sql_file": "empty.sql"},
        latin={"sql_file": "latin.sql"},
        folder={"sql_file": "folder.sql"},
        wrong={"sql_file": "wrong.sql"},
        inline={"sql": "SELECT *\nFROM trades WHERE"},
        write={"sql": "DROP VIEW trades"},
    )
    found = {problem.keys[1]: problem for problem in check(spec, tmp_path)}
    assert found.keys() == spec.rules.keys()
    assert "missing.sql cannot be read: No such file" in found["missing"].message
    assert found["missing"].keys == ("rules", "missing", "sql_file")
    assert "empty.sql is empty" in found["empty"].message
    assert "latin.sql is not UTF-8" in found["latin"].message
    assert "folder.sql cannot be read: Is a directory" in found["folder"].message
    wrong = found["wrong"]
    assert (wrong.file, wrong.line, wrong.column) == (tmp_path / "wrong.sql", 2, 6)
    assert "read_csv" in wrong.message
    assert found["inline"].keys == ("rules", "inline", "sql")
    assert "line 2, column" in found["inline"].message
    assert "DROP is not allowed" in found["write"].message
    assert all(problem.hint for problem in found.values())


def test_no_rule_runs_when_one_is_wrong(tmp_path: Path) -> None:
    spec = section(
        right={"sql": "SELECT 1 AS price"},
        missing={"sql_file": "missing.sql"},
        write={"sql": "DROP VIEW trades"},
    )
    with pytest.raises(SpecError, match=r"rule missing: .*\(and 1 faults more\)"):
        read_rules(spec, tmp_path)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, "either sql or sql_file"),
        ({"sql": "SELECT 1", "sql_file": "a.sql"}, "either sql or sql_file"),
        ({"sql": " "}, "at least 1 character"),
        ({"sql_file": "../a.sql"}, "leads out of the report"),
        ({"sql_file": "/a.sql"}, "leads out of the report"),
        ({"sql": "SELECT 1", "severity": "fatal"}, "'blocking', 'warning' or 'correctable'"),
        ({"sql": "SELECT 1", "message": "price {price"}, "character 7: a single {"),
        ({"sql": "SELECT 1", "message": "{price:.2f}"}, "character 1: the placeholder"),
        ({"sql": "SELECT 1", "tabel": "x"}, "Extra inputs are not permitted"),
        ({"sql": "SELECT 1", "table": "a;b"}, "match pattern"),
    ],
)
def test_a_wrong_rule_is_refused(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        section(rule=rule)
    assert words in str(caught.value)


@pytest.mark.parametrize("rule_id", ["CON-412", "T27.1", "price_positive"])
def test_a_rule_may_have_the_authoritys_id(rule_id: str) -> None:
    assert list(section(**{rule_id: {"sql": "SELECT 1"}}).rules) == [rule_id]


def test_a_rule_blocks_unless_it_says_otherwise() -> None:
    assert section(rule={"sql": "SELECT 1"}).rules["rule"].severity == "blocking"
