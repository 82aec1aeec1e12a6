from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openreg_airflow import __version__
from openreg_airflow.cli import app

EXAMPLES = Path(__file__).resolve().parents[2] / "report_specs"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_the_version_is_the_packages() -> None:
    assert run("--version") == (0, f"openreg {__version__}\n")


def test_the_example_reports_are_right() -> None:
    status, output = run("check", EXAMPLES)
    assert status == 0, output
    assert "0 errors" in output


def test_check_reports_every_error_of_every_report(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        assert run("new", name, "--into", tmp_path)[0] == 0
    spec = tmp_path / "one" / "report.yaml"
    spec.write_text(spec.read_text().replace("severity: blocking", "severity: deadly"))
    (tmp_path / "two" / "trades.sql").write_text("DELETE FROM trades")
    (tmp_path / "two" / "transform.py").write_text("def transform(inputs, context)\n    pass\n")
    status, output = run("check", tmp_path)
    assert status == 1
    assert f"{spec}:31:17: validate.rules.price_positive.severity" in output
    assert f"{tmp_path / 'two' / 'trades.sql'}:1:1:" in output
    assert f"{tmp_path / 'two' / 'transform.py'}:1:" in output
    assert "3 reports, 3 errors" in output


def test_check_as_json_is_for_machines(tmp_path: Path) -> None:
    run("new", "mine", "--into", tmp_path)
    (tmp_path / "mine" / "trades.sql").unlink()
    status, output = run("check", "--json", tmp_path / "mine")
    found = json.loads(output)
    assert status == 1
    assert found["valid"] is False
    (error,) = found["errors"]
    assert error["line"] > 1
    assert "trades.sql" in error["message"]


@pytest.mark.parametrize("path", ["mine", "mine/report.yaml", "."])
def test_check_takes_a_report_its_file_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run("new", "mine", "--into", tmp_path)
    status, output = run("check", path)
    assert (status, "1 report, 0 errors" in output) == (0, True), output


def test_check_of_nothing_is_an_error(tmp_path: Path) -> None:
    status, output = run("check", tmp_path / "gone")
    assert status == 2
    assert "is not a report" in output


def test_a_report_id_that_cannot_be_is_refused(tmp_path: Path) -> None:
    status, output = run("new", "Not-Mine", "--into", tmp_path)
    assert status == 2
    assert "is not a report id" in output


def test_the_printed_schema_is_json() -> None:
    status, output = run("schema")
    assert status == 0
    assert json.loads(output)["title"] == "OpenReg report spec"


@pytest.mark.parametrize(
    "command", [("exceptions", "list"), ("mappings", "list"), ("audit", "list")], ids=" ".join
)
def test_errors_of_all_rooms_are_told_alike(tmp_path: Path, command: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, [*command, "--url", f"sqlite:///{tmp_path / 'none.db'}"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the store sqlite:///")
    assert result.stderr.endswith("Hint: Run: openreg db upgrade\n")
