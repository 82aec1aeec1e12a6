"""Mapping sets themselves: create, describe, rename, archive; who may is the caller's matter."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from openreg_airflow.errors import MappingConflictError, MappingError
from openreg_airflow.mappings.model import MappingColumn, MappingSet, Shape
from openreg_airflow.mappings.reading import find_set, ready, set_of
from openreg_airflow.mappings.writing import lock_set
from openreg_airflow.section import Name
from openreg_airflow.store.audit import AuditEntry, append
from openreg_airflow.store.engine import transaction
from openreg_airflow.store.mapping_models import MappingSetRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from openreg_airflow.store.actor import Actor

KIND = "mapping set"


class Sets:
    """The sets of a store, as one person changes them.

    Every method raises :class:`~openreg_airflow.errors.StoreNotReadyError` and
    :class:`~openreg_airflow.errors.StoreUnavailableError` as the store does.

    Args:
        url: SQLAlchemy URL of the store.
        actor: who changes them.
        tenant: whose sets they are; empty where nobody shares the installation.
    """

    def __init__(self, url: str, actor: Actor, tenant: str = "") -> None:
        self._engine = ready(url)
        self._actor = actor
        self._tenant = tenant

    def create(
        self,
        name: str,
        *,
        keys: Iterable[MappingColumn | tuple[str, str]],
        values: Iterable[MappingColumn | tuple[str, str]],
        description: str = "",
        owner: str = "",
        read_only: bool = False,
        source: str | None = None,
        source_date: date | None = None,
    ) -> MappingSet:
        """Make a set without entries.

        Args:
            name: lower-case letters, digits and underscores; how specs name it.
            keys: what is looked up: columns, or pairs of name and type.
            values: what is found, likewise.
            description: what the set is for.
            owner: who maintains it: a person or a department.
            read_only: it is reference data.
            source, source_date: where reference data is from, and of which day it is.

        Raises:
            MappingError: the name is taken or misspelt, or the columns are wrong.
        """
        try:
            shape = Shape(keys=tuple(map(_column, keys)), values=tuple(map(_column, values)))
        except ValidationError as error:
            raise MappingError(_said(error)) from error
        fields: dict[str, Any] = {
            "tenant": self._tenant,
            "name": _checked(name),
            "description": description,
            "owner": owner,
            "shape": shape.model_dump(mode="json"),
            "read_only": read_only,
            "source": source,
            "source_date": source_date,
            "created_at": datetime.now(UTC),
            "archived_at": None,
            "revision": 0,
            "edition": 1,
        }
        with transaction(self._engine, write=True) as connection:
            _free(connection, name, self._tenant)
            try:
                connection.execute(insert(MappingSetRow).values(fields))
            except IntegrityError as error:
                raise _taken(name) from error
            made = find_set(connection, name, self._tenant)
            append(connection, self._entry("create", name, None, _told(made)))
        return made

    def get(self, name: str) -> MappingSet:
        """A set by its name.

        Raises:
            MappingError: there is none.
        """
        with transaction(self._engine, write=False) as connection:
            return find_set(connection, name, self._tenant)

    def list(self, *, archived: bool = False) -> tuple[MappingSet, ...]:
        """The sets by name; archived ones only when they are wanted."""
        query = select(MappingSetRow.__table__).where(MappingSetRow.tenant == self._tenant)
        if not archived:
            query = query.where(MappingSetRow.archived_at.is_(None))
        with transaction(self._engine, write=False) as connection:
            rows = connection.execute(query.order_by(MappingSetRow.name)).mappings()
            return tuple(set_of(row) for row in rows)

    def describe(
        self,
        name: str,
        *,
        description: str | None = None,
        owner: str | None = None,
        edition: int | None = None,
    ) -> MappingSet:
        """Change the description or the owner; what is None stays.

        Args:
            edition: the edition that the caller saw; None when it does not matter.

        Raises:
            MappingError: there is no such set.
            MappingConflictError: it has another edition by now.
        """
        given = {"description": description, "owner": owner}
        new = {field: value for field, value in given.items() if value is not None}
        return self._change("describe", name, new, edition)

    def rename(self, name: str, new_name: str, *, edition: int | None = None) -> MappingSet:
        """Give a set another name; specs that use the old one no longer find it.

        Raises:
            MappingError: there is no such set, or the new name is taken or misspelt.
            MappingConflictError: it has another edition by now.
        """
        return self._change("rename", name, {"name": _checked(new_name)}, edition)

    def archive(self, name: str, *, edition: int | None = None) -> MappingSet:
        """Put a set away: nobody can change it, and reports still read it.

        Raises:
            MappingError: there is no such set, or it is archived already.
            MappingConflictError: it has another edition by now.
        """
        return self._change("archive", name, {"archived_at": datetime.now(UTC)}, edition)

    def restore(self, name: str, *, edition: int | None = None) -> MappingSet:
        """Take an archived set back into use.

        Raises:
            MappingError: there is no such set, or it is not archived.
            MappingConflictError: it has another edition by now.
        """
        return self._change("restore", name, {"archived_at": None}, edition)

    def mark_source(self, name: str, source: str, source_date: date) -> MappingSet:
        """Say where a set's reference data is from, and of which day it is.

        Raises:
            MappingError: there is no such set.
        """
        return self._change("describe", name, {"source": source, "source_date": source_date}, None)

    def _change(
        self, action: str, name: str, new: dict[str, Any], edition: int | None
    ) -> MappingSet:
        with transaction(self._engine, write=True) as connection:
            before = lock_set(connection, name, self._tenant)
            if edition is not None and edition != before.edition:
                message = f"mapping set {name!r} is at edition {before.edition}, you saw {edition}"
                raise MappingConflictError(message, hint="Look at it again and decide again.")
            if (action == "archive") == bool(before.archived_at) and "archived_at" in new:
                message = f"mapping set {name!r} is {'' if before.archived_at else 'not '}archived"
                raise MappingError(message)
            if all(getattr(before, field) == value for field, value in new.items()):
                return before
            called = new.get("name", name)
            if called != name:
                _free(connection, called, self._tenant)
            new = new | {"edition": before.edition + 1}
            changing = update(MappingSetRow).where(MappingSetRow.id == before.id).values(new)
            try:
                connection.execute(changing)
            except IntegrityError as error:
                raise _taken(called) from error
            after = find_set(connection, called, self._tenant)
            append(connection, self._entry(action, name, _told(before), _told(after)))
        return after

    def _entry(self, action: str, name: str, before: Any, after: Any) -> AuditEntry:
        return AuditEntry(
            actor=self._actor,
            action=action,
            kind=KIND,
            subject=subject(name, self._tenant),
            before=before,
            after=after,
        )


def subject(name: str, tenant: str) -> str:
    """How the audit trail names a set."""
    return f"{tenant}/{name}" if tenant else name


def _told(found: MappingSet) -> dict[str, Any]:
    """What the audit trail keeps of a set."""
    return found.model_dump(mode="json", exclude={"id", "tenant", "revision", "created_at"})


def _column(given: MappingColumn | tuple[str, str]) -> MappingColumn:
    if isinstance(given, MappingColumn):
        return given
    return MappingColumn(name=given[0], type=given[1])


def _checked(name: str) -> str:
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        message = f"{name!r} cannot name a mapping set"
        hint = "Lower-case letters, digits and underscores, a letter first, at most 63."
        raise MappingError(message, hint=hint) from error


def _free(connection: Connection, name: str, tenant: str) -> None:
    whose = (MappingSetRow.name == name, MappingSetRow.tenant == tenant)
    if connection.scalar(select(MappingSetRow.id).where(*whose)) is not None:
        raise _taken(name)


def _taken(name: str) -> MappingError:
    message = f"there is a mapping set {name!r} already"
    return MappingError(message, hint="Archived sets keep their names; rename the old one.")


def _said(error: ValidationError) -> str:
    """Pydantic's reasons on one line."""
    reasons = (
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}".lstrip(": ")
        for one in error.errors()
    )
    return "; ".join(reasons)
