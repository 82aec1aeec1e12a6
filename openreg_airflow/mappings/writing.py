"""What every change of a set has in common: the set's lock, its revision, the audit trail."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, literal, select, text, update

from openreg_airflow.errors import MappingConflictError, MappingError
from openreg_airflow.mappings.reading import find_set
from openreg_airflow.store import audit
from openreg_airflow.store.engine import LOCK_SECONDS, transaction, without_index
from openreg_airflow.store.mapping_models import (
    PAST,
    MappingEntryRow,
    MappingRevisionRow,
    MappingSetRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine

    from openreg_airflow.mappings.model import MappingSet
    from openreg_airflow.store.actor import Actor

_BATCH = 10_000


@dataclass(frozen=True)
class Change:
    """A change of a set's entries that is being made, alone, in one transaction."""

    connection: Connection
    set: MappingSet
    revision: int


@contextmanager
def changing(
    engine: Engine,
    name: str,
    tenant: str,
    *,
    expected: int | None = None,
    reference: bool = False,
) -> Iterator[Change]:
    """Change the entries of a set; others who want to change it wait.

    Args:
        engine: of the store.
        name: the set's name.
        tenant: whose set it is.
        expected: the revision that the caller saw; None when it does not matter.
        reference: read-only sets may be changed, and no others.

    Raises:
        MappingError: there is no such set, or nobody may change it.
        MappingConflictError: it was changed since the caller saw it.
        StoreUnavailableError: the database cannot be reached, or the set stays locked.
    """
    with transaction(engine, write=True) as connection:
        found = locked(connection, name, tenant, expected=expected, reference=reference)
        yield Change(connection, found, found.revision + 1)


def locked(
    connection: Connection,
    name: str,
    tenant: str,
    *,
    expected: int | None = None,
    reference: bool = False,
) -> MappingSet:
    """Lock a set in a transaction for writing, and check that it may be changed.

    Raises:
        MappingError, MappingConflictError: as :func:`changing` says.
    """
    found = lock_set(connection, name, tenant)
    require_changeable(connection, found, expected=expected, reference=reference)
    return found


def require_changeable(
    connection: Connection,
    found: MappingSet,
    *,
    expected: int | None = None,
    reference: bool = False,
) -> None:
    """Check that a set may be changed, as it was read.

    Raises:
        MappingError, MappingConflictError: as :func:`changing` says.
    """
    name = found.name
    if found.archived_at is not None:
        message = f"mapping set {name!r} is archived"
        raise MappingError(message, hint=f"openreg mappings restore {name}")
    if found.read_only and not reference:
        message = f"mapping set {name!r} is reference data and read-only"
        raise MappingError(message, hint="`openreg mappings reference` updates it.")
    if reference and not found.read_only:
        message = f"mapping set {name!r} is maintained by {found.owner or 'people'}"
        raise MappingError(message, hint="Rename it: reference data needs the name.")
    if expected is not None and expected != found.revision:
        message = f"mapping set {name!r} was changed: {_since(connection, found, expected)}"
        raise MappingConflictError(message, hint="Look at the new state and decide again.")


def lock_set(connection: Connection, name: str, tenant: str) -> MappingSet:
    """Lock a set, whatever its state.

    Raises:
        MappingError: there is no such set.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    whose = (MappingSetRow.name == name, MappingSetRow.tenant == tenant)
    connection.execute(select(MappingSetRow.id).where(*whose).with_for_update())
    return find_set(connection, name, tenant)


def close(change: Change, ids: Sequence[int]) -> None:
    """End what is known of some records: they are what was known before this revision."""
    connection = change.connection
    connection.execute(
        update(MappingEntryRow)
        .where(MappingEntryRow.id.in_(ids))
        .values(revision_to=change.revision)
    )


def finish(
    change: Change,
    actor: Actor,
    action: str,
    entries: Sequence[audit.AuditEntry],
) -> int:
    """Make what was written the set's next revision, with its instant and its audit entries.

    To be called last in the transaction: from here on nothing else can be audited.

    Args:
        change: what was changed.
        actor: who.
        action: what was done, as the revision says it.
        entries: for the audit trail; what the last one says after the change gets the revision's
            number and digest.

    Returns:
        The number of records that were added.
    """
    connection, revision, set_id = change.connection, change.revision, change.set.id
    added = connection.scalar(
        select(func.count()).where(
            MappingEntryRow.set_id == set_id, MappingEntryRow.revision_from == revision
        )
    )
    proof = {"revision": revision, "digest": digest(connection, set_id, revision)}
    audit.lock(connection)
    *others, last = entries
    after = {**(last.after or {}), **proof}
    told = audit.AuditEntry(
        actor=last.actor,
        action=last.action,
        kind=last.kind,
        subject=last.subject,
        before=last.before,
        after=after,
    )
    mark = audit.append_all(connection, [*others, told])
    connection.execute(
        insert(MappingRevisionRow).values(
            set_id=set_id,
            revision=revision,
            recorded_at=_instant(connection, set_id),
            actor=actor.name,
            origin=actor.origin,
            action=action,
            added=added or 0,
            audit_sequence=mark.sequence,
        )
    )
    connection.execute(
        update(MappingSetRow).where(MappingSetRow.id == set_id).values(revision=revision)
    )
    return added or 0


def digest(connection: Connection, set_id: int, revision: int) -> str:
    """The SHA-256 of what a revision added and closed, which its audit entry holds.

    Of one line a record, ``+`` or ``-``, key, value, beginning and end, divided by U+001E, ordered
    by key, beginning and sign.
    """
    row = MappingEntryRow
    # SQLite would go through all keys of the set rather than sort the records of one revision.
    key = without_index(connection, row.key).label("key")
    columns = (row.value, row.effective_from, row.effective_to)
    of_set = row.set_id == set_id
    made = select(key, *columns, literal(1).label("made")).where(
        of_set, row.revision_from == revision
    )
    # In its index of what is past SQLite finds a range, and goes through all for one number.
    sqlite = connection.dialect.name == "sqlite"
    ended = row.revision_to.between(revision, revision) if sqlite else row.revision_to == revision
    gone = select(row.key, *columns, literal(0).label("made")).where(of_set, ended, PAST)
    query = made.union_all(gone).order_by("key", "effective_from", "made")
    found = hashlib.sha256()
    result = connection.execute(query, execution_options={"yield_per": _BATCH})
    for rows in result.partitions(_BATCH):
        text = "".join(
            f"{'+' if made else '-'}\x1e{key}\x1e{value}\x1e{begin}\x1e{end}\n"
            for key, value, begin, end, made in rows
        )
        found.update(text.encode())
    return found.hexdigest()


def _instant(connection: Connection, set_id: int) -> datetime:
    """Now; later than the revision before, also when a clock was set back."""
    last = connection.scalar(
        select(func.max(MappingRevisionRow.recorded_at)).where(MappingRevisionRow.set_id == set_id)
    )
    now = datetime.now(UTC)
    return max(now, last + timedelta(microseconds=1)) if last else now


def _since(connection: Connection, found: MappingSet, seen: int) -> str:
    row: Any = connection.execute(
        select(
            MappingRevisionRow.actor, MappingRevisionRow.action, MappingRevisionRow.recorded_at
        ).where(
            MappingRevisionRow.set_id == found.id, MappingRevisionRow.revision == found.revision
        )
    ).first()
    told = f"{row.actor} ({row.action}) at {row.recorded_at.isoformat()}" if row else "unknown"
    return f"it is at revision {found.revision} by {told}, you saw {seen}"
