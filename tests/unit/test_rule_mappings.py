from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.language.compiler import compile_condition
from openreg_airflow.language.fault import ExpressionError
from openreg_airflow.language.scope import CodeSet, Scope, columns_of
from openreg_airflow.mapping_records import TypedColumn
from openreg_airflow.validate.engine import run_rules
from openreg_airflow.validate.examples import Bench
from openreg_airflow.validate.job import Job, MappingTable, Rule
from openreg_airflow.validate.spec import RuleSpec
from tests.unit.rule_jobs import failing_rows, job

if TYPE_CHECKING:
    from pathlib import Path

DATES = pa.date32()
TRADES = pa.table(
    {
        "id": ["T1", "T2", "T3", "T4", "T5"],
        # The table's columns bear the names of the set's: neither may be taken for the other.
        "mic": ["XETR", "XPAR", None, "XOLD", "XXXX"],
        "country": ["DE", "DE", "FR", "GB", "DE"],
        "day": pa.array(
            [date(2026, 3, 30), date(2026, 3, 30), date(2026, 3, 30), date(2020, 1, 1), None],
            DATES,
        ),
    }
)
VENUES = pa.table(
    {
        "mic": ["XETR", "XOLD", "XPAR"],
        "country": ["DE", "GB", "FR"],
        "rank": pa.array([1, 2, None], pa.int64()),
        "effective_from": pa.array([None, None, date(2026, 1, 1)], DATES),
        "effective_to": pa.array([None, date(2021, 1, 1), None], DATES),
    }
)
PAIRS = pa.table(
    {
        "mic": ["XETR", "XPAR"],
        "country": ["DE", "FR"],
        "name": ["Xetra", "Paris"],
        "effective_from": pa.array([None, None], DATES),
        "effective_to": pa.array([None, None], DATES),
    }
)


def columns(**types: str) -> tuple[TypedColumn, ...]:
    return tuple(TypedColumn(name=name, type=kind) for name, kind in types.items())


def mapped(folder: Path, *rules: Rule) -> Job:
    of = job(folder, *rules, tables={"trades": TRADES})
    sets = {
        "venues": (VENUES, columns(mic="string"), columns(country="string", rank="integer")),
        "pairs": (PAIRS, columns(mic="string", country="string"), columns(name="string")),
        "nothing": (VENUES.slice(0, 0), columns(mic="string"), columns(country="string")),
    }
    mappings = {}
    for name, (table, keys, values) in sets.items():
        path = folder / f"set-{name}.parquet"
        pq.write_table(table, path)
        mappings[name] = MappingTable(path=path, keys=keys, values=values)
    return of.model_copy(update={"mappings": mappings})


def failing(folder: Path, **spec: Any) -> list[str]:
    fields = {"title": "A rule", "table": "trades", "message": "wrong"} | spec
    rule = Rule(rule_id="rule", spec=RuleSpec(**fields), sql=fields.get("sql", ""))
    of = mapped(folder, rule)
    [result] = run_rules(of)
    assert result.error is None, result.error
    return [row["values"]["id"] for row in failing_rows(of)]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"condition": 'mic in mapping("venues")'}, ["T3", "T4", "T5"]),
        ({"condition": 'mic in mapping("venues")', "unknown": "pass"}, ["T4", "T5"]),
        ({"condition": 'mic not in mapping("venues")', "unknown": "pass"}, ["T1", "T2"]),
        ({"condition": 'mic in mapping("nothing")', "unknown": "pass"}, ["T1", "T2", "T4", "T5"]),
        (
            {"condition": 'mic in mapping("venues", as_of=day)', "unknown": "pass"},
            [],
        ),
        (
            {"condition": '(mic, country) in mapping("pairs")', "unknown": "pass"},
            ["T2", "T4", "T5"],
        ),
        (
            {
                "condition": 'country == mapping("venues", mic, value="country")',
                "unknown": "pass",
            },
            ["T2"],
        ),
        (
            {
                "condition": 'country == mapping("venues", mic, as_of=day, value="country")',
                "when": 'id == "T4"',
            },
            [],
        ),
        ({"condition": 'mapping("venues", mic, value="rank") is None'}, ["T1"]),
        ({"condition": 'mapping("pairs", mic, country) == "Xetra"'}, ["T2", "T3", "T4", "T5"]),
        ({"references": {"columns": ["mic"], "mapping": "venues"}}, ["T4", "T5"]),
        ({"references": {"columns": ["mic"], "mapping": "venues", "as_of": "day"}}, []),
        ({"references": {"columns": ["mic", "country"], "mapping": "pairs"}}, ["T2", "T4", "T5"]),
        (
            {"sql": "SELECT * FROM trades WHERE mic NOT IN (SELECT mic FROM mapping_venues)"},
            ["T4", "T5"],
        ),
        (
            {
                "sql": "SELECT t.* FROM trades AS t JOIN dated_mapping_venues AS v "
                "ON t.mic = v.mic AND t.day >= v.effective_to"
            },
            [],
        ),
    ],
)
def test_rule_reads_a_mapping_set(
    tmp_path: Path, spec: dict[str, Any], expected: list[str]
) -> None:
    assert failing(tmp_path, **spec) == expected


