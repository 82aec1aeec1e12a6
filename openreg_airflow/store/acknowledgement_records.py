"""What is known of an authority's answers, as it goes on record: by file and by record."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from openreg_airflow.records import Record
from openreg_airflow.store.told import KeptWords, Told

#: ``awaited`` until a file says something else.
AckState = Literal["awaited", "received", "accepted", "partly accepted", "rejected", "corrupted"]


class Acknowledgement(Record):
    """How it stands with one file that was sent over one route.

    Attributes:
        position: which report file of the artifact, from 1.
        sent: records in it; ``accepted + rejected + pending`` is the same number, always.
        due_at: until when an answer is waited for.
        text: what the authority says of the whole file.
        told: what an answer over several files has told so far; None when none is incomplete.
    """

    route: str
    artifact: str
    position: int
    filename: str
    sent: int
    pending: int
    due_at: datetime
    state: AckState = "awaited"
    accepted: int = 0
    rejected: int = 0
    answered_at: datetime | None = None
    text: str = ""
    told: Told | None = None

    @property
    def untold(self) -> str:
        """What an answer over several files has still to say, for people; empty when nothing."""
        if self.told is None:
            return ""
        return self.told.untold(self.sent, self.rejected, self.pending)

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in ("rejected", "corrupted") or (
            self.state in ("accepted", "partly accepted") and not self.pending
        )


class AcknowledgementOfRun(Acknowledgement):
    """The same, with the run it belongs to.

    Attributes:
        refused: the files that came for the artifact and were refused, each with the reason.
    """

    report_id: str
    business_date: date
    run_id: str
    refused: dict[str, str] = Field(default_factory=dict)


class FeedbackFile(Record):
    """One file that an authority left for us.

    Attributes:
        reason: why it was refused.
        words: the words on single records after it was read, accepted ones included; None when
            it was refused, or read by a version that kept them all in the store.
        came_as: the names under which its bytes came, each with what the place told of its last
            change; empty for the name alone where an earlier version read it.
    """

    route: str
    artifact: str
    filename: str
    sha256: str
    bytes: int
    uri: str
    result: Literal["read", "refused"]
    reason: str = ""
    words: KeptWords | None = None
    came_as: dict[str, str] = Field(default_factory=dict)

    @field_validator("words", mode="before")
    @classmethod
    def _one_file(cls, words: Any) -> Any:
        # An earlier version kept all words in one file, and only where that is.
        return {"files": [words]} if isinstance(words, dict) and "uri" in words else words

    @property
    def names(self) -> dict[str, str]:
        """All names under which it came, with what was told of their last change."""
        return {self.filename: ""} | self.came_as


class RecordAnswer(Record):
    """What an authority says of one record.

    Attributes:
        reference: what the authority names it by.
        position: which report file of the artifact, from 1.
        row: its number in the table that was written, from 0; -1 where an earlier version did not
            keep it: then the last row with that reference is meant.
        rules: ids of the rules that it broke, separated by spaces.
        text: what they say.
    """

    route: str
    artifact: str
    reference: str
    position: int
    status: Literal["accepted", "rejected", "pending"]
    row: int = -1
    rules: str = ""
    text: str = ""


def overdue(one: Acknowledgement, now: datetime | None = None) -> bool:
    """Whether the authority should have answered by now."""
    return not one.settled and (now or datetime.now(UTC)) > one.due_at
