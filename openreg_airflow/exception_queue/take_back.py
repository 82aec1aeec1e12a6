"""Takes records back that were reported: the authority has rejected them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select, update

from openreg_airflow.errors import PermanentError
from openreg_airflow.exception_queue.aside_rows import AsideRows
from openreg_airflow.exception_queue.changes import Change, Changes, audit
from openreg_airflow.exception_queue.intake import Intake
from openreg_airflow.exception_queue.parting import Parting
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.rejections import Rejections
from openreg_airflow.exception_queue.rows import item, items, queue_transaction
from openreg_airflow.exception_queue.sent_keys import SentKeys
from openreg_airflow.records import Dataset
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.exception_models import ExceptionCount, ExceptionItem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from openreg_airflow.exception_queue.rejections import Rejection
    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import RunKey
    from openreg_airflow.workspace import Workspace

#: The stage of items that were taken back.
STAGE = "acknowledge"
_CHUNK = 500


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
            held as a whole.
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
        with (
            workspace.scratch_folder() as folder,
            Rejections(rejections, folder.absolute()) as said,
            queue_transaction(store_url, write=True) as connection,
        ):
            return _from_resubmission(connection, run, said, records, counts.detail["items"])
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
        parting = stack.enter_context(Parting(AsideRows(records, local, reasons, scratch)))
        with queue_transaction(store_url, write=True) as connection:
            return Intake(connection, run, STAGE, "authority").take_back(parting.watched())


def _from_resubmission(
    connection: Connection,
    run: RunKey,
    said: Rejections,
    records: Mapping[str, RecordTable],
    taken: Mapping[str, Sequence[int]],
) -> int:
    """Records of a resubmission are items already: they wait again, as they were sent."""
    numbers = iter(sorted(number for numbers in taken.values() for number in numbers))
    with Changes() as changes, SentKeys(connection, records) as keys:
        while chunk := tuple(islice(numbers, _CHUNK)):
            query = items().where(ExceptionItem.id.in_(chunk)).order_by(ExceptionItem.id)
            there = [*map(item, connection.execute(query).fetchall())]
            places = {one.id: (one.table, key) for one, key in keys.of(there)}
            states = {one.id: one.state for one in there}
            alike: dict[str, list[int]] = {}
            for number, reasons in said.of(places).items():
                alike.setdefault(json.dumps(reasons), []).append(number)
            for text, same in alike.items():
                rules = list(dict.fromkeys(reason["rule"] for reason in json.loads(text)))
                after = {"state": "pending", "rules": rules}
                for number in _wait_again(connection, run, same, json.loads(text), rules):
                    before = {"state": states[number], "run": run.run_id}
                    changes.add(Change("take back", number, before, after))
        if lost := said.unfound():
            message = f"run {run.run_id} reported no record {lost[1]} of {lost[0]}"
            raise PermanentError(message)
        audit(connection, Actor.of_task(run.report_id, run.run_id), run, changes)
    return changes.count


def _wait_again(
    connection: Connection,
    run: RunKey,
    numbers: Sequence[int],
    reasons: list[dict[str, Any]],
    rules: Sequence[str],
) -> list[int]:
    """Make items pending that a resubmission still counts as its own, and give their numbers."""
    mine = (ExceptionItem.reported_by == run.run_id) | (ExceptionItem.claimed_by == run.run_id)
    done = connection.scalars(
        update(ExceptionItem)
        .where(ExceptionItem.id.in_(numbers), mine)
        .values(
            state="pending",
            origin="authority",
            claimed_by=None,
            reported_by=None,
            reasons=reasons,
            rules=f"|{'|'.join(rules)}|",
            version=ExceptionItem.version + 1,
            # A later run counts it among those that it read and handed on.
            taken_back=or_(ExceptionItem.taken_back, ExceptionItem.state == "superseded"),
        )
        .returning(ExceptionItem.id)
    )
    return sorted(done)
