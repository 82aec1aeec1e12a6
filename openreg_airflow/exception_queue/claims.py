"""Who reports a record: a run claims it, and no other run takes it while the claim stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from openreg_airflow.errors import PermanentError
from openreg_airflow.exception_queue.changes import Change, audit
from openreg_airflow.exception_queue.intake import put_counts
from openreg_airflow.exception_queue.item import READY
from openreg_airflow.exception_queue.listing import get_all
from openreg_airflow.exception_queue.rows import queue_transaction
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.exception_models import ExceptionCount, ExceptionItem
from openreg_airflow.store.models import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from openreg_airflow.exception_queue.item import Item
    from openreg_airflow.exception_queue.parting import AsideRecord
    from openreg_airflow.records import RunKey

_CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a run has claimed.

    Attributes:
        number: of the resubmission, from 1.
        detail: of the run that reads the source: types and other tables.
        taken: the numbers of the claimed items by table, in the order of the rows.
    """

    number: int
    detail: dict[str, Any]
    taken: dict[str, list[int]]

    @property
    def size(self) -> int:
        """How many records were claimed."""
        return sum(map(len, self.taken.values()))

    def items_of(self, store_url: str, table: str) -> Iterator[Item]:
        """The claimed items of a table, read some at a time: nobody changes them meanwhile."""
        waiting = iter(self.taken.get(table, []))
        while chunk := list(islice(waiting, _CHUNK)):
            yield from get_all(store_url, chunk)


def claim(connection: Connection, run: RunKey, stage: str) -> Claim | None:
    """Claim all that is amended or released; a run that has a claim keeps just that.

    Args:
        connection: inside a transaction that was begun for writing.
        run: the resubmission's run.
        stage: under which its counts are kept.

    Returns:
        None when there is nothing to claim.
    """
    # One claim of a date at a time: the next one sees what this one has taken, and its number.
    standing = connection.execute(
        select(ExceptionCount.detail)
        .where(*_of_date(ExceptionCount, run), ExceptionCount.standing)
        .order_by(ExceptionCount.id.desc())
        .with_for_update()
    ).fetchall()
    if not standing:
        return None
    own = connection.execute(
        select(ExceptionCount.resubmission).where(
            *_of_run(ExceptionCount, run), ExceptionCount.stage == stage
        )
    ).first()
    number = own.resubmission if own is not None else _take(connection, run)
    if number is None:
        return None
    taken = _claimed(connection, run)
    if not taken:
        message = f"the records of run {run.run_id} were given back to the queue"
        raise PermanentError(message, hint="Start another resubmission.")
    _count(connection, run, stage, number, taken)
    return Claim(number=number, detail=standing[0].detail, taken=taken)


def _take(connection: Connection, run: RunKey) -> int | None:
    ready = (
        *_of_date(ExceptionItem, run),
        ExceptionItem.state.in_(READY),
        ExceptionItem.claimed_by.is_(None),
    )
    query = select(ExceptionItem.id, ExceptionItem.state).where(*ready)
    rows = connection.execute(query.order_by(ExceptionItem.id).with_for_update()).fetchall()
    if not rows:
        return None
    connection.execute(
        update(ExceptionItem)
        .where(*ready)
        .values(claimed_by=run.run_id, version=ExceptionItem.version + 1)
    )
    last = select(func.max(ExceptionCount.resubmission)).where(*_of_date(ExceptionCount, run))
    number = int(connection.scalar(last) or 0) + 1
    changes = (
        Change("claim", row.id, {"state": row.state}, {"claimed_by": run.run_id}) for row in rows
    )
    audit(connection, _task(run), run, changes)
    return number


def _count(
    connection: Connection, run: RunKey, stage: str, number: int, numbers: dict[str, list[int]]
) -> None:
    """Note which items the run has, in the order of its tables' rows."""
    fixed = {"stage": stage, "resubmission": number, "standing": False}
    rows = (
        {"table_name": table, "taken": len(ids), "handed_on": len(ids)}
        for table, ids in numbers.items()
    )
    detail = {"detail": {"items": numbers}}
    put_counts(connection, run, [fixed | row | detail for row in rows])


def _claimed(connection: Connection, run: RunKey) -> dict[str, list[int]]:
    """The items of a claim, without those that failed again when the run was first tried."""
    mine = (ExceptionItem.claimed_by == run.run_id) | (ExceptionItem.reported_by == run.run_id)
    query = select(ExceptionItem.id, ExceptionItem.table).where(*_of_date(ExceptionItem, run), mine)
    found: dict[str, list[int]] = {}
    for number, table in connection.execute(query.order_by(ExceptionItem.id)):
        found.setdefault(table, []).append(number)
    return found


def released_rules(connection: Connection, run: RunKey, stage: str) -> dict[str, list[Any]]:
    """The rules that released records need not meet: by table, the record's row and the rule."""
    rows = _order(connection, run, stage)
    waived: dict[str, list[Any]] = {}
    query = select(ExceptionItem.id, ExceptionItem.reasons).where(
        *_of_date(ExceptionItem, run),
        ExceptionItem.claimed_by == run.run_id,
        ExceptionItem.state == "released",
    )
    for number, reasons in connection.execute(query):
        table, place = rows[number]
        waived.setdefault(table, []).extend((place, reason["rule"]) for reason in reasons)
    return waived


