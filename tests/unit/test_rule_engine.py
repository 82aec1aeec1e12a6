from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.errors import RuleLimitError
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.validate import gather, query
from openreg_airflow.validate.engine import run_rules
from openreg_airflow.validate.gather import SAMPLES
from openreg_airflow.validate.query import KEPT, FailingRows, RuleFailedError
from tests.unit.rule_jobs import failing_rows, job, rule, trades

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_that_break_a_rule_are_counted_shown_and_kept(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule(
            "SELECT * FROM trades WHERE price <= 0",
            "price",
            title="Prices are positive",
            reference="RTS 22, table 2, field 33",
            fields=["price"],
            message="price {price} of {transaction_id} is not positive",
        ),
    )
    [result] = run_rules(work)
    assert not result.passed
    assert (result.failed, result.checked, result.error) == (1, 10, None)
    assert result.message == "price 0.00000 of T0000 is not positive"
    assert result.messages == (result.message,)
    assert result.samples == ({"price": "0.00000"},)
    assert (result.title, result.reference) == ("Prices are positive", "RTS 22, table 2, field 33")
    assert failing_rows(work) == [
        {
            "rule_id": "price",
            "severity": "blocking",
            "table": "trades",
            "row": 1,
            "message": result.message,
            "values": {
                "transaction_id": "T0000",
                "price": "0.00000",
                "venue": "XETR",
                "number": "0",
            },
        }
    ]


