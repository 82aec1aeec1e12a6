from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.errors import DecisionError
from openreg_airflow.exception_queue import decisions
from openreg_airflow.exception_queue.exchange import apply, read_csv, write_csv
from openreg_airflow.exception_queue.listing import Wanted, find
from tests.exception_contract import ANNA, PRICES, waiting
from tests.exception_runs import Desk

if TYPE_CHECKING:
    from pathlib import Path

WANTED = Wanted(report_id="desk")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.source_run("first", PRICES | {"=1+1": "-1"})
    return desk


def exported(desk: Desk) -> str:
    file = io.StringIO(newline="")
    write_csv(desk.url, WANTED, file)
    return file.getvalue()


def test_an_exported_file_comes_back_without_a_change(desk: Desk) -> None:
    text = exported(desk)
    found = read_csv(desk.url, io.StringIO(text, newline=""))
    assert (found.unchanged, found.decisions, found.faults) == (3, {}, [])
    header = text.splitlines()[0].split(",")
    assert header[:2] == ["#item", "#version"]
    assert header[-1] == "parties.2.lei"


def test_formulas_of_the_data_are_not_executed(desk: Desk) -> None:
    lines = exported(desk).splitlines()
    [line] = [line for line in lines if "1+1" in line]
    assert all(not cell.startswith("=") for cell in line.split(","))
    assert "'=1+1" in line


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_changed_cells_amend_and_decisions_decide(desk: Desk, delimiter: str) -> None:
    b, d, e = waiting(desk)
    lines = exported(desk).splitlines()
    lines[1] = lines[1].replace(",0.00000,", ",4.5,").replace(",B-seller", ",")
    lines[2] = lines[2].replace(",,,D,", ",reject,a test,D,")
    text = "\n".join(lines).replace(",", delimiter)

    found = read_csv(desk.url, io.StringIO(text, newline=""), "late data")

    assert found.faults == []
    assert (found.decided("amend"), found.decided("reject"), found.unchanged) == (1, 1, 1)
    assert [i.state for i in find(desk.url, WANTED)] == ["pending"] * 3
    assert apply(desk.url, found, ANNA) == 2
    b, d, e = waiting(desk)
    assert (b.state, b.amendments, b.why) == (
        "amended", {"price": "4.50000", "parties.2.lei": None}, "late data",
    )  # fmt: skip
    assert (d.state, e.state) == ("rejected", "pending")


def line(desk: Desk, **cells: str) -> io.StringIO:
    """A file with one line about the first item."""
    b = waiting(desk)[0]
    row = {"#item": str(b.id), "#version": "1", "#decision": "", "#why": "late"} | cells
    return io.StringIO(f"{','.join(row)}\n{','.join(row.values())}\n", newline="")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"#item": "4711"}, "line 2: there is no item '4711'"),
        ({"#item": "x"}, "line 2: there is no item 'x'"),
        ({"#decision": "approve"}, "the decision 'approve' is none of"),
        ({"price": "cheap"}, r"column price: 'cheap' is no decimal(18,5)"),
        ({"prize": "1"}, "has no column 'prize'"),
        ({"price": "1", "#version": "7"}, "has version 1, and version 7 was seen"),
        ({"price": "1", "#version": "x"}, "no version"),
        ({"price": "1", "#why": ""}, "has no reason"),
        ({"price": "1", "#decision": "reject"}, "has changed values, and its decision is reject"),
        ({"#decision": "amend"}, "nothing is amended"),
        ({"price": "1" * 1_000_001}, "1,000,001 characters are too many"),
    ],
)
def test_a_wrong_line_is_told_and_nothing_is_done(
    desk: Desk, cells: dict[str, str], words: str
) -> None:
    found = read_csv(desk.url, line(desk, **cells))
    assert found.faulty == 1
    assert words.replace("characters are too many", "characters") in found.faults[0]
    with pytest.raises(DecisionError, match="1 lines are wrong"):
        apply(desk.url, found, ANNA)
    assert {i.state for i in waiting(desk)} == {"pending"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "no column '#item'"),
        ("", "no column '#item'"),
        ("#item,#version,#version\n1,1,1\n", "a column twice"),
        ("#item,#version\n1\n", "line 2 has 1 cells, not 2"),
        ('#item,#version\n"1,1\n', "cannot be read"),
        ("#item,#version,price\n1,1," + "x" * (5 << 20) + "\n", "cannot be read"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(desk: Desk, text: str, words: str) -> None:
    with pytest.raises(DecisionError, match=words):
        read_csv(desk.url, io.StringIO(text, newline=""))


def test_a_file_that_others_have_overtaken_is_refused(desk: Desk) -> None:
    found = read_csv(desk.url, line(desk, price="1"))
    b = waiting(desk)[0]
    decisions.reject(desk.url, {b.id: None}, ANNA, "meanwhile")
    with pytest.raises(DecisionError, match="has version 2, and version 1 was seen"):
        apply(desk.url, found, ANNA)
    assert waiting(desk)[0].state == "rejected"


def test_an_item_twice_is_refused(desk: Desk) -> None:
    text = line(desk, price="1").getvalue()
    again = io.StringIO(text + text.splitlines()[1] + "\n", newline="")
    assert "is there twice" in read_csv(desk.url, again).faults[0]


def test_items_of_several_tables_are_not_put_into_one_file(desk: Desk) -> None:
    from datetime import date

    from openreg_airflow.exception_queue.set_aside import set_aside
    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import RunKey
    from tests.exception_runs import trades

    run = RunKey(report_id="desk", business_date=date(2026, 4, 1), run_id="other")
    set_aside(
        run=run,
        stage="validate",
        origin="rule",
        records={"legs": RecordTable(key=("id",))},
        tables={"legs": desk.dataset(run, "legs", trades({"X": "0"}))},
        reasons=reasons_of(desk),
        workspace=desk.workspace,
        store_url=desk.url,
    )
    with pytest.raises(DecisionError, match="of 2 tables"):
        exported(desk)


def reasons_of(desk: Desk) -> Path:
    from openreg_airflow.exception_queue.reasons import ReasonWriter

    path = desk.folder / "legs_reasons.parquet"
    with ReasonWriter(path) as writer:
        writer.add("legs", "unmapped", "no code", row=0)
    return path
