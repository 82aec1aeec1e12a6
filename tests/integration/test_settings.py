from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dag_factory.check import check
from openreg_airflow import settings
from openreg_airflow.errors import SpecError
from tests.mapping_sets import make_set
from tests.new_store import new_store

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """\
openreg: 1
id: demo
title: A report
mappings: {sets: [venues]}
extract:
  sources:
    trades: {connection: source, sql: trades.sql}
artifacts:
  trades: {format: csv, table: trades, filename: "x.csv"}
"""


def test_line_end_of_a_command_is_no_part_of_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__OPENREG__STORE_URL", raising=False)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL_CMD", "echo sqlite:////tmp/store.db")
    assert settings.load().store_url == "sqlite:////tmp/store.db"


@pytest.mark.parametrize("command", ["false", "no_such_command"])
def test_option_whose_command_fails_is_named(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__OPENREG__STORE_URL", raising=False)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL_CMD", command)
    with pytest.raises(SpecError, match=r"\[openreg\] store_url cannot be read"):
        settings.load()


def test_check_asks_the_store_that_a_command_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_store(tmp_path)
    make_set(url)
    monkeypatch.delenv("AIRFLOW__OPENREG__STORE_URL", raising=False)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL_CMD", f"echo {url}")
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "trades.sql").write_text("SELECT id FROM t")
    (folder / "report.yaml").write_text(SPEC)
    assert check(folder) == []
    (folder / "report.yaml").write_text(SPEC.replace("[venues]", "[venue]"))

    [finding] = check(folder)

    assert finding.message == "there is no mapping set 'venue'"
    assert "Did you mean venues?" in str(finding.hint)
