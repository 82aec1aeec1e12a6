"""What the store knows of deliveries and answers in every database; run by one class a database."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from openreg_airflow.store.acknowledgement_records import (
    Acknowledgement,
    FeedbackFile,
    RecordAnswer,
    overdue,
)
from openreg_airflow.store.acknowledgements import Acknowledgements
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.audit_trail import verify
from openreg_airflow.store.deliveries import Deliveries, LedgerEntry
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.told import KeptWords, WordsFile
from tests.store_contract import RUN, SHA, attempt

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = "cd" * 32
ANNA = Actor("anna", "test")
DUE = datetime(2026, 3, 3, 22, 59, tzinfo=UTC)
OTHER = RUN.model_copy(update={"run_id": "manual__2"})
OF = (RUN, "regulator", "transactions")


def entry(**changes: Any) -> LedgerEntry:
    fields: dict[str, Any] = {
        "content": SHA,
        "place": PLACE,
        "destination": "sftp://inbox.example:22/in/Ä a.xml",
        "state": "publishing",
        "report_id": RUN.report_id,
        "business_date": RUN.business_date,
        "run_id": RUN.run_id,
        "route": "regulator",
        "artifact": "transactions",
        "filename": "Ä a.xml",
        "bytes": 9_000_000_000,
        "sha256": SHA,
        "temporary": ".openreg-1.part",
        "sequence": "esma",
        "number": 7,
    }
    return LedgerEntry(**(fields | changes))


def awaited(position: int = 1, **changes: Any) -> Acknowledgement:
    fields: dict[str, Any] = {
        "route": "regulator",
        "artifact": "transactions",
        "position": position,
        "filename": f"a{position}.xml",
        "sent": 3_000_000_000,
        "pending": 3_000_000_000,
        "due_at": DUE,
    }
    return Acknowledgement(**(fields | changes))


def feedback(**changes: Any) -> FeedbackFile:
    fields: dict[str, Any] = {
        "route": "regulator",
        "artifact": "transactions",
        "filename": "FB_a1.xml",
        "sha256": SHA,
        "bytes": 3_000_000_000,
        "uri": "s3://kept/FB_a1.xml",
        "result": "read",
    }
    return FeedbackFile(**(fields | changes))


def answer(reference: str, **changes: Any) -> RecordAnswer:
    fields: dict[str, Any] = {
        "route": "regulator",
        "artifact": "transactions",
        "reference": reference,
        "position": 1,
        "status": "rejected",
        "rules": "CON-023 CON-412",
        "text": "„LEI“ is unknown\n\x00 and more",
    }
    return RecordAnswer(**(fields | changes))


def timeless(entries: tuple[LedgerEntry, ...]) -> list[LedgerEntry]:
    assert all(each.updated_at is not None for each in entries)
    return [each.model_copy(update={"updated_at": None}) for each in entries]


class DeliveryContract:
    """Needs a fixture ``url`` (an upgraded store)."""

    def test_entry_is_replaced_at_its_place_and_stays_one(self, url: str) -> None:
        store = Deliveries(url)
        store.put(entry())
        store.put(entry(state="delivered", temporary=None, run_id="manual__2"))
        store.put(entry(place="ef" * 32))

        assert timeless(store.at(PLACE)) == [
            entry(state="delivered", temporary=None, run_id="manual__2")
        ]
        assert {each.place for each in store.of_number("esma", 7)} == {PLACE, "ef" * 32}
        assert store.of_number("esma", 8) == ()

    def test_earlier_try_is_settled_unless_a_newer_one_has_begun(self, url: str) -> None:
        store = Deliveries(url)
        store.put(entry())
        [seen] = store.at(PLACE)
        store.put(entry(temporary=".openreg-2.part"))

        store.settle(seen, "delivered")
        assert [each.state for each in store.at(PLACE)] == ["publishing"]

        [seen] = store.at(PLACE)
        store.settle(seen, "delivered")
        store.settle(seen, "withdrawn")
        assert timeless(store.at(PLACE)) == [entry(state="delivered", temporary=None)]

    def test_try_without_a_temporary_name_is_settled(self, url: str) -> None:
        store = Deliveries(url)
        store.put(entry(temporary=None))
        [seen] = store.at(PLACE)

        store.settle(seen, "withdrawn")

        assert [each.state for each in store.at(PLACE)] == ["withdrawn"]

    def test_of_tries_at_a_place_only_the_last_to_begin_goes_on(self, url: str) -> None:
        store, other = Deliveries(url), entry(content="ef" * 32)
        assert store.begin(entry(), "one")
        assert store.begin(other, "two")
        assert not store.publish(entry(), "one")
        assert store.begin(entry(), "three")
        assert not store.publish(other, "two")
        assert store.publish(entry(), "three")
        assert [each.state for each in store.at(PLACE)] == ["withdrawn", "publishing"]

        # Nobody begins while the end of one is unknown, nor once it was delivered.
        assert not store.begin(entry(), "four")
        assert not store.begin(other, "five")
        store.settle(entry(), "delivered")
        assert not store.begin(entry(), "six")
        assert store.begin(entry(), "seven", again=True)
        assert timeless(store.at(PLACE))[-1] == entry(state="delivered", temporary=None)

    def test_of_tries_that_begin_together_one_goes_on(self, url: str) -> None:
        went: list[bool] = []

        def attempt_to(token: str) -> None:
            store = Deliveries(url)
            if store.begin(entry(), token):
                went.append(store.publish(entry(), token))

        together(*[lambda n=n: attempt_to(f"token {n}") for n in range(4)])

        assert went.count(True) == 1

    def test_deliveries_that_note_the_same_file_at_the_same_time_leave_one_entry(
        self, url: str
    ) -> None:
        together(*[lambda: Deliveries(url).put(entry())] * 4)

        assert timeless(Deliveries(url).at(PLACE)) == [entry()]

    def test_receipt_and_entry_are_noted_together_or_not_at_all(self, url: str) -> None:
        store = Deliveries(url)
        store.record_attempt(RUN, attempt())
        store.put(entry())
        done = attempt(result="delivered", bytes=9_000_000_000)
        execute(url, "ALTER TABLE openreg_delivery RENAME TO hidden")
        with pytest.raises(Exception, match="openreg_delivery"):
            store.finish(RUN, done, entry(state="delivered"))
        assert [each.result for each in store.attempts(RUN)] == ["started"]
        execute(url, "ALTER TABLE hidden RENAME TO openreg_delivery")

        store.finish(RUN, done, entry(state="delivered", temporary=None))

        assert [each.result for each in store.attempts(RUN)] == ["delivered"]
        assert [each.state for each in store.at(PLACE)] == ["delivered"]

    def test_attempts_are_listed_across_runs_the_newest_first(self, url: str) -> None:
        store = Deliveries(url)
        start = datetime(2026, 3, 2, 12, tzinfo=UTC)
        tomorrow = RUN.model_copy(update={"business_date": date(2026, 3, 3)})
        store.record_attempt(RUN, attempt(1, result="failed", started_at=start))
        later = start.astimezone(timezone(timedelta(hours=9))) + timedelta(seconds=1)
        store.record_attempt(RUN, attempt(2, result="delivered", started_at=later))
        store.record_attempt(OTHER, attempt(1, started_at=start + timedelta(seconds=2)))
        store.record_attempt(tomorrow, attempt(1, result="delivered", started_at=start))

        assert store.next_attempt(RUN, "regulator", "transactions") == 3
        assert store.next_attempt(RUN, "other", "transactions") == 1
        listed = store.list_attempts(business_date=RUN.business_date)
        assert [(each.run_id, each.attempt) for each in listed] == [
            (OTHER.run_id, 1),
            (RUN.run_id, 2),
            (RUN.run_id, 1),
        ]
        assert [each.result for each in store.list_attempts(failed=True)] == ["started", "failed"]
        assert len(store.list_attempts(limit=2)) == 2
        assert store.list_attempts(report_id="another") == ()

    def test_what_a_person_orders_is_on_the_audit_trail(self, url: str) -> None:
        store = Deliveries(url)
        store.note_again(ANNA, entry(), "the authority lost it")
        store.note_delivered(ANNA, entry(state="delivered", temporary=None), "confirmed by phone")

        assert [each.state for each in store.at(PLACE)] == ["delivered"]
        assert verify(url).entries == 2

    def test_an_answer_is_awaited_once(self, url: str) -> None:
        store = Acknowledgements(url)
        store.await_files(RUN, [awaited(2), awaited(1)])
        store.apply(RUN, feedback(), [awaited(1, state="received", text="seen")], [])
        store.await_files(RUN, [awaited(1), awaited(2), awaited(3)])
        store.await_files(OTHER, [awaited(1)])

        assert [(each.position, each.state) for each in store.of_run(*OF)] == [
            (1, "received"),
            (2, "awaited"),
            (3, "awaited"),
        ]
        assert store.of_run(*OF)[1] == awaited(2)
        assert store.of_run(RUN, "another", "transactions") == ()

    def test_a_file_that_was_refused_changes_nothing(self, url: str) -> None:
        store = Acknowledgements(url)
        store.await_files(RUN, [awaited()])
        refused = feedback(result="refused", reason="line 3: „\x00“ is no element")

        store.note(RUN, refused)
        store.note(RUN, refused)

        [kept] = store.files(*OF)
        assert (kept.result, kept.bytes) == ("refused", 3_000_000_000)
        assert "is no element" in kept.reason
        assert store.of_run(*OF) == (awaited(),)
        assert store.answers(*OF) == ()

    def test_many_answers_are_taken_at_once_and_later_ones_replace_them(self, url: str) -> None:
        store = Acknowledgements(url)
        store.await_files(RUN, [awaited()])
        many = [answer(f"T{n:05}", status="pending", rules="") for n in range(12_000)]
        answered = datetime(2026, 3, 3, 8, tzinfo=UTC)
        part = awaited(state="partly accepted", pending=12_000, accepted=2_999_988_000)
        store.apply(RUN, feedback(), [part.model_copy(update={"answered_at": answered})], many)
        final = [answer("T00000", status="accepted"), answer("T00001")]
        later = feedback(filename="FB_a1_2.xml", sha256="ef" * 32)
        store.apply(RUN, later, [part.model_copy(update={"pending": 11_998})], final)

        known = {each.reference: each.status for each in store.answers(*OF)}
        assert len(known) == 12_000
        assert [known[f"T0000{n}"] for n in range(3)] == ["accepted", "rejected", "pending"]
        assert [each.filename for each in store.files(*OF)] == ["FB_a1.xml", "FB_a1_2.xml"]
        [standing] = store.of_run(*OF)
        assert (standing.pending, standing.accepted) == (11_998, 2_999_988_000)

    def test_each_row_of_a_reference_has_an_answer(self, url: str) -> None:
        store = Acknowledgements(url)
        store.await_files(RUN, [awaited()])
        old = [answer("A"), answer("B", status="pending")]
        store.apply(RUN, feedback(), [awaited(state="received")], old)
        rows = [answer("A", row=4), answer("A", row=2, status="accepted"), answer("C", row=0)]
        later = feedback(filename="FB_a1_2.xml", sha256="ef" * 32)
        store.apply(RUN, later, [awaited(state="received")], rows)

        # What was known of A without its rows is known better now.
        assert [(a.reference, a.row, a.status) for a in store.answers(*OF)] == [
            ("A", 2, "accepted"),
            ("A", 4, "rejected"),
            ("B", -1, "pending"),
            ("C", 0, "rejected"),
        ]
        each = [a for batch in store.each_answer(*OF) for a in batch]
        assert [(a.reference, a.row) for a in each] == [("B", -1), ("A", 4), ("A", 2), ("C", 0)]

    def test_file_that_is_sent_again_is_awaited_anew(self, url: str) -> None:
        store = Acknowledgements(url)
        store.await_files(RUN, [awaited(1), awaited(2)])
        part = {"state": "partly accepted", "rejected": 1, "accepted": 2_999_999_999, "pending": 0}
        said = [answer("A", row=1), answer("B", row=2, position=2)]
        store.apply(RUN, feedback(), [awaited(n, text="late", **part) for n in (1, 2)], said)

        store.await_again(*OF, [2], DUE + timedelta(hours=3))

        first, second = store.of_run(*OF)
        assert (first.state, first.rejected, first.due_at) == ("partly accepted", 1, DUE)
        assert second == awaited(2, due_at=DUE + timedelta(hours=3))
        assert [a.reference for a in store.answers(*OF)] == ["A"]

    def test_refused_file_that_is_read_after_all_is_the_newest(self, url: str) -> None:
        store = Acknowledgements(url)
        store.await_files(RUN, [awaited()])
        store.note(RUN, feedback(result="refused", reason="the spec was wrong"))
        later = feedback(filename="FB_a1_2.xml", sha256="ef" * 32)
        store.apply(RUN, later, [awaited(state="received")], [])
        store.apply(RUN, feedback(), [awaited(state="received")], [])

        assert store.files(*OF) == (later, feedback())

    def test_the_longest_reference_and_any_text_of_an_authority_is_kept(self, url: str) -> None:
        store = Acknowledgements(url)
        store.await_files(RUN, [awaited()])
        longest = answer("\U0001d4af" * 250, text="NUL \x00 and half a pair \ud800")
        words = KeptWords(files=(WordsFile(uri="file:///w", bytes=1, sha256="0" * 64),))
        read = feedback(words=words)

        store.apply(RUN, read, [awaited(state="received")], iter([longest]))

        [kept] = store.answers(*OF, status="rejected")
        assert (kept.reference, kept.text) == (
            longest.reference,
            "NUL \\x00 and half a pair \\ud800",
        )
        assert store.answers(*OF, status="pending") == ()
        assert store.files(*OF) == (read,)

    def test_another_version_of_a_run_is_awaited_anew(self, url: str) -> None:
        store = Acknowledgements(url)
        files = [awaited(1), awaited(2)]
        elsewhere = awaited(route="another")
        assert store.await_files(RUN, [*files, elsewhere]) == ()
        store.await_files(OTHER, files)
        words = KeptWords(files=(WordsFile(uri="file:///w", bytes=1, sha256="0" * 64),))
        store.apply(RUN, feedback(words=words), [awaited(state="received")], [answer("A")])

        replaced = store.await_files(RUN, [awaited(filename="b.xml")])

        assert replaced == (awaited(state="received"), awaited(2))
        assert store.of_run(*OF) == (awaited(filename="b.xml"),)
        assert store.answers(*OF) == ()
        assert store.files(*OF) == (feedback(),)
        assert store.of_run(RUN, "another", "transactions") == (elsewhere,)
        assert store.of_run(OTHER, "regulator", "transactions") == tuple(files)

    def test_what_is_outstanding_comes_the_most_urgent_first(self, url: str) -> None:
        store = Acknowledgements(url)
        accepted = awaited(3, state="accepted", pending=0, accepted=3_000_000_000)
        urgent = awaited(2, due_at=DUE - timedelta(hours=1))
        store.await_files(RUN, [awaited(1), urgent, accepted])

        found = store.outstanding(report_id=RUN.report_id, business_date=RUN.business_date)

        assert [each.position for each in found] == [2, 1]
        assert [overdue(each, DUE) for each in found] == [True, False]
        assert len(store.outstanding(everything=True)) == 3
        assert store.outstanding(report_id="another") == ()


def execute(url: str, statement: str) -> None:
    with transaction(connect_engine(parse_url(url)), write=True) as connection:
        connection.execute(text(statement))


def together(*works: Callable[[], object]) -> None:
    """Do all of it at the same time; the first failure is raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def do(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=do, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure
