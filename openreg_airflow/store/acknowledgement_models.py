"""The tables of what authorities answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from openreg_airflow.store.models import ID, SHA256, FreeText, RunRow, UtcDateTime


class AcknowledgementRow(RunRow):
    """How it stands with one file that was sent over one route.

    ``told`` is what an answer over several files has told as long as it is not complete.
    """

    __tablename__ = "openreg_acknowledgement"
    __table_args__ = (
        UniqueConstraint("report_id", "business_date", "run_id", "route", "artifact", "position"),
        Index(None, "state"),
    )

    route: Mapped[str] = mapped_column(String(ID))
    artifact: Mapped[str] = mapped_column(String(ID))
    position: Mapped[int] = mapped_column(Integer)
    filename: Mapped[str] = mapped_column(FreeText)
    state: Mapped[str] = mapped_column(String(20))
    sent: Mapped[int] = mapped_column(BigInteger)
    accepted: Mapped[int] = mapped_column(BigInteger)
    rejected: Mapped[int] = mapped_column(BigInteger)
    pending: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    text: Mapped[str] = mapped_column(FreeText)
    told: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class FeedbackFileRow(RunRow):
    """One file that an authority left for us, read or refused; it is kept at ``uri``.

    ``words`` is the file of the newest words on single records after this one was read;
    ``came_as`` has the names under which its bytes came, with what was told of their last change.
    """

    __tablename__ = "openreg_feedback_file"
    __table_args__ = (
        UniqueConstraint("report_id", "business_date", "run_id", "route", "artifact", "sha256"),
    )

    route: Mapped[str] = mapped_column(String(ID))
    artifact: Mapped[str] = mapped_column(String(ID))
    filename: Mapped[str] = mapped_column(FreeText)
    sha256: Mapped[str] = mapped_column(String(SHA256))
    bytes: Mapped[int] = mapped_column(BigInteger)
    uri: Mapped[str] = mapped_column(FreeText)
    result: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(FreeText)
    words: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    came_as: Mapped[dict[str, str]] = mapped_column(JSON, server_default=text("'{}'"))


class RecordAnswerRow(RunRow):
    """What an authority says of one record that it did not simply accept, or not at first.

    ``reference`` is what the authority names the record by. It is in an index, where a row's size
    is bounded: longer ones are refused before. ``row`` is the record's number in the table that was
    written, from 0; -1 where an earlier version did not keep it.
    """

    __tablename__ = "openreg_record_answer"
    __table_args__ = (
        UniqueConstraint(
            "report_id", "business_date", "run_id", "route", "artifact", "reference", "row"
        ),
    )

    route: Mapped[str] = mapped_column(String(ID))
    artifact: Mapped[str] = mapped_column(String(ID))
    reference: Mapped[str] = mapped_column(String(ID))
    row: Mapped[int] = mapped_column(BigInteger, server_default="-1")
    position: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(20))
    rules: Mapped[str] = mapped_column(FreeText)
    text: Mapped[str] = mapped_column(FreeText)
