from __future__ import annotations

import json
import os
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from openreg_airflow.cli import app
from openreg_airflow.records import RunKey
from openreg_airflow.store import schema
from openreg_airflow.workspace import Workspace
from tests.mapping_sets import add, make_set

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """\
openreg: 1
id: prices
title: Prices
extract: {sources: {prices: {connection: c, sql: prices.sql}}}
validate:
  rules:
    positive:
      title: Prices are positive
      table: prices
      sql: SELECT * FROM prices WHERE price <= 0
      message: "price {price} on {business_date}"
    small:
      title: Prices are small
      table: prices
      severity: warning
      sql: SELECT * FROM prices WHERE price > 100
      message: "price {price} is large"
artifacts: {prices: {format: csv, table: prices, filename: prices.csv}}
"""
DAY = "2026-03-31"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "prices"
    folder.mkdir()
    (folder / "report.yaml").write_text(SPEC)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    return folder


def run(tmp_path: Path, name: str, *prices: int, age: int = 0) -> None:
    key = RunKey(report_id="prices", business_date=date.fromisoformat(DAY), run_id=name)
    files = Workspace(tmp_path / "workspace").folder(key, "extract", "prices")
    with files.writing("prices.parquet") as pending:
        pq.write_table(pa.table({"price": pa.array(prices, pa.int64())}), pending.path)
    os.utime(pending.ref.uri, (1_800_000_000 - age, 1_800_000_000 - age))


def command(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["validate", *map(str, arguments)])


def test_the_newest_run_is_validated(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "manual__old", -1, age=100)
    run(tmp_path, "manual__new", 1, 2)
    run(tmp_path, "manual__older", -1, age=200)
    done = command(folder, "--business-date", DAY)
    assert done.exit_code == 0, done.output
    assert "run manual-new-" in done.output
    assert "2 of 2 rules passed, 0 warned, 0 blocked." in done.output


def test_a_blocking_failure_is_exit_status_1(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "manual__old", -1, 7, age=100)
    run(tmp_path, "manual__new", 1)
    done = command(folder, "--business-date", DAY, "--run", "manual__old")
    assert done.exit_code == 1
    assert "price -1 on 2026-03-31" in done.output
    assert "1 blocked" in done.output


def test_a_warning_is_exit_status_0(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "manual__1", 101)
    done = command(folder, "--business-date", DAY)
    assert done.exit_code == 0
    assert "1 warned" in done.output


def test_tables_can_be_given_and_the_page_and_failing_rows_are_written(
    folder: Path, tmp_path: Path
) -> None:
    file, page, failures = (tmp_path / name for name in ("t.parquet", "p.html", "f.parquet"))
    pq.write_table(pa.table({"price": [-5, 3]}), file)
    done = command(
        folder, "--business-date", DAY, "--table", f"prices={file}",
        "--html", page, "--failures", failures, "--json",
    )  # fmt: skip
    assert done.exit_code == 1
    verdict = json.loads(done.output)
    assert [result["failed"] for result in verdict["results"]] == [1, 0]
    assert "price -5 on 2026-03-31" in page.read_text()
    assert pq.read_table(failures).num_rows == 1
    assert not list((tmp_path / "workspace").glob("**/validate"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no run of prices on 2026-03-31"),
        (("--run", "manual__9"), "no run 'manual__9' of prices"),
        (("--table", "prices=/nowhere.parquet"), "table prices cannot be read"),
        (("--table", "prices"), "write NAME=FILE"),
    ],
)
def test_what_cannot_be_done_is_exit_status_2(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = command(folder, "--business-date", DAY, *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_an_unknown_report_and_a_broken_spec_are_exit_status_2(folder: Path) -> None:
    assert command("nothing_here", "--business-date", DAY).exit_code == 2
    (folder / "report.yaml").write_text("openreg: 1\n")
    done = command(folder, "--business-date", DAY)
    assert done.exit_code == 2
    assert "report.yaml" in done.output


def test_rules_see_filled_tables_and_the_mapping_sets_that_are_known_now(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    schema.upgrade(url)
    make_set(url, keys=(("code", "string"),))
    add(url, {"code": "A"}, {"mic": "XFRA"})
    rule = 'condition: code in mapping("venues")'
    (folder / "report.yaml").write_text(
        SPEC.replace("sql: SELECT * FROM prices WHERE price <= 0", rule)
    )
    run(tmp_path, "manual__1", 1, 2)
    key = RunKey(report_id="prices", business_date=date.fromisoformat(DAY), run_id="manual__1")
    files = Workspace(tmp_path / "workspace").folder(key, "map", "map")
    with files.writing("prices.parquet") as pending:
        pq.write_table(pa.table({"price": [1, 2], "code": ["A", "Q"]}), pending.path)

    done = command(folder, "--business-date", DAY)

    assert done.exit_code == 1, done.output
    assert "1 of 2 rows" in done.output


def test_it_says_what_would_be_set_aside_and_leaves_the_queue_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openreg_airflow.exception_queue.listing import Wanted, count

    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    schema.upgrade(url)
    correctable = SPEC.replace("price <= 0\n", "price <= 0\n      severity: correctable\n")
    (folder / "report.yaml").write_text(
        correctable.replace("validate:\n", "records: {prices: {key: [price]}}\nvalidate:\n")
    )
    run(tmp_path, "manual__1", -1, 0, 3)
    page = tmp_path / "page.html"

    done = command(folder, "--business-date", DAY, "--html", page)

    assert done.exit_code == 0, done.output
    assert "Set aside: 2 records of prices" in done.output
    assert "0 blocked, 2 records set aside." in done.output
    assert "May be delivered, without 2 records" in page.read_text()
    assert count(url, Wanted()) == 0
