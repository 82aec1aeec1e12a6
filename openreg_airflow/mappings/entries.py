"""Single entries of a set: add, change, end, delete.

A change never overwrites: the record that was known until now is closed, and what is known from
now on is a record of its own. Who changes an entry names the record that they saw; when somebody
else was faster, nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from openreg_airflow.errors import MappingConflictError, MappingError
from openreg_airflow.mappings import cells
from openreg_airflow.mappings.model import MappingEntry
from openreg_airflow.mappings.reading import ready
from openreg_airflow.mappings.sets import subject
from openreg_airflow.mappings.writing import Change, changing, close, finish
from openreg_airflow.store.audit import AuditEntry
from openreg_airflow.store.mapping_models import (
    ALWAYS,
    CURRENT,
    FOREVER,
    MappingEntryRow,
    MappingRevisionRow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from sqlalchemy import RowMapping

    from openreg_airflow.mappings.model import MappingColumn, MappingSet
    from openreg_airflow.store.actor import Actor

KIND = "mapping entry"


class _Unchanged:
    """The default of what a change leaves alone, since None says something."""


UNCHANGED = _Unchanged()


class Entries:
    """The entries of one set, as one person changes them.

    Every method raises :class:`~openreg_airflow.errors.MappingError` when there is no such set,
    when nobody may change it, or when a key, value or period is wrong;
    :class:`~openreg_airflow.errors.MappingConflictError` when the record that the caller saw is
    no longer what is known; and what the store raises.

    Args:
        url: SQLAlchemy URL of the store.
        name: the set's name.
        actor: who changes them.
        tenant: whose set it is.
    """

    def __init__(self, url: str, name: str, actor: Actor, tenant: str = "") -> None:
        self._engine = ready(url)
        self._name = name
        self._actor = actor
        self._tenant = tenant

    def add(
        self,
        key: Mapping[str, Any],
        value: Mapping[str, Any],
        *,
        effective_from: date | None = None,
        effective_to: date | None = None,
    ) -> MappingEntry:
        """Add an entry for a period in which its key has none.

        Args:
            key: the key columns by name.
            value: the value columns by name; what is left out or None has no value.
            effective_from: first day; None when it was always true.
            effective_to: first day on which it is no longer true; None for an open end.
        """
        with changing(self._engine, self._name, self._tenant) as change:
            row = {
                "key": key_text(change.set, key),
                "value": value_text(change.set, value),
                "effective_from": effective_from or ALWAYS,
                "effective_to": effective_to or FOREVER,
            }
            return self._write(change, "add", None, row)

    def change(
        self,
        seen: int,
        *,
        value: Mapping[str, Any] | _Unchanged = UNCHANGED,
        effective_from: date | _Unchanged | None = UNCHANGED,
        effective_to: date | _Unchanged | None = UNCHANGED,
    ) -> MappingEntry:
        """Correct an entry: its value, or its period.

        Args:
            seen: id of the record that the caller saw.
            value: all value columns by name.
            effective_from, effective_to: as for :meth:`add`.
        """
        with changing(self._engine, self._name, self._tenant) as change:
            before = _record(change, seen)
            row = _plain(before)
            if not isinstance(value, _Unchanged):
                row["value"] = value_text(change.set, value)
            if not isinstance(effective_from, _Unchanged):
                row["effective_from"] = effective_from or ALWAYS
            if not isinstance(effective_to, _Unchanged):
                row["effective_to"] = effective_to or FOREVER
            if row == _plain(before):
                return entry_of(change.set, before)
            return self._write(change, "change", before, row)

    def value_of(self, seen: int) -> dict[str, Any]:
        """The value columns of a record that a caller saw."""
        with changing(self._engine, self._name, self._tenant) as change:
            return entry_of(change.set, _record(change, seen)).value

    def end(self, seen: int, on: date) -> MappingEntry:
        """End an entry: from that day on it is no longer true.

        Args:
            seen: id of the record that the caller saw.
            on: first day on which it is no longer true; inside the entry's period.
        """
        with changing(self._engine, self._name, self._tenant) as change:
            before = _record(change, seen)
            if not before["effective_from"] < on < before["effective_to"]:
                message = f"{on} is not inside the period of the entry ({period(before)})"
                raise MappingError(message, hint="Delete an entry that was never true.")
            return self._write(change, "end", before, _plain(before) | {"effective_to": on})

    def delete(self, seen: int) -> None:
        """Delete an entry that was never true; what was known until now stays on record.

        Args:
            seen: id of the record that the caller saw.
        """
        with changing(self._engine, self._name, self._tenant) as change:
            before = _record(change, seen)
            close(change, [seen])
            entry = self._entry(change.set, "delete", before, None)
            finish(change, self._actor, "delete", [entry])

    def _write(
        self, change: Change, action: str, before: RowMapping | None, row: dict[str, Any]
    ) -> MappingEntry:
        if row["effective_from"] >= row["effective_to"]:
            message = f"the period {period(row)} has no day: its end is not after its beginning"
            raise MappingError(message)
        _alone(change, row, before["id"] if before else None)
        if before:
            close(change, [before["id"]])
        fields = row | {
            "set_id": change.set.id,
            "revision_from": change.revision,
            "revision_to": CURRENT,
        }
        result = change.connection.execute(insert(MappingEntryRow).values(fields))
        [made] = result.inserted_primary_key or [None]
        finish(change, self._actor, action, [self._entry(change.set, action, before, row)])
        return entry_of(change.set, fields | {"id": made})

    def _entry(
        self,
        found: MappingSet,
        action: str,
        before: RowMapping | None,
        after: dict[str, Any] | None,
    ) -> AuditEntry:
        packed = (before or after or {})["key"]
        key = " | ".join(cell or "" for cell in cells.unpack(packed))
        return AuditEntry(
            actor=self._actor,
            action=action,
            kind=KIND,
            subject=f"{subject(self._name, self._tenant)}: {key}",
            before=told(found, before) if before else None,
            after=told(found, after) if after else None,
        )


def key_text(found: MappingSet, key: Mapping[str, Any]) -> str:
    """The key as the store has it.

    Raises:
        MappingError: a column is unknown, missing, or does not fit its type.
    """
    texts = _cells(found, found.keys, key, "key")
    try:
        return cells.packed_key(texts)
    except ValueError as error:
        message = f"mapping set {found.name!r}: {error}"
        raise MappingError(message) from error


def value_text(found: MappingSet, value: Mapping[str, Any]) -> str:
    """The value as the store has it.

    Raises:
        MappingError: a column is unknown, does not fit its type, or is still to be filled in.
    """
    texts = _cells(found, found.values, value, "value")
    try:
        return cells.packed_value(texts)
    except ValueError as error:
        message = f"mapping set {found.name!r}: {error}"
        raise MappingError(message) from error


def entry_of(found: MappingSet, row: Mapping[str, Any] | RowMapping) -> MappingEntry:
    """The record of an entry's row."""
    current = row["revision_to"] == CURRENT
    return MappingEntry(
        id=row["id"],
        key=_typed(found.keys, row["key"]),
        value=_typed(found.values, row["value"]),
        effective_from=None if row["effective_from"] == ALWAYS else row["effective_from"],
        effective_to=None if row["effective_to"] == FOREVER else row["effective_to"],
        revision_from=row["revision_from"],
        revision_to=None if current else row["revision_to"],
    )


