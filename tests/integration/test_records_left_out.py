"""A record that waits in the exception queue is not gone: what the authority has of it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.exception_queue import decisions
from tests.nested_house import BY_ACTION, CANCEL_AND_NEW, Row
from tests.reporting_firm import ANNA, Firm, Sent, new_firm

if TYPE_CHECKING:
    from pathlib import Path

ROWS: list[Row] = [("NEWT", name, n, {"BUYER": [name]}) for n, name in enumerate("ABC", 1)]
#: A format in which nothing that was cancelled is reported anew.
RULES: dict[str, Any] = {
    "cancel_and_new": CANCEL_AND_NEW,
    "by_action": BY_ACTION | {"revive": None},
}


@pytest.fixture(params=list(RULES.values()), ids=list(RULES))
def firm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Firm:
    return new_firm(tmp_path, request.param, monkeypatch)


def failing(firm: Firm) -> list[Row]:
    """All was reported; then B changes and fails a rule."""
    firm.answer(firm.report(ROWS))
    rows = [ROWS[0], ("NEWT", "B", 99, ROWS[1][3]), ROWS[2]]
    assert firm.report(rows, fail="B").artifact.files == ()
    assert firm.balance == (3, 2, 0, 1)
    return rows


def words(sent: Sent) -> list[tuple[str, str]]:
    return [row[:2] for row in sent.rows]


def test_record_that_fails_a_rule_after_it_was_reported_stands_until_it_is_mended(
    firm: Firm,
) -> None:
    rows = failing(firm)
    firm.amend("B", {"n": 20})
    mended = firm.resubmit()
    change = [("CORR", "B")] if firm.made["references"].get("correct") else None
    assert words(mended) == (change or [("CANCEL", "B"), ("NEWT", "B")])
    firm.answer(mended)
    assert firm.balance == (3, 3, 0, 0)
    # What was mended stands, while the source is as it was and when it has something else.
    assert firm.report(rows, fail="B").rows == []
    new: Row = ("NEWT", "D", 4, {})
    assert firm.report([*rows, new], fail="B").rows == [new]
    assert words(firm.report([ROWS[0], ROWS[1], ROWS[2], new])) == words(mended)
    assert firm.balance == (4, 4, 0, 0)


@pytest.mark.parametrize("gone", [False, True], ids=["left out by a person", "gone"])
def test_record_that_waited_is_cancelled_once_it_is_left_out_or_gone(
    firm: Firm, gone: bool
) -> None:
    rows = failing(firm)
    item = firm.item("B")
    if gone:
        sent = firm.report([rows[0], rows[2]])
    else:
        decisions.reject(firm.url, {item.id: item.version}, ANNA, "no trade of ours")
        sent = firm.report(rows, fail="B")
    [(word, name)] = words(sent)
    assert (word in ("CANCEL", "EROR"), name) == (True, "B")
    firm.answer(sent)
    assert firm.balance == ((2, 2, 0, 0) if gone else (3, 2, 1, 0))
