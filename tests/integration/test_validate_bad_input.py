"""Validation of data and specs that are far from what their authors had in mind."""

# ruff: noqa: F811 - a fixture has the name of its argument
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.errors import BlockingRulesError
from openreg_airflow.notify.message import message
from openreg_airflow.records import Column, Dataset
from openreg_airflow.validate import summary
from openreg_airflow.validate.page import page
from tests.integration.test_validate_operator import (  # noqa: F401 - fixtures
    PRICES,
    RUN,
    execute,
    folder,
    operator,
    store,
    workspace,
)

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.store import Store
    from openreg_airflow.workspace import Workspace

MEGABYTE = 1 << 20


def dataset(of: Workspace, table: pa.Table) -> Dataset:
    with of.folder(RUN, "transform").writing("positions.parquet") as pending:
        pq.write_table(table, pending.path)
    columns = tuple(Column(name=field.name, type=str(field.type)) for field in table.schema)
    return Dataset(**pending.ref.model_dump(), rows=table.num_rows, columns=columns)


def rules(number: int, sql: str, **fields: Any) -> dict[str, Any]:
    known = {"title": "A rule", "table": "positions", "message": "{isin} is wrong"} | fields
    return {f"r{n}": known | {"sql": sql.format(n=n)} for n in range(number)}


def prices(*values: int | None) -> pa.Table:
    return pa.table(
        {
            "isin": pa.array([None if v is None else f"XS{v:010d}" for v in values], pa.string()),
            "price": pa.array(values, pa.int64()),
        }
    )


@pytest.mark.parametrize("rows", [0, 3])
def test_an_empty_table_and_one_of_only_nulls_break_no_comparison(
    workspace: Workspace,
    store: Store,
    folder: Path,
    rows: int,
) -> None:
    table = dataset(workspace, prices(*[None] * rows))
    verdict = execute(operator(folder, table, {"rules": {"price": PRICES}}))
    [result] = verdict.results
    assert (result.passed, result.checked) == (True, rows)
    shown = page(verdict, report_id="r", title="R", business_date=RUN.business_date, source="run x")
    assert "Every rule passed" in shown
    assert store.verdict(RUN) == verdict


def test_ten_thousand_rules_are_evaluated_recorded_and_shown(
    workspace: Workspace,
    store: Store,
    folder: Path,
) -> None:
    many = rules(10_000, "SELECT * FROM positions WHERE price = {n}", severity="warning")
    task = operator(folder, dataset(workspace, prices(*range(100))), {"rules": many})
    verdict = execute(task)
    assert len(verdict.results) == 10_000
    assert len(verdict.warnings) == 100
    assert store.verdict(RUN) == verdict
    assert len(list(summary.lines(verdict))) < 1000
    assert len(json.dumps(message(RUN, verdict, "warned", None).data)) < 100_000


def test_a_failing_row_with_a_megabyte_of_text_stays_small_everywhere_but_in_the_data(
    workspace: Workspace,
    store: Store,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = "Ä<b>\n" * (MEGABYTE // 5)
    table = pa.table({"isin": [text] * 3, "price": pa.array([0, 1, 2], pa.int64())})
    broken = rules(1, "SELECT * FROM positions WHERE price = 0")
    with pytest.raises(BlockingRulesError) as caught:
        execute(operator(folder, dataset(workspace, table), {"rules": broken}))
    assert len(str(caught.value)) < 2000
    assert all(len(record.getMessage()) < 2000 for record in caplog.records)
    verdict = store.verdict(RUN)
    assert verdict is not None
    assert len(verdict.model_dump_json()) < 5000
    shown = page(verdict, report_id="r", title="R", business_date=RUN.business_date, source="run x")
    assert len(shown) < 20_000
    assert "<b>\n" not in shown.split("What failed")[1]
    assert verdict.failures is not None
    with workspace.open_local(verdict.failures) as path:
        [row] = pq.read_table(path).to_pylist(maps_as_pydicts="strict")
    assert row["values"]["isin"].startswith(text[:4000])
