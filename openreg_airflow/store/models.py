"""The product's tables as SQLAlchemy models.

Every table of a run begins with ``report_id`` (the Dag's id), ``business_date`` and ``run_id``,
and its unique key begins with them too, so that looking up a report on a date uses that index.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy import Dialect

#: Length of Airflow's own Dag ids and run ids.
ID = 250
#: Length of a lower-case hexadecimal SHA-256.
SHA256 = 64
#: SQLite numbers rows by itself only in a column declared INTEGER.
RowId = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An instant, always aware and in UTC; SQLite, which has no zones, keeps it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse an instant without a zone; it could mean anything."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"{value.isoformat()} has no time zone"
            raise ValueError(message)
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the instant in UTC, whatever zone the session speaks."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class FreeText(TypeDecorator[str]):
    """Text from outside, such as a server's error; what a database cannot hold is escaped.

    PostgreSQL refuses NUL, and no driver can encode half of a surrogate pair.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Escape what cannot be stored."""
        return None if value is None else escaped(value)


def escaped(text: str) -> str:
    """The text with what a database cannot hold written as escapes."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


class Base(DeclarativeBase):
    """Base of the models; constraints get the same name in every database."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


class RunRow(Base):
    """The columns that every row of a run begins with."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    report_id: Mapped[str] = mapped_column(String(ID))
    business_date: Mapped[date] = mapped_column(Date)
    run_id: Mapped[str] = mapped_column(String(ID))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ExtractFile(RunRow):
    """The table that one source gave to one run, and where it came from.

    ``detail`` holds what is read with the row but never searched: parameters and columns.
    """

    __tablename__ = "openreg_extract"
    __table_args__ = (
        UniqueConstraint("report_id", "business_date", "run_id", "source"),
        Index(None, "sha256"),
    )

    source: Mapped[str] = mapped_column(String(ID))
    connection: Mapped[str] = mapped_column(String(ID))
    server: Mapped[str] = mapped_column(FreeText)
    query: Mapped[str] = mapped_column(FreeText)
    query_sha256: Mapped[str] = mapped_column(String(SHA256))
    uri: Mapped[str] = mapped_column(FreeText)
    rows: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(SHA256))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seconds: Mapped[float] = mapped_column(Double)
    attempt: Mapped[int] = mapped_column(Integer)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class SourceWindow(RunRow):
    """What a run that succeeded read of one incremental source: after ``since``, up to ``mark``."""

    __tablename__ = "openreg_source_window"
    __table_args__ = (UniqueConstraint("report_id", "business_date", "run_id", "source"),)

    source: Mapped[str] = mapped_column(String(ID))
    since: Mapped[str] = mapped_column(FreeText)
    mark: Mapped[str] = mapped_column(FreeText)


class ValidationResult(RunRow):
    """How one rule ended in one run.

    ``detail`` holds what is read with the result but never searched, such as its samples;
    ``failures`` is the record of the Parquet file with the failing rows of all rules of the run.
    """

    __tablename__ = "openreg_validation_result"
    __table_args__ = (UniqueConstraint("report_id", "business_date", "run_id", "rule_id"),)

    rule_id: Mapped[str] = mapped_column(String(ID))
    position: Mapped[int] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(FreeText)
    severity: Mapped[str] = mapped_column(String(20))
    table: Mapped[str] = mapped_column("table_name", String(ID))
    failed: Mapped[int] = mapped_column(BigInteger)
    checked: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Double)
    message: Mapped[str] = mapped_column(FreeText)
    reference: Mapped[str | None] = mapped_column(FreeText)
    error: Mapped[str | None] = mapped_column(FreeText)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    failures: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class ArtifactRow(RunRow):
    """One artifact of one run; its files are rows of :class:`ArtifactFileRow`.

    ``finished`` is false from the allocation of its version and numbers until its files lie in the
    workspace.
    """

    __tablename__ = "openreg_artifact"
    __table_args__ = (
        UniqueConstraint("report_id", "business_date", "run_id", "name"),
        Index(None, "content"),
    )

    name: Mapped[str] = mapped_column(String(ID))
    format: Mapped[str] = mapped_column(String(50))
    records: Mapped[int] = mapped_column(BigInteger)
    schema_check: Mapped[str] = mapped_column(FreeText)
    version: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(String(SHA256))
    sequence: Mapped[str | None] = mapped_column(String(ID))
    numbers: Mapped[list[int]] = mapped_column(JSON)
    finished: Mapped[bool] = mapped_column(Boolean)
    sidecar: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)


