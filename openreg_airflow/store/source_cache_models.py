"""The index of query results that reports share, as a SQLAlchemy model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from openreg_airflow.store.models import ID, SHA256, Base, RowId, UtcDateTime


class CachedResultRow(Base):
    """One query, its newest result, and who reads it anew at the moment."""

    __tablename__ = "openreg_source_cache"
    __table_args__ = (UniqueConstraint("key"), Index(None, "keep_until"))

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    key: Mapped[str] = mapped_column(String(SHA256))
    connection: Mapped[str | None] = mapped_column(String(ID))
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    keep_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reader: Mapped[str | None] = mapped_column(String(SHA256))
    reading_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
