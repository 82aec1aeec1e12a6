"""What runs leave of the mapping sets that they used, as SQLAlchemy models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from openreg_airflow.store.models import ID, SHA256, FreeText, RunRow, UtcDateTime


class SnapshotRow(RunRow):
    """A mapping set as one run saw it; ``detail`` holds its columns."""

    __tablename__ = "openreg_mapping_snapshot"
    __table_args__ = (
        UniqueConstraint("report_id", "business_date", "run_id", "name"),
        Index(None, "set_id", "version"),
    )

    name: Mapped[str] = mapped_column(String(ID))
    set_id: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)
    known_at: Mapped[datetime] = mapped_column(UtcDateTime)
    uri: Mapped[str] = mapped_column(FreeText)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(SHA256))
    rows: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class MappingUseRow(RunRow):
    """How one step of a run fared with one mapping set; ``detail`` holds unmapped values."""

    __tablename__ = "openreg_mapping_use"
    __table_args__ = (UniqueConstraint("report_id", "business_date", "run_id", "place", "name"),)

    place: Mapped[str] = mapped_column(String(ID))
    name: Mapped[str] = mapped_column(String(ID))
    rows: Mapped[int] = mapped_column(BigInteger)
    blank: Mapped[int] = mapped_column(BigInteger)
    unmapped: Mapped[int] = mapped_column(BigInteger)
    distinct: Mapped[int] = mapped_column("distinct_values", BigInteger)
    fallback: Mapped[str] = mapped_column(String(20))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
