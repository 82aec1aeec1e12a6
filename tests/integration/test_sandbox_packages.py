"""Packages of a report: the admin's list, and an image for each set."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.settings import SANDBOX_IMPORTS
from openreg_airflow.transform.commands import app
from openreg_airflow.transform.packages import image_name
from tests.transform_bench import TRADES, Bench, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.docker_engine import DockerEngine

REPORT = """\
openreg: 1
id: demo_report
title: Demo
owner: reporting
schedule: {{cron: "0 20 * * 1-5", timezone: Europe/Berlin, start_date: 2026-01-01}}
extract:
  sources:
    trades: {{connection: source, sql: trades.sql}}
transform: {{script: transform.py, packages: {{{packages}}}}}
artifacts:
  trades: {{format: csv, table: trades, filename: "trades.csv"}}
"""
SCRIPT = """\
import openreg_rates
import pyarrow as pa

def transform(inputs, context):
    return pa.table({"rate": [openreg_rates.RATE]})
"""
RATES = {"openreg-rates": "1.2.3"}


def wheel(folder: Path, name: str, version: str, source: str, *requires: str) -> None:
    """Write a wheel of one module."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {one}\n" for one in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    wheel(folder, "openreg_rates", "1.2.3", "RATE = 7\n")
    wheel(folder, "openreg_needy", "1.0", "", "openreg_missing>=2")
    return folder


@pytest.fixture
def report(
    tmp_path: Path, sandbox_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Path:
    for name, value in sandbox_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OPENREG__SANDBOX_PACKAGES", "openreg-rates==1.2.3 openreg_needy")
    folder = tmp_path / "demo_report"
    folder.mkdir()
    (folder / "report.yaml").write_text(REPORT.format(packages='openreg-rates: "1.2.3"'))
    return folder


def test_report_runs_in_the_image_with_its_packages(
    report: Path, wheels: Path, tmp_path: Path, docker_engine: DockerEngine, sandbox_image: str
) -> None:
    client = docker_engine.client
    bench = Bench(tmp_path, "container", client, sandbox_image)
    bench.source("trades", TRADES)
    imports = SANDBOX_IMPORTS.split()
    with pytest.raises(SandboxUnavailableError, match=r"no sandbox image .*:packages-") as caught:
        bench.run(SCRIPT, imports=imports, packages=RATES)
    assert "openreg sandbox build --for demo_report" in (caught.value.hint or "")

    try:
        built = CliRunner().invoke(app, ["build", "--for", str(report), "--wheels", str(wheels)])
        assert built.exit_code == 0, built.output
        assert image_name(sandbox_image, RATES) in built.output

        tables = bench.run(SCRIPT, imports=imports, packages=RATES)
        assert read(tables, "trades")["rate"].to_pylist() == [7]
        assert bench.fences[-1].image in built.output
        listed = CliRunner().invoke(app, ["list"]).output
        (line,) = [line for line in listed.splitlines() if ":packages-" in line]
        assert line.endswith("current  openreg-rates==1.2.3")
    finally:
        client.remove_image(image_name(sandbox_image, RATES), force=True)


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ('openreg-rates: "1.2.4"', "package openreg-rates==1.2.4 is not allowed in the sandbox"),
        ('requests: "2.32.0"', "package requests==2.32.0 is not allowed in the sandbox"),
        ('openreg_needy: "9"', "pip cannot fetch the wheels"),
        ('openreg_needy: "1.0"', "requires openreg-missing, which is not installed"),
    ],
)
def test_set_that_is_not_allowed_or_not_whole_is_not_built(
    report: Path, wheels: Path, packages: str, expected: str
) -> None:
    (report / "report.yaml").write_text(REPORT.format(packages=packages))

    result = CliRunner().invoke(app, ["build", "--for", str(report), "--wheels", str(wheels)])

    assert result.exit_code == 2
    assert expected in result.output.replace("\n", " ")


def test_report_without_packages_needs_no_image_of_its_own(report: Path) -> None:
    (report / "report.yaml").write_text(REPORT.format(packages=""))

    result = CliRunner().invoke(app, ["build", "--for", str(report)])

    assert result.exit_code == 0
    assert "runs in the sandbox image itself" in result.output
