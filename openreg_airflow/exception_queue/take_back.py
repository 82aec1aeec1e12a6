"""Takes records back that were reported: the authority has rejected them."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from openreg_airflow.errors import PermanentError
from openreg_airflow.exception_queue.changes import Change, Changes, audit
from openreg_airflow.exception_queue.intake import Intake
from openreg_airflow.exception_queue.parting import Parting
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.rows import item, items, queue_transaction
from openreg_airflow.exception_queue.sent_keys import SentKeys
from openreg_airflow.records import Dataset, Record
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.exception_models import ExceptionCount, ExceptionItem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import RunKey
    from openreg_airflow.workspace import Workspace

#: The stage of items that were taken back.
STAGE = "acknowledge"
_CHUNK = 500


class Rejection(Record):
    """A record that the authority did not accept.

    Attributes:
        table: the table of records.
        key: the values that name it, as text.
        rule: the authority's id of what it does not meet.
        message: what the authority says.
        row: its 0-based number in the table that the run reported, where several may have the key.
    """

    table: str
    key: tuple[str | None, ...]
    rule: str
    message: str
    row: int | None = None


def take_back(
    *,
    run: RunKey,
    rejections: Iterable[Rejection],
    records: Mapping[str, RecordTable],
    workspace: Workspace,
    store_url: str,
    numbered: Mapping[str, str] | None = None,
) -> int:
    """Put records that a run reported into the queue, with the authority's reasons.

    Repeated with the same rejections it changes nothing: what people have decided since stays.

    Args:
        run: the run that reported them, whether it read the source or resubmitted.
        rejections: what the authority said; several of one record are one item. Read once, never
            held as a whole where the run read the source.
        records: the report's section ``records``.
        workspace: where the run's tables are.
        store_url: the product's own database.
        numbered: SHA-256 of the tables whose rows ``row`` means, by table; where the run reported
            others, the key counts alone.

    Returns:
        How many records were taken back now.

    Raises:
        PermanentError: the run reported no such record.
    """
    waiting = iter(rejections)
    first = next(waiting, None)
    if first is None:
        return 0
    rejections = chain([first], waiting)
    with queue_transaction(store_url, write=False) as connection:
        counts = connection.execute(
            select(ExceptionCount.resubmission, ExceptionCount.detail)
            .where(
                ExceptionCount.report_id == run.report_id,
                ExceptionCount.business_date == run.business_date,
                ExceptionCount.run_id == run.run_id,
            )
            .order_by(ExceptionCount.id.desc())
        ).first()
    if counts is None:
        message = f"run {run.run_id} reported no records of the exception queue's tables"
        raise PermanentError(message)
    if counts.resubmission:
        with queue_transaction(store_url, write=True) as connection:
            taken = counts.detail["items"]
            return _from_resubmission(connection, run, rejections, records, taken)
    with ExitStack() as stack:
        tables = {
            name: stack.enter_context(workspace.open_local(Dataset.model_validate(table)))
            for name, table in counts.detail["tables"].items()
            if name in records
        }
        same = {
            name
            for name, sha256 in (numbered or {}).items()
            if counts.detail["tables"].get(name, {}).get("sha256") == sha256
        }
        scratch = stack.enter_context(workspace.scratch_folder()).absolute()
        reasons = scratch / "reasons.parquet"
        with ReasonWriter(reasons) as writer:
            for one in rejections:
                row = one.row if one.table in same else None
                key = one.key if row is None else None
                writer.add(one.table, one.rule, one.message, row=row, key=key)
        local = {name: path.absolute() for name, path in tables.items()}
        parting = stack.enter_context(Parting(records, local, reasons, scratch))
        with queue_transaction(store_url, write=True) as connection:
            return Intake(connection, run, STAGE, "authority").take_back(parting.watched())


def _from_resubmission(
    connection: Connection,
    run: RunKey,
    rejections: Iterable[Rejection],
    records: Mapping[str, RecordTable],
    taken: Mapping[str, Sequence[int]],
) -> int:
    """Records of a resubmission are items already: they wait again, as they were sent."""
    mine = (ExceptionItem.reported_by == run.run_id) | (ExceptionItem.claimed_by == run.run_id)
    wanted: dict[tuple[str, tuple[str | None, ...]], list[dict[str, Any]]] = {}
    for said in rejections:
        reason = {"rule": said.rule, "message": said.message, "table": said.table}
        wanted.setdefault((said.table, said.key), []).append(reason)
    found: set[tuple[str, tuple[str | None, ...]]] = set()
    numbers = iter(sorted(number for numbers in taken.values() for number in numbers))
    with Changes() as changes, SentKeys(connection, records) as keys:
        while chunk := tuple(islice(numbers, _CHUNK)):
            query = items().where(ExceptionItem.id.in_(chunk)).order_by(ExceptionItem.id)
            for one, key in keys.of([*map(item, connection.execute(query).fetchall())]):
                place = (one.table, key)
                if place not in wanted:
                    continue
                found.add(place)
                done = connection.execute(
                    update(ExceptionItem)
                    .where(ExceptionItem.id == one.id, mine)
                    .values(
                        state="pending",
                        origin="authority",
                        claimed_by=None,
                        reported_by=None,
                        reasons=wanted[place],
                        rules=f"|{'|'.join(dict.fromkeys(r['rule'] for r in wanted[place]))}|",
                        version=ExceptionItem.version + 1,
                    )
                )
                if done.rowcount:
                    after = {"state": "pending", "rules": [r["rule"] for r in wanted[place]]}
                    before = {"state": one.state, "run": run.run_id}
                    changes.add(Change("take back", one.id, before, after))
        if lost := [key for key in wanted if key not in found]:
            message = f"run {run.run_id} reported no record {lost[0][1]} of {lost[0][0]}"
            raise PermanentError(message)
        audit(connection, Actor.of_task(run.report_id, run.run_id), run, changes)
    return changes.count
