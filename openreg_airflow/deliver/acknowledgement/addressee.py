"""Which of the files that were sent a feedback file answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.feedback import Feedback, FeedbackError
from openreg_airflow.deliver.acknowledgement.pattern import fill, matches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

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

    Raises:
        FeedbackError: it answers something else, or does not say what.
    """
    found: dict[int, Feedback] = {}
    for one in feedback:
        if one.original is not None:
            here = [n for n, f in enumerate(sent.files, 1) if one.original in _known(f, sent, spec)]
            said = f"it answers {one.original!r}, which was not sent here"
        else:
            here = [
                number
                for number, file in enumerate(sent.files, 1)
                if matches(name, spec.pattern, file.filename, sent.business_date)
            ]
            said = f"it does not say which of {len(here)} files it answers"
        if len(here) != 1 or here[0] in found:
            message = f"{name} is no answer to this delivery: {said}"
            raise FeedbackError(message, hint=_ASK)
        found[here[0]] = one
    return found


def _known(file: ArtifactFile, sent: Sent, spec: AcknowledgementSpec) -> set[str]:
    name = file.filename
    patterns = ["{filename}", "{stem}", "{stem0}", *([spec.original] if spec.original else [])]
    return {fill(pattern, name, sent.business_date) for pattern in patterns}
