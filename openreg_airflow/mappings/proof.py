"""Holding the entries of mapping sets against the audit trail, which has each change's digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from openreg_airflow.errors import NoSuchMappingError
from openreg_airflow.mappings.reading import ready
from openreg_airflow.mappings.writing import digest
from openreg_airflow.store.engine import transaction
from openreg_airflow.store.mapping_models import MappingRevisionRow, MappingSetRow
from openreg_airflow.store.models import AuditRow

if TYPE_CHECKING:
    from sqlalchemy import Connection


def verify_revisions(url: str, name: str | None = None) -> tuple[int, tuple[str, ...]]:
    """Find changes whose records are not those that the audit trail has the digest of.

    Together with ``openreg audit verify``, which proves the trail, this proves the entries.

    Args:
        url: SQLAlchemy URL of the store.
        name: one set; all when None.

    Returns:
        How many changes were looked at, and what does not fit.

    Raises:
        MappingError: there is no such set.
        StoreUnavailableError: the database cannot be reached.
    """
    made, of = MappingRevisionRow, MappingSetRow
    query = (
        select(of.id, of.name, of.revision.label("newest"), made.revision, AuditRow.after)
        .join(made, made.set_id == of.id, isouter=True)
        .join(AuditRow, AuditRow.sequence == made.audit_sequence, isouter=True)
        .order_by(of.id, made.revision)
    )
    if name is not None:
        query = query.where(of.name == name)
    breaks: list[str] = []
    expected: dict[int, int] = {}
    count = 0
    newest: dict[int, tuple[str, int]] = {}
    with transaction(ready(url), write=False) as connection:
        rows = connection.execute(query).all()
        if name is not None and not rows:
            message = f"there is no mapping set {name!r}"
            raise NoSuchMappingError(message, hint="`openreg mappings list` shows the sets.")
        for row in rows:
            newest[row.id] = row.name, row.newest
            if row.revision is None:
                continue
            count += 1
            number = expected.get(row.id, 0) + 1
            expected[row.id] = row.revision
            if row.revision != number:
                breaks.append(f"{row.name}: change {number} was removed")
            if problem := _problem(connection, row):
                breaks.append(f"{row.name}: change {row.revision} {problem}")
    for set_id, (called, last) in newest.items():
        if expected.get(set_id, 0) != last:
            found = expected.get(set_id, 0)
            breaks.append(f"{called}: it is at change {last}, but the last on record is {found}")
    return count, tuple(breaks)


def _problem(connection: Connection, row: Any) -> str | None:
    told = json.loads(row.after) if row.after else {}
    if told.get("revision") != row.revision:
        return "has no entry in the audit trail"
    if told.get("digest") != digest(connection, row.id, row.revision):
        return "has other records than the audit trail says"
    return None
