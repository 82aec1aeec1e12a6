"""How a set became what it is: the records of a key, and what differs between two states."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import not_, select

from openreg_airflow.errors import MappingError
from openreg_airflow.mappings import cells
from openreg_airflow.mappings.entries import entry_of, key_text
from openreg_airflow.mappings.model import MappingEntry
from openreg_airflow.mappings.reading import BATCH, find_set, ready, revision_at
from openreg_airflow.records import Record
from openreg_airflow.store.engine import transaction, without_index
from openreg_airflow.store.mapping_models import CURRENT, PAST, MappingEntryRow, MappingRevisionRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import ColumnElement, Connection, RowMapping

    from openreg_airflow.mappings.model import MappingSet

#: Records of one key that are shown: the newest.
MOST = 1000


class Recorded(Record):
    """One record of a key, and who made and ended it.

    Attributes:
        recorded_at, actor, origin, action: of the revision that recorded it.
        replaced_at, replaced_by, replaced_how: of the revision that ended it; None while it is
            what is known.
    """

    entry: MappingEntry
    recorded_at: datetime
    actor: str
    origin: str
    action: str
    replaced_at: datetime | None
    replaced_by: str | None
    replaced_how: str | None


class Difference(Record):
    """What differs between two states, for one key and, between recorded times, one beginning."""

    outcome: Literal["added", "changed", "removed"]
    before: MappingEntry | None
    after: MappingEntry | None


def history(
    url: str, name: str, key: Mapping[str, Any], *, tenant: str = ""
) -> tuple[Recorded, ...]:
    """All that was ever recorded of a key, the oldest first; the newest 1000 records.

    Args:
        url: SQLAlchemy URL of the store.
        name: the set's name.
        key: the key columns by name.
        tenant: whose set it is.

    Raises:
        MappingError: there is no such set, or the key is not one of it.
        StoreUnavailableError: the database cannot be reached.
    """
    row = MappingEntryRow
    made, ended = MappingRevisionRow.__table__.alias("made"), MappingRevisionRow.__table__.alias()
    with transaction(ready(url), write=False) as connection:
        found = find_set(connection, name, tenant)
        # In the order of the revisions SQLite would look for the key in all of the set.
        newest = without_index(connection, row.revision_from).desc()
        query = (
            select(
                row.__table__,
                *(made.c[column] for column in ("recorded_at", "actor", "origin", "action")),
                ended.c.recorded_at.label("replaced_at"),
                ended.c.actor.label("replaced_by"),
                ended.c.action.label("replaced_how"),
            )
            .join(made, (made.c.set_id == row.set_id) & (made.c.revision == row.revision_from))
            .outerjoin(
                ended, (ended.c.set_id == row.set_id) & (ended.c.revision == row.revision_to)
            )
            .where(row.set_id == found.id, row.key == key_text(found, key))
            .order_by(newest, row.effective_from.desc())
            .limit(MOST)
        )
        rows = connection.execute(query).mappings().all()
    names = [field for field in Recorded.model_fields if field != "entry"]
    return tuple(
        Recorded(entry=entry_of(found, row), **{name: row[name] for name in names})
        for row in reversed(rows)
    )


def difference_of_dates(
    url: str,
    name: str,
    first: date,
    second: date,
    *,
    tenant: str = "",
    recorded_at: datetime | None = None,
) -> Iterator[Difference]:
    """What is true on one date and not, or otherwise, on another, by key.

    Args:
        url: SQLAlchemy URL of the store.
        name: the set's name.
        first, second: the dates.
        tenant: whose set it is.
        recorded_at: as it was known at that instant; as it is known now when None.

    Raises:
        MappingError: there is no such set.
        StoreUnavailableError: the database cannot be reached.
    """
    row = MappingEntryRow
    with transaction(ready(url), write=False) as connection:
        found = find_set(connection, name, tenant)
        at = found.revision
        if recorded_at is not None:
            at = revision_at(connection, found, recorded_at).revision
        known = _known(found, at)
        on_first = (row.effective_from <= first) & (row.effective_to > first)
        on_second = (row.effective_from <= second) & (row.effective_to > second)
        gone = _stream(connection, [*known, on_first, not_(on_second)])
        come = _stream(connection, [*known, on_second, not_(on_first)])
        yield from _merged(found, gone, come, ("key",))


def difference_of_records(
    url: str, name: str, first: datetime, second: datetime, *, tenant: str = ""
) -> Iterator[Difference]:
    """What was known at one instant and not, or otherwise, at another, by key and beginning.

    Args:
        url: SQLAlchemy URL of the store.
        name: the set's name.
        first, second: the instants, the earlier first.
        tenant: whose set it is.

    Raises:
        MappingError: there is no such set, there was none then, or the first is the later.
        StoreUnavailableError: the database cannot be reached.
    """
    if first > second:
        message = f"{first.isoformat()} is later than {second.isoformat()}"
        raise MappingError(message, hint="Give the earlier instant first.")
    row = MappingEntryRow
    with transaction(ready(url), write=False) as connection:
        found = find_set(connection, name, tenant)
        before = revision_at(connection, found, first).revision
        after = revision_at(connection, found, second).revision
        gone = _stream(
            connection,
            [
                row.set_id == found.id,
                row.revision_from <= before,
                row.revision_to > before,
                row.revision_to <= after,
                PAST,
            ],
        )
        come = _stream(
            connection,
            [
                row.set_id == found.id,
                row.revision_from > before,
                row.revision_from <= after,
                row.revision_to > after,
            ],
        )
        yield from _merged(found, gone, come, ("key", "effective_from"))


def _known(found: MappingSet, revision: int) -> list[ColumnElement[bool]]:
    row = MappingEntryRow
    if revision == found.revision:
        return [row.set_id == found.id, row.revision_to == CURRENT]
    return [row.set_id == found.id, row.revision_from <= revision, row.revision_to > revision]


def _stream(connection: Connection, conditions: list[Any]) -> Iterator[RowMapping]:
    row = MappingEntryRow
    query = select(row.__table__).where(*conditions).order_by(row.key, row.effective_from)
    return iter(connection.execute(query, execution_options={"yield_per": BATCH}).mappings())


def _merged(
    found: MappingSet,
    gone: Iterator[RowMapping],
    come: Iterator[RowMapping],
    by: tuple[str, ...],
) -> Iterator[Difference]:
    """Two sorted streams as one of differences; what only changed its record is none."""

    def place(row: RowMapping) -> tuple[Any, ...]:
        return tuple(row[name] for name in by)

    old, new = next(gone, None), next(come, None)
    while old is not None or new is not None:
        if old is not None and (new is None or place(old) < place(new)):
            yield Difference(outcome="removed", before=entry_of(found, old), after=None)
            old = next(gone, None)
        elif new is not None and (old is None or place(new) < place(old)):
            yield Difference(outcome="added", before=None, after=entry_of(found, new))
            new = next(come, None)
        elif old is not None and new is not None:
            if _content(old, by) != _content(new, by):
                before, after = entry_of(found, old), entry_of(found, new)
                yield Difference(outcome="changed", before=before, after=after)
            old, new = next(gone, None), next(come, None)


def _content(row: RowMapping, by: tuple[str, ...]) -> tuple[Any, ...]:
    """What counts as a change: of dates the value alone, of records the period too."""
    values = cells.unpack(row["value"])
    return values if by == ("key",) else (*values, row["effective_to"])