class ArtifactFileRow(RunRow):
    """One file of one artifact; ``removed_at`` is when the retention policy removed it."""

    __tablename__ = "openreg_artifact_file"
    __table_args__ = (
        UniqueConstraint("report_id", "business_date", "run_id", "name", "position"),
        Index(None, "sha256"),
    )

    name: Mapped[str] = mapped_column(String(ID))
    position: Mapped[int] = mapped_column(Integer)
    part: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(20))
    filename: Mapped[str] = mapped_column(FreeText)
    uri: Mapped[str] = mapped_column(FreeText)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(SHA256))
    md5: Mapped[str | None] = mapped_column(String(32))
    document_sha256: Mapped[str | None] = mapped_column(String(SHA256))
    records: Mapped[int] = mapped_column(BigInteger)
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ArtifactVersion(RunRow):
    """One content of an artifact for a report and date; the run is the one that finished it last.

    ``files`` are those of the report with their hashes; they stay when a correction comes.
    """

    __tablename__ = "openreg_artifact_version"
    __table_args__ = (UniqueConstraint("report_id", "business_date", "name", "version"),)

    name: Mapped[str] = mapped_column(String(ID))
    version: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(String(SHA256))
    parts: Mapped[int] = mapped_column(Integer)
    finished: Mapped[bool] = mapped_column(Boolean)
    files: Mapped[list[dict[str, Any]]] = mapped_column(JSON)


class Sequence(Base):
    """A sequence of numbers of an authority; ``last`` is the highest that was ever given out."""

    __tablename__ = "openreg_sequence"
    __table_args__ = (UniqueConstraint("name", "period"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(ID))
    period: Mapped[str] = mapped_column(String(20))
    last: Mapped[int] = mapped_column(BigInteger)


class SequenceNumber(Base):
    """Who has a number of a sequence: a part of a version of an artifact, or nobody any more."""

    __tablename__ = "openreg_sequence_number"
    __table_args__ = (
        UniqueConstraint("name", "period", "number"),
        Index(
            "ix_openreg_sequence_number_owner", "report_id", "business_date", "artifact", "version"
        ),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(ID))
    period: Mapped[str] = mapped_column(String(20))
    number: Mapped[int] = mapped_column(BigInteger)
    report_id: Mapped[str | None] = mapped_column(String(ID))
    business_date: Mapped[date | None] = mapped_column(Date)
    artifact: Mapped[str | None] = mapped_column(String(ID))
    version: Mapped[int | None] = mapped_column(Integer)
    part: Mapped[int | None] = mapped_column(Integer)
    allocated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Attempt(RunRow):
    """One attempt to deliver one file of an artifact over one route."""

    __tablename__ = "openreg_delivery_attempt"
    __table_args__ = (
        UniqueConstraint(
            "report_id", "business_date", "run_id", "route", "artifact", "attempt", "position"
        ),
        Index(None, "sha256"),
        Index(None, "started_at"),
    )

    route: Mapped[str] = mapped_column(String(ID))
    artifact: Mapped[str] = mapped_column(String(ID))
    attempt: Mapped[int] = mapped_column(Integer)
    position: Mapped[int] = mapped_column(Integer)
    channel: Mapped[str] = mapped_column(String(50))
    destination: Mapped[str] = mapped_column(FreeText)
    filename: Mapped[str] = mapped_column(FreeText)
    sha256: Mapped[str] = mapped_column(String(SHA256))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    result: Mapped[str] = mapped_column(String(20))
    bytes: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Double)
    error_class: Mapped[str | None] = mapped_column(String(ID))
    error: Mapped[str | None] = mapped_column(FreeText)


class AuditRow(Base):
    """One entry of the audit trail; see :mod:`openreg_airflow.store.audit`.

    ``before`` and ``after`` are JSON as text: their hash is of these very characters.
    """

    __tablename__ = "openreg_audit"
    __table_args__ = (
        Index(None, "kind", "subject"),
        Index(None, "actor"),
        Index(None, "recorded_at"),
    )

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(FreeText)
    origin: Mapped[str] = mapped_column(FreeText)
    action: Mapped[str] = mapped_column(FreeText)
    kind: Mapped[str] = mapped_column(FreeText)
    subject: Mapped[str] = mapped_column(FreeText)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(SHA256))
    sha256: Mapped[str] = mapped_column(String(SHA256))


class AuditHead(Base):
    """The end of the audit trail: one row, which only goes forward."""

    __tablename__ = "openreg_audit_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(SHA256))
