"""Takes records into the queue, once each, however often a task or a run is repeated."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, column, func, insert, or_, select, true, update, values

from openreg_airflow.errors import TransientError
from openreg_airflow.exception_queue.changes import Change, Changes, audit
from openreg_airflow.exception_queue.item import content_sha256, key_sha256, key_text
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.exception_models import ExceptionCount, ExceptionItem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Select

    from openreg_airflow.exception_queue.item import Origin
    from openreg_airflow.exception_queue.parting import AsideRecord
    from openreg_airflow.records import RunKey

_CHUNK = 500
#: Makes an item wait again as if nobody had looked at it.
_UNDECIDED: dict[str, Any] = {
    "amendments": None,
    "why": None,
    "decided_by": None,
    "decided_at": None,
    "previous_state": None,
    "previous_amendments": None,
    "previous_why": None,
}

log = logging.getLogger(__name__)

#: What an item of a date is found by: its table, the hash of its key, its occurrence.
Place = tuple[str, str, int]


class Intake:
    """Takes in what one stage of a run that reads the source set aside.

    The run becomes the one whose counts hold for the report's business date. The same record with
    the same values keeps what people decided; records that the stage no longer sets aside are
    superseded, because the run reports them from the source. Memory does not grow with the
    records.

    Args:
        connection: inside a transaction that was begun for writing.
        run: the run.
        stage: the stage that sets aside; several may.
        origin: why.
    """

    def __init__(self, connection: Connection, run: RunKey, stage: str, origin: Origin) -> None:
        self._connection = connection
        self._run = run
        self._stage = stage
        self._origin = origin
        self._now = datetime.now(UTC)
        self._changes: Changes
        #: Items that were not there, or were superseded.
        self.new = 0
        #: Items that are there with the same content.
        self.same = 0
        #: Items whose record has other values now: they are pending again.
        self.changed = 0

    def take(
        self,
        records: Iterable[AsideRecord],
        counts: Mapping[str, tuple[int, int]],
        detail: dict[str, Any],
    ) -> None:
        """Take in the records, each once.

        Args:
            records: what is set aside.
            counts: rows taken in and handed on, by table of records.
            detail: kept with the counts, see
                :class:`~openreg_airflow.store.exception_models.ExceptionCount`.

        Raises:
            TransientError: a record whose values changed is being resubmitted just now.
        """
        self._connection.execute(
            update(ExceptionCount)
            .where(*_of_date(ExceptionCount, self._run), ExceptionCount.standing)
            .where(ExceptionCount.run_id != self._run.run_id)
            .values(standing=False)
        )
        rows = (
            {"table_name": table, "resubmission": 0, "taken": taken, "handed_on": handed_on}
            for table, (taken, handed_on) in counts.items()
        )
        fixed = {"stage": self._stage, "standing": True, "detail": detail}
        self._now = self._after_all_others()
        put_counts(self._connection, self._run, [row | fixed for row in rows])
        with Changes() as self._changes:
            waiting = iter(records)
            while chunk := tuple(islice(waiting, _CHUNK)):
                self._take_chunk(chunk)
            self._supersede()
            self._audit()

    def take_back(self, records: Iterable[AsideRecord]) -> int:
        """Take in records that the run has reported, and that were not accepted.

        Returns:
            How many were not in the queue yet.
        """
        with Changes() as self._changes:
            waiting = iter(records)
            while chunk := tuple(islice(waiting, _CHUNK)):
                self._take_back_chunk(chunk)
            self._audit()
        return self.new

    def _after_all_others(self) -> datetime:
        """Now; later than what earlier runs took in, also when a clock was set back since."""
        newest = select(func.max(ExceptionItem.recorded_at))
        last = self._connection.scalar(newest.where(*_of_date(ExceptionItem, self._run)))
        return max(self._now, last + timedelta(microseconds=1)) if last else self._now

    def _take_back_chunk(self, records: tuple[AsideRecord, ...]) -> None:
        rows = self._rows(records)
        there = self._there(rows)
        new = []
        for place, row in rows.items():
            row["taken_back"] = True
            if place not in there:
                new.append(row)
            elif there[place].state == "superseded":
                self._renew(there[place], row)
        self._insert("take back", new)

    def _take_chunk(self, records: tuple[AsideRecord, ...]) -> None:
        rows = self._rows(records)
        there = self._there(rows)
        self._insert("set aside", [row for place, row in rows.items() if place not in there])
        unchanged = []
        for place, row in rows.items():
            if (found := there.get(place)) is None:
                continue
            if found.state != "superseded" and found.content_sha256 == row["content_sha256"]:
                unchanged.append((found, row))
            else:
                self._renew(found, row)
        self._keep(unchanged)

    def _insert(self, action: str, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        item = ExceptionItem
        made = insert(item).returning(item.id, item.table, item.key_sha256, item.occurrence)
        ids = {
            (table, key, occurrence): number
            for number, table, key, occurrence in self._connection.execute(made, rows)
        }
        self.new += len(rows)
        for row in rows:
            self._note(action, ids[_place(row)], None, row)

    def _rows(self, records: Iterable[AsideRecord]) -> dict[Place, dict[str, Any]]:
        return {_place(row): row for row in map(self._row, records)}

    def _row(self, record: AsideRecord) -> dict[str, Any]:
        rules = dict.fromkeys(reason["rule"] for reason in record.reasons)
        return {
            **self._run.model_dump(),
            "recorded_at": self._now,
            "table_name": record.table,
            "key_sha256": key_sha256(record.table, record.key),
            "occurrence": record.occurrence,
            "record_key": key_text(record.key),
            "stage": self._stage,
            "origin": self._origin,
            "position": record.position,
            "row_values": record.values,
            "children": record.children,
            "content_sha256": content_sha256(record.values, record.children),
            "reasons": record.reasons,
            "rules": f"|{'|'.join(rules)}|",
            "state": "pending",
            "version": 1,
            "taken_back": False,
        }

    def _there(self, places: Iterable[Place]) -> dict[Place, Any]:
        """The items that are there already."""
        by_table: dict[str, set[str]] = {}
        for table, key, _ in places:
            by_table.setdefault(table, set()).add(key)
        return {
            (row.table_name, row.key_sha256, row.occurrence): row
            for table, keys in by_table.items()
            for row in self._connection.execute(self._of_keys(table, keys))
        }

    def _of_keys(self, table: str, keys: set[str]) -> Select[*tuple[Any, ...]]:
        """The items of some keys, found by the whole of the index, table and key included.

        PostgreSQL knows nothing of rows that are being inserted, and would rather read all items of
        the date than look each key up; so it is told to do that.
        """
        item = ExceptionItem
        query = select(
            *(item.id, item.table, item.key_sha256, item.occurrence, item.content_sha256),
            *(item.state, item.version, item.claimed_by, item.rules),
        ).where(*_of_date(item, self._run), item.table == table)
        if self._connection.dialect.name != "postgresql":
            return query.where(item.key_sha256.in_(keys))
        wanted = values(column("key", String), name="wanted").data([(key,) for key in sorted(keys)])
        found = query.where(item.key_sha256 == wanted.c.key).offset(0).lateral("found")
        return select(found).select_from(wanted.join(found, true()))

    def _renew(self, found: Any, row: dict[str, Any]) -> None:
        """The record has other values, or was no longer set aside: it waits again."""
        if found.claimed_by is not None:
            message = (
                f"the record {row['record_key']} has other values now, and its item {found.id} "
                f"is being resubmitted by the run {found.claimed_by}"
            )
            raise TransientError(message, hint="Wait for that run, then clear this task.")
        # Somebody may have decided since it was looked up: the database counts.
        fresh = row | _UNDECIDED | {"version": ExceptionItem.version + 1, "reported_by": None}
        self._connection.execute(
            update(ExceptionItem).where(ExceptionItem.id == found.id).values(**fresh)
        )
        if found.state == "superseded":
            self.new += 1
        else:
            self.changed += 1
        self._note("set aside again", found.id, {"state": found.state}, row)

    def _keep(self, unchanged: list[tuple[Any, dict[str, Any]]]) -> None:
        """The same record again: what people decided stays; its run and reasons may be new."""
        self.same += len(unchanged)
        if unchanged:
            self._connection.execute(
                update(ExceptionItem)
                .where(ExceptionItem.id.in_([found.id for found, _ in unchanged]))
                .values(
                    run_id=self._run.run_id,
                    recorded_at=self._now,
                    stage=self._stage,
                    taken_back=False,
                )
            )
        for found, row in unchanged:
            if found.rules != row["rules"] and found.state == "pending":
                self._connection.execute(
                    update(ExceptionItem)
                    .where(ExceptionItem.id == found.id)
                    .values(reasons=row["reasons"], rules=row["rules"])
                )

    def _supersede(self) -> None:
        """Items of this stage that it no longer sets aside, and those that were taken back."""
        item = ExceptionItem
        gone = (
            *_of_date(item, self._run),
            item.state != "superseded",
            or_(
                (item.stage == self._stage) & (item.recorded_at < self._now),
                item.taken_back & (item.run_id != self._run.run_id),
            ),
        )
        columns = (item.id, item.state, item.claimed_by, item.reported_by, item.record_key)
        query = select(*columns).where(*gone).order_by(item.id)
        twice: list[str] = []
        for row in self._connection.execute(query, execution_options={"yield_per": _CHUNK}):
            if row.claimed_by is not None:
                message = f"item {row.id} is being resubmitted by the run {row.claimed_by}"
                raise TransientError(message, hint="Wait for that run, then clear this task.")
            after = {"state": "superseded", "run": self._run.run_id}
            self._changes.add(Change("supersede", row.id, {"state": row.state}, after))
            if row.reported_by is not None:
                twice.append(row.record_key)
        self._connection.execute(
            update(item).where(*gone).values(state="superseded", version=item.version + 1)
        )
        if twice:
            log.warning(
                "%d records that a resubmission reported are not set aside any more: they pass now "
                "and are in this run's tables too, or the source has them no more and they stay "
                "reported; the first has the key %s.",
                len(twice),
                twice[0],
            )

    def _note(
        self, action: str, item: int, before: dict[str, Any] | None, row: dict[str, Any]
    ) -> None:
        after = {
            "state": "pending",
            "table": row["table_name"],
            "key": row["record_key"],
            "rules": row["rules"],
            "content": row["content_sha256"],
        }
        self._changes.add(Change(action, item, before, after))

    def _audit(self) -> None:
        actor = Actor.of_task(self._run.report_id, self._run.run_id)
        audit(self._connection, actor, self._run, self._changes)


def put_counts(connection: Connection, run: RunKey, rows: list[dict[str, Any]]) -> None:
    """Write counts of a run; a repeated task replaces what its earlier try wrote."""
    now = datetime.now(UTC)
    for row in rows:
        values = row | {"recorded_at": now, "settled_at": None}
        there = update(ExceptionCount).where(
            *_of_date(ExceptionCount, run),
            ExceptionCount.run_id == run.run_id,
            ExceptionCount.stage == row["stage"],
            ExceptionCount.table == row["table_name"],
        )
        if not connection.execute(there.values(**values)).rowcount:
            connection.execute(insert(ExceptionCount).values(**run.model_dump(), **values))


def _of_date(model: Any, run: RunKey) -> tuple[Any, ...]:
    return (model.report_id == run.report_id, model.business_date == run.business_date)


def _place(row: dict[str, Any]) -> Place:
    return row["table_name"], row["key_sha256"], row["occurrence"]
