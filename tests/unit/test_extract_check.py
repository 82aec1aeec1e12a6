from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.extract.check import check
from openreg_airflow.extract.spec import ExtractSection

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.problem import Problem


def problems(folder: Path, sql: str | None, **source: Any) -> list[Problem]:
    if sql is not None:
        (folder / "trades.sql").write_text(sql)
    given = {"trades": {"connection": "c", "sql": "trades.sql"} | source}
    return list(check(ExtractSection.model_validate({"sources": given}), folder))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t WHERE d = :business_date",
        "SELECT [a b] FROM t",  # SQL Server
        "SELECT `a b` FROM t LIMIT 1, 2",  # MySQL
        "SELECT a::numeric FROM t WHERE x @> ARRAY[1]",  # PostgreSQL
    ],
)
def test_query_of_any_known_dialect_is_sound(tmp_path: Path, sql: str) -> None:
    assert problems(tmp_path, sql) == []


def test_query_that_is_read_in_parts_has_no_order_of_its_own(tmp_path: Path) -> None:
    sql = "SELECT id FROM t ORDER BY id"

    [problem] = problems(tmp_path, sql, partition={"column": "id", "parts": 2})

    assert "has no ORDER BY of its own" in problem.message
    assert problem.keys == ("sources", "trades", "sql")
    assert problems(tmp_path, "SELECT id FROM t", partition={"column": "id", "parts": 2}) == []


@pytest.mark.parametrize(("sql", "said"), [(None, "is missing"), ("\n", "is empty")])
def test_missing_or_empty_file_is_shown_at_its_key(
    tmp_path: Path, sql: str | None, said: str
) -> None:
    [problem] = problems(tmp_path, sql)

    assert said in problem.message
    assert problem.keys == ("sources", "trades", "sql")
    assert problem.file is None


@pytest.mark.parametrize(
    ("sql", "said", "line", "column"),
    [
        ("SELECT a,\n  b FROM t WHERE (a = 1", "not understood", 2, 23),
        ("SELECT a\nFROM t WHERE d = :day", ":day is not declared", 2, 18),
        ("DELETE FROM t", "not a query that reads", 1, 1),
        ("SELECT 1;\n\nSELECT 2", "more than one statement", 3, 1),
    ],
)
def test_fault_in_the_sql_is_shown_in_its_file(
    tmp_path: Path, sql: str, said: str, line: int, column: int
) -> None:
    [problem] = problems(tmp_path, sql)

    assert said in problem.message
    assert (problem.file, problem.line) == (tmp_path / "trades.sql", line)
    assert problem.column == column


def test_parameter_that_is_not_used_is_shown(tmp_path: Path) -> None:
    [problem] = problems(
        tmp_path, "SELECT 1 WHERE 1 = 1", parameters={"desk": {"type": "string", "value": "a"}}
    )

    assert problem.keys == ("sources", "trades", "parameters", "desk")


def test_incremental_query_that_reads_without_end_is_found(tmp_path: Path) -> None:
    new = {"column": "id", "type": "integer", "start": 0}

    [problem] = problems(tmp_path, "SELECT id FROM t WHERE id > :since", incremental=new)

    assert problem.message == "trades.sql does not read between :since and :until"
    assert problem.keys == ("sources", "trades", "incremental")
    both = "SELECT id FROM t WHERE id > :since AND id <= :until"
    assert problems(tmp_path, both, incremental=new) == []
