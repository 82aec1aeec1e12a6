"""Items of the exception queue as people and programs see them."""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime
from typing import Any, Literal

from openreg_airflow.records import Record

#: Why a record is in the queue: a rule's failure, the authority's refusal, an unmapped value.
Origin = Literal["rule", "authority", "mapping"]

#: What became of an item.
#:
#: pending: nobody has decided. amended, released: waits for a resubmission. rejected: is left out.
#: reported: went out with a resubmission. superseded: a later run reads the record from the
#: source and no longer sets it aside.
State = Literal["pending", "amended", "released", "rejected", "reported", "superseded"]

#: States of items that are still somebody's work.
OPEN: tuple[State, ...] = ("pending", "amended", "released")
#: States that a person's decision may change.
DECIDABLE: tuple[State, ...] = ("pending", "amended", "released", "rejected")
#: States that a resubmission takes.
READY: tuple[State, ...] = ("amended", "released")


class Reason(Record):
    """One thing that is wrong with a record; ``table`` is where the row at fault stands."""

    rule: str
    message: str
    table: str
    reference: str | None = None


class Item(Record):
    """One record in the queue.

    Attributes:
        key: the values that name the record, as JSON values.
        occurrence: tells records with the same key apart, from 1.
        run_id: the run that set it aside last; ``stage`` is where.
        values: the record's row as it was set aside, by column, in JSON values of
            :mod:`~openreg_airflow.exception_queue.values`.
        children: the rows of inner tables that belong to it.
        amendments: new values by column; ``parties.2.lei`` is the column lei of the second row of
            the inner table parties.
        version: goes up with every change; who changes an item says which one was seen.
        why, decided_by, decided_at: of the last decision.
        claimed_by: the resubmission run that is under way with it.
        reported_by: the run that reported it.
        taken_back: it had been reported before it came here.
    """

    id: int
    report_id: str
    business_date: date
    run_id: str
    recorded_at: datetime
    table: str
    key: tuple[Any, ...]
    occurrence: int
    stage: str
    origin: Origin
    values: dict[str, Any]
    children: dict[str, list[dict[str, Any]]]
    reasons: tuple[Reason, ...]
    state: State
    version: int
    amendments: dict[str, Any] | None = None
    why: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    claimed_by: str | None = None
    reported_by: str | None = None
    taken_back: bool = False

    @property
    def name(self) -> str:
        """The record's key in a word."""
        return shown_key(self.key, self.occurrence)

    def amended(self) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
        """The row and the inner rows with all amendments."""
        row = dict(self.values)
        inner = {table: [dict(r) for r in rows] for table, rows in self.children.items()}
        for path, value in (self.amendments or {}).items():
            place = place_of(path, row, inner)
            if place is not None:
                place[0][place[1]] = value
        return row, inner


def place_of(
    path: str, row: dict[str, Any], inner: dict[str, list[dict[str, Any]]]
) -> tuple[dict[str, Any], str] | None:
    """Where an amendment goes: the row and its column; None when there is no such place."""
    if path in row:
        return row, path
    table, _, rest = path.partition(".")
    number, _, column = rest.partition(".")
    rows = inner.get(table, [])
    if number.isdecimal() and 1 <= int(number) <= len(rows) and column in rows[int(number) - 1]:
        return rows[int(number) - 1], column
    return None


def shown_key(key: tuple[Any, ...], occurrence: int = 1) -> str:
    """A record's key for people."""
    text = ", ".join("NULL" if part is None else str(part) for part in key)
    return f"{text} ({occurrence})" if occurrence > 1 else text


def key_text(key: tuple[Any, ...]) -> str:
    """A record's key as it is stored."""
    return json.dumps(list(key), ensure_ascii=True)


def key_sha256(table: str, key: tuple[Any, ...]) -> str:
    """What a record is found by; a key may be longer than an index can hold."""
    return hashlib.sha256(json.dumps([table, *key]).encode()).hexdigest()


def content_sha256(values: dict[str, Any], children: dict[str, Any]) -> str:
    """Tells whether a record is still what it was."""
    text = json.dumps([values, children], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
