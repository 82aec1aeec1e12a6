"""The tables of the exception queue as SQLAlchemy models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from openreg_airflow.store.models import ID, SHA256, FreeText, RunRow, UtcDateTime


class ExceptionItem(RunRow):
    """A record that was set aside: one row for each record of a report on a business date.

    ``run_id`` and ``recorded_at`` are of the run that set it aside last; it is not in the unique
    key, because the same record of the same date, set aside again by another run, is the same
    item. ``amendments`` lie over ``values`` and ``children``, which stay as they were set aside.
    """

    __tablename__ = "openreg_exception"
    __table_args__ = (
        UniqueConstraint("report_id", "business_date", "table_name", "key_sha256", "occurrence"),
        Index(None, "claimed_by"),
        Index(None, "state"),
    )

    table: Mapped[str] = mapped_column("table_name", String(ID))
    key_sha256: Mapped[str] = mapped_column(String(SHA256))
    occurrence: Mapped[int] = mapped_column(Integer)
    record_key: Mapped[str] = mapped_column(FreeText)
    stage: Mapped[str] = mapped_column(String(50))
    origin: Mapped[str] = mapped_column(String(20))
    position: Mapped[int] = mapped_column(BigInteger)
    values: Mapped[dict[str, Any]] = mapped_column("row_values", JSON)
    children: Mapped[dict[str, Any]] = mapped_column(JSON)
    content_sha256: Mapped[str] = mapped_column(String(SHA256))
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    rules: Mapped[str] = mapped_column(FreeText)
    state: Mapped[str] = mapped_column(String(20))
    version: Mapped[int] = mapped_column(Integer)
    amendments: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    why: Mapped[str | None] = mapped_column(FreeText)
    decided_by: Mapped[str | None] = mapped_column(FreeText)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    previous_state: Mapped[str | None] = mapped_column(String(20))
    previous_amendments: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    previous_why: Mapped[str | None] = mapped_column(FreeText)
    claimed_by: Mapped[str | None] = mapped_column(String(ID))
    reported_by: Mapped[str | None] = mapped_column(String(ID))
    taken_back: Mapped[bool] = mapped_column(Boolean)


class ExceptionCount(RunRow):
    """What one stage of one run took in and handed on, by table of records.

    ``resubmission`` is 0 for a run that reads the source, and numbers the resubmissions of a
    report's date from 1. ``standing`` marks the run whose counts hold for the date. ``detail``
    keeps the records of the tables, so that a resubmission has those that it does not hold itself.
    """

    __tablename__ = "openreg_exception_count"
    __table_args__ = (
        UniqueConstraint("report_id", "business_date", "run_id", "stage", "table_name"),
    )

    stage: Mapped[str] = mapped_column(String(50))
    table: Mapped[str] = mapped_column("table_name", String(ID))
    resubmission: Mapped[int] = mapped_column(Integer)
    taken: Mapped[int] = mapped_column(BigInteger)
    handed_on: Mapped[int] = mapped_column(BigInteger)
    standing: Mapped[bool] = mapped_column(Boolean)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
