"""Reading a set as of a business date and as it was known at an instant: what runs need."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, func, select, type_coerce

from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import MappingError, NoSuchMappingError
from openreg_airflow.mappings.cells import arrow_columns
from openreg_airflow.mappings.model import MappingSet, Shape
from openreg_airflow.store import schema
from openreg_airflow.store.audit import settled
from openreg_airflow.store.engine import (
    connect_engine,
    parse_url,
    sqlite_file,
    transaction,
)
from openreg_airflow.store.mapping_models import (
    ALWAYS,
    FOREVER,
    MappingEntryRow,
    MappingRevisionRow,
    MappingSetRow,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import pyarrow as pa
    from sqlalchemy import Connection, Engine, RowMapping, Select

#: Rows of a record batch.
BATCH = 65_536
#: No change takes longer from its instant to its commit.
_UNSETTLED = timedelta(hours=1)
#: Stores whose tables fitted: what asks often need not ask for that again. No connection stays.
_READY: dict[str, Engine] = {}


@dataclass(frozen=True)
class SetVersion:
    """A set as it was known at an instant.

    Attributes:
        set: the set, as it is described today.
        revision: the number of the last change of its entries that was recorded by then; equal
            numbers of one set mean equal entries, forever. 0 means that it had none yet.
        recorded_at: when that change was recorded.
    """

    set: MappingSet
    revision: int
    recorded_at: datetime


def set_version(
    store_url: str, name: str, recorded_at: datetime, *, tenant: str = ""
) -> SetVersion:
    """What was known of a set at an instant; asked again later, the answer is the same.

    Changes that are being written at this moment are waited for, so that none turns up later
    with an earlier instant.

    Args:
        store_url: SQLAlchemy URL of the store.
        name: the set's name.
        recorded_at: the instant, aware; usually when the run was triggered.
        tenant: whose set it is.

    Raises:
        MappingError: there is no such set, or there was none then.
        StoreNotReadyError: the tables were not made.
        StoreUnavailableError: the database cannot be reached, or stays locked.
    """
    engine = ready(store_url)
    recent = recorded_at > datetime.now(UTC) - _UNSETTLED
    with transaction(engine, write=recent) as connection:
        if recent:
            settled(connection)
        return _version(connection, name, recorded_at, tenant)


def known_now(store_url: str, names: Collection[str], tenants: Collection[str]) -> datetime:
    """The instant at which all that is recorded of some sets is known.

    It is now, or that of the newest change, which a clock that is ahead of this one may have given.

    Args:
        store_url: SQLAlchemy URL of the store.
        names: the sets.
        tenants: whose sets may be meant.

    Raises:
        StoreNotReadyError: the tables were not made.
        StoreUnavailableError: the database cannot be reached, or stays locked.
    """
    wanted = (MappingSetRow.name.in_(names), MappingSetRow.tenant.in_(tenants))
    changed = select(func.max(MappingRevisionRow.recorded_at)).where(
        MappingRevisionRow.set_id.in_(select(MappingSetRow.id).where(*wanted))
    )
    made = select(func.max(MappingSetRow.created_at)).where(*wanted)
    with transaction(ready(store_url), write=False) as connection:
        found = (connection.scalar(changed), connection.scalar(made), datetime.now(UTC))
    return max(instant for instant in found if instant is not None)


@contextmanager
def snapshot_entries(
    store_url: str,
    name: str,
    business_date: date | None,
    recorded_at: datetime,
    *,
    tenant: str = "",
) -> Iterator[tuple[SetVersion, pa.RecordBatchReader]]:
    """The entries of a set that were known at an instant, as a stream of record batches.

    Columns: the key columns, the value columns, ``effective_from`` and ``effective_to`` (dates,
    the second exclusive; null is an open end). Sorted by the keys' text and ``effective_from``,
    so that equal versions give equal bytes. Read the stream inside the block.

    Args:
        store_url: SQLAlchemy URL of the store.
        name: the set's name.
        business_date: only what is true on that day; every period when None.
        recorded_at: the instant; see :func:`set_version`.
        tenant: whose set it is.

    Raises:
        MappingError: there is no such set, or there was none then.
        StoreNotReadyError: the tables were not made.
        StoreUnavailableError: the database cannot be reached, went away, or stays locked.
    """
    import pyarrow as pa

    version = set_version(store_url, name, recorded_at, tenant=tenant)
    with transaction(connect_engine(parse_url(store_url)), write=False) as connection:
        query = entries_query(version.set.id, version.revision, business_date)
        plain = _plain(connection, query)
        streamed = connection.execute(plain, execution_options={"yield_per": BATCH})
        batches = (_batch(rows, version.set.shape) for rows in streamed.partitions(BATCH))
        yield version, pa.RecordBatchReader.from_batches(arrow_schema(version.set.shape), batches)


def arrow_schema(shape: Shape) -> pa.Schema:
    """The schema of :func:`snapshot_entries`."""
    import pyarrow as pa

    fields = [pa.field(c.name, arrow_type(c.type), nullable=False) for c in shape.keys]
    fields += [pa.field(c.name, arrow_type(c.type)) for c in shape.values]
    fields += [pa.field("effective_from", pa.date32()), pa.field("effective_to", pa.date32())]
    return pa.schema(fields)


def set_with_id(connection: Connection, set_id: int) -> MappingSet:
    """The set that a run saw, whatever it is called by now.

    Raises:
        NoSuchMappingError: there is none.
    """
    query = select(MappingSetRow.__table__).where(MappingSetRow.id == set_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        message = f"there is no mapping set with the id {set_id}"
        raise NoSuchMappingError(message, hint="`openreg mappings list` shows the sets.")
    return set_of(row)


def find_set(connection: Connection, name: str, tenant: str = "") -> MappingSet:
    """A set by its name.

    Raises:
        NoSuchMappingError: there is none.
    """
    query = select(MappingSetRow.__table__).where(
        MappingSetRow.name == name, MappingSetRow.tenant == tenant
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        whose = f" of {tenant!r}" if tenant else ""
        message = f"there is no mapping set {name!r}{whose}"
        hint = "`openreg mappings list` shows the sets, `openreg mappings create` makes one."
        raise NoSuchMappingError(message, hint=hint)
    return set_of(row)


def set_of(row: RowMapping) -> MappingSet:
    """The record of a row."""
    return MappingSet.model_validate(dict(row))


def revision_at(connection: Connection, found: MappingSet, at: datetime) -> SetVersion:
    """The last revision of a set that was recorded at an instant or before.

    Raises:
        MappingError: the set was made later.
    """
    row = connection.execute(
        select(MappingRevisionRow.revision, MappingRevisionRow.recorded_at)
        .where(MappingRevisionRow.set_id == found.id, MappingRevisionRow.recorded_at <= at)
        .order_by(MappingRevisionRow.recorded_at.desc(), MappingRevisionRow.revision.desc())
        .limit(1)
    ).first()
    if row is not None:
        return SetVersion(found, row.revision, row.recorded_at)
    if at < found.created_at:
        message = f"mapping set {found.name!r} did not exist at {at.isoformat()}"
        raise MappingError(message, hint=f"It was made at {found.created_at.isoformat()}.")
    return SetVersion(found, 0, found.created_at)


def entries_query(
    set_id: int, revision: int, business_date: date | None = None
) -> Select[str, str, date, date]:
    """Key, value, beginning and end of what a revision knew, in the order of exports."""
    row = MappingEntryRow
    query = (
        select(row.key, row.value, row.effective_from, row.effective_to)
        .where(row.set_id == set_id, row.revision_from <= revision, row.revision_to > revision)
        .order_by(row.key, row.effective_from)
    )
    if business_date is None:
        return query
    return query.where(row.effective_from <= business_date, row.effective_to > business_date)


def _version(connection: Connection, name: str, at: datetime, tenant: str) -> SetVersion:
    return revision_at(connection, find_set(connection, name, tenant), at)


def _plain(connection: Connection, query: Select[str, str, date, date]) -> Select[*tuple[Any, ...]]:
    """Dates as SQLite holds them: Arrow reads a million of them faster than Python does."""
    if connection.dialect.name != "sqlite":
        return query
    plain = [
        type_coerce(column, String).label(column.name) if column.name.startswith("eff") else column
        for column in query.selected_columns
    ]
    return query.with_only_columns(*plain)


def _batch(rows: Any, shape: Shape) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    keys, values, begin, end = zip(*rows, strict=True)
    columns = arrow_columns(pa.array(keys, pa.string()), shape.keys)
    columns += arrow_columns(pa.array(values, pa.string()), shape.values)
    for dates, open_end in ((begin, ALWAYS), (end, FOREVER)):
        known = pa.array(dates).cast(pa.date32())
        null = pa.scalar(None, pa.date32())
        columns.append(pc.if_else(pc.equal(known, pa.scalar(open_end)), null, known))
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema(shape))


def ready(store_url: str) -> Engine:
    """An engine of a store whose tables fit.

    Raises:
        StoreNotReadyError: they do not.
        StoreUnavailableError: the database cannot be reached.
    """
    found = _READY.get(store_url)
    file = None if found is None else sqlite_file(found.url)
    if found is None or (file is not None and not file.exists()):
        found = connect_engine(parse_url(store_url))
        schema.require(found)
        _READY[store_url] = found
    return found
