"""The table of what was delivered where."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from openreg_airflow.store.models import ID, SHA256, Base, FreeText, RowId, UtcDateTime


class Delivered(Base):
    """One file at one destination, whichever run brought it; see :mod:`.deliveries`.

    ``content`` tells the file and ``place`` is the hash of its destination, which would be too
    long for an index.
    """

    __tablename__ = "openreg_delivery"
    __table_args__ = (
        UniqueConstraint("content", "place"),
        Index(None, "place"),
        Index(None, "report_id", "business_date"),
        Index(None, "sequence", "number"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    content: Mapped[str] = mapped_column(String(SHA256))
    place: Mapped[str] = mapped_column(String(SHA256))
    destination: Mapped[str] = mapped_column(FreeText)
    state: Mapped[str] = mapped_column(String(20))
    temporary: Mapped[str | None] = mapped_column(FreeText)
    report_id: Mapped[str] = mapped_column(String(ID))
    business_date: Mapped[date] = mapped_column(Date)
    run_id: Mapped[str] = mapped_column(String(ID))
    route: Mapped[str] = mapped_column(String(ID))
    artifact: Mapped[str] = mapped_column(String(ID))
    filename: Mapped[str] = mapped_column(FreeText)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(SHA256))
    sequence: Mapped[str | None] = mapped_column(String(ID))
    number: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
