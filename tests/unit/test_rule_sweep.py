from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.errors import RuleLimitError
from openreg_airflow.validate import passes, sweep
from openreg_airflow.validate.duckdb_syntax import syntax
from openreg_airflow.validate.engine import run_rules
from openreg_airflow.validate.row_filter import as_filter
from tests.unit.rule_jobs import failing_rows, job, rule, trades

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.records import RuleResult
    from openreg_airflow.validate.job import Job

#: A condition each, of a table with the columns of ``trades``.
CONDITIONS = (
    "price <= 0",
    "venue IS NULL",
    "venue = 'XETR'",
    "number % 3 = 1 OR price > 7",
    "number",
    "t.number BETWEEN 2 AND 4",
    "$business_date > DATE '2026-01-01' AND number > 6",
    "regexp_full_match(transaction_id, 'T000[5-9]')",
    "1 / number > 0.1",
    "NULL",
    "no_such_column = 1",
    "filename = 'x'",
    "CASE WHEN number > 2 THEN venue END = 'XETR'",
)
#: Alone, such a rule gives its rows sorted by their columns: here, as the table has them.
ASKING = (
    "number IN (SELECT max(number) FROM trades)",
    "EXISTS (SELECT 1 FROM trades AS o WHERE o.number = t.number + 1 AND o.venue IS NULL)",
    "venue NOT IN (SELECT venue FROM trades WHERE number < 2)",
    "number > (SELECT avg(number) FROM trades WHERE price > 0)",
)
COLUMNS = ("*", "number", "number * 2 AS double, $business_date AS day", "100 / number", "t.*")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Evaluates a job with every rule on its own."""

    def run(work: Job) -> tuple[RuleResult, ...]:
        with monkeypatch.context() as patch:
            patch.setattr(passes, "as_filter", lambda _: None)
            return run_rules(work)

    return run


def outcome(results: tuple[RuleResult, ...], work: Job) -> Any:
    return [result.model_dump(exclude={"seconds"}) for result in results], failing_rows(work)


@settings(max_examples=40, deadline=None)
@given(
    chosen=st.lists(
        st.tuples(st.sampled_from(COLUMNS), st.sampled_from(CONDITIONS)), min_size=1, max_size=12
    ),
    kept=st.integers(0, 12),
    rows=st.integers(0, 12),
)
def test_rules_give_the_same_together_and_alone(
    tmp_path_factory: pytest.TempPathFactory,
    chosen: list[tuple[str, str]],
    kept: int,
    rows: int,
) -> None:
    rules = [
        rule(f"SELECT {columns} FROM trades AS t WHERE {condition}", f"r{number}")
        for number, (columns, condition) in enumerate(chosen)
    ]
    found = []
    for share in (True, False):
        folder = tmp_path_factory.mktemp("rules")
        work = job(folder, *rules, tables={"trades": trades(rows)}, failing_rows=kept)
        with pytest.MonkeyPatch.context() as patch:
            if not share:
                patch.setattr(passes, "as_filter", lambda _: None)
            found.append(outcome(run_rules(work), work))
    assert found[0] == found[1]


def test_conditions_with_subqueries_give_the_same_together_and_alone(
    tmp_path: Path, alone: Any
) -> None:
    rules = [
        rule(f"SELECT * FROM trades AS t WHERE {condition}", f"r{number}")
        for number, condition in enumerate(ASKING)
    ]
    works = []
    for name in ("together", "alone"):
        folder = tmp_path / name
        folder.mkdir()
        works.append(job(folder, *rules))
    together = run_rules(works[0])
    assert [result.failed for result in together] == [1, 1, 0, 4]
    assert outcome(together, works[0]) == outcome(alone(works[1]), works[1])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM trades",
        "SELECT count(*) FROM trades WHERE price > 0",
        "SELECT sum(price) + 1 FROM trades WHERE price > 0",
        "SELECT unnest([1, 2]) FROM trades WHERE price > 0",
        "SELECT DISTINCT venue FROM trades WHERE price > 0",
        "SELECT * FROM trades WHERE price > 0 ORDER BY price",
        "SELECT * FROM trades WHERE price > 0 LIMIT 3",
        "SELECT venue FROM trades WHERE price > 0 GROUP BY venue",
        "SELECT * FROM trades, venues WHERE price > 0",
        "SELECT * FROM trades JOIN venues USING (venue) WHERE price > 0",
        "SELECT *, (SELECT max(price) FROM trades) FROM trades WHERE price > 0",
        "SELECT *, row_number() OVER () FROM trades WHERE price > 0",
        "SELECT * FROM trades WHERE price > 0 QUALIFY row_number() OVER () = 1",
        "WITH t AS (SELECT * FROM trades) SELECT * FROM t WHERE price > 0",
        "SELECT * FROM trades AS t(a, b) WHERE a = 'T0001'",
        "SELECT * FROM trades WHERE price > 0 UNION ALL SELECT * FROM trades WHERE price < 0",
        "SELECT * FROM trades TABLESAMPLE 10% WHERE price > 0",
        "SELECT venue FROM trades WHERE price > 0 HAVING count(*) > 1",
        "SELECT * FROM trades WHERE COLUMNS(*) IS NULL",
        "SELECT * FROM trades WHERE (COLUMNS('n.*') > 3) IS NOT TRUE",
        "SELECT * FROM trades WHERE price > 0 AND *COLUMNS(['flag'])",
    ],
)
def test_what_does_more_than_filter_is_evaluated_alone(sql: str) -> None:
    assert as_filter(syntax(sql)) is None


def test_columns_in_a_condition_demand_it_of_each_column(tmp_path: Path) -> None:
    conditions = ("COLUMNS(['price', 'number']) > 7", "COLUMNS(*) IS NOT NULL", "price > 7")
    rules = [
        rule(f"SELECT * FROM trades WHERE {condition}", f"r{number}")
        for number, condition in enumerate(conditions)
    ]
    table = trades().set_column(1, "price", pa.array([9, None, *range(8)], pa.int64()))
    results = run_rules(job(tmp_path, *rules, tables={"trades": table}))
    assert [result.failed for result in results] == [0, 9, 1]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_nan_is_seen_whatever_the_statistics_of_a_file_say(
    tmp_path: Path, alone: Any, kind: pa.DataType
) -> None:
    values = [1.0, float("nan"), 2.0, None]
    table = pa.table(
        {
            "rate": pa.array(values, kind),
            "list": pa.array([[value] for value in values], pa.list_(kind)),
            "leg": pa.array([{"rate": value} for value in values], pa.struct([("rate", kind)])),
        }
    )
    conditions = (
        "isnan(rate)", "(rate <= 2) IS NOT TRUE", "rate > 5", "rate = 'nan'::DOUBLE",
        "isnan(leg.rate)", "isnan(list[1])", "CAST(trades AS VARCHAR) LIKE '%3%'",
    )  # fmt: skip
    expected = [1, 2, 1, 1, 1, 1, 0]
    rules = [
        rule(f"SELECT * FROM trades WHERE {condition}", f"r{number}")
        for number, condition in enumerate(conditions)
    ]
    work = job(tmp_path, *rules, tables={"trades": table})
    assert [result.failed for result in run_rules(work)] == expected
    assert [row["values"]["rate"] for row in failing_rows(work)][:3] == ["nan", "nan", None]
    assert [result.failed for result in alone(work)] == expected
    for one in rules:
        [result] = run_rules(job(tmp_path, one, tables={"trades": table}))
        assert (result.failed, result.error) == (expected[int(one.rule_id[1:])], None)


def test_an_exists_of_all_columns_shares_a_pass() -> None:
    sql = "SELECT * FROM trades AS t WHERE EXISTS (SELECT * FROM venues AS v WHERE v.mic = t.venue)"
    assert as_filter(syntax(sql)) is not None


def test_columns_with_the_schema_of_the_table_are_shown(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT main.trades.number FROM trades WHERE number > 7"))
    [result] = run_rules(work)
    assert (result.failed, result.error) == (2, None)
    assert [row["values"]["number"] for row in failing_rows(work)] == ["8", "9"]


def test_an_error_of_a_shown_column_has_its_place_in_the_authors_sql(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT CAST(venue AS INTEGER) AS v FROM trades WHERE number > 7"))
    [result] = run_rules(work)
    assert result.failed == 2
    assert "line 1, column 8 of its SQL" in (result.error or "")


@pytest.mark.parametrize("select", ["*", "{} AS deep"])
@pytest.mark.parametrize("condition", ["{} > 9", "number > 8"])
def test_rules_at_the_limit_of_nesting_are_evaluated_or_refused(
    tmp_path: Path, select: str, condition: str
) -> None:
    rules = []
    for depth in range(310, 335):
        deep = "abs(" * depth + "number" + ")" * depth
        sql = f"SELECT {select} FROM trades WHERE {condition}".replace("{}", deep)
        rules.append(rule(sql, f"r{depth}"))
    for result in run_rules(job(tmp_path, *rules)):
        assert result.error is None or "nested too deeply" in result.error


def test_rules_of_one_table_are_evaluated_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(
        passes, "Sweep", lambda *a, **k: made.append(len(k["filters"])) or sweep.Sweep(*a, **k)
    )
    rules = [rule(f"SELECT * FROM trades WHERE number = {n}", f"r{n}") for n in range(10)]
    results = run_rules(job(tmp_path, *rules))
    assert made == [10]
    assert [result.failed for result in results] == [1] * 10


def test_a_rule_with_an_error_leaves_the_others_in_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(
        passes, "Sweep", lambda *a, **k: made.append(len(k["filters"])) or sweep.Sweep(*a, **k)
    )
    rules = [rule(f"SELECT * FROM trades WHERE number = {n}", f"r{n}") for n in range(8)]
    rules[5] = rule("SELECT * FROM trades WHERE 1 / number > 2", "r5")
    results = run_rules(job(tmp_path, *rules))
    assert made == [8, 4, 4, 2, 1, 1, 2]
    assert [result.failed for result in results] == [1, 1, 1, 1, 1, 0, 1, 1]
    assert "division by zero" in (results[5].error or "").lower()


def test_a_column_with_the_name_of_the_row_number_is_only_a_column(tmp_path: Path) -> None:
    table = pa.table({"file_row_number": [7, 7, 8], "price": [1, 2, 3]})
    work = job(
        tmp_path,
        rule("SELECT * FROM trades WHERE file_row_number = 7"),
        tables={"trades": table},
    )
    [result] = run_rules(work)
    assert result.failed == 2
    assert [row["values"]["price"] for row in failing_rows(work)] == ["1", "2"]


def test_failing_rows_come_in_the_order_of_a_table_of_many_row_groups(
    tmp_path: Path, alone: Any
) -> None:
    table = trades(50_000)
    works = []
    for name in ("together", "alone"):
        folder = tmp_path / name
        folder.mkdir()
        work = job(
            folder,
            rule("SELECT number FROM trades WHERE number % 7 = 3", "sevens"),
            rule("SELECT number FROM trades WHERE number > 100", "most"),
            tables={"trades": table},
            failing_rows=300,
        )
        pq.write_table(table, work.tables["trades"].path, row_group_size=1000)
        works.append(work)
    assert outcome(run_rules(works[0]), works[0]) == outcome(alone(works[1]), works[1])


def test_more_rows_than_a_pass_may_fetch_are_fetched_by_each_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MOST_FETCHED", 3)
    work = job(
        tmp_path,
        rule("SELECT * FROM trades WHERE number > 7", "few"),
        rule("SELECT * FROM trades WHERE number < 7", "many"),
    )
    assert [result.failed for result in run_rules(work)] == [2, 7]
    assert len(failing_rows(work)) == 9


def test_the_time_limit_names_all_rules_of_the_pass(tmp_path: Path) -> None:
    slow = "list_sum(list_transform(range(200000), lambda x: hash(x + number) % 7)) = {}"
    rules = [rule(f"SELECT * FROM trades WHERE {slow.format(n)}", f"r{n}") for n in range(3)]
    work = job(tmp_path, *rules, tables={"trades": trades(100_000)}, seconds=1)
    with pytest.raises(RuleLimitError, match=r"at rule r0 and 2 others .*3 of 3 rules"):
        run_rules(work)


def test_many_rules_are_evaluated_in_passes_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(
        passes, "Sweep", lambda *a, **k: made.append(len(k["filters"])) or sweep.Sweep(*a, **k)
    )
    rules = [rule(f"SELECT * FROM trades WHERE number = {n}", f"r{n}") for n in range(1000)]
    results = run_rules(job(tmp_path, *rules))
    assert sum(result.failed for result in results) == 10
    assert (max(made), len(made)) == (sweep.TOGETHER, 32)


def test_a_table_of_only_nulls_and_an_empty_table_break_no_condition(tmp_path: Path) -> None:
    nulls = pa.table(
        {
            "price": pa.array([None] * 3, pa.decimal128(18, 5)),
            "venue": pa.array([None] * 3, pa.string()),
            "nothing": pa.nulls(3),
        }
    )
    for number, table in enumerate((nulls, nulls.slice(0, 0))):
        folder = tmp_path / str(number)
        folder.mkdir()
        work = job(
            folder,
            rule("SELECT * FROM trades WHERE price <= 0", "price"),
            rule("SELECT * FROM trades WHERE venue NOT IN ('XETR')", "venue"),
            rule("SELECT * FROM trades WHERE nothing > 1", "nothing"),
            rule("SELECT * FROM trades WHERE price IS NULL", "missing"),
            tables={"trades": table},
        )
        assert [r.failed for r in run_rules(work)] == [0, 0, 0, table.num_rows]
        assert all(result.error is None for result in run_rules(work))
