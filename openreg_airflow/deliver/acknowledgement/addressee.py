"""Which of the files that were sent a feedback file answers."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.feedback import (
    Feedback,
    FeedbackError,
    Page,
    checked_page,
)
from openreg_airflow.deliver.acknowledgement.pattern import fill, matches, page_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.feedback import FileStatus
    from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec
    from openreg_airflow.records import ArtifactFile

_ASK = "It is kept and nothing of it was taken. Ask the authority what it belongs to."


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What was sent over a route.

    Attributes:
        files: the report files of the artifact, in their order.
        table: the table that was written as Parquet; None when only files are spoken of.
        names: its columns by which answers name a record.
    """

    business_date: date
    files: Sequence[ArtifactFile]
    table: Path | None
    names: Sequence[str]


def answered_files(
    feedback: Sequence[Feedback], name: str, sent: Sent, spec: AcknowledgementSpec
) -> dict[int, Feedback]:
    """Which sent file each part of a feedback file answers, by position from 1.

    What several parts say of one file is one answer: its state, and the numbers of records.

    Raises:
        FeedbackError: it answers something else, or does not say what.
    """
    found: dict[int, Feedback] = {}
    for one in feedback:
        if one.original is not None:
            original = unicodedata.normalize("NFC", one.original)
            here = [n for n, f in enumerate(sent.files, 1) if original in _known(f, sent, spec)]
            said = f"it answers {one.original!r}, which was not sent here"
        else:
            here = [
                number
                for number, file in enumerate(sent.files, 1)
                if matches(name, spec.pattern, file.filename, sent.business_date)
            ]
            said = f"it does not say which of {len(here)} files it answers"
        if len(here) != 1:
            message = f"{name} is no answer to this delivery: {said}"
            raise FeedbackError(message, hint=_ASK)
        one.page = _page(name, sent.files[here[0] - 1].filename, one, sent, spec)
        before = found.get(here[0])
        found[here[0]] = one if before is None else _together(name, before, one)
    return found


def _page(
    name: str, filename: str, one: Feedback, sent: Sent, spec: AcknowledgementSpec
) -> Page | None:
    """The page that it says it is, within or by its name."""
    number, last = page_of(name, spec.pattern, filename, sent.business_date)
    if number is None:
        return one.page
    named = checked_page(name, Page(number=number, last=last))
    if one.page is None:
        return named
    ends = {end for end in (named.last, one.page.last) if end is not None}
    if named.number != one.page.number or len(ends) > 1:
        message = f"{name} is page {one.page.number} by what is in it, and {number} by its name"
        raise FeedbackError(message, hint=_ASK)
    return Page(number=number, last=ends.pop() if ends else None)


def _together(name: str, first: Feedback, second: Feedback) -> Feedback:
    """What two parts of a file say of one file that was sent.

    Raises:
        FeedbackError: they say different things.
    """
    if (first.total, first.counts) == (second.total, second.counts) or second.total is None:
        total, counts = first.total, first.counts
    elif first.total is None:
        total, counts = second.total, second.counts
    else:
        total = first.total + second.total
        states = {*(first.counts or {}), *(second.counts or {})}
        counts = {s: sum((f.counts or {}).get(s, 0) for f in (first, second)) for s in states}
    return Feedback(
        status=status_of_both(name, first.status, second.status),
        original=first.original,
        total=total,
        counts=counts,
        text="; ".join(dict.fromkeys(text for text in (first.text, second.text) if text)),
        rules=tuple(dict.fromkeys((*first.rules, *second.rules))),
        page=first.page,
    )


def status_of_both(
    name: str, first: FileStatus | None, second: FileStatus | None
) -> FileStatus | None:
    """The state of a file of which two parts of an answer say something.

    Raises:
        FeedbackError: one says that nothing was taken, and the other not.
    """
    said = {one for one in (first, second) if one not in (None, "received")}
    if not said:
        return first or second
    if said == {"accepted", "partly accepted"}:
        return "partly accepted"
    if len(said) > 1:
        message = f"{name} says {second}, where {first} was said of the same file"
        raise FeedbackError(message, hint=_ASK)
    return said.pop()


def _known(file: ArtifactFile, sent: Sent, spec: AcknowledgementSpec) -> set[str]:
    name = file.filename
    patterns = ["{filename}", "{stem}", "{stem0}", *([spec.original] if spec.original else [])]
    filled = (fill(pattern, name, sent.business_date) for pattern in patterns)
    return {unicodedata.normalize("NFC", each) for each in filled}