def test_a_rule_that_no_row_breaks_passes(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT * FROM trades WHERE price < 0"))
    [result] = run_rules(work)
    assert result.passed
    assert (result.failed, result.message, result.samples) == (0, "", ())
    assert failing_rows(work) == []


def test_an_empty_table_breaks_no_rule(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT * FROM trades"), tables={"trades": trades(0)})
    [result] = run_rules(work)
    assert result.passed
    assert result.checked == 0


def test_a_table_of_nulls_can_be_checked(tmp_path: Path) -> None:
    nulls = pa.table(
        {"a": pa.array([None, None], pa.null()), "b": pa.array([None] * 2, pa.int32())}
    )
    work = job(
        tmp_path,
        rule("SELECT * FROM trades WHERE a IS NULL", message="{a} {b}"),
        rule("SELECT * FROM trades WHERE b < 0", "unknown"),
        tables={"trades": nulls},
    )
    missing, unknown = run_rules(work)
    assert (missing.failed, missing.message) == (2, "NULL NULL")
    assert unknown.passed


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM trades WHERE prize > 0", 'Referenced column "prize" not found'),
        ("SELECT * FROM trades WHERE nosuch(price)", "nosuch does not exist"),
        ("SELECT * FROM trades WHERE venue::INT > 1", "Could not convert string 'XETR'"),
        ("SELECT * FROM trades WHERE 1 / number > 0", "Division by zero"),
        ("SELECT * FROM trades WHERE number * 9223372036854775807 % 7 = 1", "Overflow"),
        ("SELECT * FROM venues", "no table 'venues'"),
        ("SELECT * FROM duckdb_settings", "no table 'duckdb_settings'"),
        ("SELECT * FROM read_text('/etc/passwd')", "read_text is not allowed"),
        ("SELECT * FROM trades WHERE transaction_id ~ '('", "missing )"),
        ("SELECT length(repeat('x', 4000000000)) FROM trades, nothing", "no table 'nothing'"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_reported_and_the_others_run(
    tmp_path: Path, sql: str, words: str
) -> None:
    work = job(tmp_path, rule(sql, "broken"), rule("SELECT * FROM trades", "other"))
    broken, other = run_rules(work)
    assert broken.error is not None
    assert words in broken.error
    assert not broken.passed
    assert broken.failed == 0
    assert broken.message == broken.error
    assert other.failed == 10
    assert "SET error_on" not in broken.error


def test_a_rule_whose_failing_rows_cannot_be_shown_is_counted_and_reported(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT *, 1 / number FROM trades", "broken"), rule("FROM trades"))
    broken, other = run_rules(work)
    assert broken.failed == 10
    assert "its failing rows cannot be shown: " in (broken.error or "")
    assert "Division by zero" in (broken.error or "")
    assert other.error is None


def test_filtered_rows_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    shuffled = trades(60_000).take(pa.array([(n * 7919) % 60_000 for n in range(60_000)]))
    written = set()
    for threads in (1, 4):
        work = job(
            tmp_path,
            rule("SELECT * FROM trades WHERE number % 2 = 1", message="{number}"),
            tables={"trades": shuffled},
            threads=threads,
        )
        [result] = run_rules(work)
        assert result.messages[:3] == ("7919", "23757", "39595")
        written.add(work.failures.read_bytes())
    assert len(written) == 1


def test_an_error_names_the_place_in_the_rules_own_sql(tmp_path: Path) -> None:
    [result] = run_rules(
        job(tmp_path, rule("SELECT *\nFROM trades\nWHERE 'é' <> '' AND prize > 0"))
    )
    assert result.error is not None
    assert "(line 3, column 21 of its SQL)" in result.error


def test_a_message_that_shows_an_unknown_column_is_an_error_before_any_row_fails(
    tmp_path: Path,
) -> None:
    work = job(
        tmp_path, rule("SELECT price FROM trades WHERE price < 0", message="{venue} {price}")
    )
    [result] = run_rules(work)
    assert result.error == "the message shows venue, but the rule returns price"


def test_a_rule_on_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    [result] = run_rules(job(tmp_path, rule("SELECT 1", table="positions")))
    assert result.error == "there is no table 'positions' in this run; its tables: trades"


def test_the_business_date_is_bound(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule(
            "SELECT * FROM trades WHERE $business_date - number::INT = DATE '2026-03-29'",
            message="{number} days before {business_date}",
        ),
    )
    [result] = run_rules(work)
    assert result.message == "2 days before 2026-03-31"


def test_rules_may_join_the_tables_of_the_run(tmp_path: Path) -> None:
    venues = pa.table({"venue": ["XPAR"]})
    work = job(
        tmp_path,
        rule("SELECT t.*, v.* FROM trades t ANTI JOIN venues v USING (venue)", "typo"),
        rule("SELECT * FROM trades t ANTI JOIN venues v USING (venue)", "unknown_venue"),
        tables={"trades": trades(), "venues": venues},
    )
    typo, unknown = run_rules(work)
    assert typo.error is not None
    assert unknown.failed == 10


def test_columns_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT 1 AS a, 2 AS a"))
    run_rules(work)
    [row] = failing_rows(work)
    assert sorted(row["values"].values()) == ["1", "2"]
    assert len(row["values"]) == 2


def test_all_failing_rows_are_counted_but_only_so_many_are_kept(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule("SELECT * FROM trades", message="{number}"),
        tables={"trades": trades(5000)},
        failing_rows=20,
    )
    [result] = run_rules(work)
    assert result.failed == 5000
    assert len(result.samples) == len(result.messages) == SAMPLES
    assert [row["values"]["number"] for row in failing_rows(work)] == [str(n) for n in range(20)]


def test_no_rows_are_kept_when_the_spec_says_so(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT * FROM trades"), failing_rows=0)
    [result] = run_rules(work)
    assert len(result.samples) == SAMPLES
    assert failing_rows(work) == []


def test_failing_rows_come_in_the_order_that_the_author_gave(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule("SELECT number FROM trades ORDER BY number DESC -- newest first", message="{number}"),
    )
    [result] = run_rules(work)
    assert result.messages == ("9", "8", "7", "6", "5")


def test_failing_rows_without_an_order_are_sorted_and_the_file_is_always_the_same(
    tmp_path: Path,
) -> None:
    table = trades(60_000)
    shuffled = table.take(pa.array([(n * 7919) % 60_000 for n in range(60_000)]))
    sql = "SELECT venue, number FROM trades GROUP BY ALL"
    written = set()
    for threads in (1, 2, 4):
        work = job(tmp_path, rule(sql), tables={"trades": shuffled}, threads=threads)
        run_rules(work)
        written.add(work.failures.read_bytes())
    assert len(written) == 1
    assert [row["values"]["number"] for row in failing_rows(work)][:3] == ["0", "2", "3"]


def test_values_are_kept_exactly(tmp_path: Path) -> None:
    table = pa.table(
        {
            "amount": pa.array([Decimal("1234567890123456789012345678.12345")]),
            "instant": pa.array([1], pa.timestamp("us", tz="Europe/Berlin")),
            "flag": [True],
            "raw": [b"\x00\xff"],
            "ratio": [0.1],
            "text": ["a\nb"],
        }
    )
    work = job(tmp_path, rule("SELECT * FROM trades"), tables={"trades": table})
    run_rules(work)
    [row] = failing_rows(work)
    assert row["values"] == {
        "amount": "1234567890123456789012345678.12345",
        "instant": "1970-01-01 00:00:00.000001+00",
        "flag": "true",
        "raw": "\\x00\\xFF",
        "ratio": "0.1",
        "text": "a\nb",
    }


def test_a_megabyte_of_text_is_cut_in_the_message_the_sample_and_the_file(tmp_path: Path) -> None:
    table = pa.table({"text": ["é" * 2**20]})
    work = job(tmp_path, rule("SELECT * FROM trades", message="{text}"), tables={"trades": table})
    [result] = run_rules(work)
    assert len(result.message) < 300
    assert len(result.samples[0]["text"] or "") < 300
    [row] = failing_rows(work)
    assert row["values"]["text"] == "é" * KEPT + "…"


def test_a_rule_that_needs_too_much_memory_is_an_error_of_that_rule(tmp_path: Path) -> None:
    work = job(
        tmp_path,
        rule("SELECT list(a.number + b.number) FROM trades a, trades b, range(1000)", "greedy"),
        rule("SELECT * FROM trades WHERE number = 0", "modest"),
        tables={"trades": trades(1000)},
        memory_mb=64,
        disk_mb=0,
    )
    greedy, modest = run_rules(work)
    assert greedy.error is not None
    assert "validate.limits.memory_mb" in greedy.error
    assert modest.failed == 1


def test_a_rule_that_takes_too_long_stops_the_stage(tmp_path: Path) -> None:
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a, b) = 1"
    work = job(
        tmp_path,
        rule("SELECT 1", "quick"),
        rule(endless, "endless"),
        rule("SELECT 1", "third"),
        seconds=1,
    )
    begun: list[str] = []
    with pytest.raises(RuleLimitError, match="after 1 s at rule endless; 2 of 3 rules") as caught:
        run_rules(work, starting=begun.append)
    assert begun == ["quick", "endless"]
    assert "validate.limits.seconds" in (caught.value.hint or "")
    assert all(thread.name != "rules-deadline" for thread in threading.enumerate())


def test_a_pattern_that_could_blow_up_does_not(tmp_path: Path) -> None:
    table = pa.table({"text": ["a" * 100_000 + "!"] * 10})
    work = job(
        tmp_path,
        rule("SELECT * FROM trades WHERE regexp_full_match(text, '(a*)*(a|aa)+b')"),
        tables={"trades": table},
        seconds=20,
    )
    assert run_rules(work)[0].passed


def test_only_so_many_rules_show_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "SAMPLED_RULES", 2)
    work = job(tmp_path, *(rule("SELECT * FROM trades", f"r{n}") for n in range(3)))
    results = run_rules(work)
    assert [len(result.samples) for result in results] == [SAMPLES, SAMPLES, 0]
    assert results[2].message == "wrong"
    assert len(failing_rows(work)) == 30


def test_rules_leave_the_tables_as_they_were(tmp_path: Path) -> None:
    work = job(tmp_path, rule("SELECT * FROM trades"))
    before = work.tables["trades"].path.read_bytes()
    run_rules(work)
    assert work.tables["trades"].path.read_bytes() == before


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.none() | st.decimals(-(10**6), 10**6, places=5, allow_nan=False, allow_infinity=False),
        max_size=50,
    )
)
def test_counts_agree_with_python(
    tmp_path_factory: pytest.TempPathFactory, prices: list[Decimal | None]
) -> None:
    folder = tmp_path_factory.mktemp("rules")
    table = pa.table({"price": pa.array(prices, pa.decimal128(18, 5))})
    work = job(
        folder,
        rule("SELECT * FROM trades WHERE price <= 0", message="{price}"),
        rule("SELECT * FROM trades WHERE price IS NULL", "missing"),
        tables={"trades": table},
    )
    low, missing = run_rules(work)
    expected = [price for price in prices if price is not None and price <= 0]
    assert (low.failed, missing.failed) == (len(expected), prices.count(None))
    kept = [Decimal(row["message"]) for row in failing_rows(work) if row["rule_id"] == "rule"]
    assert kept == expected


def test_a_record_is_set_aside_with_what_its_rule_says_of_it(tmp_path: Path) -> None:
    wrong = rule(
        "SELECT * FROM trades WHERE number = 3",
        severity="correctable",
        message="{number} on {business_date}",
    )
    reasons = tmp_path / "reasons.parquet"
    records = {"trades": RecordTable(key=("transaction_id",))}
    work = job(tmp_path, wrong).model_copy(update={"records": records, "reasons": reasons})
    [result] = run_rules(work)
    [aside] = pq.read_table(reasons).to_pylist()
    assert (aside["key"], aside["message"]) == (["T0003"], "3 on 2026-03-31")
    assert result.messages == (aside["message"],)


def test_an_error_that_ends_the_database_costs_its_own_rule_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = FailingRows.count

    def ended(self: FailingRows) -> int:
        if "T0001" not in self._statement.sql:
            return count(self)
        self._connection.close()
        message = "the database has ended"
        raise RuleFailedError(message, fatal=True)

    monkeypatch.setattr(FailingRows, "count", ended)
    joined = "SELECT a.* FROM trades a JOIN trades b USING (transaction_id) WHERE transaction_id = "
    first, second = run_rules(
        job(
            tmp_path, rule(f"{joined} 'T0001'", rule_id="a"), rule(f"{joined} 'T0000'", rule_id="b")
        )
    )
    assert first.error == "the database has ended"
    assert (second.failed, second.error) == (1, None)


def test_a_rule_over_groups_is_evaluated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = FailingRows._ask

    def noted(self: FailingRows, before: str, after: str) -> Any:
        asked.append(before + self._statement.sql)
        return ask(self, before, after)

    monkeypatch.setattr(FailingRows, "_ask", noted)
    by_venue = "SELECT venue, count(*) AS times FROM trades GROUP BY venue HAVING count(*) > 0"
    work = job(tmp_path, rule(by_venue, message="{venue} {times}"))
    [result] = run_rules(work)
    counted = [sql for sql in asked if by_venue in sql and "LIMIT 0" not in sql]
    assert result.failed == len(failing_rows(work)) > 0
    assert [sql.partition(" ")[0] for sql in counted] == ["SELECT", "CREATE"]  # columns, rows


@pytest.mark.parametrize("most", [0, 1, 100])
def test_groups_give_the_same_rows_however_many_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(query, "MOST_ONCE", most)
    by_number = "SELECT number % 3 AS rest, count(*) AS times FROM trades GROUP BY ALL"
    work = job(tmp_path, rule(by_number), rule(f"{by_number} ORDER BY rest DESC", "sorted"))
    assert [result.failed for result in run_rules(work)] == [3, 3]
    assert [row["values"]["rest"] for row in failing_rows(work)] == ["0", "1", "2", "2", "1", "0"]


def test_codes_are_there_for_rules_in_sql_whatever_their_case(tmp_path: Path) -> None:
    known = rule("SELECT * FROM trades WHERE MIC_Known('XETR', $business_date)", "known")
    day = rule("SELECT 1 WHERE NOT is_business_day(DATE '2026-03-31', 'TARGET')", "day")
    isin = rule("SELECT * FROM trades WHERE isin_valid('DE0005557508')", "isin")
    results = run_rules(job(tmp_path, known, day, isin))
    assert [(one.failed > 0, one.error) for one in results] == [
        (True, None),
        (False, None),
        (True, None),
    ]
