"""Searching the entries of a set, page by page; an index finds a page, nothing is counted off."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, false, func, select, tuple_

from openreg_airflow.errors import MappingError
from openreg_airflow.mappings.cells import SEPARATOR, storable
from openreg_airflow.mappings.entries import entry_of
from openreg_airflow.mappings.model import MappingEntry
from openreg_airflow.mappings.reading import find_set, ready, revision_at
from openreg_airflow.records import Record
from openreg_airflow.store.engine import transaction, without_index
from openreg_airflow.store.mapping_models import CURRENT, MappingEntryRow, MappingRevisionRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from openreg_airflow.mappings.model import MappingSet

#: Entries of a page, unless told, and at most.
PAGE = 100
MOST = 1000
#: Records of so few revisions are found through these; of more, through the keys.
_FEW = 5000
#: Bytes of a pattern that every build of SQLite takes.
_LIKE_BYTES = 40_000
#: After every character that a key can go on with.
_LAST = "\U0010ffff"


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Which entries are wanted; what is None does not matter.

    Attributes:
        prefix: the first key column begins so; more key columns before it are given whole,
            divided by :data:`openreg_airflow.mappings.cells.SEPARATOR`.
        text: a key or value holds this; letters A to Z in either case.
        business_date: true on that day.
        recorded_at: as it was known at that instant; as it is known now when None.
        changed_since: recorded at that instant or later.
        actor: recorded by this one.
    """

    prefix: str | None = None
    text: str | None = None
    business_date: date | None = None
    recorded_at: datetime | None = None
    changed_since: datetime | None = None
    actor: str | None = None


class Page(Record):
    """A page of a search.

    Attributes:
        entries: by the keys' text and beginning.
        revision: the state of the set that is searched; the pages that follow are of the same.
        next: what to pass as ``after`` for the page that follows; None after the last.
    """

    entries: tuple[MappingEntry, ...]
    revision: int
    next: str | None


def search(
    url: str,
    name: str,
    wanted: EntryFilter | None = None,
    *,
    tenant: str = "",
    limit: int = PAGE,
    after: str | None = None,
) -> Page:
    """A page of the entries of a set.

    Args:
        url: SQLAlchemy URL of the store.
        name: the set's name.
        wanted: which entries; all that are known now when None.
        tenant: whose set it is.
        limit: entries of a page, 1 to 1000.
        after: ``next`` of the page before.

    Raises:
        MappingError: there is no such set, or ``after`` is no place in a search.
        StoreUnavailableError: the database cannot be reached.
    """
    wanted = wanted or EntryFilter()
    limit = max(1, min(limit, MOST))
    place = _place(after) if after is not None else None
    row = MappingEntryRow
    with transaction(ready(url), write=False) as connection:
        found = find_set(connection, name, tenant)
        revision = place[0] if place else _revision(connection, found, wanted)
        known, few = _known(connection, found, revision)
        recorded, fewer = _recorded(connection, found, revision, wanted)
        conditions = [*known, *_conditions(connection, wanted), *recorded]
        query = select(row.__table__).order_by(row.key, row.effective_from).limit(limit + 1)
        ids = _rare(connection, found, wanted, conditions, few=few or fewer)
        query = query.where(*conditions) if ids is None else query.where(row.id.in_(ids))
        if place:
            query = query.where(tuple_(row.key, row.effective_from) > tuple_(*_bound(place)))
        rows = connection.execute(query).mappings().all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        entries=tuple(entry_of(found, row) for row in rows[:limit]),
        revision=revision,
        next=_token(revision, last["key"], last["effective_from"]) if last else None,
    )


def _known(
    connection: Connection, found: MappingSet, revision: int
) -> tuple[list[ColumnElement[bool]], bool]:
    """The conditions on what a revision knew, and whether those are few records."""
    row, made = MappingEntryRow, MappingRevisionRow
    of_set = row.set_id == found.id
    if revision == found.revision:
        return [of_set, row.revision_to == CURRENT], False
    few = _added(connection, [made.set_id == found.id, made.revision <= revision]) <= _FEW
    column = row.revision_from if few else without_index(connection, row.revision_from)
    return [of_set, column <= revision, row.revision_to > revision], few


