"""The audit trail: who did what to what, when, from where, old and new value; never rewritten.

Entries are numbered from 1 without gaps, and each holds the hash of the one before it::

    sha256 = SHA-256(UTF-8 of the JSON array
        [previous, sequence, recorded_at, actor, origin, action, kind, subject, before, after])

The array is written without spaces and with every character outside ASCII escaped;
``recorded_at`` is text such as ``2026-03-31T08:15:00.000001Z``; ``before`` and ``after`` are the
very texts of the table, JSON with sorted keys, or null; ``previous`` of the first entry is 64
zeros. A row that is changed, removed or inserted therefore breaks the chain at its place. The
chain's end is kept twice: in ``openreg_audit_head``, which only goes forward, and, where an admin
wants to be safe from somebody who may rewrite the whole database, in a file elsewhere
(``openreg audit verify --anchor``).

Triggers of the database refuse UPDATE, DELETE and TRUNCATE of the trail, whoever asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from openreg_airflow.store.models import AuditHead, AuditRow, escaped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from openreg_airflow.store.actor import Actor

#: Entries of one INSERT.
_BATCH = 2000
#: Characters of a subject, which is in an index, where a row's size is bounded.
SUBJECT = 500
#: ``previous`` of the first entry.
GENESIS = "0" * 64


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One change, as the one who makes it tells it.

    Attributes:
        actor: who, and from where.
        action: what was done, as a verb: ``create``, ``change``, ``end``, ``import``.
        kind: what sort of thing it was done to: ``mapping set``, ``mapping entry``, ``exception``.
        subject: which one; text that people can read and that can be searched by its beginning;
            what is longer than 500 characters is cut.
        before: the old value: a JSON value, in which dates, instants and decimals may stand.
            None when there was nothing before.
        after: the new value, likewise; None when there is nothing any more.
    """

    actor: Actor
    action: str
    kind: str
    subject: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class AuditMark:
    """A place in the chain: the number of an entry and its hash."""

    sequence: int
    sha256: str


def append(connection: Connection, entry: AuditEntry) -> AuditMark:
    """Append one entry within the caller's own transaction; see :func:`append_all`."""
    return append_all(connection, [entry])


def append_all(connection: Connection, entries: Iterable[AuditEntry]) -> AuditMark:
    """Append entries to the trail within the caller's own transaction.

    The change and its entry are committed together or not at all. From here to the end of the
    transaction no other one can append, so that the chain never forks: make this the last thing
    that a long transaction does.

    Args:
        connection: inside ``transaction(engine, write=True)`` of
            :mod:`openreg_airflow.store.engine`.
        entries: in the order of the trail; any number, taken batch by batch.

    Returns:
        The new end of the chain.

    Raises:
        ValueError: the transaction was not begun for writing.
        TypeError: an old or new value is not JSON.
    """
    head = lock(connection)
    now = datetime.now(UTC)
    waiting = iter(entries)
    while batch := list(islice(waiting, _BATCH)):
        rows = []
        for entry in batch:
            row = _row(entry, head, now)
            head = AuditMark(row["sequence"], row["sha256"])
            rows.append(row)
        connection.execute(insert(AuditRow), rows)
    connection.execute(update(AuditHead).values(sequence=head.sequence, sha256=head.sha256))
    return head


def lock(connection: Connection) -> AuditMark:
    """Wait for the transactions that have appended, and keep others from it until ours ends.

    Returns:
        The end of the chain.

    Raises:
        ValueError: the transaction was not begun for writing.
    """
    if not connection.get_execution_options().get("openreg_write"):
        message = "the audit trail is appended to in a transaction that was begun for writing"
        raise ValueError(message)
    # The row's lock serialises PostgreSQL; SQLite has one writer from the beginning.
    head = select(AuditHead.sequence, AuditHead.sha256).with_for_update()
    return AuditMark(*connection.execute(head).one())


def settled(connection: Connection) -> None:
    """Wait for the transactions that have appended and are not committed yet.

    Whoever takes an instant after :func:`lock` and commits then has no later reader who knows of
    that instant and misses the change.

    Args:
        connection: in a transaction begun for writing: SQLite has no other way to wait.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(AuditHead.sequence).with_for_update(read=True))


def digest(row: Mapping[str, Any]) -> str:
    """The hash of an entry, from the columns of its row.

    Args:
        row: by the names of :class:`~openreg_airflow.store.models.AuditRow`; ``recorded_at`` is
            an aware instant.
    """
    at = row["recorded_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    names = ("actor", "origin", "action", "kind", "subject", "before", "after")
    array = [row["previous"], row["sequence"], at, *(row[name] for name in names)]
    return hashlib.sha256(json.dumps(array, separators=(",", ":")).encode()).hexdigest()


def _row(entry: AuditEntry, head: AuditMark, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sequence": head.sequence + 1,
        "recorded_at": now,
        "actor": escaped(entry.actor.name),
        "origin": escaped(entry.actor.origin),
        "action": escaped(entry.action),
        "kind": escaped(entry.kind),
        "subject": _shortened(escaped(entry.subject)),
        "before": _canonical(entry.before),
        "after": _canonical(entry.after),
        "previous": head.sha256,
    }
    return row | {"sha256": digest(row)}


def _shortened(text: str) -> str:
    return text if len(text) <= SUBJECT else text[: SUBJECT - 1] + "…"


def _canonical(value: Any) -> str | None:
    if value is None:
        return None
    return json.dumps(value, default=_plain, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    message = f"the audit trail cannot keep a {type(value).__name__}"
    raise TypeError(message)