def test_set_that_the_run_does_not_have_fails_its_rule_and_no_other(tmp_path: Path) -> None:
    fields = {"title": "A rule", "table": "trades", "message": "wrong"}
    rules = [
        Rule(rule_id=name, spec=RuleSpec(**fields, condition=f'id in mapping("{name}")'))
        for name in ("venues", "unknown")
    ]

    found, missing = run_rules(mapped(tmp_path, *rules))

    assert found.error is None
    assert missing.error is not None
    assert "uses no mapping set 'unknown'" in missing.error


SCOPE = Scope(
    "trades",
    {"trades": columns_of({"mic": "string", "number": "integer", "day": "date"})},
    mappings={
        "venues": CodeSet(
            "venues",
            columns_of({"mic": "string"}),
            columns_of({"country": "string", "rank": "integer"}),
        ),
    },
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('number in mapping("venues")', "key mic of set venues is string, not integer"),
        ('mapping("venues", mic) == "DE"', "set venues has several values"),
        ('mapping("venues", mic, value="contry") == "DE"', "has no value 'contry'"),
        ('mapping("venues", mic, value="rank") == "DE"', "integer cannot be compared with string"),
        ('(mic, mic) in mapping("venues")', r"set venues has 1 keys \(mic\), not 2"),
        ('mic in mapping("venues", mic)', "after `in` only the set is named"),
        ('mic in mapping("venues", as_of=number)', "as_of is a date, not integer"),
        ('mic in mapping("venues", on=day)', "mapping takes no on here"),
        ('mic in mapping("venus")', "the report uses no mapping set 'venus'"),
        ("mic in mapping(mic)", "takes the name of a set in quotes"),
        ('mapping("venues") == "DE"', "alone can only stand after `in`"),
        ('None in mapping("venues")', "None is no key"),
    ],
)
def test_wrong_use_of_a_set_is_refused_with_its_reason(text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        compile_condition(text, SCOPE)


def test_condition_on_a_set_that_is_not_known_yet_is_accepted() -> None:
    scope = Scope("trades", {"trades": columns_of({"mic": "string"})}, mappings=None)

    assert compile_condition('mic in mapping("venues")', scope).columns == ("mic",)
    assert compile_condition('mapping("venues", mic) == "DE"', scope).columns == ("mic",)


def test_examples_give_a_set_as_a_table_of_theirs() -> None:
    spec = RuleSpec(
        title="A rule",
        table="trades",
        message="wrong",
        condition='country == mapping("venues", mic, as_of=day)',
        unknown="pass",
        examples={
            "tables": {"mapping_venues": [{"mic": "XETR", "country": "DE"}]},
            "pass": [{"mic": "XETR", "country": "DE", "day": date(2026, 3, 31)}],
            "fail": [
                {"mic": "XETR", "country": "FR", "day": date(2026, 3, 31)},
                {"mic": "XPAR", "country": "FR", "day": date(2026, 3, 31)},
            ],
        },
    )
    bench = Bench({"trades": {"mic": "string", "country": "any", "day": "date"}})

    faults = list(bench.faults(spec, "", {}))

    bench.close()
    assert faults == [(("examples", "fail", 1), "the example keeps the rule")]
