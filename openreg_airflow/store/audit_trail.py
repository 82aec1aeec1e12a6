"""Reading the audit trail: listing it, and holding its chain together."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, String, select, text, type_coerce

from openreg_airflow.errors import IntegrityError
from openreg_airflow.records import Record
from openreg_airflow.store import schema
from openreg_airflow.store.audit import GENESIS, AuditMark, digest
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.models import AuditHead, AuditRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Engine

_BATCH = 5000
_PROGRESS_SECONDS = 5
#: Breaks that are told; a trail that was rewritten has one at every row.
_TOLD = 100

log = logging.getLogger(__name__)


class AuditRecord(Record):
    """One entry of the trail, as it was recorded; ``before`` and ``after`` are JSON as text."""

    sequence: int
    recorded_at: datetime
    actor: str
    origin: str
    action: str
    kind: str
    subject: str
    before: str | None
    after: str | None
    previous: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which entries are wanted; what is None does not matter.

    Attributes:
        actor, action, kind: exactly these.
        subject: this subject; with a star at its end, those that begin so.
        since: recorded at this instant or later.
        until: recorded before this instant.
        after: entries with a higher number.
        limit: at most so many, the newest.
    """

    actor: str | None = None
    action: str | None = None
    kind: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int | None = None
    limit: int | None = None


@dataclass
class Verification:
    """What holding the chain together found.

    Attributes:
        entries: rows that were read.
        head: the end of the chain as ``openreg_audit_head`` has it.
        breaks: what does not fit, in the order of the trail; the first 100.
        broken: how many breaks there are.
    """

    entries: int = 0
    head: AuditMark = field(default_factory=lambda: AuditMark(0, GENESIS))
    breaks: list[str] = field(default_factory=list)
    broken: int = 0

    def tell(self, text: str) -> None:
        """Note a break."""
        self.broken += 1
        if len(self.breaks) < _TOLD:
            self.breaks.append(text)


def read(url: str, wanted: AuditFilter | None = None) -> Iterator[AuditRecord]:
    """The entries of the trail by number, streamed.

    Raises:
        StoreNotReadyError: the tables were not made.
        StoreUnavailableError: the database cannot be reached.
    """
    wanted = wanted or AuditFilter()
    engine = _ready(url)
    columns = [getattr(AuditRow, name) for name in AuditRecord.model_fields]
    query = select(*columns).where(*_conditions(wanted)).order_by(AuditRow.sequence)
    if wanted.limit is not None:
        newest = query.order_by(None).order_by(AuditRow.sequence.desc()).limit(wanted.limit)
        query = select(newest.subquery()).order_by("sequence")
    with _streaming(engine) as connection:
        for row in connection.execute(query).mappings():
            yield AuditRecord.model_validate(dict(row))


def verify(url: str, anchors: tuple[AuditMark, ...] = ()) -> Verification:
    """Read the whole trail and find rows that were changed, removed or inserted.

    Args:
        url: SQLAlchemy URL of the store.
        anchors: places of the chain that were noted outside the database; see
            :func:`read_anchors`.

    Raises:
        StoreNotReadyError: the tables were not made.
        StoreUnavailableError: the database cannot be reached.
    """
    engine = _ready(url)
    found = Verification()
    with _streaming(engine) as connection:
        head = connection.execute(select(AuditHead.sequence, AuditHead.sha256)).all()
        if len(head) == 1:
            found.head = AuditMark(*head[0])
        else:
            found.tell("the head of the trail was removed")
        last = _follow(connection, found, {mark.sequence: mark for mark in anchors})
    _hold_end(found, last, anchors)
    return found


def read_anchors(file: Path) -> tuple[AuditMark, ...]:
    """The marks of an anchor file, one JSON object a line; none when there is no file yet.

    Raises:
        IntegrityError: a line is something else.
    """
    if not file.exists():
        return ()
    marks = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            fields = json.loads(line)
            marks.append(AuditMark(int(fields["sequence"]), str(fields["sha256"])))
        except (ValueError, TypeError, KeyError) as error:
            message = "this line is no mark of an audit trail"
            raise IntegrityError(message, where=f"{file} line {number}") from error
    return tuple(marks)


