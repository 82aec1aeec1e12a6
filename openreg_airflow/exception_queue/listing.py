"""Looking items up: by filter, one, and what happened to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select

from openreg_airflow.errors import NoSuchItemError
from openreg_airflow.exception_queue.changes import KIND, subject
from openreg_airflow.exception_queue.item import key_text
from openreg_airflow.exception_queue.rows import item, items, queue_transaction
from openreg_airflow.store import audit_trail
from openreg_airflow.store.audit_trail import AuditFilter
from openreg_airflow.store.exception_models import ExceptionItem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date, datetime

    from openreg_airflow.exception_queue.item import Item

_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which items are wanted; what is None or empty does not matter.

    Attributes:
        states: any of these.
        rule: one that the record fails.
        key: the record's key; the values of several columns as a JSON array.
        run_id: the run that set it aside last.
        unclaimed: only those that no resubmission is under way with.
        after: only items with a larger number, for paging.
        limit: at most so many.
    """

    report_id: str | None = None
    business_date: date | None = None
    states: tuple[str, ...] = ()
    rule: str | None = None
    table: str | None = None
    key: str | None = None
    origin: str | None = None
    run_id: str | None = None
    unclaimed: bool = False
    after: int = 0
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One thing that happened to an item, as the audit trail has it."""

    at: datetime
    actor: str
    origin: str
    action: str
    before: Any
    after: Any


def find(store_url: str, wanted: Wanted) -> Iterator[Item]:
    """The items in the order of their numbers, streamed, all as of one moment."""
    query = items().where(*_conditions(wanted), ExceptionItem.id > wanted.after)
    query = query.order_by(ExceptionItem.id).limit(wanted.limit)
    with queue_transaction(store_url, write=False) as connection:
        for row in connection.execution_options(yield_per=_PAGE).execute(query):
            yield item(row)


def count(store_url: str, wanted: Wanted) -> int:
    """How many items there are, whatever the limit."""
    query = select(func.count()).select_from(ExceptionItem).where(*_conditions(wanted))
    with queue_transaction(store_url, write=False) as connection:
        return int(connection.scalar(query) or 0)


def versions(store_url: str, wanted: Wanted) -> dict[int, int | None]:
    """The numbers and versions of items, for a decision about all of them."""
    columns = (ExceptionItem.id, ExceptionItem.version)
    query = select(*columns).where(*_conditions(wanted), ExceptionItem.id > wanted.after)
    query = query.order_by(ExceptionItem.id).limit(wanted.limit)
    with queue_transaction(store_url, write=False) as connection:
        return {row.id: row.version for row in connection.execute(query)}


def get(store_url: str, number: int) -> Item:
    """One item.

    Raises:
        NoSuchItemError: there is none with this number.
    """
    with queue_transaction(store_url, write=False) as connection:
        row = connection.execute(items().where(ExceptionItem.id == number)).first()
    if row is None:
        message = f"there is no item {number}"
        raise NoSuchItemError(message, hint="openreg exceptions list shows the items.")
    return item(row)


def get_all(store_url: str, numbers: Collection[int]) -> list[Item]:
    """Some items at once; those that are not there are left out."""
    query = items().where(ExceptionItem.id.in_(numbers)).order_by(ExceptionItem.id)
    with queue_transaction(store_url, write=False) as connection:
        return [item(row) for row in connection.execute(query)]


def history(store_url: str, one: Item) -> tuple[Happening, ...]:
    """What happened to an item, in order."""
    named = subject(one.report_id, one.business_date, one.id)
    return tuple(
        Happening(
            at=entry.recorded_at,
            actor=entry.actor,
            origin=entry.origin,
            action=entry.action,
            before=json.loads(entry.before) if entry.before else None,
            after=json.loads(entry.after) if entry.after else None,
        )
        for entry in audit_trail.read(store_url, AuditFilter(kind=KIND, subject=named))
    )


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    column = ExceptionItem
    equal = {
        column.report_id: wanted.report_id,
        column.business_date: wanted.business_date,
        column.table: wanted.table,
        column.origin: wanted.origin,
        column.run_id: wanted.run_id,
    }
    found: list[ColumnElement[bool]] = [c == value for c, value in equal.items() if value]
    if wanted.states:
        found.append(column.state.in_(wanted.states))
    if wanted.rule:
        found.append(column.rules.contains(f"|{wanted.rule}|", autoescape=True))
    if wanted.unclaimed:
        found.append(column.claimed_by.is_(None))
    if wanted.key is not None:
        found.append(column.record_key.in_(_keys(wanted.key)))
    return found


def _keys(text: str) -> set[str]:
    """The stored keys that a typed one may stand for: a text or a number; several columns."""
    typed: list[tuple[Any, ...]] = [(text,)]
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    typed.append(tuple(value) if isinstance(value, list) else (value,))
    return {key_text(key) for key in typed}
