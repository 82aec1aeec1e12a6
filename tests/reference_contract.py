"""What the references of records promise, in every database of the store."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from openreg_airflow.errors import ReferenceReuseError
from openreg_airflow.records import Dataset
from openreg_airflow.store.references import References, Said, Submission

WRITTEN = Dataset(uri="t.parquet", bytes=1, sha256="0" * 64, rows=1, columns=())


def submission(content: str = "one", **changes: Any) -> Submission:
    fields: dict[str, Any] = {
        "scope": "authority",
        "report_id": "trades",
        "business_date": date(2026, 3, 31),
        "run_id": "run-1",
        "artifact": "transactions",
        "version": 1,
        "content": content,
        "target": content,
        "written": WRITTEN,
    }
    return Submission(**fields | changes)


def records(*said: str) -> list[list[tuple[int, str, bool, str, str, str]]]:
    """``+A`` reports A, ``-A`` cancels it, ``*A`` tells something of it.

    ``!A`` reports it where no reference is used again, ``^A`` lets it stand again; ``~A`` and
    ``?A`` tell something of what another system may have reported.
    """
    needs = {"+": "free", "-": "standing", "*": "standing", "!": "unused", "^": "known"}
    needs |= {"~": "uncancelled", "?": "any"}
    return [
        [
            (n, text[1:], text[0] == "-", "d", needs[text[0]], "VALU 1" * (text[0] == "*"))
            for n, text in enumerate(said)
        ]
    ]


def said(*references: str, row: int = -1, rejected: bool = True) -> list[list[Said]]:
    """What the authority says of references, or of one row."""
    return [[Said(row, reference, rejected) for reference in references]]


def reserved(store: References, content: str, *said: str, **changes: Any) -> int:
    wanted = submission(content, **changes)
    store.reserve(wanted, records(*said))
    store.finish(wanted)
    found = store.submissions("authority", "trades", wanted.business_date, "transactions")
    return next((one.id for one in found if one.content == content), 0)


class ReferenceContract:
    """To be inherited with a fixture ``url``."""

    def test_reference_that_stands_is_refused_with_the_run_that_reported_it(self, url: str) -> None:
        store = References(url)
        reserved(store, "one", "+A", "+B")
        with pytest.raises(ReferenceReuseError) as caught:
            reserved(store, "two", "+C", "+A", run_id="run-2")
        assert "1 records may not be sent: 'A' was reported" in caught.value.message
        assert "run run-1, and is not cancelled" in caught.value.message
        reserved(store, "three", "+C")  # nothing of the refused one is on record

    def test_reference_is_free_once_cancelled(self, url: str) -> None:
        store = References(url)
        reserved(store, "one", "+A")
        reserved(store, "two", "-A", "+A")
        reserved(store, "three", "-A")
        reserved(store, "four", "+A", report_id="others")

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            (["-X"], "'X' is cancelled and was never reported"),
            (["+X", "+X"], "'X' is reported twice in it"),
            (["-A", "-A"], "'A' is cancelled twice in it"),
            (["+X", "-X", "-X"], "'X' is cancelled twice in it"),
            (["*X"], "'X' is spoken of and was never reported"),
            (["-A", "*A"], "'A' is spoken of after its cancellation"),
            (["-A", "!A"], "'A' is reported after its cancellation"),
            (["^X"], "'X' is spoken of and was never reported"),
        ],
    )
    def test_order_inside_one_file_counts(self, url: str, said: list[str], told: str) -> None:
        store = References(url)
        reserved(store, "one", "+A")
        with pytest.raises(ReferenceReuseError, match=told):
            reserved(store, "two", *said)

    def test_cancelled_reference_cannot_be_cancelled_again(self, url: str) -> None:
        store = References(url)
        reserved(store, "one", "+A", "-A")
        with pytest.raises(ReferenceReuseError, match="was cancelled before by report trades"):
            reserved(store, "two", "-A")

    def test_cancelled_reference_is_used_again_where_the_format_allows_it(self, url: str) -> None:
        store = References(url)
        reserved(store, "one", "!A", "*A", "-A")
        with pytest.raises(ReferenceReuseError, match="'A' is spoken of and was cancelled before"):
            reserved(store, "two", "*A")
        with pytest.raises(ReferenceReuseError, match=r"'A' was cancelled by .*is reported anew"):
            reserved(store, "two", "!A")
        reserved(store, "two", "^A", "*A")
        reserved(store, "three", "-A")

    def test_records_of_another_system_are_spoken_of(self, url: str) -> None:
        store = References(url)
        reserved(store, "one", "+A", "-A", "~B", "?C")
        with pytest.raises(ReferenceReuseError, match="'A' is spoken of and was cancelled before"):
            reserved(store, "two", "~A")
        reserved(store, "two", "?A", "~A")

    def test_events_are_told_apart(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A", "*A")
        two = reserved(store, "two", "*A")
        found = [row for rows in store.held("authority", {one: 0}, []) for row in rows]
        assert sorted((row.event, row.submission_id) for row in found) == [
            ("", one),
            ("VALU 1", two),
        ]

    def test_retry_is_not_stopped_by_itself(self, url: str) -> None:
        store = References(url)
        wanted = submission()
        store.reserve(wanted, records("+A"))
        store.reserve(wanted, records("+A"))
        store.finish(wanted)
        store.reserve(wanted.model_copy(update={"run_id": "run-2"}), records("+A"))
        with pytest.raises(ReferenceReuseError):
            reserved(store, "two", "+A")

    def test_same_content_as_another_version_is_held_against_the_first(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A")
        with pytest.raises(ReferenceReuseError, match="'A' was reported"):
            reserved(store, "one", "+A", version=2)
        store.reject(one, said("A"))
        reserved(store, "one", "+A", version=2)
        assert [held.submission_id for [held] in store.held("authority", {one: 0}, [])] == [one + 1]

    def test_scopes_do_not_mix(self, url: str) -> None:
        store = References(url)
        reserved(store, "one", "+A")
        reserved(store, "one", "+A", scope="other")

    def test_rejected_record_frees_its_reference(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A", "+B")
        store.reject(one, said("A"))
        store.reject(one, said("A"))
        reserved(store, "two", "+A")
        with pytest.raises(ReferenceReuseError, match="'B' was reported"):
            reserved(store, "three", "+B")

    def test_rejected_report_is_free_whatever_was_told_of_it(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "!A", "*A", "!B", "*B")
        store.reject(one, said("A", row=0))
        store.reject(one, said("B", row=3))
        with pytest.raises(ReferenceReuseError, match="'B' was reported by report trades"):
            reserved(store, "two", "!B")
        with pytest.raises(ReferenceReuseError, match="'A' is spoken of and was never reported"):
            reserved(store, "two", "*A")
        reserved(store, "two", "!A", "*B")

    def test_each_row_of_a_reference_is_rejected_by_itself(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A", "*A", "+B")
        store.reject(one, said("A", row=1))
        [found] = store.held("authority", {one: 0}, [])
        assert sorted((row.reference, row.event) for row in found) == [("A", ""), ("B", "")]

    def test_what_a_resubmission_reports_tells_of_the_rejected_record_before_it(
        self, url: str
    ) -> None:
        store = References(url)
        one = reserved(store, "one", "+A", "+B", "+C")
        store.reject(one, said("A", "B"))
        two = reserved(store, "two", "+A", "+D", resubmission=1)
        reserved(store, "three", "+B", run_id="run-3")
        [found] = store.held("authority", {one: 0, two: 1, two + 1: 0}, [])
        # Only of A is another report of a resubmission's; D never was in the source.
        assert {row.reference: row.refused for row in found} == dict.fromkeys("BCD") | {"A": "d"}
        store.reject(one, [], taken=[(0, 3)])
        [found] = store.held("authority", {one: 0, two: 1}, [])
        assert {row.refused for row in found} == {None}

    def test_file_that_is_accepted_after_all_holds_its_references(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A", "+B", "+C")
        store.reject(one, [], [(0, 2)])
        store.reject(one, [], [(0, 2)])
        # All but the record that is rejected by itself.
        store.reject(one, said("B", row=1), taken=[(0, 2)])
        with pytest.raises(ReferenceReuseError, match="'A' was reported"):
            reserved(store, "two", "+A")
        reserved(store, "two", "+B")

    def test_rejection_is_open_until_the_record_is_sent_again(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A", "*A")
        two = reserved(store, "two", "+B")
        assert not store.rejected([one, two])
        store.reject(one, said("A", row=0))
        assert store.rejected([one, two])
        assert not store.rejected([two])
        three = reserved(store, "three", "+A")
        assert not store.rejected([one, two, three])
        store.reject(one, said("A", row=1))
        assert store.rejected([one, two, three])

    def test_record_that_is_accepted_after_all_counts_again(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A")
        store.reject(one, said("A", row=0))
        store.reject(one, said("A", row=0, rejected=False))
        with pytest.raises(ReferenceReuseError, match="'A' was reported"):
            reserved(store, "two", "+A")

    def test_rejected_file_frees_all_its_references(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A", "+B", "+C")
        store.reject(one, [], [(0, 2)])
        reserved(store, "two", "+A", "+B")
        with pytest.raises(ReferenceReuseError, match="'C' was reported"):
            reserved(store, "three", "+C")

    def test_rejected_cancellation_leaves_the_record_standing(self, url: str) -> None:
        store = References(url)
        reserved(store, "one", "+A")
        store.reject(reserved(store, "two", "-A"), said("A"))
        with pytest.raises(ReferenceReuseError, match="'A' was reported"):
            reserved(store, "three", "+A")

    def test_rejected_submission_that_is_sent_again_counts_again(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A", "+B")
        store.reject(one, said("A"))
        store.reserve(submission(), records("+A", "+B"), again=True)
        with pytest.raises(ReferenceReuseError, match="'A' was reported"):
            reserved(store, "two", "+A")

    def test_reference_taken_meanwhile_is_not_sent_again(self, url: str) -> None:
        store = References(url)
        one = reserved(store, "one", "+A")
        store.reject(one, said("A"))
        reserved(store, "two", "+A")
        with pytest.raises(ReferenceReuseError, match="'A' was reported"):
            store.reserve(submission(), records("+A"), again=True)

    def test_what_was_not_sent_is_released(self, url: str) -> None:
        store = References(url)
        store.reserve(submission(), records("+A"))
        assert store.release(submission(), ["file"])
        assert not store.release(submission(), ["file"])
        reserved(store, "two", "+A")
        assert not store.release(submission("two"), ["file"])  # it is delivered

    @pytest.mark.parametrize("reference", ["a,b", 'q"uote', "new\nline", "\\N", "Ü", " ", "NULL"])
    def test_any_text_can_be_a_reference(self, url: str, reference: str) -> None:
        store = References(url)
        reserved(store, "one", f"+{reference}")
        [[held]] = store.held("authority", {}, records(f"+{reference}"))
        assert (held.reference, held.cancels) == (reference, False)

    def test_many_faults_are_counted_and_some_are_named(self, url: str) -> None:
        store = References(url)
        reserved(store, "one", *(f"+{n}" for n in range(100)))
        with pytest.raises(ReferenceReuseError, match=r"^100 records .*; and 95 more"):
            reserved(store, "two", *(f"+{n}" for n in range(100)))
