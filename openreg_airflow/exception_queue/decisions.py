"""What people decide about items: amended, rejected, released, undone; one or many at once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from openreg_airflow.errors import ChangedMeanwhileError, DecisionError, NoSuchItemError
from openreg_airflow.exception_queue.changes import Change, audit
from openreg_airflow.exception_queue.columns import Kinds, checked_values, schemas
from openreg_airflow.exception_queue.item import DECIDABLE, Item, State, place_of
from openreg_airflow.exception_queue.rows import item, items, queue_transaction
from openreg_airflow.records import RunKey
from openreg_airflow.store.exception_models import ExceptionItem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from openreg_airflow.store.actor import Actor

_CHUNK = 500
_PROGRESS = 5.0
#: Most characters of a reason.
MOST_WHY = 10_000

log = logging.getLogger(__name__)

#: Items by id, each with the version that its decider has seen, or None to decide whatever it is.
Seen = Mapping[int, int | None]


class Decision(NamedTuple):
    """What somebody decides about an item.

    Attributes:
        action: ``amend``, ``reject``, ``release`` or ``undo``.
        why: the reason.
        amendments: new values by column; with ``amend`` only.
    """

    action: str
    why: str
    amendments: Mapping[str, Any] | None = None


def amend(
    store_url: str, amendments: Mapping[int, Mapping[str, Any]], seen: Seen, actor: Actor, why: str
) -> int:
    """Change values of items; they go out with the next resubmission, if they keep the rules.

    Args:
        store_url: the product's own database.
        amendments: new values by item and column, as JSON values or as text; ``parties.2.lei`` is
            the column lei of the second inner row of the table parties. What an item has been
            amended to before stays where nothing new is said.
        seen: the versions that the values were chosen for.
        actor: who.
        why: the reason.

    Returns:
        How many items were changed.

    Raises:
        DecisionError: an item is unknown or no longer to be decided, a column does not exist, or
            a value does not fit its column. Nothing is changed then.
        ChangedMeanwhileError: somebody changed an item after it was seen; likewise.
    """
    plan = {number: Decision("amend", why, amendments.get(number)) for number in seen}
    return decide(store_url, plan, seen, actor)


def reject(store_url: str, seen: Seen, actor: Actor, why: str) -> int:
    """Leave items out of the report for good; see :func:`amend`."""
    return decide(store_url, dict.fromkeys(seen, Decision("reject", why)), seen, actor)


def release(store_url: str, seen: Seen, actor: Actor, why: str) -> int:
    """Let items go out as they are, although they failed their rules; see :func:`amend`."""
    return decide(store_url, dict.fromkeys(seen, Decision("release", why)), seen, actor)


def undo(store_url: str, seen: Seen, actor: Actor, why: str) -> int:
    """Take back the last decision about items that were not resubmitted yet; see :func:`amend`."""
    return decide(store_url, dict.fromkeys(seen, Decision("undo", why)), seen, actor)


def decide(store_url: str, plan: Mapping[int, Decision], seen: Seen, actor: Actor) -> int:
    """Decide about items in one transaction: all of them or none; see :func:`amend`."""
    for why in {decision.why for decision in plan.values()}:
        _check_why(why)
    started = spoken = time.monotonic()
    changes: dict[tuple[str, date], list[Change]] = {}
    full = any(decision.action == "amend" for decision in plan.values())
    done = 0
    kinds: Kinds = {}
    with queue_transaction(store_url, write=True) as connection:
        waiting = iter(sorted(plan))
        while numbers := list(islice(waiting, _CHUNK)):
            there = list(_locked(connection, numbers, full=full))
            if missing := sorted(set(numbers) - {one.id for one in there}):
                message = f"there is no item {missing[0]}"
                raise NoSuchItemError(message, hint="openreg exceptions list shows the items.")
            new: list[tuple[State, dict[str, Any] | None]] = []
            for one in there:
                require_decidable(one, seen.get(one.id))
                new.append(_decided(connection, one, plan[one.id], kinds))
            _write(connection, list(zip(there, new, strict=True)), plan, actor)
            for one, (state, amended) in zip(there, new, strict=True):
                change = _change(one, plan[one.id], state, amended)
                changes.setdefault((one.report_id, one.business_date), []).append(change)
            done += len(there)
            if time.monotonic() - spoken >= _PROGRESS:
                spoken = time.monotonic()
                log.info("%d of %d items are decided.", done, len(plan))
        for (report_id, business_date), of_date in sorted(changes.items()):
            run = RunKey(report_id=report_id, business_date=business_date, run_id="")
            audit(connection, actor, run, of_date)
    log.info("%d items are decided in %.1f s.", done, time.monotonic() - started)
    return done


def _check_why(why: str) -> None:
    if not why.strip():
        message = "a decision has a reason"
        raise DecisionError(message, hint="Say why, for the audit trail.")
    if len(why) > MOST_WHY:
        message = f"the reason has {len(why):,} characters; {MOST_WHY:,} are the most"
        raise DecisionError(message)


class _Row:
    """An item as far as a decision needs it; the row's values only where they are amended."""

    def __init__(self, row: Any) -> None:
        self.id: int = row.id
        self.report_id: str = row.report_id
        self.business_date: date = row.business_date
        self.state: State = row.state
        self.version: int = row.version
        self.amendments: dict[str, Any] | None = row.amendments
        self.why: str | None = row.why
        self.claimed_by: str | None = row.claimed_by
        self.reported_by: str | None = row.reported_by
        self.previous_state: State | None = row.previous_state
        self.previous_amendments: dict[str, Any] | None = row.previous_amendments
        self.previous_why: str | None = row.previous_why
        self.item: Item | None = None


