"""Holding an authority's answers against what was sent; nothing is guessed."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.addressee import answered_files
from openreg_airflow.deliver.acknowledgement.bench import Bench, Heard
from openreg_airflow.deliver.acknowledgement.feedback import Feedback, FeedbackError
from openreg_airflow.deliver.acknowledgement.pages import (
    came_before,
    complete,
    counted,
    hold_own_part,
    told_now,
)
from openreg_airflow.store.told import Told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.addressee import Sent
    from openreg_airflow.deliver.acknowledgement.feedback import RecordStatus
    from openreg_airflow.deliver.acknowledgement.kept import KnownWords
    from openreg_airflow.deliver.acknowledgement.pages import Counts
    from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec
    from openreg_airflow.store.acknowledgement_records import Acknowledgement, AckState

log = logging.getLogger(__name__)

_ASK = "It is kept and nothing of it was taken. Ask the authority what it belongs to."
_TAKEN = ("accepted", "partly accepted")


@dataclass(frozen=True, kw_only=True)
class Matched:
    """What a feedback file told.

    Attributes:
        standings: how it stands now with each file that was answered.
        named: how many records of each position are spoken of by now, by their newest states.
        words: how many words on records were written.
        everything: they are all that are known, and not only those of this file.
    """

    standings: list[Acknowledgement]
    named: dict[int, dict[RecordStatus, int]]
    words: int
    everything: bool


def match(
    name: str,
    feedback: Sequence[Feedback],
    answers: Path,
    sent: Sent,
    spec: AcknowledgementSpec,
    *,
    known: KnownWords | None,
    newest: Path,
    standings: Sequence[Acknowledgement],
    now: datetime,
    repeated: bool = False,
) -> Matched:
    """Hold a feedback file against what was sent and what is known of it.

    Args:
        name: the feedback file's name.
        feedback: what it says of files.
        answers: what it says of records, as :class:`.AnswerFile` wrote it.
        sent: what was sent.
        spec: what was awaited.
        known: what earlier files said of records; None when there were none.
        newest: is written: what it says of records, as :class:`.WordFile` writes it. Temporary
            files lie beside it.
        standings: how it stood with the files before.
        now: the instant that is recorded.
        repeated: the same bytes were read before, under another name: they say nothing new but of
            files that were sent once more since.

    Raises:
        FeedbackError: it speaks of records that were not sent, contradicts itself, or its counts
            are not those of what was sent.
        StorageError: the disk is full.
    """
    answered = answered_files(feedback, name, sent, spec)
    unheard = {one.position for one in standings if one.state == "awaited"}
    with Bench(name, answers, sent, answered, known, newest.parent, unheard=unheard) as bench:
        bench.refuse_unknown()
        bench.refuse_contradictions()
        found = []
        for before in standings:
            if before.position not in answered:
                continue
            said = answered[before.position]
            digest = _digest(said, answers)
            if (repeated and before.state != "awaited") or came_before(before.told, said, digest):
                log.info("%s says of %s what was said before", name, before.filename)
                bench.forget(before.position)
                found.append(before)
                continue
            if before.told is not None:
                bench.refuse_other_words(before.position)
            heard = bench.heard(before.position)
            found.append(
                _standing(name, before, said, heard, now=now, digest=digest, split=spec.in_files)
            )
        # Where nobody accepts the whole file, each accepted record is a word of its own: a later
        # file that rejects the whole then contradicts it.
        states = (*(one.state for one in found), *(said.status for said in answered.values()))
        done = bench.write_newest(newest, accepted_too=any(state not in _TAKEN for state in states))
        everything = bench.everything
    return Matched(standings=found, named=done.named, words=done.words, everything=everything)


def _digest(said: Feedback, answers: Path) -> str:
    """Tells what a file says from what another one says."""
    with answers.open("rb") as file:
        records = hashlib.file_digest(file, "sha256").hexdigest()
    if said.page is None:
        # Sent once more with other remarks, it must not be counted twice.
        said = replace(said, original=None, text="", rules=())
    return hashlib.sha256(f"{records} {said}".encode()).hexdigest()


def _standing(
    name: str,
    before: Acknowledgement,
    feedback: Feedback,
    heard: Heard,
    *,
    now: datetime,
    digest: str,
    split: bool,
) -> Acknowledgement:
    counts = counted(name, before.filename, feedback, before.sent, heard.own)
    paged = split or feedback.page is not None or before.told is not None
    total = before.sent if feedback.total is None else feedback.total
    if total > before.sent or (total < before.sent and not paged):
        message = f"{name} counts {total} records, {before.filename} has {before.sent}"
        hint = f"{_ASK} Where it spreads an answer over several files, say `split: true`."
        raise FeedbackError(message, hint=hint if total < before.sent else _ASK)
    _hold_accepted(name, before, feedback, heard.own if paged else heard.named)
    part = paged and total < before.sent
    part = part or (paged and feedback.total is None and sum(heard.own.values()) > 0)
    told: Told | None = None
    state: AckState
    rest: RecordStatus
    if feedback.status in ("rejected", "corrupted") and not part:
        _hold_rejected(name, before, heard.named, counts)
        state, rest = feedback.status, "rejected"
    elif before.state in _TAKEN:
        # What nobody named is accepted already; only what is pending may still change.
        state, rest = _later(name, before, feedback, counts, heard), "accepted"
    elif before.state in ("rejected", "corrupted") and feedback.status in (None, "received"):
        _hold_still_rejected(name, before, feedback, counts, heard.named)
        state, rest = before.state, "rejected"
    else:
        told = told_now(name, before, feedback, counts, heard, digest)
        ended = complete(
            told, before.sent, heard.named, split=split, open_ended=feedback.open_ended
        )
        if ended:
            state, rest = _so_far(name, before, told, heard.named)
            told = None
        else:
            state, rest = "received", "pending"
            told = told if split or told != Told() else None
    left = before.sent - sum(heard.named.values())
    return before.model_copy(
        update={
            "accepted": heard.named["accepted"] + left * (rest == "accepted"),
            "rejected": heard.named["rejected"] + left * (rest == "rejected"),
            "pending": heard.named["pending"] + left * (rest == "pending"),
            "state": state,
            "answered_at": now,
            "text": " ".join([*feedback.rules, feedback.text]).strip() or before.text,
            "told": told,
        }
    )


def _later(
    name: str,
    before: Acknowledgement,
    feedback: Feedback,
    counts: Counts | None,
    heard: Heard,
) -> AckState:
    """The state of a file that was accepted, all or in part, after a later word on some records.

    Raises:
        FeedbackError: what it counts cannot be.
    """
    named = heard.named
    taken = named["accepted"] + before.sent - sum(named.values())
    if counts is not None and feedback.total is not None and feedback.total < before.sent:
        hold_own_part(name, before, feedback, counts, heard.own)
    elif counts is not None and feedback.status != "received":
        # Of pending records later files may tell: as many may have been settled as are not named.
        wrong = [
            f"{counts['rejected']} rejected records and names {named['rejected']}"
            for _ in range(counts["rejected"] < named["rejected"])
        ]
        wrong += [
            f"{counts['accepted']} accepted records, where {taken} are left"
            for _ in range(counts["accepted"] < taken)
        ]
        if wrong:
            message = f"{name} counts of {before.filename} {', '.join(wrong)}"
            raise FeedbackError(message, hint=_ASK)
    part = feedback.total is not None and feedback.total < before.sent
    whole = None if part else feedback.status
    if whole == "partly accepted" or (whole == "accepted" and not named["rejected"]):
        return whole
    return _state_of(taken, named)


def _so_far(
    name: str, before: Acknowledgement, told: Told, named: Counts
) -> tuple[AckState, RecordStatus]:
    """The state of a file of which all is told, and that of the records that nobody named.

    Raises:
        FeedbackError: its files contradict each other.
    """
    if told.status in ("rejected", "corrupted"):
        _hold_rejected(name, before, named, None)
        return told.status, "rejected"
    if told.status == "accepted" and not named["rejected"]:
        return "accepted", "accepted"
    if told.status == "partly accepted":
        return "partly accepted", "accepted"
    taken = named["accepted"] + before.sent - sum(named.values())
    return _state_of(taken, named), "accepted"


def _state_of(taken: int, named: Counts) -> AckState:
    """The state of a file by those of its records."""
    rejected, pending = named["rejected"], named["pending"]
    if not rejected and not pending:
        return "accepted"
    if taken or (rejected and pending):
        return "partly accepted"
    return "rejected" if rejected else "received"


def _hold_accepted(name: str, before: Acknowledgement, feedback: Feedback, named: Counts) -> None:
    if feedback.status == "accepted" and named["rejected"]:
        message = f"{name} accepts {before.filename} and lists rejected records of it"
        raise FeedbackError(message, hint=_ASK)


def _hold_rejected(
    name: str, before: Acknowledgement, named: Counts, counts: Counts | None
) -> None:
    # All its references would be used again, those of accepted records too.
    if taken := named["accepted"] or (counts or {}).get("accepted", 0):
        message = f"{name} rejects {before.filename}, of which {taken} records are accepted"
        raise FeedbackError(message, hint=_ASK)


def _hold_still_rejected(
    name: str, before: Acknowledgement, feedback: Feedback, counts: Counts | None, named: Counts
) -> None:
    # A late receipt counts what came; anything else that counts has changed its mind.
    if counts is None or feedback.status == "received":
        return
    if counts["accepted"] > named["accepted"]:
        message = (
            f"{name} counts {counts['accepted']} accepted records of {before.filename}, which is "
            f"{before.state}, and does not accept it"
        )
        raise FeedbackError(message, hint=_ASK)
