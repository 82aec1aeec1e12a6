from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from openreg_airflow.mappings.commands import app
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    url = new_store(tmp_path)
    monkeypatch.setenv("OPENREG_STORE_URL", url)

    def invoke(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == status, result.output
        return result.output if status else result.stdout

    invoke("create", "venues", "--key", "code", "--value", "mic", "--value", "weight:integer")
    return invoke


def test_entries_are_maintained_on_the_command_line(run: Run) -> None:
    assert "added entry 1" in run("add", "venues", "--key", "code=FFM", "--value", "mic=XFRA")
    assert "it is entry 2 now" in run("change", "venues", "1", "--value", "mic=XETR")
    assert "changed by" in run("end", "venues", "1", "--on", "2026-04-01", status=1)
    assert "nothing to change" in run("change", "venues", "2", "--value", "mic=XETR")
    run("change", "venues", "2", "--value", "weight=7", "--from", "2026-01-01")
    run("end", "venues", "3", "--on", "2026-04-01")

    shown = run("show", "venues", "--prefix", "FF", "--on", "2026-03-31")
    assert "XETR" in shown
    assert "2026-04-01" in shown
    [entry] = json.loads(run("show", "venues", "--json"))["entries"]
    assert entry["value"] == {"mic": "XETR", "weight": 7}
    assert "XFRA" in run("history", "venues", "--key", "code=FFM")
    assert "nothing was recorded" in run("history", "venues", "--key", "code=ZZZ", status=2)
    assert "1 removed" in run("diff", "venues", "2026-03-31", "2026-04-01")
    [difference] = json.loads(run("diff", "venues", "2026-03-31", "2026-04-01", "--json"))
    assert difference["outcome"] == "removed"
    run("diff", "venues", "2000-01-01", "2100-01-01", "--recorded", status=1)
    run("delete", "venues", "4")
    assert "5 changes, 0 breaks" in run("verify")


def test_progress_is_told_once(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not once more by whatever else the process logs with."""
    file = tmp_path / "v.csv"
    file.write_text("code,mic,weight\nA,XETR,1\n")
    run("import", "venues", str(file))
    assert not [one for one in caplog.records if one.name.startswith("openreg_airflow.mappings")]


def test_import_into_a_set_that_is_not_there_says_how_to_make_it(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "v.csv"
    file.write_text("code,mic,weight\nA,XETR,1\n")

    said = run("import", "venue", str(file), status=2)

    assert "there is no mapping set 'venue'" in said
    assert "`openreg mappings create` makes one" in said


def test_sets_are_listed_and_described(run: Run) -> None:
    run("describe", "venues", "--owner", "Operations", "--edition", "1")
    assert "you saw 1" in run("describe", "venues", "--owner", "Else", "--edition", "1", status=1)
    assert "Operations" in run("list")
    run("rename", "venues", "places")
    run("archive", "places")
    assert "places" not in run("list")
    assert "places (archived)" in run("list", "--archived")
    run("restore", "places")
    assert [one["name"] for one in json.loads(run("list", "--json"))] == ["places"]
    assert "no mapping set 'venues'" in run("show", "venues", status=2)


def test_file_is_tried_imported_and_exported(run: Run, tmp_path: Path) -> None:
    file, report, out = tmp_path / "v.csv", tmp_path / "report.csv", tmp_path / "out.csv"
    file.write_text("code;mic;weight;effective_from\nA;XETR;1;01.02.2026\n=1+1;X;2;13.02.2026\n")

    dry = run("import", "venues", str(file), "--dry-run", "--report", str(report))
    assert "2 added" in dry
    assert "DD.MM.YYYY" in dry
    assert "nothing was written" in dry
    with report.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["line"], row["outcome"], row["key"]) for row in rows] == [
        ("2", "added", "A"), ("3", "added", "'=1+1"),
    ]  # fmt: skip
    assert "revision 1" in run("import", "venues", str(file), "--if-revision", "0")
    conflict = run("import", "venues", str(file), "--if-revision", "0", status=1)
    assert "you saw 0" in conflict
    assert "wrote 2 entries" in run("export", "venues", str(out))
    assert "'=1+1,X,2,2026-02-13," in out.read_text()
    assert run("export", "venues") == out.read_text()
    assert "=1+1" not in run("export", "venues", "--on", "2026-02-01")
    done = json.loads(run("import", "venues", str(out), "--mode", "replace", "--json"))
    assert (done["applied"], done["unchanged"]) == (False, 2)


def test_refused_line_ends_with_status_one_and_its_reason(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "v.csv"
    file.write_text("code,mic,weight\nA,XETR,1\nB,XETR,one\n")
    said = run("import", "venues", str(file), status=1)
    assert "weight: 'one' is no integer" in said
    assert "nothing was written" in said
    assert "XETR" not in run("export", "venues")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["import", "venues", "missing.csv"], 2),
        (["import", "nothing", "missing.csv"], 2),
        (["export", "venues", "/nowhere/out.csv"], 2),
        (["add", "venues", "--key", "code"], 2),
        (["import", "venues", "x.csv", "--mode", "append"], 2),
        (["import", "venues", "x.csv", "--delimiter", "%%"], 2),
        (["verify", "nothing"], 2),
    ],
)
def test_wrong_command_ends_readably(run: Run, words: list[str], status: int) -> None:
    assert "Traceback" not in run(*words, status=status)