def period(row: Mapping[str, Any] | RowMapping) -> str:
    """An entry's period in words."""
    begin, end = row["effective_from"], row["effective_to"]
    first = "always" if begin == ALWAYS else begin.isoformat()
    return f"{first} to {'open' if end == FOREVER else end.isoformat()}"


def told(found: MappingSet, row: Mapping[str, Any] | RowMapping) -> dict[str, Any]:
    """What the audit trail keeps of an entry."""
    texts = cells.unpack(row["key"]) + cells.unpack(row["value"])
    names = [column.name for column in found.keys + found.values]
    return dict(zip(names, texts, strict=True)) | {
        "effective_from": None if row["effective_from"] == ALWAYS else row["effective_from"],
        "effective_to": None if row["effective_to"] == FOREVER else row["effective_to"],
    }


def _cells(
    found: MappingSet, columns: Sequence[MappingColumn], given: Mapping[str, Any], what: str
) -> list[str | None]:
    unknown = sorted(given.keys() - {column.name for column in columns})
    if unknown:
        known = ", ".join(column.name for column in columns)
        message = f"mapping set {found.name!r} has no {what} column {unknown[0]!r}"
        raise MappingError(message, hint=f"Its {what} columns are: {known}.")
    texts = []
    for column in columns:
        try:
            cell = given.get(column.name)
            if what == "value" and isinstance(cell, str):
                cells.require_filled(cell)
            texts.append(cells.normal(cell, column.type))
        except ValueError as error:
            message = f"mapping set {found.name!r}, column {column.name}: {error}"
            raise MappingError(message) from error
    return texts


def _typed(columns: Sequence[MappingColumn], packed: str) -> dict[str, Any]:
    texts = cells.unpack(packed)
    return {
        column.name: cells.typed(text, column.type)
        for column, text in zip(columns, texts, strict=True)
    }


def _record(change: Change, seen: int) -> RowMapping:
    """The record that a caller saw, if it is still what is known."""
    query = select(MappingEntryRow.__table__).where(
        MappingEntryRow.id == seen, MappingEntryRow.set_id == change.set.id
    )
    row = change.connection.execute(query).mappings().first()
    if row is None:
        message = f"mapping set {change.set.name!r} has no entry {seen}"
        raise MappingError(message)
    if row["revision_to"] != CURRENT:
        who: Any = change.connection.execute(
            select(MappingRevisionRow)
            .where(
                MappingRevisionRow.set_id == change.set.id,
                MappingRevisionRow.revision == row["revision_to"],
            )
            .with_only_columns(MappingRevisionRow.actor, MappingRevisionRow.recorded_at)
        ).one()
        message = (
            f"the entry was changed by {who.actor} at {who.recorded_at.isoformat()} "
            "since you saw it"
        )
        raise MappingConflictError(message, hint="Look at it again and decide again.")
    return row


def _plain(row: RowMapping) -> dict[str, Any]:
    return {name: row[name] for name in ("key", "value", "effective_from", "effective_to")}


def _alone(change: Change, row: dict[str, Any], but: int | None) -> None:
    """Refuse a period in which the key has another entry."""
    entry = MappingEntryRow
    query = select(entry.effective_from, entry.effective_to).where(
        entry.set_id == change.set.id,
        entry.key == row["key"],
        entry.revision_to == CURRENT,
        entry.effective_from < row["effective_to"],
        entry.effective_to > row["effective_from"],
    )
    if but is not None:
        query = query.where(entry.id != but)
    other = change.connection.execute(query.limit(1)).mappings().first()
    if other:
        message = f"the period {period(row)} overlaps the entry of {period(other)}"
        raise MappingError(message, hint="End the other entry first, or change it.")