def give_back_failed(
    connection: Connection, run: RunKey, stage: str, failed: Iterable[AsideRecord]
) -> int:
    """Make records that failed again pending, and see that all others are the run's own.

    Returns:
        How many went back now; a repeated task finds that they have gone already.

    Raises:
        PermanentError: a record that would be reported is not claimed by the run.
    """
    numbers = {place: number for number, place in _order(connection, run, stage).items()}
    kept = dict(numbers)
    now = datetime.now(UTC)
    changes: list[Change] = []
    for record in failed:
        number = kept.pop((record.table, record.position))
        rules = dict.fromkeys(reason["rule"] for reason in record.reasons)
        done = connection.execute(
            update(ExceptionItem)
            .where(ExceptionItem.id == number, ExceptionItem.claimed_by == run.run_id)
            .values(
                state="pending",
                claimed_by=None,
                reasons=record.reasons,
                rules=f"|{'|'.join(rules)}|",
                version=ExceptionItem.version + 1,
                recorded_at=now,
                previous_state=None,
            )
        )
        if done.rowcount:
            after = {"state": "pending", "rules": list(rules)}
            changes.append(Change("return", number, {"claimed_by": run.run_id}, after))
    _require_own(connection, run, sorted(kept.values()))
    audit(connection, _task(run), run, changes)
    return len(changes)


def give_back(store_url: str, run: RunKey, actor: Actor, why: str, *, force: bool = False) -> int:
    """Give back what a resubmission claimed, so that it can be amended or claimed again.

    Args:
        store_url: the product's own database.
        run: the resubmission's run, which must not go on afterwards.
        actor: who gives back.
        why: the reason, for the audit trail.
        force: also when a delivery of the run was begun.

    Returns:
        How many records went back.

    Raises:
        PermanentError: a delivery of the run was begun; its records may have arrived.
    """
    with queue_transaction(store_url, write=True) as connection:
        sent = connection.scalar(
            select(func.count()).select_from(Attempt).where(
                *_of_run(Attempt, run), Attempt.result != "failed"
            )
        )  # fmt: skip
        if sent and not force:
            message = f"a delivery of run {run.run_id} was begun; its records may have arrived"
            raise PermanentError(
                message, hint="Clear the failed task of the run: it goes on with the same records."
            )
        mine = (*_of_date(ExceptionItem, run), ExceptionItem.claimed_by == run.run_id)
        query = select(ExceptionItem.id, ExceptionItem.state).where(*mine)
        rows = connection.execute(query.order_by(ExceptionItem.id).with_for_update()).fetchall()
        connection.execute(
            update(ExceptionItem)
            .where(*mine)
            .values(claimed_by=None, version=ExceptionItem.version + 1)
        )
        changes = [
            Change(
                "give back",
                row.id,
                {"claimed_by": run.run_id},
                {"state": row.state, "why": why},
            )
            for row in rows
        ]
        audit(connection, actor, run, changes)
    return len(rows)


def settle(store_url: str, run: RunKey) -> int:
    """Note that what a run handed on has been reported.

    Returns:
        How many records of the queue were reported by it: none, when it reads the source.
    """
    with queue_transaction(store_url, write=True) as connection:
        connection.execute(
            update(ExceptionCount)
            .where(*_of_run(ExceptionCount, run))
            .values(settled_at=datetime.now(UTC))
        )
        mine = (*_of_date(ExceptionItem, run), ExceptionItem.claimed_by == run.run_id)
        query = select(ExceptionItem.id, ExceptionItem.state).where(*mine)
        rows = connection.execute(query.order_by(ExceptionItem.id).with_for_update()).fetchall()
        connection.execute(
            update(ExceptionItem)
            .where(*mine)
            .values(
                state="reported",
                reported_by=run.run_id,
                claimed_by=None,
                previous_state=None,
                version=ExceptionItem.version + 1,
            )
        )
        after = {"state": "reported", "run": run.run_id}
        changes = (Change("report", row.id, {"state": row.state}, after) for row in rows)
        audit(connection, _task(run), run, changes)
    return len(rows)


def _order(connection: Connection, run: RunKey, stage: str) -> dict[int, tuple[str, int]]:
    """The table and 0-based row of each item of a run's tables."""
    detail = connection.scalar(
        select(ExceptionCount.detail)
        .where(*_of_run(ExceptionCount, run), ExceptionCount.stage == stage)
        .limit(1)
    )
    by_table = detail["items"] if detail else {}
    return {
        number: (table, place)
        for table, ids in by_table.items()
        for place, number in enumerate(ids)
    }


def _require_own(connection: Connection, run: RunKey, numbers: list[int]) -> None:
    mine = (ExceptionItem.claimed_by == run.run_id) | (ExceptionItem.reported_by == run.run_id)
    waiting = iter(numbers)
    while chunk := list(islice(waiting, _CHUNK)):
        query = select(func.count()).select_from(ExceptionItem)
        found = connection.scalar(query.where(ExceptionItem.id.in_(chunk), mine))
        if found != len(chunk):
            message = f"records of run {run.run_id} were given back to the queue"
            raise PermanentError(message, hint="Start another resubmission.")


def _of_date(model: Any, run: RunKey) -> tuple[Any, ...]:
    return (model.report_id == run.report_id, model.business_date == run.business_date)


def _of_run(model: Any, run: RunKey) -> tuple[Any, ...]:
    return (*_of_date(model, run), model.run_id == run.run_id)


def _task(run: RunKey) -> Actor:
    return Actor.of_task(run.report_id, run.run_id)
