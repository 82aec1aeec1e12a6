from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from openreg_airflow.cli import app
from openreg_airflow.exception_queue import resubmit_command
from tests.exception_contract import PRICES, waiting
from tests.exception_runs import Desk

if TYPE_CHECKING:
    from pathlib import Path

DAY = ("--business-date", "2026-03-31")
WHY = ("--why", "late data")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.source_run("first", PRICES)
    return desk


def run(desk: Desk, *words: Any) -> tuple[int, str]:
    command, *rest = map(str, words)
    whole = [command] if command == "resubmit" else ["exceptions", command]
    result = CliRunner().invoke(app, [*whole, *rest, "--url", desk.url])
    return result.exit_code, result.output


def test_items_are_listed_by_filter(desk: Desk) -> None:
    status, text = run(desk, "list", "--report", "desk", "--rule", "price_positive", "--key", "B")
    assert status == 0
    assert "price 0 of B is not positive" in text
    assert "1 of 1 items" in text
    assert "0 of 0 items" in run(desk, "list", "--state", "rejected")[1]
    _, lines = run(desk, "list", "--json")
    assert [json.loads(line)["key"] for line in lines.splitlines()] == [["B"], ["D"]]


def test_an_item_is_shown_with_what_happened_to_it(desk: Desk) -> None:
    b = waiting(desk)[0].id
    assert run(desk, "amend", b, "--set", "price=3", "--null", "day", *WHY)[0] == 0
    status, text = run(desk, "show", b)
    assert status == 0
    assert "version 2: amended" in text
    assert "3.00000   (was 0.00000)" in text
    assert "NULL   (was 2026-03-31)" in text
    assert "parties.1: trade_id=B, lei=B-buyer" in text
    assert "amend (late data)" in text


def test_who_decides_is_the_account_of_the_process(desk: Desk) -> None:
    from openreg_airflow.store.actor import Actor

    run(desk, "reject", "--report", "desk", "--key", "D", *WHY)
    d = waiting(desk)[1]
    assert (d.state, d.decided_by) == ("rejected", Actor.of_command_line().name)


@pytest.mark.parametrize("words", [("release",), ("amend", "--set", "price=1")])
def test_progress_is_told_once(
    desk: Desk, caplog: pytest.LogCaptureFixture, words: tuple[str, ...]
) -> None:
    """Not once more by whatever else the process logs with."""
    _, text = run(desk, *words, "--report", "desk", *WHY)

    assert text.count("2 items are decided in") == 1
    assert not [one for one in caplog.records if one.name.startswith("openreg_airflow.exception")]


@pytest.mark.parametrize(
    ("words", "done", "state"),
    [
        (("release",), "2 items released", "released"),
        (("reject",), "2 items rejected", "rejected"),
        (("amend", "--set", "price=1"), "2 items amended", "amended"),
    ],
)
def test_all_items_of_a_filter_are_decided(
    desk: Desk, words: tuple[str, ...], done: str, state: str
) -> None:
    status, text = run(desk, *words, "--report", "desk", *DAY, *WHY)
    assert (status, done in text) == (0, True)
    assert {i.state for i in waiting(desk)} == {state}
    assert "2 items undone" in run(desk, "undo", "--report", "desk", "--state", state, *WHY)[1]
    assert {i.state for i in waiting(desk)} == {"pending"}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("reject", *WHY), 2, "name either items"),
        (("reject", "1", "--report", "desk", *WHY), 2, "name either items"),
        (("reject", "1", "2", "--version", "1", *WHY), 2, "--version goes with one item"),
        (("reject", "1", "--version", "7", *WHY), 1, "has version 1, and version 7 was seen"),
        (("reject", "4711", *WHY), 2, "there is no item 4711"),
        (("reject", "1", "--why", ""), 1, "a decision has a reason"),
        (("amend", "1", "--set", "price", *WHY), 2, "write COLUMN=VALUE"),
        (("amend", "1", "--set", "prize=1", *WHY), 1, "no column 'prize'"),
        (("amend", "1", "--set", "price=much", *WHY), 1, "is no decimal(18,5)"),
        (("show", "4711"), 2, "there is no item 4711"),
        (("list", "--state", "open"), 2, "there are pending"),
        (("import", "/nowhere.csv"), 2, "cannot be read"),
        (("reconcile", "other", *DAY), 2, "no run of other"),
        (("resubmit", "desk", *DAY), 2, "0 records of desk"),
    ],
)
def test_a_wrong_command_ends_with_its_reason(
    desk: Desk, words: tuple[str, ...], status: int, said: str
) -> None:
    found, text = run(desk, *words)
    assert (found, said in " ".join(text.replace("│", " ").split())) == (status, True), text
    assert {i.state for i in waiting(desk)} == {"pending"}


def test_the_counts_are_printed_and_checked(desk: Desk) -> None:
    status, text = run(desk, "reconcile", "desk", *DAY)
    assert (status, text.strip()) == (
        0,
        "trades: in 4 = reported 2 + rejected 0 + pending 2 "
        "(0 under way, 2 undecided, 0 to resubmit)",
    )
    [found] = json.loads(run(desk, "reconcile", "desk", *DAY, "--json")[1])
    assert (found["records"], found["pending"], found["holds"]) == (4, 2, True)


def test_a_file_is_exported_corrected_and_imported(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    assert "2 items are in" in run(desk, "export", file, "--report", "desk")[1]
    file.write_text(file.read_text("utf-8-sig").replace(",0.00000,", ",12.5,"), "utf-8-sig")

    status, text = run(desk, "import", file, "--dry-run", *WHY)
    assert (status, text.strip()) == (
        0, "1 to amend, 0 to reject, 0 to release; 1 unchanged, 0 lines wrong",
    )  # fmt: skip
    assert waiting(desk)[0].state == "pending"
    assert run(desk, "import", file, *WHY)[0] == 0
    assert waiting(desk)[0].amendments == {"price": "12.50000"}
    # A spreadsheet writes numbers in its own way; the same value is no change.
    status, text = run(desk, "import", file, *WHY)
    assert (status, "2 unchanged" in text) == (0, True), text


def test_a_resubmission_is_started_in_airflow(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run(desk, "release", "--report", "desk", *WHY)
    asked: list[list[str]] = []

    def airflow(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, len(asked) - 1, "", "the Dag is not there")

    monkeypatch.setattr(resubmit_command.subprocess, "run", airflow)
    assert run(desk, "resubmit", "desk", *DAY, "--dry-run") == (
        0, "2 records of desk on 2026-03-31 are amended or released\n",
    )  # fmt: skip
    assert asked == []
    status, text = run(desk, "resubmit", "desk", *DAY)
    assert (status, "started run resubmit__2026-03-31__" in text) == (0, True)
    [command] = asked
    assert json.loads(command[command.index("--conf") + 1]) == {
        "business_date": "2026-03-31", "resubmit": True,
    }  # fmt: skip
    assert command[-1] == "desk"
    status, text = run(desk, "resubmit", "desk", *DAY)
    assert (status, "the Dag is not there" in text) == (1, True)


def test_records_of_a_failed_run_are_given_back(desk: Desk) -> None:
    run(desk, "release", "--report", "desk", *WHY)
    desk.take("failed")
    words = ("give-back", "desk", "--run", "failed", *DAY, *WHY)
    assert "2 items went back" in run(desk, *words)[1]
