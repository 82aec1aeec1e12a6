"""Mapping sets and their entries on two time lines, as SQLAlchemy models.

An entry is true in its effective period and known in its recorded one. The recorded period is
counted in revisions of its set, and a revision has its instant: whole changes are told apart that
came at the same moment, and what a change adds is stamped when it ends, not while it is written.
"""

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
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from openreg_airflow.store.models import ID, Base, FreeText, RowId, UtcDateTime

#: ``revision_to`` of what is known now.
CURRENT = 2**63 - 1
#: Effective dates of open ends: of a beginning, of an end.
ALWAYS = date(1, 1, 1)
FOREVER = date(9999, 12, 31)
#: What is no longer known; SQLite uses the index of such rows only where it reads these words.
PAST = text(f"revision_to < {CURRENT}")
#: Sorted by code points everywhere, as SQLite and Python do it.
PlainText = Text().with_variant(Text(collation="C"), "postgresql")


class MappingSetRow(Base):
    """One mapping set.

    ``shape`` has its key and value columns; ``revision`` counts changes of entries, ``edition``
    those of what is said about the set.
    """

    __tablename__ = "openreg_mapping_set"
    __table_args__ = (UniqueConstraint("tenant", "name"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(String(ID))
    name: Mapped[str] = mapped_column(String(ID))
    description: Mapped[str] = mapped_column(FreeText)
    owner: Mapped[str] = mapped_column(FreeText)
    shape: Mapped[dict[str, Any]] = mapped_column(JSON)
    read_only: Mapped[bool] = mapped_column(Boolean)
    source: Mapped[str | None] = mapped_column(FreeText)
    source_date: Mapped[date | None] = mapped_column(Date)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    archived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revision: Mapped[int] = mapped_column(BigInteger)
    edition: Mapped[int] = mapped_column(Integer)


class MappingRevisionRow(Base):
    """One change of a set's entries: when it was recorded, whose it was, its audit entry.

    ``added`` is how many records it made: it says which way to search is short.
    """

    __tablename__ = "openreg_mapping_revision"
    __table_args__ = (Index(None, "set_id", "recorded_at"), Index(None, "set_id", "actor"))

    set_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(FreeText)
    origin: Mapped[str] = mapped_column(FreeText)
    action: Mapped[str] = mapped_column(FreeText)
    added: Mapped[int] = mapped_column(BigInteger)
    audit_sequence: Mapped[int] = mapped_column(BigInteger)


class MappingEntryRow(Base):
    """What one revision recorded: this key has this value in this effective period.

    ``key`` and ``value`` are the cells of their columns, one after the other; see
    :mod:`openreg_airflow.mappings.cells`. Effective from inclusive, to exclusive; of revisions
    too. Triggers let ``revision_to`` be set once, and nothing else be changed or deleted.
    """

    __tablename__ = "openreg_mapping_entry"
    __table_args__ = (
        # No two records of one key and beginning are known at the same time.
        UniqueConstraint("set_id", "key", "effective_from", "revision_to"),
        Index(None, "set_id", "revision_from", "key"),
        Index(
            None,
            "set_id",
            "revision_to",
            "key",
            postgresql_where=PAST,
            sqlite_where=PAST,
        ),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    set_id: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(PlainText)
    value: Mapped[str] = mapped_column(PlainText)
    effective_from: Mapped[date] = mapped_column(Date)
    effective_to: Mapped[date] = mapped_column(Date)
    revision_from: Mapped[int] = mapped_column(BigInteger)
    revision_to: Mapped[int] = mapped_column(BigInteger)
