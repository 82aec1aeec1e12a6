"""What mapping sets and their entries are, as their users see them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from openreg_airflow.column_types import ColumnType
from openreg_airflow.records import Record
from openreg_airflow.section import Name

#: Types that key and value columns may have, beside ``decimal(P,S)``.
TYPES = ("string", "integer", "boolean", "date")
#: Names of the period in files; no column is named so.
PERIOD = ("effective_from", "effective_to")
#: Digits that every database and Arrow's narrow decimal hold.
_DIGITS = 38


def _exact(column_type: str) -> str:
    if column_type in TYPES:
        return column_type
    if column_type.startswith("decimal"):
        if int(column_type[8:-1].partition(",")[0]) <= _DIGITS:
            return column_type
        message = f"{column_type}: a mapping's decimal has at most {_DIGITS} digits"
        raise ValueError(message)
    message = f"{column_type} is no type of mappings; these are: {', '.join(TYPES)}, decimal(P,S)"
    raise ValueError(message)


class MappingColumn(Record):
    """A key or value column of a set."""

    name: Name
    type: Annotated[ColumnType, AfterValidator(_exact)] = "string"


class Shape(Record):
    """The columns of a set: what is looked up, and what is found.

    Attributes:
        keys: one or several; together they say what an entry is about.
        values: one or several; the values may be missing, the keys not.
    """

    keys: tuple[MappingColumn, ...]
    values: tuple[MappingColumn, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [column.name for column in self.keys + self.values]
        if not self.keys or not self.values:
            message = "a mapping set has at least one key column and one value column"
            raise ValueError(message)
        for name in names:
            if names.count(name) > 1 or name in PERIOD:
                message = f"no second column can be named {name!r}"
                raise ValueError(message)
        return self


class MappingSet(Record):
    """A mapping set.

    Attributes:
        tenant: whose set it is where several share an installation; empty where none do.
        read_only: it comes from reference data; nobody maintains it by hand.
        source, source_date: where reference data came from, and of which day it is.
        archived_at: when it was put away; old reports still read it.
        revision: number of the last change of its entries; it stays while they stay.
        edition: number of the last change of what is said here, for optimistic locking.
    """

    id: int
    tenant: str
    name: str
    description: str
    owner: str
    shape: Shape
    read_only: bool
    source: str | None
    source_date: date | None
    created_at: datetime
    archived_at: datetime | None
    revision: int
    edition: int

    @property
    def keys(self) -> tuple[MappingColumn, ...]:
        """The key columns."""
        return self.shape.keys

    @property
    def values(self) -> tuple[MappingColumn, ...]:
        """The value columns."""
        return self.shape.values


class MappingEntry(Record):
    """One entry, as one revision of its set recorded it.

    Attributes:
        id: the record; a change makes a new one, so it also says which state somebody saw.
        key, value: by column, in the columns' Python types.
        effective_from: first day on which it is true; None when it always was.
        effective_to: first day on which it is no longer true; None when it stays so.
        revision_from: the revision that recorded it.
        revision_to: the revision that replaced or removed it; None when it is what is known now.
    """

    id: int
    key: dict[str, Any]
    value: dict[str, Any]
    effective_from: date | None
    effective_to: date | None
    revision_from: int
    revision_to: int | None
