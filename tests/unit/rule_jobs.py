"""Jobs for the tests of validation: a few rules over small tables written as Parquet."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.validate.job import Job, Rule, TableFile
from openreg_airflow.validate.spec import RuleSpec, ValidateLimits

if TYPE_CHECKING:
    from pathlib import Path

BUSINESS_DATE = date(2026, 3, 31)


def rule(sql: str, rule_id: str = "rule", **spec: Any) -> Rule:
    fields = {"title": "A rule", "table": "trades", "message": "wrong", "sql": sql} | spec
    return Rule(rule_id=rule_id, spec=RuleSpec(**fields), sql=sql)


def job(
    folder: Path,
    *rules: Rule,
    tables: dict[str, pa.Table] | None = None,
    failing_rows: int = 1000,
    **limits: int,
) -> Job:
    files = {}
    for name, table in ({"trades": trades()} if tables is None else tables).items():
        path = folder / f"{name}.parquet"
        pq.write_table(table, path)
        files[name] = TableFile(path=path, rows=table.num_rows)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return Job(
        rules=rules,
        tables=files,
        business_date=BUSINESS_DATE,
        limits=ValidateLimits(**({"memory_mb": 128} | limits)),
        failing_rows=failing_rows,
        failures=folder / "failing_rows.parquet",
        scratch=scratch,
    )


def trades(rows: int = 10) -> pa.Table:
    """Rows 0, 1, 2 ...; the price of row 0 is not positive and the venue of row 1 is missing."""
    return pa.table(
        {
            "transaction_id": [f"T{number:04d}" for number in range(rows)],
            "price": pa.array(range(rows), pa.int64()).cast(pa.decimal128(38, 5)),
            "venue": pa.array([None if number == 1 else "XETR" for number in range(rows)]),
            "number": pa.array(range(rows), pa.int64()),
        }
    )


def failing_rows(of: Job) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(of.failures).to_pylist(maps_as_pydicts="strict")
    return rows
