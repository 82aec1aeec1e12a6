"""The counts of a report's business date, which must add up: in = reported + rejected + pending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from openreg_airflow.exception_queue.item import OPEN
from openreg_airflow.exception_queue.rows import queue_transaction
from openreg_airflow.records import Record
from openreg_airflow.store.exception_models import ExceptionCount, ExceptionItem

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection


class Balance(Record):
    """The records of one table of a report on a business date, at one moment.

    Attributes:
        run_id: the run whose reading of the source counts: the last one that was validated.
        records: records that it read.
        reported: delivered, by that run or by a resubmission.
        rejected: left out by a person's decision.
        under_way: handed on and not yet delivered, by that run or by a resubmission.
        waiting: in the queue, undecided.
        ready: in the queue, amended or released, and not claimed by a run.
    """

    table: str
    run_id: str
    records: int
    reported: int
    rejected: int
    under_way: int
    waiting: int
    ready: int

    @property
    def pending(self) -> int:
        """Neither reported nor rejected."""
        return self.under_way + self.waiting + self.ready

    @property
    def holds(self) -> bool:
        """Whether every record that was read is accounted for, once."""
        return self.records == self.reported + self.rejected + self.pending

    def line(self) -> str:
        """The sum in one line."""
        sign = "=" if self.holds else "is not"
        return (
            f"{self.table}: in {self.records:,} {sign} reported {self.reported:,} "
            f"+ rejected {self.rejected:,} + pending {self.pending:,} "
            f"({self.under_way:,} under way, {self.waiting:,} undecided, "
            f"{self.ready:,} to resubmit)"
        )


def balances(store_url: str, report_id: str, business_date: date) -> tuple[Balance, ...]:
    """The counts of a report's business date by table of records; empty when no run was counted."""
    with queue_transaction(store_url, write=False) as connection:
        return balances_in(connection, report_id, business_date)


def balances_in(connection: Connection, report_id: str, business_date: date) -> tuple[Balance, ...]:
    """The same within a transaction of the caller's; all counts are of one moment."""
    count = ExceptionCount
    standing = connection.execute(
        select(
            count.table.label("name"),
            func.max(count.run_id).label("run_id"),
            func.max(count.taken).label("taken"),
            func.min(count.handed_on).label("handed_on"),
            func.count().label("stages"),
            func.count(count.settled_at).label("settled"),
        )
        .where(count.report_id == report_id, count.business_date == business_date, count.standing)
        .group_by(count.table)
        .order_by(count.table)
    ).fetchall()
    item = ExceptionItem
    columns = (item.table, item.state, item.taken_back, item.claimed_by.is_not(None))
    grouped = connection.execute(
        select(*columns, func.count())
        .where(item.report_id == report_id, item.business_date == business_date)
        .where(item.state != "superseded")
        .group_by(*columns)
    ).fetchall()
    return tuple(_balance(one, [row for row in grouped if row[0] == one.name]) for one in standing)


def _balance(standing: Any, grouped: list[Any]) -> Balance:
    sums = dict.fromkeys(("reported", "rejected", "under_way", "waiting", "ready"), 0)
    handed_on = standing.handed_on
    for _, state, taken_back, claimed, number in grouped:
        if taken_back:
            handed_on -= number
        if claimed:
            sums["under_way"] += number
        elif state in ("reported", "rejected"):
            sums[state] += number
        elif state == "pending":
            sums["waiting"] += number
        elif state in OPEN:
            sums["ready"] += number
    delivered = standing.settled == standing.stages
    sums["reported" if delivered else "under_way"] += handed_on
    return Balance(table=standing.name, run_id=standing.run_id, records=standing.taken, **sums)
