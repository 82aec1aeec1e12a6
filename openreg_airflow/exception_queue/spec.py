"""The ``records`` section of a report spec: which rows make one record, and what names it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from openreg_airflow.section import Name, Section

#: A column's name, as it is in the table.
Column = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class RecordTable(Section):
    """A table of records, or one whose rows belong to records of another table."""

    key: tuple[Column, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="The columns whose values together name a record of this table.",
    )
    parent: Name | None = Field(
        default=None, description="The table whose records the rows of this one belong to."
    )
    on: tuple[Column, ...] | dict[Column, Column] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="The columns that a row shares with its parent; {own: of the parent} where "
        "names differ.",
    )

    @model_validator(mode="after")
    def _key_or_parent(self) -> Self:
        if (self.key is None) == (self.parent is None):
            message = "a table of records has either key, or parent and on"
            raise ValueError(message)
        if (self.parent is None) != (self.on is None):
            message = "parent and on go together"
            raise ValueError(message)
        return self

    @property
    def shared(self) -> dict[str, str]:
        """The columns by which a row belongs to its parent: its own name, the parent's name."""
        if isinstance(self.on, dict):
            return dict(self.on)
        return {name: name for name in self.on or ()}

    @property
    def naming(self) -> tuple[str, ...]:
        """The columns of this table that say which record a row belongs to."""
        return self.key or tuple(self.shared)


def _is_a_forest(tables: dict[str, RecordTable]) -> dict[str, RecordTable]:
    for name in tables:
        root(tables, name)
    return tables


def root(tables: dict[str, RecordTable], name: str) -> str:
    """The table of records that the rows of a table belong to, itself or one above it.

    Raises:
        ValueError: a parent is missing, or a table is above itself.
    """
    seen = [name]
    while (parent := tables[seen[-1]].parent) is not None:
        if parent not in tables:
            message = f"{seen[-1]}: the parent {parent} is none of the records' tables"
            raise ValueError(message)
        if parent in seen:
            message = f"{name}: it belongs to itself, by way of {', '.join(seen)}"
            raise ValueError(message)
        seen.append(parent)
    return seen[-1]


def children(tables: dict[str, RecordTable], name: str) -> tuple[str, ...]:
    """The tables whose rows belong to rows of ``name``, in the order of the spec."""
    return tuple(child for child, table in tables.items() if table.parent == name)


def family(tables: dict[str, RecordTable], name: str) -> tuple[str, ...]:
    """A table and all below it, parents before their children."""
    found = [name]
    for table in found:
        found += children(tables, table)
    return tuple(found)


#: The records of a report, by table.
Records = Annotated[dict[Name, RecordTable], AfterValidator(_is_a_forest)]
