"""The tables of the references under which records were reported."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    Index,
    Integer,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from openreg_airflow.store.models import ID, SHA256, Base, RowId, UtcDateTime


class SubmissionRow(Base):
    """One version of an artifact on its way to the holder of a scope, or there."""

    __tablename__ = "openreg_submission"
    __table_args__ = (
        UniqueConstraint("scope", "report_id", "business_date", "artifact", "content", "version"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    scope: Mapped[str] = mapped_column(String(ID))
    report_id: Mapped[str] = mapped_column(String(ID))
    business_date: Mapped[date] = mapped_column(Date)
    run_id: Mapped[str] = mapped_column(String(ID))
    artifact: Mapped[str] = mapped_column(String(ID))
    version: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(String(SHA256))
    target: Mapped[str] = mapped_column(String(SHA256))
    resubmission: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(20))
    written: Mapped[dict[str, Any]] = mapped_column(JSON)
    inner_tables: Mapped[dict[str, Any]] = mapped_column(JSON, server_default=text("'{}'"))
    records: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ReferenceRow(Base):
    """One record of a submission, in the order in which the authority reads them."""

    __tablename__ = "openreg_reference"
    __table_args__ = (
        Index(None, "scope", "reference", "id"),
        UniqueConstraint("submission_id", "position"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    submission_id: Mapped[int] = mapped_column(BigInteger)
    scope: Mapped[str] = mapped_column(String(ID))
    reference: Mapped[str] = mapped_column(String(ID))
    cancels: Mapped[bool] = mapped_column(Boolean)
    digest: Mapped[str] = mapped_column(String(32))
    position: Mapped[int] = mapped_column(BigInteger)
    rejected: Mapped[bool] = mapped_column(Boolean)
    event: Mapped[str] = mapped_column(String(80), server_default="")
