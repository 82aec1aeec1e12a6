"""What rules may know of the business dates before: how many rows the tables had."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date
    from pathlib import Path

    from openreg_airflow.records import RunKey
    from openreg_airflow.validate.job import Rule, TableFile

#: The table of the history, which every rule can read.
HISTORY = "openreg_history"
#: Its columns, as a spec declares them.
COLUMNS = {"business_date": "date", "table_name": "string", "rows": "integer"}
#: Days that it goes back.
DAYS = 400


def looks_back(rules: Iterable[Rule]) -> bool:
    """Whether a rule reads the history."""
    return any(
        HISTORY in (rule.spec.table, *_read_by(rule))
        or HISTORY in rule.sql
        or (rule.spec.row_count and rule.spec.row_count.previous_within_percent is not None)
        for rule in rules
    )


def _read_by(rule: Rule) -> tuple[str | None, ...]:
    """The other tables that a rule which is not in SQL names."""
    spec = rule.spec
    return (
        spec.references.table if spec.references else None,
        spec.control_total.table if spec.control_total else None,
        spec.row_count.same_as if spec.row_count else None,
    )


def write_history(
    path: Path, run: RunKey, tables: Mapping[str, TableFile], store_url: str
) -> TableFile:
    """Write the history as a table.

    It has a row for each table of the business date, and one for each table that rules of earlier
    ones spoke of, in the last run of that date whose rules did not block.

    Args:
        path: where it is written, as Parquet.
        run: the run that looks back.
        tables: its own tables.
        store_url: the product's own database.
    """
    from datetime import timedelta

    import pyarrow as pa
    import pyarrow.parquet as pq

    from openreg_airflow.store.history import row_counts
    from openreg_airflow.validate.job import TableFile

    today = run.business_date
    found = row_counts(store_url, run.report_id, today - timedelta(DAYS), today)
    rows: list[tuple[date, str, int]] = [(one.business_date, one.table, one.rows) for one in found]
    rows += [(today, name, table.rows) for name, table in tables.items()]
    days, names, counts = zip(*rows, strict=True) if rows else ((), (), ())
    table = pa.table(
        {
            "business_date": pa.array(days, pa.date32()),
            "table_name": pa.array(names, pa.string()),
            "rows": pa.array(counts, pa.int64()),
        }
    )
    pq.write_table(table, path)
    return TableFile(path=path, rows=len(table))
