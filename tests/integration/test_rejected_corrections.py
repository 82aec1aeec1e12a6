"""Nested records that the authority rejects are mended, go out again, and the counts add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from openreg_airflow.errors import AcknowledgementError
from openreg_airflow.exception_queue import decisions
from tests.feedback_files import auth031
from tests.nested_house import BY_ACTION, CANCEL_AND_NEW, Parties, Row
from tests.reporting_firm import ANNA, Firm, Sent, new_firm

BUYER: Parties = {"BUYER": ["DE1", "DE2"], "SELLER": ["FR1"]}
E_MENDED: Parties = {"BUYER": ["DE1", "DE2"], "SELLER": ["FR9"]}
ROWS: list[Row] = [("NEWT", name, n, BUYER) for n, name in enumerate("ABCD", 1)]


@pytest.fixture(params=[CANCEL_AND_NEW, BY_ACTION], ids=["cancel_and_new", "by_action"])
def firm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Firm:
    return new_firm(tmp_path, request.param, monkeypatch)


def test_rejected_records_with_inner_rows_are_mended_and_it_adds_up(firm: Firm) -> None:
    first = firm.report(ROWS)
    assert first.rows == ROWS
    firm.answer(first, "B", "D")
    assert firm.balance == (4, 2, 0, 2)
    b = firm.item("B")
    assert (b.state, b.origin, b.reasons[0].rule) == ("pending", "authority", "CON-412")
    assert [row["name"] for row in b.children["parties"]] == ["BUYER", "SELLER"]
    assert [row["iban"] for row in b.children["accounts"]] == ["DE1", "DE2", "FR1"]

    # One is mended in a row two levels down, the other one is left out.
    firm.amend("B", {"n": 20, "accounts.2.iban": "DE7"})
    d = firm.item("D")
    decisions.reject(firm.url, {d.id: d.version}, ANNA, "a double")
    assert firm.balance == (4, 2, 1, 1)
    mended: Row = ("NEWT", "B", 20, {"BUYER": ["DE1", "DE7"], "SELLER": ["FR1"]})
    second = firm.resubmit()
    assert second.rows == [mended]
    assert firm.balance == (4, 3, 1, 0)

    # It is refused once more, mended once more, and accepted.
    firm.answer(second, "B")
    assert firm.balance == (4, 2, 1, 1)
    firm.amend("B", {"n": 21})
    third = firm.resubmit()
    assert third.rows == [("NEWT", "B", 21, mended[3])]
    firm.answer(third)
    assert firm.balance == (4, 3, 1, 0)


def test_rejected_part_of_a_correction_is_mended_and_it_adds_up(firm: Firm) -> None:
    by_action = firm.spec.references.corrections == "by_action"
    first = firm.report(ROWS)
    firm.answer(first)
    assert firm.balance == (4, 4, 0, 0)

    # B has other values, C is gone, E is new.
    changed: Row = ("NEWT", "B", 2, {"BUYER": ["DE9"]})
    new: Row = ("NEWT", "E", 5, BUYER)
    second = firm.report([ROWS[0], changed, ROWS[3], new])
    said = [(action, name) for action, name, _, _ in second.rows]
    if by_action:
        assert said == [("EROR", "C"), ("CORR", "B"), ("NEWT", "E")]
    else:
        assert said == [("CANCEL", "B"), ("CANCEL", "C"), ("NEWT", "B"), ("NEWT", "E")]
    firm.answer(second, "B", "E")
    assert firm.balance == (4, 2, 0, 2)

    firm.amend("B", {"n": 22})
    firm.amend("E", {"accounts.3.iban": "FR9"})
    third = firm.resubmit()
    word = "CORR" if by_action else "NEWT"
    assert sorted(third.rows, key=lambda row: row[1]) == [
        (word, "B", 22, {"BUYER": ["DE9"]}),
        ("NEWT", "E", 5, E_MENDED),
    ]
    firm.answer(third)
    assert firm.balance == (4, 4, 0, 0)

    # The source was mended as well; what stands with the authority is all that counts.
    source = [ROWS[0], (*changed[:2], 22, changed[3]), ROWS[3], (*new[:3], E_MENDED)]
    assert firm.report(source).rows == []
    assert firm.balance == (4, 4, 0, 0)


def test_rejected_cancellation_is_no_record_of_the_report_and_goes_out_again(firm: Firm) -> None:
    firm.answer(firm.report(ROWS))
    second = firm.report([*ROWS[:2], ROWS[3]])
    assert [row[1] for row in second.rows] == ["C"]
    firm.answer(second, "C")
    assert firm.balance == (3, 3, 0, 0)
    third = firm.report([*ROWS[:2], ROWS[3]])
    assert [(row[0], row[1]) for row in third.rows] == [(second.rows[0][0], "C")]
    firm.answer(third)
    assert firm.balance == (3, 3, 0, 0)


@pytest.mark.parametrize("answered", [True, False], ids=["accepted", "not yet"])
def test_record_that_a_resubmission_mended_is_left_alone_while_its_source_is_as_it_was(
    firm: Firm, answered: bool
) -> None:
    by_action = firm.spec.references.corrections == "by_action"
    firm.answer(firm.report(ROWS))
    # The authority refuses what B is changed to.
    refused: Row = ("NEWT", "B", 20, BUYER)
    second = firm.report([ROWS[0], refused])
    firm.answer(second, "B")
    firm.amend("B", {"n": 21})
    third = firm.resubmit()
    assert [row[:3] for row in third.rows] == [("CORR" if by_action else "NEWT", "B", 21)]
    if answered:
        firm.answer(third)
    # The run of the source again, and one in which something else is new.
    assert firm.report([ROWS[0], refused]).rows == []
    assert firm.send(second.run, second.verdict).artifact.files == second.artifact.files, "cleared"
    new: Row = ("NEWT", "E", 5, BUYER)
    fourth = firm.report([ROWS[0], refused, new])
    assert fourth.rows == [new]
    assert firm.balance == (3, 3, 0, 0)
    if answered:
        # The source was mended in another way.
        fifth = firm.report([ROWS[0], ("NEWT", "B", 22, BUYER), new])
        word = ["CORR"] if by_action else ["CANCEL", "NEWT"]
        assert [row[:2] for row in fifth.rows] == [(one, "B") for one in word]
        assert fifth.rows[-1][2] == 22
        return
    # The answer comes late: nothing stands in the way of what the source has.
    firm.reject_whole(third)
    with pytest.raises(AcknowledgementError):
        firm.acknowledge(third)
    assert firm.item("B").state == "pending"
    assert firm.balance == (3, 2, 0, 1)
    fifth = firm.report([ROWS[0], refused, new])
    assert [row[:3] for row in fifth.rows] == [("CORR" if by_action else "NEWT", "B", 20)]
    assert (firm.item("B").state, firm.balance) == ("superseded", (3, 3, 0, 0))


MAY_MEAN = "not in the data (the answer names only the reference: it may mean the cancellation"


@pytest.fixture
def half(firm: Firm) -> tuple[Firm, Sent]:
    """The authority refused one of the two records of a correction, and names the reference."""
    firm.answer(firm.report(ROWS))
    second = firm.report([("NEWT", "A", 10, BUYER), *ROWS[1:]])
    assert [row[:3] for row in second.rows] == [("CANCEL", "A", 0), ("NEWT", "A", 10)]
    firm.answer(second, "A")
    assert firm.item("A").reasons[0].message.startswith(MAY_MEAN)
    return firm, second


@pytest.mark.parametrize("firm", [CANCEL_AND_NEW], indirect=True)
def test_half_of_a_correction_is_refused_and_it_was_the_report(half: tuple[Firm, Sent]) -> None:
    firm, _ = half
    firm.amend("A", {"n": 11})
    again = firm.resubmit()
    assert [row[:3] for row in again.rows] == [("NEWT", "A", 11)]
    firm.answer(again)
    assert firm.balance == (4, 4, 0, 0)


@pytest.mark.parametrize("firm", [CANCEL_AND_NEW], indirect=True)
def test_half_of_a_correction_is_refused_and_it_was_the_cancellation(
    half: tuple[Firm, Sent],
) -> None:
    firm, second = half
    # The authority confirms that it has the report; its file is read when the task is cleared.
    [file] = second.artifact.files
    out = firm.folder / "outbox" / "out" / f"{Path(file.filename).stem}_FDB_late.xml"
    out.write_text(auth031("PART", original=file.filename, records=[("A", "ACPT", "", "")]))
    firm.acknowledge(second)
    # Nothing is sent again of what it has, and what changes is cancelled first.
    item = firm.item("A")
    decisions.reject(firm.url, {item.id: item.version}, ANNA, "the authority has it, ticket 4711")
    again = firm.report([("NEWT", "A", 10, BUYER), *ROWS[1:]])
    assert [f.filename for f in again.artifact.files] == [file.filename]
    assert len(list((firm.folder / "outbox" / "in").iterdir())) == 2
    third = firm.report([("NEWT", "A", 12, BUYER), *ROWS[1:]])
    assert [row[:3] for row in third.rows] == [("CANCEL", "A", 0), ("NEWT", "A", 12)]
    firm.answer(third)
    assert firm.balance == (4, 4, 0, 0)


@pytest.mark.parametrize("firm", [CANCEL_AND_NEW], indirect=True)
def test_half_of_a_correction_is_refused_and_the_other_half_too(half: tuple[Firm, Sent]) -> None:
    firm, second = half
    [file] = second.artifact.files
    out = firm.folder / "outbox" / "out" / f"{Path(file.filename).stem}_FDB_late.xml"
    twice = [("A", "RJCT", "CON-410", "no such report")] * 2
    out.write_text(auth031("PART", original=file.filename, records=twice))
    firm.acknowledge(second)
    # What the authority had before stands, and is cancelled first.
    firm.amend("A", {"n": 11})
    again = firm.resubmit()
    assert [row[:3] for row in again.rows] == [("CANCEL", "A", 0), ("NEWT", "A", 11)]
    firm.answer(again)
    assert firm.balance == (4, 4, 0, 0)
