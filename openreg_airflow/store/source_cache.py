"""What the store knows of query results that reports share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from openreg_airflow.store.source_cache_models import CachedResultRow
from openreg_airflow.store.store import Store
from openreg_airflow.store_records import CachedResult

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

_row = CachedResultRow


class SourceCache(Store):
    """The index of the cache; errors are those of the store."""

    def fresh(self, key: str, not_before: datetime) -> CachedResult | None:
        """The result of a query, if it was not read before a time."""
        query = select(_row.detail).where(_row.key == key, _row.read_at >= not_before)
        with self._transaction(write=False) as connection:
            found = connection.scalar(query)
        return None if found is None else CachedResult.model_validate(found)

    def claim(self, key: str, reader: str, seconds: float) -> bool:
        """Take or keep the right to read a query anew; for others to wait meanwhile.

        Args:
            key: of the query.
            reader: who asks.
            seconds: how long the right lasts unless it is taken again.

        Returns:
            False when another has it.
        """
        now = datetime.now(UTC)
        free = or_(_row.reading_until.is_(None), _row.reading_until < now, _row.reader == reader)
        with self._transaction(write=True) as connection:
            insert = postgresql if connection.dialect.name == "postgresql" else sqlite
            connection.execute(insert.insert(_row).values(key=key).on_conflict_do_nothing())
            taken = connection.execute(
                update(_row)
                .where(_row.key == key, free)
                .values(reader=reader, reading_until=now + timedelta(seconds=seconds))
            )
            return taken.rowcount == 1

    def release(self, key: str, reader: str) -> None:
        """Give back the right to read; harmless without it."""
        with self._transaction(write=True) as connection:
            connection.execute(
                update(_row)
                .where(_row.key == key, _row.reader == reader)
                .values(reader=None, reading_until=None)
            )

    def put(self, key: str, result: CachedResult) -> CachedResult | None:
        """Make a result the one that others get; return the one that it replaces."""
        values: dict[str, Any] = {
            "connection": result.connection,
            "read_at": result.origin.read_at,
            "keep_until": result.keep_until,
            "reader": None,
            "reading_until": None,
            "detail": result.model_dump(mode="json"),
        }
        with self._transaction(write=True) as connection:
            before = connection.scalar(select(_row.detail).where(_row.key == key).with_for_update())
            insert = postgresql if connection.dialect.name == "postgresql" else sqlite
            statement = insert.insert(_row).values(key=key, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))
        return None if before is None else CachedResult.model_validate(before)

    def forget(self, key: str, uri: str) -> None:
        """Drop a result that is no longer good, if it is still this one."""
        with self._transaction(write=True) as connection:
            found = connection.scalar(select(_row.detail).where(_row.key == key).with_for_update())
            if found is not None and found["file"]["uri"] == uri:
                connection.execute(
                    update(_row)
                    .where(_row.key == key)
                    .values(detail=None, read_at=None, keep_until=None)
                )

    def results(self) -> tuple[CachedResult, ...]:
        """Every result, the newest first."""
        query = select(_row.detail).where(_row.detail.is_not(None)).order_by(_row.read_at.desc())
        with self._transaction(write=False) as connection:
            found = list(connection.scalars(query))
        return tuple(CachedResult.model_validate(detail) for detail in found if detail)

    def take_out(
        self, *, expired_at: datetime | None = None, connection_id: str | None = None
    ) -> tuple[CachedResult, ...]:
        """Remove results from the index; their files are the caller's to remove.

        Args:
            expired_at: only what may be removed by then.
            connection_id: only what was read from this connection.
        """
        wanted: list[ColumnElement[bool]] = [_row.read_at.is_not(None)]
        if expired_at is not None:
            wanted.append(_row.keep_until < expired_at)
        if connection_id is not None:
            wanted.append(_row.connection == connection_id)
        with self._transaction(write=True) as connection:
            # In one statement: what another task notes meanwhile stays, or is told of.
            found = list(connection.scalars(delete(_row).where(*wanted).returning(_row.detail)))
        return tuple(CachedResult.model_validate(detail) for detail in found if detail)
