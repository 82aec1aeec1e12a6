"""What the store knows of the mapping sets that runs used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, or_, select

from openreg_airflow.mapping_records import MappingSnapshot, MappingUse
from openreg_airflow.records import RunKey
from openreg_airflow.store import audit
from openreg_airflow.store.mapping_run_models import MappingUseRow, SnapshotRow
from openreg_airflow.store.models import ArtifactFileRow
from openreg_airflow.store.store import Store, _columns, _of_run, _put, _record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from datetime import date, datetime

    from sqlalchemy import Connection, Select

    from openreg_airflow.store.actor import Actor

#: Unmapped values of one step that are kept.
MOST_KEPT = 10_000


class MappingRuns(Store):
    """The snapshots of runs and what was looked up in them; errors are those of the store."""

    def record_snapshots(self, run: RunKey, snapshots: Iterable[MappingSnapshot]) -> None:
        """Record which sets a run sees; those that it no longer uses go."""
        rows = [
            one.model_dump(exclude={"keys", "values"})
            | {"detail": one.model_dump(mode="json", include={"keys", "values"})}
            for one in snapshots
        ]
        with self._transaction(write=True) as connection:
            connection.execute(
                delete(SnapshotRow)
                .where(*_of_run(SnapshotRow, run))
                .where(SnapshotRow.name.not_in([row["name"] for row in rows]))
            )
            _put(connection, SnapshotRow, run, rows)

    def snapshots(self, run: RunKey) -> tuple[MappingSnapshot, ...]:
        """The sets that a run sees, by name."""
        return tuple(_snapshot(row) for row in self._rows(SnapshotRow, run, "name"))

    def first_run(self, report_id: str, business_date: date) -> RunKey | None:
        """The run of a report for a date that knew least; None when there was none."""
        row = SnapshotRow
        query = select(row.run_id).where(
            row.report_id == report_id, row.business_date == business_date
        )
        with self._transaction(write=False) as connection:
            run_id = connection.scalar(query.order_by(row.known_at, row.id).limit(1))
        if run_id is None:
            return None
        return RunKey(report_id=report_id, business_date=business_date, run_id=run_id)

    def same_state(self, set_id: int, version: int) -> MappingSnapshot | None:
        """The newest snapshot that any run made of the same state of a set."""
        columns = _columns(SnapshotRow)
        query = (
            select(*(column.label(label) for label, column in columns.items()))
            .where(SnapshotRow.set_id == set_id, SnapshotRow.version == version)
            .order_by(SnapshotRow.id.desc())
            .limit(1)
        )
        with self._transaction(write=False) as connection:
            found = connection.execute(query).mappings().first()
        return _snapshot(dict(found)) if found else None

    def unused(self, before: datetime) -> tuple[MappingSnapshot, ...]:
        """The files that no run needs any more, by their URI; each as a run that saw it knew it.

        A run needs what it saw while files of its artifacts are kept, and if it is younger.

        Args:
            before: runs that recorded their snapshots since then are young.
        """
        columns = _columns(SnapshotRow)
        query = select(*(column.label(label) for label, column in columns.items()))
        query = query.where(SnapshotRow.uri.not_in(_needed(before))).order_by(SnapshotRow.uri)
        with self._transaction(write=False) as connection:
            rows = [_snapshot(dict(row)) for row in connection.execute(query).mappings()]
        return tuple({one.uri: one for one in rows}.values())

    def remove_unused(
        self,
        snapshot: MappingSnapshot,
        before: datetime,
        actor: Actor,
        remove: Callable[[str], None],
    ) -> bool:
        """Remove a file that no run needs any more; the records of it stay.

        Args:
            snapshot: one that :meth:`unused` gave.
            before: as there.
            actor: who removes it.
            remove: removes a file by its URI.

        Returns:
            False when a run has come to need it meanwhile.
        """
        entry = audit.AuditEntry(
            actor=actor,
            action="remove",
            kind="mapping snapshot",
            subject=snapshot.name,
            before={"uri": snapshot.uri, "sha256": snapshot.sha256, "version": snapshot.version},
        )
        with self._transaction(write=True) as connection:
            needed = _needed(before).where(SnapshotRow.uri == snapshot.uri).limit(1)
            if connection.scalar(needed) is not None:
                return False
            audit.append(connection, entry)
            remove(snapshot.uri)
        return True

    def record_uses(self, run: RunKey, uses: Iterable[MappingUse], places: Iterable[str]) -> None:
        """Record how steps of a run fared; what an earlier try said of these places goes.

        Args:
            run: the run.
            uses: what they looked up.
            places: the steps that ran, also those that used no set.
        """
        rows = [
            one.model_dump(exclude={"values"})
            | {"detail": {"values": one.model_dump(mode="json")["values"][:MOST_KEPT]}}
            for one in uses
        ]
        with self._transaction(write=True) as connection:
            connection.execute(
                delete(MappingUseRow)
                .where(*_of_run(MappingUseRow, run))
                .where(MappingUseRow.place.in_(list(places)))
            )
            _put(connection, MappingUseRow, run, rows)

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction in which the store is read."""
        return self._transaction(write=False)

    def uses(self, run: RunKey) -> tuple[MappingUse, ...]:
        """How the steps of a run fared, by place and set."""
        rows = self._rows(MappingUseRow, run, "place", "name")
        return tuple(_record(MappingUse, row | row["detail"]) for row in rows)

    def newest_run(self, report_id: str, business_date: date | None = None) -> RunKey | None:
        """The run of a report that looked something up last; of one business date if given."""
        row = MappingUseRow
        query = select(row.business_date, row.run_id).where(row.report_id == report_id)
        if business_date is not None:
            query = query.where(row.business_date == business_date)
        query = query.group_by(row.business_date, row.run_id)
        query = query.order_by(func.max(row.recorded_at).desc(), func.max(row.id).desc())
        with self._transaction(write=False) as connection:
            found = connection.execute(query.limit(1)).first()
        if found is None:
            return None
        return RunKey(report_id=report_id, business_date=found[0], run_id=found[1])


def _needed(before: datetime) -> Select[str]:
    """The URIs of the files that runs need."""
    row, file = SnapshotRow, ArtifactFileRow
    kept = exists().where(
        file.report_id == row.report_id,
        file.business_date == row.business_date,
        file.run_id == row.run_id,
        file.removed_at.is_(None),
    )
    return select(row.uri).where(or_(row.recorded_at >= before, kept))


def _snapshot(row: dict[str, Any]) -> MappingSnapshot:
    return _record(MappingSnapshot, row | row["detail"])
