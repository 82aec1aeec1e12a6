"""Holding an authority's answers against what was sent; nothing is guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.addressee import answered_files
from openreg_airflow.deliver.acknowledgement.bench import Bench
from openreg_airflow.deliver.acknowledgement.feedback import Feedback, FeedbackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.addressee import Sent
    from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec
    from openreg_airflow.store.acknowledgements import Acknowledgement, AckState

_ASK = "It is kept and nothing of it was taken. Ask the authority what it belongs to."


def match(
    name: str,
    feedback: Sequence[Feedback],
    answers: Path,
    sent: Sent,
    spec: AcknowledgementSpec,
    *,
    known: Path | None,
    newest: Path,
    standings: Sequence[Acknowledgement],
    now: datetime,
) -> list[Acknowledgement]:
    """Hold a feedback file against what was sent and what is known of it.

    Args:
        name: the feedback file's name.
        feedback: what it says of files.
        answers: what it says of records, as :class:`.AnswerFile` wrote it.
        sent: what was sent.
        spec: what was awaited.
        known: what earlier files said of records, as :class:`.WordFile` wrote it.
        newest: is written: what is known of records now. Temporary files lie beside it.
        standings: how it stood with the files before.
        now: the instant that is recorded.

    Returns:
        How it stands now with each file that was answered.

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
        # Where the whole file is not accepted, each accepted record is a word of its own.
        taken = ("accepted", "partly accepted")
        alone = any(one.status not in taken for one in answered.values())
        counts = bench.write_newest(newest, accepted_too=alone)
    return [
        _standing(name, before, answered[before.position], counts[before.position], now)
        for before in standings
        if before.position in answered
    ]


def _standing(
    name: str,
    before: Acknowledgement,
    feedback: Feedback,
    states: Mapping[str, int],
    now: datetime,
) -> Acknowledgement:
    counts = {status: states.get(status, 0) for status in ("accepted", "rejected", "pending")}
    left = before.sent - sum(counts.values())
    state: AckState = feedback.status or "received"
    if state == "received":
        state = _state_of(before, counts, left)
    if state in ("rejected", "corrupted"):
        counts["rejected"] += left
    elif state in ("accepted", "partly accepted"):
        counts["accepted"] += left
    else:
        counts["pending"] += left
    _hold_counts(name, before, feedback, counts)
    return before.model_copy(
        update={
            **counts,
            "state": state,
            "answered_at": now,
            "text": " ".join([*feedback.rules, feedback.text]).strip() or before.text,
        }
    )


def _state_of(before: Acknowledgement, counts: Mapping[str, int], left: int) -> AckState:
    """What a file's state is when a feedback file speaks of its records only.

    What an earlier one has decided of the whole file stands for the records that nobody names.
    """
    if before.state in ("rejected", "corrupted"):
        return before.state
    if left and before.state not in ("accepted", "partly accepted"):
        return "received"
    taken, rejected, pending = counts["accepted"] + left, counts["rejected"], counts["pending"]
    if not rejected and not pending:
        return "accepted"
    if taken or (rejected and pending):
        return "partly accepted"
    return "rejected" if rejected else "received"


def _hold_counts(
    name: str, before: Acknowledgement, feedback: Feedback, counts: Mapping[str, int]
) -> None:
    """See that the authority counted what was sent, and what it lists."""
    if feedback.total is not None and feedback.total != before.sent:
        message = f"{name} counts {feedback.total} records, {before.filename} has {before.sent}"
        raise FeedbackError(message, hint=_ASK)
    if feedback.status == "accepted" and counts["rejected"]:
        message = f"{name} accepts {before.filename} and lists rejected records of it"
        raise FeedbackError(message, hint=_ASK)
    told = feedback.counts or {}
    if feedback.status in ("rejected", "corrupted"):
        # All its references would be used again, those of accepted records too.
        if taken := counts["accepted"] or told.get("accepted", 0):
            message = f"{name} rejects {before.filename}, of which {taken} records are accepted"
            raise FeedbackError(message, hint=_ASK)
        return
    if feedback.counts is None:
        return
    wrong = [
        f"{told.get(status, 0)} {status} records and names {counts[status]}"
        for status in ("rejected", "pending")
        if told.get(status, 0) != counts[status]
    ]
    if not wrong and told.get("accepted", counts["accepted"]) != counts["accepted"]:
        wrong = [f"{told['accepted']} accepted records, where {counts['accepted']} are left"]
    if wrong:
        message = f"{name} counts of {before.filename} {', '.join(wrong)}"
        raise FeedbackError(message, hint=_ASK)
