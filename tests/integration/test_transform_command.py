"""``openreg transform``: a script on a sample of real input."""

from __future__ import annotations

import logging
import sqlite3
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
from tests.transform_bench import REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

SCRIPT = """\
def transform(inputs, context):
    trades = inputs["trades"]
    print("business date", context.business_date)
    trades["doubled"] = trades["quantity"] * 2
    return trades
"""


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "specs" / "demo_report"
    folder.mkdir(parents=True)
    (folder / "report.yaml").write_text(REPORT)
    (folder / "transform.py").write_text(SCRIPT)
    (folder / "trades.sql").write_text("SELECT * FROM trades")
    with sqlite3.connect(tmp_path / "source.db") as database:
        database.execute("CREATE TABLE trades (trade_id TEXT, quantity INTEGER)")
        database.executemany(
            "INSERT INTO trades VALUES (?, ?)", [(f"T{n}", n) for n in range(5000)]
        )
    database.close()
    monkeypatch.setenv("AIRFLOW__OPENREG__SPEC_FOLDERS", str(tmp_path / "specs"))
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__SANDBOX", "unsafe-subprocess")
    monkeypatch.setenv("AIRFLOW_CONN_OPENREG_TRIAL", f"sqlite:///{tmp_path / 'source.db'}")
    monkeypatch.setenv("COLUMNS", "120")
    return folder


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    logger = logging.getLogger("openreg_airflow")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.level, logger.propagate, logger.handlers = before
    logging.getLogger("openreg_airflow.transform.execution.script").setLevel(logging.NOTSET)


def transform(*options: str, day: str = "2026-03-02") -> Result:
    return CliRunner().invoke(app, ["transform", "demo_report", "--business-date", day, *options])


def extracted(tmp_path: Path, run_id: str, table: Any) -> None:
    run = RunKey(report_id="demo_report", business_date="2026-03-02", run_id=run_id)
    folder = Workspace(tmp_path / "workspace").folder(run, "extract", "trades")
    with folder.writing("trades.parquet") as pending:
        pq.write_table(table, pending.path)


def test_sample_is_extracted_and_its_result_shown_with_types_and_time(
    report: Path, sandbox_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox_environment.items():
        monkeypatch.setenv(name, value)

    result = transform("--sample", "1500", "--show", "3")

    assert result.exit_code == 0, result.output
    assert "extracting anew" in result.output
    assert "business date 2026-03-02" in result.output
    assert "trades: 1,500 rows" in result.output
    assert "doubled" in result.output
    assert "int64" in result.output
    assert "T2" in result.output
    assert "T3" not in result.output
    assert "s in the sandbox" in result.output
    assert "WITHOUT ANY FENCE" not in result.output


def test_newest_extract_of_the_day_is_used(report: Path, tmp_path: Path) -> None:
    for number, run_id in enumerate(("first", "second")):
        extracted(tmp_path, run_id, pa.table({"trade_id": ["A"], "quantity": [number]}))

    result = transform()

    assert result.exit_code == 0, result.output
    assert "input of second" in result.output
    assert "trades: 1 rows" in result.output
    assert "extracting anew" in transform("--extract").output
    assert "extracting anew" in transform(day="2026-03-03").output


def test_error_shows_the_author_s_own_line(report: Path) -> None:
    (report / "transform.py").write_text("def transform(inputs, context):\n    return missing\n")

    result = transform()

    assert result.exit_code == 1
    assert "transform.py line 2: NameError: name 'missing' is not defined" in result.output
    assert 'File "transform.py", line 2, in transform' in result.output


def test_unknown_report_and_report_without_a_script_are_told(report: Path) -> None:
    result = CliRunner().invoke(app, ["transform", "no_report", "--business-date", "2026-03-02"])
    assert result.exit_code == 2
    assert "there is no report 'no_report'" in result.output

    (report / "report.yaml").write_text(REPORT.replace("transform: {script: transform.py}\n", ""))
    said = transform().output
    assert "has no transform section" in said
    assert "extracting" not in said


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("script: gone.py", "gone.py"),
        ("script: transform.py, limits: {memory_mb: 999999}", "allows at most 4096"),
    ],
)
def test_what_is_wrong_with_the_section_is_told_before_anything_is_read(
    report: Path, section: str, expected: str
) -> None:
    (report / "report.yaml").write_text(REPORT.replace("script: transform.py", section))

    result = transform()

    assert result.exit_code == 2
    assert expected in result.output
    assert "extracting" not in result.output


def test_damaged_extract_is_told(report: Path, tmp_path: Path) -> None:
    extracted(tmp_path, "first", pa.table({"trade_id": ["A"], "quantity": [1]}))
    [file] = tmp_path.glob("workspace/*/*/*/extract/trades/trades.parquet")
    file.write_bytes(b"not Parquet")

    result = transform()

    assert result.exit_code == 1
    assert "error: " in result.output
    assert "no sample of trades can be taken" in result.output


def test_nothing_is_left_in_the_workspace(report: Path, tmp_path: Path) -> None:
    assert transform("--sample", "0").exit_code == 0

    assert not (tmp_path / "workspace").exists()


def test_script_sees_the_mapping_sets_that_are_known_now(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    schema.upgrade(url)
    make_set(url)
    add(url, {"code": "T1"}, {"mic": "XFRA"})
    mapped = """\
mappings: {sets: [venues]}
map:
  venue:
    table: trades
    phase: source
    set: venues
    key: [trade_id]
    fill: {mic: mic}
    unmapped: none
artifacts:"""
    (report / "report.yaml").write_text(REPORT.replace("artifacts:", mapped))
    (report / "transform.py").write_text(
        "def transform(inputs, context):\n"
        "    trades = inputs['trades']\n"
        "    print(context.mapping('venues')['T1'], list(trades.mic[:2]))\n"
        "    return trades\n"
    )

    result = transform("--sample", "2")

    assert result.exit_code == 0, result.output
    assert "XFRA [<NA>, 'XFRA']" in result.output
