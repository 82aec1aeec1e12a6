from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dag_factory.check import check
from dag_factory.scaffold import ScaffoldError, scaffold

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_report_passes_the_check(tmp_path: Path) -> None:
    files = scaffold("large_trades", tmp_path)
    assert [file.name for file in files] == ["report.yaml", "trades.sql", "transform.py"]
    assert check(tmp_path / "large_trades") == []
    assert "large_trades_{business_date" in files[0].read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["large_trades"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ScaffoldError, match="already"):
        scaffold("mine", tmp_path)
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["", "Mine", "1st", "a/b", "../up", "a-b", "x" * 64, "mine\n"])
def test_an_id_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScaffoldError, match="not a report id"):
        scaffold(name, tmp_path / "specs")
    assert not (tmp_path / "specs").exists()
