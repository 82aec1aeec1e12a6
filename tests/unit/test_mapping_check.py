from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dag_factory.check import check
from dag_factory.load import load
from dag_factory.mapping_sets import sets_in_sql, used_sets
from openreg_airflow.mappings.sets import Sets
from tests.mapping_sets import ACTOR, make_set
from tests.new_store import new_store

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """\
openreg: 1
id: demo
title: A report
mappings: {{sets: [{listed}]{tenant}}}
extract:
  sources:
    trades: {{connection: source, sql: trades.sql}}
map:
  venue:
    table: trades
    phase: source
    set: venues
    key: [{key}]
    fill: {{venue_mic: {value}}}
transform:
  tables:
    trades: {{columns: {{id: integer, venue: string}}}}
validate:
  rules:
    known:
      title: Venues are known
      table: trades
      condition: {condition}
      message: "venue {{venue}}"
    filed:
      title: Venues are known
      table: trades
      sql_file: venues.sql
      message: "venue {{venue}}"
artifacts:
  trades: {{format: csv, table: trades, filename: "x.csv"}}
"""
FIELDS = {
    "listed": "desks",
    "tenant": "",
    "key": "venue",
    "value": "mic",
    "condition": """'venue in mapping("venues")'""",
}
SCRIPT = 'def transform(inputs, context):\n    return context.mapping("desks")\n'
SQL = "SELECT * FROM trades WHERE venue NOT IN (SELECT code FROM mapping_venues)"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with the sets venues and desks, which the configuration names."""
    url = new_store(tmp_path)
    make_set(url)
    make_set(url, "desks")
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    return url


def faults(folder: Path, script: str = SCRIPT, sql: str = SQL, **fields: str) -> list[str]:
    report = folder / "demo"
    report.mkdir()
    (report / "report.yaml").write_text(SPEC.format(**FIELDS | fields))
    (report / "trades.sql").write_text("SELECT id, venue FROM trades ORDER BY id\n")
    (report / "transform.py").write_text(script)
    (report / "venues.sql").write_text(sql)
    return [f"{one.file.name}:{one.line}: {one.message}" for one in check(report)]


def test_sets_of_the_tenant_that_the_report_names_are_checked(tmp_path: Path, url: str) -> None:
    keys, values = [("code", "string")], [("mic", "string")]
    Sets(url, ACTOR, "acme").create("books", keys=keys, values=values)
    shared, acme = tmp_path / "shared", tmp_path / "acme"
    for folder in (shared, acme):
        folder.mkdir()

    assert faults(shared, listed="desks, books") == [
        "report.yaml:4: there is no mapping set 'books'"
    ]
    assert faults(acme, listed="desks, books", tenant=", tenant: acme") == []


def test_right_report_has_no_faults(tmp_path: Path, url: str) -> None:
    del url
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"listed": "deks"}, "report.yaml:4: there is no mapping set 'deks'"),
        ({"key": "venue, id"}, "report.yaml:13: set venues has the keys code, but key names 2"),
        ({"value": "bic"}, "report.yaml:14: set venues has no value 'bic'"),
        (
            {"condition": """'venue in mapping("venus")'"""},
            "report.yaml:23: rule known: the report uses no mapping set 'venus'",
        ),
        (
            {"condition": """'id in mapping("venues")'"""},
            "rule known: key code of set venues is string, not integer",
        ),
        (
            {"script": SCRIPT.replace("desks", "books")},
            "transform.py:2: the spec does not list the mapping set 'books'",
        ),
        (
            {"sql": SQL.replace("mapping_venues", "dated_mapping_mics")},
            "the spec does not list the mapping set 'mics', which a rule uses",
        ),
    ],
)
def test_fault_about_a_set_is_found_with_its_place(
    tmp_path: Path, url: str, fields: dict[str, str], fault: str
) -> None:
    del url
    found = faults(tmp_path, **fields)

    assert any(fault in one for one in found), found


STEPS = """
map:
  first: {{table: trades, set: venues, key: [{first}], fill: {{venue_mic: mic}}}}
  second: {{table: trades, set: venues, key: [{second}], as_of: {as_of}, fill: {{other: mic}}}}
"""


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, None),
        ({"first": "vanue"}, "map.first: table trades has no column 'vanue'"),
        ({"first": "venue_mic"}, "map.first: table trades has no column 'venue_mic'"),
        ({"second": "other"}, "map.second: table trades has no column 'other'"),
        ({"as_of": "day"}, "map.second: table trades has no column 'day'"),
    ],
)
def test_step_looks_up_by_columns_that_are_there_before_it(
    tmp_path: Path, url: str, fields: dict[str, str], fault: str | None
) -> None:
    del url
    steps = STEPS.format(**{"first": "venue", "second": "venue_mic", "as_of": "id"} | fields)
    (tmp_path / "demo").mkdir()
    text = SPEC.format(**FIELDS)
    before, after = text.partition("map:\n")[0], text.partition("transform:\n")[2]
    (tmp_path / "demo" / "report.yaml").write_text(before + steps + "transform:\n" + after)
    (tmp_path / "demo" / "trades.sql").write_text("SELECT 1 FROM t\n")
    (tmp_path / "demo" / "transform.py").write_text(SCRIPT)
    (tmp_path / "demo" / "venues.sql").write_text(SQL)

    found = check(tmp_path / "demo")

    assert [one.message for one in found] == ([fault] if fault else [])
    if fault:
        line = steps.splitlines()[2 if "first" in fault else 3]
        assert found[0].line == before.count("\n") + (3 if "first" in fault else 4)
        assert line[found[0].column - 1 :].startswith(fault.split("'")[1])


def test_store_that_cannot_be_asked_leaves_the_sets_to_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", f"sqlite:///{tmp_path / 'none.db'}")

    assert faults(tmp_path, listed="deks, desks") == []
    assert not (tmp_path / "none.db").exists()
    assert "demo: its mapping sets are not checked: the store" in caplog.text


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM mapping_a JOIN dated_mapping_b ON true", ["a", "b"]),
        ('SELECT * FROM trades t join "mapping_a" m ON t.x = m.x', ["a"]),
        ("SELECT mapping_id, trades.mapping_kind FROM trades", []),
        ("SELECT * FROM mapping_trades", []),
    ],
)
def test_sets_of_a_statement_are_its_tables(tmp_path: Path, sql: str, expected: list[str]) -> None:
    faults(tmp_path)
    spec = load(tmp_path / "demo")
    own = spec.extract.sources["trades"]
    extract = spec.extract.model_copy(update={"sources": {"mapping_trades": own}})

    found = sets_in_sql(sql, spec.model_copy(update={"extract": extract}))

    assert list(found) == expected


def test_sets_of_steps_rules_and_the_list_are_used_once_each(tmp_path: Path) -> None:
    faults(tmp_path)

    assert used_sets(load(tmp_path / "demo")) == ("desks", "venues")
