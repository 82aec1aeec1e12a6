"""What runs have read of incremental sources, whether or not they succeeded."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from openreg_airflow.records import Record, RunKey
from openreg_airflow.store.delivery_models import Delivered
from openreg_airflow.store.models import Attempt, ExtractFile
from openreg_airflow.store.store import Store, _of_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select

#: The parameter of an incremental query after which it reads.
_SINCE = "since"
_MAY_BE_THERE = ("started", "delivered", "already-there")


class ReadWindow(Record):
    """What one run has read of one source: after ``since``, up to and with ``mark``."""

    business_date: date
    run_id: str
    source: str
    since: str
    mark: str


class Windows(Store):
    """Looks up what runs have read; errors are those of the store."""

    def read_by(self, run: RunKey) -> tuple[ReadWindow, ...]:
        """The windows of a run's incremental sources."""
        return self._windows(select(ExtractFile.__table__).where(*_of_run(ExtractFile, run)))

    def handed_out(
        self, run: RunKey, source: str, artifact: str, routes: Sequence[str]
    ) -> tuple[ReadWindow, ...]:
        """The windows of other business dates of which something was delivered, or may have been.

        Args:
            run: whose report; its own business date does not count, since another run of a date
                makes another version of the same report.
            source: the source.
            artifact: what was delivered.
            routes: the routes to the receiver.
        """
        row, attempt, entry = ExtractFile, Attempt, Delivered
        tried = select(attempt.id).where(
            *(attempt.report_id == row.report_id, attempt.run_id == row.run_id),
            *(attempt.business_date == row.business_date, attempt.artifact == artifact),
            *(attempt.route.in_(routes), attempt.result.in_(_MAY_BE_THERE)),
        )
        # A failed attempt may have delivered all the same: nobody knows yet.
        open_ = select(entry.id).where(
            *(entry.report_id == row.report_id, entry.run_id == row.run_id),
            *(entry.business_date == row.business_date, entry.artifact == artifact),
            *(entry.route.in_(routes), entry.state == "publishing"),
        )
        return self._windows(
            select(row.__table__)
            .where(row.report_id == run.report_id, row.source == source)
            .where(row.business_date != run.business_date)
            .where(or_(tried.exists(), open_.exists()))
        )

    def _windows(self, query: Select[tuple[object, ...]]) -> tuple[ReadWindow, ...]:
        with self._transaction(write=False) as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return tuple(
            ReadWindow(
                business_date=row["business_date"],
                run_id=row["run_id"],
                source=row["source"],
                since=str(row["detail"]["parameters"][_SINCE]),
                mark=str(row["detail"]["mark"]),
            )
            for row in rows
            if row["detail"].get("mark") is not None
        )