def _locked(connection: Connection, numbers: Sequence[int], *, full: bool) -> Iterator[_Row]:
    """The rows of some items, which nobody else changes until the transaction ends."""
    one = ExceptionItem
    columns = (
        *(one.id, one.report_id, one.business_date, one.state, one.version, one.amendments),
        *(one.why, one.claimed_by, one.reported_by),
        *(one.previous_state, one.previous_amendments, one.previous_why),
    )
    query = select(*columns).where(ExceptionItem.id.in_(numbers)).order_by(ExceptionItem.id)
    rows = {row.id: _Row(row) for row in connection.execute(query.with_for_update())}
    if full:
        for row in connection.execute(items().where(ExceptionItem.id.in_(rows))):
            rows[row.id].item = item(row)
    yield from rows.values()


def require_decidable(one: Item | _Row, version: int | None) -> None:
    """See that an item may be decided about by somebody who has seen one of its versions.

    Raises:
        DecisionError: it is being resubmitted, or its state is final.
        ChangedMeanwhileError: it has another version now.
    """
    if one.claimed_by is not None:
        message = f"item {one.id} is being resubmitted by the run {one.claimed_by}"
        raise DecisionError(
            message, hint="Wait for that run, or give its records back: exceptions give-back."
        )
    if one.state not in DECIDABLE:
        by = f" by the run {one.reported_by}" if one.reported_by else ""
        message = f"item {one.id} is {one.state}{by}"
        raise DecisionError(message, hint="It can no longer be changed here.")
    if version is not None and version != one.version:
        message = f"item {one.id} has version {one.version}, and version {version} was seen"
        raise ChangedMeanwhileError(
            message, hint="Somebody else changed it in the meantime: look at it again."
        )


def _decided(
    connection: Connection, one: _Row, decision: Decision, kinds: Kinds
) -> tuple[State, dict[str, Any] | None]:
    """The state and the amendments after a decision."""
    if decision.action == "reject":
        return "rejected", one.amendments
    if decision.action == "release":
        return "released", one.amendments
    if decision.action == "undo":
        if one.previous_state is None:
            message = f"nothing can be undone of item {one.id}"
            raise DecisionError(message, hint="Only the last decision can be, and only once.")
        return one.previous_state, one.previous_amendments
    assert one.item is not None  # noqa: S101 - it was read in full
    given = decision.amendments or {}
    new = checked_values(one.item, given, schemas(connection, one.item, kinds)) if given else {}
    if not new:
        message = f"item {one.id}: nothing is amended"
        raise DecisionError(message, hint="Give at least one column and its new value.")
    return "amended", (one.amendments or {}) | new


def _write(
    connection: Connection,
    decided: list[tuple[_Row, tuple[State, dict[str, Any] | None]]],
    plan: Mapping[int, Decision],
    actor: Actor,
) -> None:
    """Write decisions; items that end alike are written by one statement."""
    by = {"decided_by": actor.name, "decided_at": datetime.now(UTC)}
    alike: dict[tuple[Any, ...], list[int]] = {}
    for one, (state, amended) in decided:
        undone = plan[one.id].action == "undo"
        before = (None, None, None) if undone else (one.state, one.why, _frozen(one.amendments))
        alike.setdefault((plan[one.id].why, state, _frozen(amended), *before), []).append(one.id)
    held = {_frozen(a): a for one, (_, new) in decided for a in (new, one.amendments)}
    for (why, state, amended, old_state, old_why, old_amended), numbers in alike.items():
        connection.execute(
            update(ExceptionItem)
            .where(ExceptionItem.id.in_(numbers))
            .values(
                state=state,
                why=why,
                amendments=held[amended],
                previous_state=old_state,
                previous_why=old_why,
                previous_amendments=held.get(old_amended),
                version=ExceptionItem.version + 1,
                **by,
            )
        )


def _frozen(amendments: dict[str, Any] | None) -> str | None:
    return None if amendments is None else json.dumps(amendments, sort_keys=True)


def _change(one: _Row, decision: Decision, state: str, amended: dict[str, Any] | None) -> Change:
    before: dict[str, Any] = {"state": one.state}
    after: dict[str, Any] = {"state": state, "why": decision.why}
    for path in sorted({*(amended or {}), *(one.amendments or {})}):
        old, new = _at(one, path, one.amendments), _at(one, path, amended)
        if old != new:
            before.setdefault("values", {})[path] = old
            after.setdefault("values", {})[path] = new
    return Change(decision.action, one.id, before, after)


def _at(one: _Row, path: str, amended: Mapping[str, Any] | None) -> Any:
    """The value at a place of an item: amended, or as it was set aside where that is at hand."""
    if amended is not None and path in amended:
        return amended[path]
    if one.item is None:
        return None
    inner = {table: list(rows) for table, rows in one.item.children.items()}
    place = place_of(path, dict(one.item.values), inner)
    return place[0][place[1]] if place else None


def numbered(found: Iterable[Item]) -> dict[int, int | None]:
    """Items with the versions that were seen, for a decision about them."""
    return {one.id: one.version for one in found}