def write_anchor(file: Path, mark: AuditMark) -> None:
    """Add a mark to an anchor file."""
    line = {"sequence": mark.sequence, "sha256": mark.sha256, "at": datetime.now(UTC).isoformat()}
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def _follow(
    connection: Connection, found: Verification, anchors: Mapping[int, AuditMark]
) -> AuditMark:
    """Read row by row; return the last one."""
    last, told, begun = AuditMark(0, GENESIS), time.monotonic(), time.monotonic()
    for row in connection.execute(_raw(connection)).mappings():
        mark = _hold(dict(row), last, found)
        anchor = anchors.get(mark.sequence)
        if anchor and anchor.sha256 != mark.sha256:
            found.tell(f"entry {mark.sequence} is not the one that was anchored: it was rewritten")
        found.entries += 1
        last = mark
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            log.info("audit trail: %s of %s entries", found.entries, found.head.sequence)
    log.info("audit trail: %s entries in %.1f s", found.entries, time.monotonic() - begun)
    return last


def _hold(row: Mapping[str, Any], last: AuditMark, found: Verification) -> AuditMark:
    """Hold one row against the one before it."""
    number = row["sequence"]
    if number != last.sequence + 1:
        missing = f"{last.sequence + 1} to {number - 1}"
        found.tell(f"entries {missing} were removed, or entry {number} was inserted")
    elif row["previous"] != last.sha256:
        found.tell(f"entry {number} does not follow entry {last.sequence}: one was replaced")
    if _digest(row) != row["sha256"]:
        found.tell(f"entry {number} was changed: its hash is not that of its content")
    return AuditMark(number, row["sha256"])


def _hold_end(found: Verification, last: AuditMark, anchors: tuple[AuditMark, ...]) -> None:
    head = found.head
    if last.sequence < head.sequence:
        found.tell(f"entries {last.sequence + 1} to {head.sequence} were removed from the end")
    elif last.sequence > head.sequence:
        found.tell(f"entries {head.sequence + 1} to {last.sequence} were inserted at the end")
    elif last.sha256 != head.sha256:
        found.tell(f"entry {last.sequence} is not the one that the head names")
    furthest = max((mark.sequence for mark in anchors), default=0)
    if furthest > last.sequence:
        found.tell(f"entry {furthest} was anchored and is gone: the trail was cut")


def _raw(connection: Connection) -> Any:
    """All rows; SQLite's instants as the text that is there, which somebody may have spoilt."""
    names = list(AuditRecord.model_fields)
    columns: list[Any] = [getattr(AuditRow, name) for name in names]
    if connection.dialect.name == "sqlite":
        columns = [
            type_coerce(column, String).label(name)
            if name in ("recorded_at", "before", "after")
            else column
            for name, column in zip(names, columns, strict=True)
        ]
    return select(*columns).order_by(AuditRow.sequence)


def _digest(row: Mapping[str, Any]) -> str | None:
    """The hash of what a row holds; None when it holds something that was never appended."""
    at = row["recorded_at"]
    try:
        if isinstance(at, str):
            at = datetime.fromisoformat(at).replace(tzinfo=UTC)
        return digest({**row, "recorded_at": at})
    except (ValueError, TypeError, AttributeError):
        return None


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    row = AuditRow
    found: list[ColumnElement[bool]] = [
        getattr(row, name) == value
        for name in ("actor", "action", "kind")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.subject is not None:
        beginning = wanted.subject.removesuffix("*")
        exact = beginning == wanted.subject
        found.append(
            row.subject == beginning
            if exact
            else row.subject.startswith(beginning, autoescape=True)
        )
    if wanted.since is not None:
        found.append(row.recorded_at >= wanted.since)
    if wanted.until is not None:
        found.append(row.recorded_at < wanted.until)
    if wanted.after is not None:
        found.append(row.sequence > wanted.after)
    return found


def _ready(url: str) -> Engine:
    engine = connect_engine(parse_url(url))
    schema.require(engine)
    return engine


@contextmanager
def _streaming(engine: Engine) -> Iterator[Connection]:
    """One state of the database, read in batches."""
    with transaction(engine, write=False) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        yield connection.execution_options(yield_per=_BATCH)
