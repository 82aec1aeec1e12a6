"""A resubmission whose file the authority rejects as a whole: its records come back, once each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from openreg_airflow.deliver.acknowledgement.operator import AcknowledgeOperator
from openreg_airflow.errors import AcknowledgementError, ReferenceReuseError
from openreg_airflow.exception_queue import decisions
from openreg_airflow.store.acknowledgements import Acknowledgements
from tests.feedback_files import auth031
from tests.nested_house import BY_ACTION, CANCEL_AND_NEW, Row
from tests.reporting_firm import ANNA, Firm, Sent, new_firm

if TYPE_CHECKING:
    from pathlib import Path

#: Some of these records fail a rule, and some are rejected by the authority.
ROWS: list[Row] = [("NEWT", name, n, {"BUYER": [name]}) for n, name in enumerate("ABCD", 1)]
RULES: dict[str, Any] = {
    "cancel_and_new": CANCEL_AND_NEW,
    "by_action": BY_ACTION,
    "as_written": {},
    "no references": None,
}


@pytest.fixture(params=list(RULES.values()), ids=list(RULES))
def firm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Firm:
    return new_firm(tmp_path, request.param, monkeypatch)


def only(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("firm", [RULES[name]], ids=[name], indirect=True)


def resubmitted(firm: Firm) -> Sent:
    """B and C were mended and sent: one that the authority had rejected, one that failed a rule."""
    first = firm.report(ROWS, fail="C")
    firm.answer(first, "B")
    firm.amend("B", {"n": 20})
    firm.amend("C", {"n": 30})
    second = firm.resubmit()
    assert [row[1:3] for row in second.rows] == [("C", 30), ("B", 20)]
    assert firm.balance == (4, 4, 0, 0)
    return second


def refused(firm: Firm, sent: Sent) -> AcknowledgementError:
    with pytest.raises(AcknowledgementError) as caught:
        firm.acknowledge(sent)
    return caught.value


def states(firm: Firm, names: str = "BC") -> list[tuple[str, str | None, str]]:
    found = (firm.item(name) for name in names)
    return [(one.state, one.reported_by, one.reasons[0].rule) for one in found]


def test_records_of_a_resubmission_that_was_rejected_as_a_whole_wait_again(firm: Firm) -> None:
    code, state = ("CRPT", "corrupted") if firm.spec.references is None else ("RJCT", "rejected")
    second = resubmitted(firm)
    firm.reject_whole(second, code=code)
    for _ in range(3):  # The task is cleared, and the file is there under two names.
        error = refused(firm, second)
        firm.say("out_2_1_FDB_2.xml", (firm.folder / "outbox/out/out_2_1_FDB.xml").read_text())
    assert f"out_2_1.xml is {state}: FILE-105 number used before" in str(error)
    assert "openreg resubmit" in (error.hint or "")
    assert firm.balance == (4, 2, 0, 2)
    assert states(firm) == [("pending", None, "FILE-105")] * 2
    b = firm.item("B")
    assert (b.origin, b.reasons[0].message) == ("authority", "number used before")
    assert (b.amendments, b.version) == ({"n": 20}, 5), "taken back once, as it was sent"

    # One goes out as it is, and one with another value; nothing of the file is sent once more.
    decisions.release(firm.url, {b.id: b.version}, ANNA, "the number was at fault")
    firm.amend("C", {"n": 31})
    third = firm.resubmit()
    assert third.rows == [("NEWT", "C", 31, ROWS[2][3]), ("NEWT", "B", 20, ROWS[1][3])]
    refused(firm, second)
    assert firm.balance == (4, 4, 0, 0)
    firm.answer(third)
    assert firm.balance == (4, 4, 0, 0)
    assert firm.inbox == ["out_1_1.xml", "out_2_1.xml", "out_3_1.xml"]


@only("cancel_and_new")
def test_only_records_of_the_rejected_files_wait_again(firm: Firm) -> None:
    firm.made["split"] = {"records": 1, "repeat": ["header"]}
    firm.report(ROWS, fail="BCD")
    for name in "BCD":
        firm.amend(name, {"n": 9})
    second = firm.resubmit()
    firm.reject_whole(second, 2)
    with pytest.raises(TaskDeferred):
        firm.acknowledge(second)
    assert [one.state for one in map(firm.item, "BCD")] == ["reported", "pending", "reported"]
    for part in (1, 3):
        firm.say(f"out_2_{part}_FDB.xml", auth031("ACPT", original=f"out_2_{part}.xml", total=1))
    refused(firm, second)
    assert [one.state for one in map(firm.item, "BCD")] == ["reported", "pending", "reported"]
    assert firm.balance == (4, 3, 0, 1)
    firm.amend("C", {"n": 10})
    third = firm.resubmit()
    assert third.rows == [("NEWT", "C", 10, ROWS[2][3])]


@pytest.mark.parametrize("firm", [CANCEL_AND_NEW, {}], ids=["derived", "written"], indirect=True)
def test_file_that_is_accepted_after_all_is_not_sent_once_more(firm: Firm) -> None:
    firm.made["split"] = {"records": 1, "repeat": ["header"]}
    firm.report(ROWS, fail="CD")
    for name in "CD":
        firm.amend(name, {"n": 9})
    second = firm.resubmit()
    firm.reject_whole(second, 1)
    for state in ("RJCT", "ACPT"):
        firm.say("out_2_1_FDB.xml", auth031(state, original="out_2_1.xml", rule=("FILE-1", state)))
        with pytest.raises(TaskDeferred):  # The other file is not answered yet.
            firm.acknowledge(second)
    # Like a single record that is accepted after all: it stands, and somebody has to decide.
    assert [firm.item(name).state for name in "CD"] == ["pending", "reported"]
    firm.amend("C", {"n": 10})
    if not firm.spec.references.derived:
        with pytest.raises(ReferenceReuseError, match="'C' was reported"):
            firm.resubmit()
        return
    assert [row[:3] for row in firm.resubmit().rows] == [("CANCEL", "C", 0), ("NEWT", "C", 10)]


@only("by_action")
def test_record_keeps_its_own_reason_in_a_file_that_was_rejected_as_a_whole(firm: Firm) -> None:
    second = resubmitted(firm)
    named = [("B", "RJCT", "CON-412", "not in the data")]
    # The rejection and its reason come first, and the records behind it.
    firm.say(
        "out_2_1_FDB_1.xml",
        auth031("RJCT", original="out_2_1.xml", records=named, rule=("FILE-105", "faults")),
    )
    refused(firm, second)
    assert states(firm) == [("pending", None, "CON-412"), ("pending", None, "FILE-105")]


@only("cancel_and_new")
def test_answer_in_pages_that_rejects_a_whole_resubmission_gives_its_records_back_once(
    firm: Firm,
) -> None:
    second = resubmitted(firm)
    answer = firm.route["acknowledgement"] | {"pattern": "{stem}_FDB_{page}of{pages}.xml"}
    firm.route = firm.route | {"acknowledgement": answer}

    def page(number: int, name: str) -> None:
        named = [(name, "RJCT", f"CON-41{number}", "not in the data")]
        said = auth031("RJCT", original="out_2_1.xml", records=named, rule=("FILE-105", "faults"))
        firm.say(f"out_2_1_FDB_{number}of2.xml", said)

    page(1, "B")
    with pytest.raises(TaskDeferred):
        firm.acknowledge(second)
    firm.amend("B", {"n": 21})
    page(2, "C")
    refused(firm, second)
    assert states(firm) == [("amended", None, "CON-411"), ("pending", None, "CON-412")]


@only("as_written")
@pytest.mark.parametrize("dies_in", ["apply", "audit"])
def test_task_that_dies_while_a_whole_resubmission_is_taken_back_does_so_once(
    firm: Firm, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    second = resubmitted(firm)
    firm.reject_whole(second)
    with monkeypatch.context() as patched:

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        if dies_in == "apply":
            patched.setattr(Acknowledgements, "apply", die)
        else:
            patched.setattr("openreg_airflow.exception_queue.take_back.audit", die)
        with pytest.raises(KeyboardInterrupt):
            firm.acknowledge(second)
    waiting = dies_in == "apply"
    assert [state for state, *_ in states(firm)] == ["pending" if waiting else "reported"] * 2
    if waiting:
        # Somebody is quicker than the task's next try.
        firm.amend("C", {"n": 31})
    refused(firm, second)
    assert [one[0] for one in states(firm)] == ["pending", "amended" if waiting else "pending"]


@pytest.mark.parametrize("firm", [CANCEL_AND_NEW, None], ids=["derived", "not"], indirect=True)
def test_run_whose_records_were_taken_back_sends_nothing_once_more(firm: Firm) -> None:
    second = resubmitted(firm)
    firm.reject_whole(second)
    refused(firm, second)
    again = firm.send(second.run, second.verdict)
    assert [f.sha256 for f in again.artifact.files] == [f.sha256 for f in second.artifact.files]
    assert firm.inbox == ["out_1_1.xml", "out_2_1.xml"]
    assert firm.balance == (4, 2, 0, 2)
    firm.amend("B", {"n": 21})
    firm.amend("C", {"n": 31})
    third = firm.resubmit()
    again = firm.send(second.run, second.verdict)
    assert [f.sha256 for f in again.artifact.files] == [f.sha256 for f in second.artifact.files]
    assert firm.inbox == ["out_1_1.xml", "out_2_1.xml", "out_3_1.xml"]
    firm.answer(third)
    assert firm.balance == (4, 4, 0, 0)


@only("by_action")
def test_whole_rejection_that_an_earlier_version_left_is_taken_back_when_the_task_is_cleared(
    firm: Firm,
) -> None:
    second = resubmitted(firm)
    firm.reject_whole(second)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AcknowledgeOperator, "take_back", lambda *_: None)
        refused(firm, second)
    assert firm.balance == (4, 4, 0, 0)
    refused(firm, second)
    assert states(firm) == [("pending", None, "authority")] * 2
    assert firm.item("B").reasons[0].message == "FILE-105 number used before"


@only("cancel_and_new")
def test_report_that_was_rejected_as_a_whole_is_not_in_the_queue(firm: Firm) -> None:
    first = firm.report(ROWS)
    firm.reject_whole(first)
    error = refused(firm, first)
    assert "run the business date again" in (error.hint or "")
    with pytest.raises(ValueError, match="not enough values"):
        firm.item("A")
