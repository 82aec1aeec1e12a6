"""From unmapped values to entries: fail, write the file, fill it in, import it, run again."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from openreg_airflow.errors import MappingError, UnmappedError
from openreg_airflow.mappings.cells import UNFILLED
from openreg_airflow.mappings.commands import app
from openreg_airflow.mappings.entries import Entries
from openreg_airflow.mappings.excel_file import sheet_rows
from openreg_airflow.mappings.sets import Sets
from tests.integration import test_mapping_operators as operators
from tests.integration.test_mapping_operators import STEP, entries, filled, of_run, snapshot
from tests.mapping_sets import ACTOR, make_set

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.workspace import Workspace

# The fixtures of a store with the set of venues.
empty_store, url, workspace, venues = (
    operators.empty_store,
    operators.url,
    operators.workspace,
    operators.venues,
)
runner = CliRunner()


def test_unmapped_values_become_entries_of_the_next_run(
    workspace: Workspace, venues: str, tmp_path: Path
) -> None:
    file = tmp_path / "missing.csv"
    with pytest.raises(UnmappedError):
        filled(workspace, venue=STEP)

    told = runner.invoke(app, ["unmapped", "positions", "--output", str(file), "--url", venues])

    assert told.exit_code == 0, told.output
    assert "1 values of venues" in told.output
    with file.open(newline="") as opened:
        assert list(csv.reader(opened)) == [
            ["code", "mic", "effective_from", "effective_to"],
            ["QQQ", UNFILLED, "2026-03-31", ""],
        ]
    for how in ([], ["--dry-run"]):
        refused = runner.invoke(app, ["import", "venues", str(file), *how, "--url", venues])
        assert refused.exit_code == 1
        assert "mic: not filled in" in refused.output
    with pytest.raises(UnmappedError):
        filled(workspace, run=of_run("manual__still_unmapped"), venue=STEP)

    file.write_text(file.read_text().replace(UNFILLED, "XQQQ"))
    done = runner.invoke(app, ["import", "venues", str(file), "--url", venues])
    assert done.exit_code == 0, done.output

    # The run that failed keeps seeing what it saw; the next one sees the entry.
    with pytest.raises(UnmappedError):
        filled(workspace, venue=STEP)
    made = filled(workspace, run=of_run("manual__2"), venue=STEP)
    assert made["venue_mic"].to_pylist() == ["XFRA", "XPAR", "XQQQ", None, "XQQQ"]


def test_unmapped_values_are_a_workbook_where_the_file_is_called_one(
    workspace: Workspace, venues: str, tmp_path: Path
) -> None:
    file = tmp_path / "missing.xlsx"
    with pytest.raises(UnmappedError):
        filled(workspace, venue=STEP)

    told = runner.invoke(app, ["unmapped", "positions", "--output", str(file), "--url", venues])

    assert told.exit_code == 0, told.output
    assert list(sheet_rows(file, None)) == [
        (1, ["code", "mic", "effective_from", "effective_to"]),
        (2, ["QQQ", UNFILLED, "2026-03-31"]),
    ]
    refused = runner.invoke(app, ["import", "venues", str(file), "--url", venues])
    assert "mic: not filled in" in refused.output


@pytest.mark.parametrize(
    ("file", "status", "said"),
    [
        ("/nowhere/missing.csv", 2, "cannot be written: No such file"),
        ("/nowhere/missing.xlsx", 2, "cannot be written: No such file"),
        ("missing.xlsm", 1, "a workbook without macros is not called .xlsm"),
    ],
)
def test_file_that_cannot_be_written_is_told(
    workspace: Workspace, venues: str, file: str, status: int, said: str
) -> None:
    with pytest.raises(UnmappedError):
        filled(workspace, venue=STEP)

    for command in (["unmapped", "positions", "--output", file], ["export", "venues", file]):
        refused = runner.invoke(app, [*command, "--url", venues])
        assert refused.exit_code == status
        assert said in refused.output


def test_report_of_a_tenant_sees_its_sets_and_those_without_a_tenant(
    workspace: Workspace, venues: str, tmp_path: Path
) -> None:
    Sets(venues, ACTOR, "acme").create(
        "venues", keys=(("code", "string"),), values=(("mic", "string"),)
    )
    own = Entries(venues, "venues", ACTOR, tenant="acme")
    own.add({"code": "QQQ"}, {"mic": "XQQQ"})
    make_set(venues, "desks")
    file = tmp_path / "missing.csv"

    run = of_run("manual__acme")

    shared, acme = snapshot("venues"), snapshot("venues", "desks", run=run, tenant="acme")

    assert {entry["code"] for entry in entries(shared["venues"])} == {"FRA", "PAR"}
    assert {entry["code"] for entry in entries(acme["venues"])} == {"QQQ"}
    assert entries(acme["desks"]) == []
    with pytest.raises(MappingError, match="there is no mapping set 'books' of 'acme'"):
        snapshot("books", run=of_run("manual__3"), tenant="acme")

    with pytest.raises(UnmappedError):
        filled(workspace, run=run, venue=STEP)
    told = runner.invoke(app, ["unmapped", "positions", "--output", str(file), "--url", venues])
    assert f"openreg mappings import venues {file} --tenant acme --dry-run" in told.output


def test_of_several_sets_one_must_be_named(workspace: Workspace, venues: str) -> None:
    make_set(venues, "desks")
    desk = STEP | {"set": "desks", "fill": {"desk": "mic"}}
    with pytest.raises(UnmappedError):
        filled(workspace, venue=STEP, desk=desk)

    both = runner.invoke(app, ["unmapped", "positions", "--url", venues])
    one = runner.invoke(app, ["unmapped", "positions", "--set", "desks", "--url", venues])

    assert both.exit_code == 2
    assert "several sets: desks, venues" in both.output
    assert one.exit_code == 0
    lines = [f"{code},{UNFILLED},2026-03-31,\n" for code in ("QQQ", "FRA", "PAR")]
    assert "".join(lines) in one.output


def test_report_that_has_looked_nothing_up_is_told(venues: str) -> None:
    told = runner.invoke(app, ["unmapped", "unknown", "--url", venues])

    assert told.exit_code == 2
    assert "no run of report 'unknown' has looked anything up" in told.output


def test_value_that_a_spreadsheet_would_execute_is_written_safely(
    workspace: Workspace, venues: str
) -> None:
    content = operators.TRADES.set_column(
        1, "venue", [["=cmd|' /C calc'!A0", "PAR", "PAR", "PAR", "PAR"]]
    )
    with pytest.raises(UnmappedError):
        filled(workspace, content, venue=STEP)

    told = runner.invoke(app, ["unmapped", "positions", "--url", venues])

    assert "'=cmd|" in told.output
    assert "\n=cmd|" not in told.output
