"""An answer that an authority splits over several files: added up, and complete when all is told.

Its files come in any order, some of them twice. What is told stays; what is not told is pending
until one of these says that the rest was accepted:

- every record was named;
- the numbers of the whole file, of which each of its files may name some: as many records are
  rejected and pending as are counted;
- the pages: all of them came, up to the one that is the last;
- the numbers of each of its files, which together are as many as were sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.addressee import status_of_both
from openreg_airflow.deliver.acknowledgement.feedback import Feedback, FeedbackError, RecordStatus
from openreg_airflow.store.told import Told, ToldPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.deliver.acknowledgement.bench import Heard
    from openreg_airflow.store.acknowledgement_records import Acknowledgement

    Counts = Mapping[RecordStatus, int]

_SETTLED: tuple[RecordStatus, ...] = ("accepted", "rejected")
_ASK = "It is kept and nothing of it was taken. Ask the authority what it belongs to."


def counted(name: str, filename: str, feedback: Feedback, sent: int, own: Counts) -> Counts | None:
    """What a file counts by state; None when it does not count.

    Args:
        name: the file's name.
        filename: of the file that was sent.
        feedback: what it says of that file.
        sent: records in it.
        own: how many of them it names, by state.

    Raises:
        FeedbackError: it contradicts itself.
    """
    told = feedback.counts
    total = sent if feedback.total is None else feedback.total
    if not told and total < sent:
        return _counted_by_status(name, filename, feedback, own)
    if told is None or (not told and feedback.status != "accepted"):
        return None
    rejected, pending = told.get("rejected", 0), told.get("pending", 0)
    accepted = told.get("accepted", max(total - rejected - pending, 0))
    if accepted + rejected + pending != total:
        left = total - rejected - pending
        message = f"{name} counts of {filename} {accepted} accepted records, where {left} are left"
        raise FeedbackError(message, hint=_ASK)
    if feedback.status == "accepted" and rejected:
        message = f"{name} accepts {filename} and counts {rejected} rejected records of it"
        raise FeedbackError(message, hint=_ASK)
    return {"accepted": accepted, "rejected": rejected, "pending": pending}


def _counted_by_status(name: str, filename: str, feedback: Feedback, own: Counts) -> Counts | None:
    """The states of the records that a file counts for itself, where it says only its own state.

    Raises:
        FeedbackError: it does not name what it does not accept.
    """
    total = feedback.total or 0
    if feedback.status in ("rejected", "corrupted"):
        return {"accepted": 0, "rejected": total, "pending": 0}
    if feedback.status not in ("accepted", "partly accepted"):
        return None
    if feedback.status == "partly accepted" and not own["rejected"] + own["pending"]:
        message = f"{name} is {feedback.status} of {filename} and names no record that is not"
        raise FeedbackError(message, hint=_ASK)
    left = total - own["rejected"] - own["pending"]
    return {"accepted": left, "rejected": own["rejected"], "pending": own["pending"]}


def came_before(told: Told | None, feedback: Feedback, digest: str) -> bool:
    """Whether this very page was read already, whatever it is called now."""
    number = feedback.page.number if feedback.page is not None else None
    return told is not None and any(
        page.number == number and page.digest == digest for page in told.pages
    )


def told_now(  # noqa: PLR0917 - what is added to what
    name: str,
    before: Acknowledgement,
    feedback: Feedback,
    counts: Counts | None,
    heard: Heard,
    digest: str,
) -> Told:
    """Add a file to what the others of its answer told.

    Args:
        name: the file's name.
        before: how it stood.
        feedback: what it says of the file that was sent.
        counts: what it counts.
        heard: what records it and the others name.
        digest: tells what it says.

    Raises:
        FeedbackError: it contradicts what was told.
    """
    told = before.told or Told()
    if feedback.status == "received":
        if not sum(heard.own.values()):
            # A receipt is no part of the answer, whatever it counts and numbers.
            return told
        told = told.model_copy(update={"received": told.received or feedback.page is not None})
    own_part = feedback.total is not None and feedback.total < before.sent
    if own_part:
        if counts is not None:
            hold_own_part(name, before, feedback, counts, heard.own)
        if heard.again:
            message = (
                f"{name} counts only the records that it speaks of, and other files of the same "
                f"answer named {heard.again} of them"
            )
            raise FeedbackError(message, hint=_ASK)
    else:
        status = status_of_both(name, told.status, feedback.status)
        told = told.model_copy(update={"status": None if status == "received" else status})
        # What is only received is counted as it came, and nothing is decided.
        if counts is not None and feedback.status != "received":
            _hold_counts(name, before, told, counts)
            told = told.model_copy(update={"counts": dict(counts)})
    decided = counts is not None and feedback.status != "received"
    total = feedback.total if own_part and decided else None
    told = _with_page(name, before, told, feedback, digest, own_part=own_part, total=total)
    _hold_whole(name, before, told, heard.named)
    return told


def _hold_counts(name: str, before: Acknowledgement, told: Told, counts: Counts) -> None:
    """See that nothing is taken back that an earlier file counted: only pending records change."""
    earlier = told.counts
    if earlier and any(counts[state] < earlier[state] for state in _SETTLED):
        message = (
            f"{name} counts of {before.filename} {_spelled(counts)} records, an earlier file of "
            f"the same answer {_spelled(earlier)}"
        )
        raise FeedbackError(message, hint=_ASK)


def complete(
    told: Told, sent: int, named: Counts, *, split: bool, open_ended: bool = False
) -> bool:
    """Whether all is told.

    Args:
        told: what was told.
        sent: records of the file.
        named: how many of them were named, by state.
        split: the authority may leave parts of an answer for files that have no numbers.
        open_ended: the last page may have been read before it was whole.
    """
    if sum(named.values()) == sent:
        return True
    if told.counts is not None and _agree(told.counts, named):
        return True
    if told.numbers and len(told.numbers) == told.last:
        # Of what was only received nobody has said yet that the rest is accepted.
        return not open_ended and (told.status is not None or not told.received)
    if told.totals:
        return told.totals == sent
    if split or told.pages or told.counts is not None or told.status is None:
        return False
    # Nothing says that there is more; but which records were refused must have been said.
    return told.status != "partly accepted" or named["rejected"] + named["pending"] > 0


def _with_page(
    name: str,
    before: Acknowledgement,
    told: Told,
    feedback: Feedback,
    digest: str,
    *,
    own_part: bool,
    total: int | None,
) -> Told:
    page = feedback.page
    if page is None and not own_part:
        return told
    number = page.number if page is not None else None
    if number in told.numbers and not feedback.open_ended:
        message = f"{name} is page {number}, which came before and said something else"
        raise FeedbackError(message, hint=_ASK)
    pages = (
        *(each for each in told.pages if number is None or each.number != number),
        ToldPage(number=number, digest=digest, total=total),
    )
    ends = {end for end in (told.last, page.last if page is not None else None) if end is not None}
    numbers = {each.number for each in pages if each.number is not None}
    if len(ends) > 1 or (ends and numbers and max(numbers) > min(ends)):
        message = f"{name} is page {number}, and {min(ends)} is the last one of its answer"
        raise FeedbackError(message, hint=_ASK)
    told = told.model_copy(update={"pages": pages, "last": ends.pop() if ends else None})
    if told.totals > before.sent:
        message = (
            f"{name} and the other files of its answer count {told.totals} records, "
            f"{before.filename} has {before.sent}"
        )
        raise FeedbackError(message, hint=_ASK)
    return told


def hold_own_part(
    name: str, before: Acknowledgement, feedback: Feedback, counts: Counts, own: Counts
) -> None:
    """See that a file that counts only what it speaks of names whatever it does not accept."""
    wrong = [
        f"{counts[status]} {status} records and names {own[status]}"
        for status in ("rejected", "pending")
        if counts[status] != own[status]
    ]
    if not wrong and counts["accepted"] < own["accepted"]:
        wrong = [f"{counts['accepted']} accepted records and names {own['accepted']}"]
    if not wrong and feedback.status in ("rejected", "corrupted") and counts["accepted"]:
        wrong = [f"{counts['accepted']} accepted records and is {feedback.status}"]
    if wrong:
        message = f"{name} counts of {before.filename} {', '.join(wrong)}"
        raise FeedbackError(message, hint=_ASK)


def _hold_whole(name: str, before: Acknowledgement, told: Told, named: Counts) -> None:
    """See that no more is named than is counted, and that the last page leaves nothing open."""
    counts, fault = told.counts, ""
    more = 0
    if counts is not None:
        more = sum(max(0, named[s] - counts[s]) for s in _SETTLED)
    # As many of those that were counted as pending may have been settled.
    if counts is not None and more > max(0, counts["pending"] - named["pending"]):
        fault = (
            f"counts of {before.filename} {_spelled(counts)} records, and "
            f"{_spelled(named)} are named"
        )
    elif told.numbers and len(told.numbers) == told.last:
        fault = _open_at_the_end(before, told, named)
    if fault:
        message = f"{name} {fault}"
        raise FeedbackError(message, hint=_ASK)


def _open_at_the_end(before: Acknowledgement, told: Told, named: Counts) -> str:
    """What is not told although all pages are there; empty when nothing."""
    ends = f"is the last page to come of the answer to {before.filename}"
    if told.counts is not None and not _agree(told.counts, named):
        return f"{ends}: {_spelled(told.counts)} records are counted and {_spelled(named)} named"
    if all(page.total is not None for page in told.pages) and told.totals != before.sent:
        return f"{ends}: {told.totals} records are counted, {before.sent} were sent"
    if (
        told.status == "partly accepted"
        and told.counts is None
        and sum(named.values()) < before.sent
        and not named["rejected"] + named["pending"]
    ):
        return f"{ends}, which is partly accepted, and no record is named that was not"
    return ""


def _agree(counts: Counts, named: Counts) -> bool:
    return all(counts[state] == named[state] for state in ("rejected", "pending"))


def _spelled(counts: Counts) -> str:
    return ", ".join(f"{number} {state}" for state, number in counts.items())