def _conditions(connection: Connection, wanted: EntryFilter) -> list[ColumnElement[bool]]:
    row = MappingEntryRow
    conditions: list[ColumnElement[bool]] = []
    if any(given and not storable(given) for given in (wanted.prefix, wanted.text)):
        return [false()]
    if wanted.prefix:
        conditions += [row.key >= wanted.prefix, row.key < wanted.prefix + _LAST]
    if wanted.business_date is not None:
        day = wanted.business_date
        conditions += [row.effective_from <= day, row.effective_to > day]
    if wanted.text:
        conditions.append(_holding(connection, wanted.text))
    return conditions


def _recorded(
    connection: Connection, found: MappingSet, revision: int, wanted: EntryFilter
) -> tuple[list[ColumnElement[bool]], bool]:
    """The condition on who recorded an entry when, and whether few records meet it."""
    if wanted.changed_since is None and wanted.actor is None:
        return [], False
    made = MappingRevisionRow
    conditions = [made.set_id == found.id, made.revision <= revision, made.added > 0]
    if wanted.changed_since is not None:
        conditions.append(made.recorded_at >= wanted.changed_since)
    if wanted.actor is not None:
        conditions.append(made.actor == wanted.actor)
    added = _added(connection, conditions)
    if not added:
        return [false()], True
    revisions = select(made.revision).where(*conditions)
    if added <= _FEW:
        # Of numbers PostgreSQL knows that they are few; of a query it guesses.
        return [MappingEntryRow.revision_from.in_(list(connection.scalars(revisions)))], True
    return [without_index(connection, MappingEntryRow.revision_from).in_(revisions)], False


def _added(connection: Connection, conditions: list[ColumnElement[bool]]) -> int:
    """How many records some revisions made."""
    return connection.scalar(select(func.sum(MappingRevisionRow.added)).where(*conditions)) or 0


def _rare(
    connection: Connection,
    found: MappingSet,
    wanted: EntryFilter,
    conditions: list[ColumnElement[bool]],
    *,
    few: bool,
) -> list[int] | None:
    """The entries that are wanted, if they may be few; None when they are not.

    What is met often is found soon in the order of the keys. What is met hardly ever is not: to
    look for it in the order of the table is many times faster.
    """
    if not few and (not wanted.text or wanted.prefix):
        return None
    if connection.dialect.name == "sqlite" and not few and _most(connection, found):
        of_set = without_index(connection, MappingEntryRow.set_id) == found.id
        conditions = [of_set, *conditions[1:]]
    query = select(MappingEntryRow.id).where(*conditions).limit(_FEW + 1)
    ids = list(connection.scalars(query))
    return ids if len(ids) <= _FEW else None


def _most(connection: Connection, found: MappingSet) -> bool:
    """Whether a good part of all entries is of one set."""
    own = _added(connection, [MappingRevisionRow.set_id == found.id])
    newest = connection.scalar(select(func.max(MappingEntryRow.id))) or 0
    return bool(own * 5 > newest)


def _revision(connection: Connection, found: MappingSet, wanted: EntryFilter) -> int:
    if wanted.recorded_at is None:
        return found.revision
    return revision_at(connection, found, wanted.recorded_at).revision


def _holding(connection: Connection, text: str) -> ColumnElement[bool]:
    """Whether an entry holds a text; letters A to Z in either case."""
    row = MappingEntryRow
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    like = {"other": f"%{escaped}%", "escape": "\\"}
    whole = row.key + SEPARATOR + row.value
    sqlite = connection.dialect.name == "sqlite"
    if sqlite and len(escaped.encode()) > _LIKE_BYTES:
        return func.instr(func.lower(whole), func.lower(text)) > 0
    if sqlite and SEPARATOR not in text:
        # Its LIKE takes either case, and without copies of the cells it takes half the time.
        return row.key.like(**like) | row.value.like(**like)
    # The manual has an index of these very words.
    return whole.ilike(**like)


def _token(revision: int, key: str, begin: date) -> str:
    text = json.dumps([revision, key, begin.isoformat()])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _place(token: str) -> tuple[int, str, date]:
    try:
        revision, key, begin = json.loads(base64.urlsafe_b64decode(token.encode()))
        place = int(revision), str(key), date.fromisoformat(begin)
        if place[0] >= CURRENT or not storable(place[1]):
            raise ValueError(token)
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        message = "this is no place in a search"
        raise MappingError(message, hint="Pass `next` of the page before.") from error
    return place


def _bound(place: tuple[int, str, date]) -> tuple[Any, Any]:
    from sqlalchemy import bindparam

    row = MappingEntryRow
    key = bindparam("after_key", place[1], type_=row.key.type)
    return key, bindparam("after_from", place[2], type_=row.effective_from.type)
