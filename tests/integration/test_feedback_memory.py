"""Feedback files of any size are read and matched in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from openreg_airflow.deliver.acknowledgement.feedback import FeedbackError, load_parser
from openreg_airflow.deliver.acknowledgement.spec import FeedbackForm
from tests.feedback_memory import peak

_RECORDS = 100_000


def run(program: str, *given: object) -> str:
    """The last line that a program of the tests prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.{program}", *map(str, given)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return "".join(done.stdout.splitlines()[-1:])


def collected(folder: Path, kind: str, records: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("feedback_memory", folder, kind, records))
    return found


def test_records_that_are_accepted_one_by_one_take_neither_memory_nor_rows_of_the_store(
    tmp_path: Path,
) -> None:
    half = _RECORDS // 2
    found = collected(tmp_path, "csv", _RECORDS)
    assert found["standings"] == [["received", half, 0, half], ["accepted", _RECORDS, 0, 0]]
    assert found["bytes"] > 7_000_000
    # A database that works in 256 MiB, a batch of Arrow, and the program itself.
    assert found["peak"] < 450
    assert found["store"] < 2_000_000


def test_records_that_are_all_rejected_go_to_the_exception_queue_within_bounds(
    tmp_path: Path,
) -> None:
    run("rejection_memory", "report", tmp_path, _RECORDS)

    found = json.loads(run("rejection_memory", "reject", tmp_path, _RECORDS))

    assert [one["new"] for one in found["tries"]] == [_RECORDS, 0]
    # A database that works in 96 MiB, and the program itself; 337 when this was written.
    assert max(one["peak"] for one in found["tries"]) < 400


@pytest.mark.parametrize(
    ("parser", "line", "said"),
    [
        ("csv", b"x" * 1000, "record of more than"),
        ("csv", b'"x\n";', "record of more than"),
        ("xml", b"<other><id>T</id></other>\n", "not well-formed|speaks of no record"),
        ("xml", b"<rec>" + b"<why>text</why>" * 50, "elements or|not well-formed"),
        ("xml", b"<deep>", "deep"),
        ("auth031", b"<Tx><Id>T</Id></Tx>\n", "not well-formed|no status advice"),
    ],
)
def test_a_large_file_that_is_something_else_is_refused_within_bounds(
    tmp_path: Path, parser: str, line: bytes, said: str
) -> None:
    path = tmp_path / "answer"
    head = b"id;s;why\n" if parser == "csv" else b"<all>"
    path.write_bytes(head + line * (20_000_000 // len(line)))
    form = None
    if parser != "auth031":
        form = FeedbackForm(reference="id", status="s", text="why", record="rec")
    before = psutil.Process().memory_info().rss
    # The peak counts from here on.
    Path("/proc/self/clear_refs").write_text("5")
    with pytest.raises(FeedbackError, match=said):
        load_parser(parser).read(path, form, lambda _: None)
    assert peak() - (before >> 20) < 20
