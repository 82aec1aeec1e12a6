"""What the exception queue does in every database; run by one test class a database."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.errors import (
    ChangedMeanwhileError,
    DecisionError,
    PermanentError,
    TransientError,
)
from openreg_airflow.exception_queue import claims, decisions, intake
from openreg_airflow.exception_queue.balance import Balance, balances
from openreg_airflow.exception_queue.listing import Wanted, find, get
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.audit_trail import verify
from tests.exception_runs import DAY, Desk

if TYPE_CHECKING:
    from datetime import tzinfo

    from openreg_airflow.exception_queue.item import Item

ANNA = Actor("anna", "test")
BERT = Actor("bert", "test")
PRICES = {"A": "1.50", "B": "0", "C": "2", "D": "-7.00001"}


class AnHourAgo(datetime):
    """A clock that was set back by an hour."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """What it shows."""
        return datetime.now(tz) - timedelta(hours=1)


def waiting(desk: Desk, *states: Any) -> list[Item]:
    return list(find(desk.url, Wanted(report_id="desk", states=states)))


def balance(desk: Desk) -> Balance:
    [found] = balances(desk.url, "desk", DAY)
    assert found.holds, found.line()
    return found


def numbers(found: Balance) -> tuple[int, int, int, int]:
    return found.records, found.reported, found.rejected, found.pending


class ExceptionContract:
    """Needs a fixture ``desk``: a report with an upgraded store."""

    def test_failing_records_wait_in_the_queue_with_all_that_belongs_to_them(
        self, desk: Desk
    ) -> None:
        done = desk.source_run("first", PRICES)

        assert done.counts == {"trades": 2}
        assert [row["id"] for row in desk.read(done.tables["trades"])] == ["A", "C"]
        assert {row["trade_id"] for row in desk.read(done.tables["parties"])} == {"A", "C"}
        b, d = waiting(desk)
        assert (b.key, d.key, b.state, b.origin, b.run_id) == (
            ("B",), ("D",), "pending", "rule", "first",
        )  # fmt: skip
        assert d.values == {
            "id": "D", "price": "-7.00001", "day": "2026-03-31", "at": None, "lots": str(2**60),
        }  # fmt: skip
        assert [row["lei"] for row in d.children["parties"]] == ["D-buyer", "D-seller"]
        assert [r.message for r in d.reasons] == ["price -7.00001 of D is not positive"]
        assert numbers(balance(desk)) == (4, 2, 0, 2)

    def test_an_amended_record_goes_out_once_and_a_released_one_as_it_is(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, d = waiting(desk)
        decisions.amend(desk.url, {b.id: {"price": "3.25"}}, {b.id: b.version}, ANNA, "typo")
        decisions.release(desk.url, {d.id: d.version}, BERT, "a short sale")

        taken = desk.take("again")
        assert taken.number == 1
        assert [(r["id"], str(r["price"])) for r in desk.read(taken.tables["trades"])] == [
            ("B", "3.25000"), ("D", "-7.00001"),
        ]  # fmt: skip
        assert [r["trade_id"] for r in desk.read(taken.tables["parties"])] == list("BBDD")
        assert desk.read(taken.tables["venues"]) == [{"mic": "XETR"}]
        assert numbers(balance(desk)) == (4, 2, 0, 2)
        done = desk.go_on("again", taken.tables)
        claims.settle(desk.url, desk.key("again"))

        assert done.tables["trades"].rows == 2
        assert [(i.state, i.reported_by) for i in waiting(desk)] == [("reported", "again")] * 2
        assert numbers(balance(desk)) == (4, 4, 0, 0)
        assert desk.take("a third time") is None

    def test_a_record_that_fails_again_is_pending_again(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, d = waiting(desk)
        new = {b.id: {"price": "-1"}, d.id: {"price": "5"}}
        decisions.amend(desk.url, new, {b.id: 1, d.id: 1}, ANNA, "typo")

        taken = desk.take("again")
        assert desk.go_on("again", taken.tables).counts == {"trades": 1}
        claims.settle(desk.url, desk.key("again"))

        b, d = waiting(desk)
        assert (b.state, b.claimed_by, d.state) == ("pending", None, "reported")
        assert [r.message for r in b.reasons] == ["price -1.00000 of B is not positive"]
        assert b.amendments == {"price": "-1.00000"}
        assert numbers(balance(desk)) == (4, 3, 0, 1)
        # A cleared validation, or the whole run cleared, ends alike.
        assert [r["id"] for r in desk.read(desk.go_on("again", taken.tables).tables["trades"])] == [
            "D"
        ]
        assert desk.resubmit("again") == ["D"]
        assert numbers(balance(desk)) == (4, 3, 0, 1)

    def test_a_rejected_record_is_left_out(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, d = waiting(desk)
        decisions.reject(desk.url, decisions.numbered([b, d]), ANNA, "test trades")

        assert desk.resubmit("again") == []
        assert numbers(balance(desk)) == (4, 2, 2, 0)

    def test_the_last_decision_can_be_undone_until_it_is_resubmitted(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, _ = waiting(desk)
        decisions.amend(desk.url, {b.id: {"price": "9"}}, {b.id: None}, ANNA, "typo")
        decisions.reject(desk.url, {b.id: None}, ANNA, "no")
        decisions.undo(desk.url, {b.id: None}, BERT, "yes")

        b = get(desk.url, b.id)
        assert (b.state, b.amendments, b.version) == ("amended", {"price": "9.00000"}, 4)
        with pytest.raises(DecisionError, match="nothing can be undone"):
            decisions.undo(desk.url, {b.id: None}, BERT, "more")
        assert desk.resubmit("again") == ["B"]
        with pytest.raises(DecisionError, match=f"item {b.id} is reported by the run again"):
            decisions.undo(desk.url, {b.id: None}, BERT, "too late")

    @pytest.mark.parametrize("repeated", ["first", "second"])
    def test_a_retry_or_a_new_run_keeps_what_people_decided(
        self, desk: Desk, repeated: str
    ) -> None:
        desk.source_run("first", PRICES)
        b, d = waiting(desk)
        decisions.amend(desk.url, {b.id: {"price": "3"}}, {b.id: 1}, ANNA, "typo")
        decisions.reject(desk.url, {d.id: 1}, ANNA, "not ours")

        desk.source_run(repeated, PRICES)

        again = waiting(desk)
        assert [(i.id, i.state, i.run_id) for i in again] == [
            (b.id, "amended", repeated), (d.id, "rejected", repeated),
        ]  # fmt: skip
        assert numbers(balance(desk)) == (4, 2, 1, 1)
        assert desk.resubmit("again") == ["B"]
        desk.source_run("third", PRICES)
        assert numbers(balance(desk)) == (4, 3, 1, 0)

    def test_a_record_with_other_values_waits_again(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, _ = waiting(desk)
        decisions.amend(desk.url, {b.id: {"price": "3"}}, {b.id: 1}, ANNA, "typo")

        desk.source_run("second", PRICES | {"B": "-2"})

        b = get(desk.url, b.id)
        assert (b.state, b.amendments, b.values["price"]) == ("pending", None, "-2.00000")
        assert numbers(balance(desk)) == (4, 2, 0, 2)

    def test_a_record_mended_at_its_source_leaves_the_queue(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        desk.source_run("second", PRICES | {"B": "2"})
        b, _ = waiting(desk)

        assert b.state == "superseded"
        assert numbers(balance(desk)) == (4, 3, 0, 1)
        with pytest.raises(DecisionError, match="is superseded"):
            decisions.release(desk.url, {b.id: None}, ANNA, "now")
        # And comes back when it fails once more.
        desk.source_run("third", PRICES)
        assert get(desk.url, b.id).state == "pending"
        assert numbers(balance(desk)) == (4, 2, 0, 2)

    def test_a_clock_that_was_set_back_keeps_no_mended_record_in_the_queue(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.source_run("first", PRICES)
        monkeypatch.setattr(intake, "datetime", AnHourAgo)
        desk.source_run("second", PRICES | {"B": "2"})

        assert [item.state for item in waiting(desk)] == ["superseded", "pending"]
        assert numbers(balance(desk)) == (4, 3, 0, 1)

    def test_two_stages_set_aside_and_the_counts_hold(self, desk: Desk) -> None:
        desk.source_run("first", PRICES, stage="map")
        mapped = desk.source_run("first", {"A": "1.50", "C": "2"})
        assert mapped.counts == {}
        assert len(waiting(desk, "pending")) == 2
        assert numbers(balance(desk)) == (4, 2, 0, 2)

    def test_what_is_not_delivered_is_pending(self, desk: Desk) -> None:
        desk.source_run("first", PRICES, settle=False)
        assert numbers(balance(desk)) == (4, 0, 0, 4)
        assert balance(desk).under_way == 2

    def test_resubmissions_at_the_same_time_report_no_record_twice(self, desk: Desk) -> None:
        prices = {f"T{n:03}": "0" if n % 2 else "1" for n in range(200)}
        desk.source_run("first", prices)
        decisions.release(desk.url, decisions.numbered(waiting(desk)), ANNA, "all")
        reported: list[list[str]] = []
        threads = [
            threading.Thread(target=lambda n=n: reported.append(desk.resubmit(f"r{n}")))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(reported) == 4
        assert sorted(i for ids in reported for i in ids) == sorted(
            i for i, price in prices.items() if price == "0"
        )
        assert numbers(balance(desk)) == (200, 200, 0, 0)

    def test_a_retried_resubmission_has_the_same_claim(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, d = waiting(desk)
        decisions.release(desk.url, {b.id: None}, ANNA, "one")
        first = desk.take("again")
        decisions.release(desk.url, {d.id: None}, ANNA, "another")
        second = desk.take("again")

        assert (first.number, second.number) == (1, 1)
        assert first.tables["trades"].sha256 == second.tables["trades"].sha256
        assert desk.take("other").number == 2

    def test_records_of_a_failed_resubmission_can_be_given_back(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, _ = waiting(desk)
        decisions.amend(desk.url, {b.id: {"price": "5"}}, {b.id: None}, ANNA, "one")
        taken = desk.take("failed")
        with pytest.raises(DecisionError, match="being resubmitted by the run failed"):
            decisions.reject(desk.url, {b.id: None}, ANNA, "too late")

        assert claims.give_back(desk.url, desk.key("failed"), ANNA, "it cannot be delivered") == 1

        with pytest.raises(PermanentError, match="given back"):
            desk.go_on("failed", taken.tables)
        with pytest.raises(PermanentError, match="given back"):
            desk.take("failed")
        assert desk.resubmit("again") == ["B"]
        assert numbers(balance(desk)) == (4, 3, 0, 1)

    def test_a_new_run_waits_for_a_resubmission_of_records_that_it_would_change(
        self, desk: Desk
    ) -> None:
        desk.source_run("first", PRICES)
        b, _ = waiting(desk)
        decisions.release(desk.url, {b.id: None}, ANNA, "one")
        desk.take("again")

        for prices in (PRICES | {"B": "-5"}, PRICES | {"B": "5"}):
            with pytest.raises(TransientError, match="is being resubmitted by the run again"):
                desk.source_run("second", prices)
        assert numbers(balance(desk)) == (4, 2, 0, 2)

    def test_two_people_never_overwrite_one_another(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, d = waiting(desk)
        decisions.amend(desk.url, {b.id: {"price": "3"}}, {b.id: b.version}, ANNA, "typo")

        with pytest.raises(ChangedMeanwhileError, match="has version 2, and version 1 was seen"):
            decisions.reject(desk.url, decisions.numbered([d, b]), BERT, "both")
        assert [i.state for i in waiting(desk)] == ["amended", "pending"]

    def test_unknown_items_and_decisions_without_a_reason_are_refused(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        with pytest.raises(DecisionError, match="there is no item 4711"):
            decisions.reject(desk.url, {4711: None}, ANNA, "why")
        with pytest.raises(DecisionError, match="has a reason"):
            decisions.reject(desk.url, decisions.numbered(waiting(desk)), ANNA, " ")

    def test_inner_rows_can_be_amended_and_follow_their_records_key(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, _ = waiting(desk)
        new = {"price": "1", "parties.2.lei": "another", "id": "B2"}
        decisions.amend(desk.url, {b.id: new}, {b.id: 1}, ANNA, "typo")
        taken = desk.take("again")
        assert desk.read(taken.tables["parties"]) == [
            {"trade_id": "B2", "lei": "B-buyer"},
            {"trade_id": "B2", "lei": "another"},
        ]

    def test_every_decision_is_in_the_audit_trail(self, desk: Desk) -> None:
        from openreg_airflow.exception_queue.listing import history

        desk.source_run("first", PRICES)
        b, _ = waiting(desk)
        decisions.amend(desk.url, {b.id: {"price": "3"}}, {b.id: 1}, ANNA, "a typo")
        desk.resubmit("again")

        entries = history(desk.url, get(desk.url, b.id))
        assert [entry.action for entry in entries] == ["set aside", "amend", "claim", "report"]
        assert (entries[1].actor, entries[1].before, entries[1].after) == (
            "anna",
            {"state": "pending", "values": {"price": "0.00000"}},
            {"state": "amended", "values": {"price": "3.00000"}, "why": "a typo"},
        )
        assert verify(desk.url).entries > 4

    def test_what_the_authority_rejects_comes_back_with_its_reason(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, _ = waiting(desk)
        decisions.amend(desk.url, {b.id: {"price": "3"}}, {b.id: 1}, ANNA, "typo")
        desk.resubmit("again")

        assert desk.rejected("first", "A") == 1
        assert desk.rejected("again", "B") == 1
        assert desk.rejected("again", "B") == desk.rejected("first", "A") == 0

        b, d, a = waiting(desk)
        assert [(i.state, i.origin, i.reasons[0].rule) for i in (b, d, a)] == [
            ("pending", "authority", "CON-412"),
            ("pending", "rule", "price_positive"),
            ("pending", "authority", "CON-412"),
        ]
        assert [row["lei"] for row in a.children["parties"]] == ["A-buyer", "A-seller"]
        assert numbers(balance(desk)) == (4, 1, 0, 3)
        decisions.amend(desk.url, {a.id: {"price": "8"}}, {a.id: None}, ANNA, "mended")
        decisions.release(desk.url, {b.id: None}, ANNA, "their error")
        assert desk.resubmit("a third time") == ["B", "A"]
        assert desk.rejected("first", "A") == desk.rejected("again", "B") == 0
        assert numbers(balance(desk)) == (4, 3, 0, 1)
        # A run that reads the source again reports what it had reported before.
        desk.source_run("second", PRICES)
        assert numbers(balance(desk)) == (4, 3, 0, 1)
        with pytest.raises(PermanentError, match="belongs to no record"):
            desk.rejected("second", "B")

    def test_filters(self, desk: Desk) -> None:
        desk.source_run("first", PRICES)
        b, d = waiting(desk)
        decisions.reject(desk.url, {d.id: None}, ANNA, "no")

        def ids(**fields: Any) -> list[int]:
            return [i.id for i in find(desk.url, Wanted(**fields))]

        assert ids(states=("rejected",)) == [d.id]
        assert ids(rule="price_positive") == [b.id, d.id]
        assert ids(rule="price%") == []
        assert ids(business_date=DAY, table="trades", key="D") == [d.id]
        assert ids(report_id="other") == []
        assert ids(run_id="first", limit=1) == [b.id]
        assert ids(after=b.id) == [d.id]
