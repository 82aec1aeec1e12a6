"""What the names in a condition stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from openreg_airflow.language.types import ANY, Type, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The columns of a table with their types, or None when they are not known yet.
Columns = Mapping[str, Type] | None


@dataclass(frozen=True)
class CodeSet:
    """A mapping set in a condition.

    Attributes:
        name: the set's name.
        keys: its key columns with their types, in order; None when they are not known yet.
        values: its value columns, likewise.
    """

    name: str
    keys: Mapping[str, Type] | None = None
    values: Mapping[str, Type] | None = None

    @property
    def view(self) -> str:
        """The table with the entries of the business date."""
        return f"mapping_{self.name}"

    @property
    def dated_view(self) -> str:
        """The table with the entries of all dates."""
        return f"dated_mapping_{self.name}"


def holding(alias: str, day: str) -> str:
    """SQL that says whether an entry holds on a day; both ends of its period may be open."""
    return (
        f"coalesce({alias}.effective_from, DATE '-infinity') <= {day} "
        f"AND {day} < coalesce({alias}.effective_to, DATE 'infinity')"
    )


def no_set(name: str) -> str:
    """What to say of a set that is not there."""
    return f"the report uses no mapping set {name!r}"


@dataclass(frozen=True)
class Scope:
    """The tables that a condition may read.

    Attributes:
        table: the table whose rows the condition judges.
        tables: all tables of the run by name. ``openreg check`` may not know a table's columns
            (None) or a column's type (``any``); a run knows all.
        complete: whether ``tables`` lists every table that there is.
        mappings: the mapping sets by name; None when it is not known yet which there are.
    """

    table: str
    tables: Mapping[str, Columns]
    complete: bool = True
    mappings: Mapping[str, CodeSet] | None = field(default_factory=dict)

    def column(self, name: str, table: str | None = None) -> Type | None:
        """The type of a column, or None when the table has no such column."""
        columns = self.tables.get(table or self.table)
        if columns is None:
            return ANY
        return columns.get(name)

    def codes(self, name: str) -> CodeSet | None:
        """A mapping set, or None when the run has no such set."""
        if self.mappings is None:
            return CodeSet(name)
        return self.mappings.get(name)

    def near_sets(self, name: str) -> str:
        """A hint for the name of a set that is not there."""
        if self.mappings:
            return nearest(name, self.mappings, "sets")
        return f"Name it in the spec:  mappings: {{sets: [{name}]}}"

    def near(self, name: str, table: str | None = None) -> str:
        """A hint that names the columns that are meant, or all when they are few."""
        return nearest(name, self.tables.get(table or self.table) or (), "columns")


def nearest(name: str, known: Iterable[str], what: str) -> str:
    """A hint that names what may have been meant."""
    names = list(known)
    if close := get_close_matches(name, names, 3, 0.6):
        return f"Did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:30])
    return f"The {what} are: {shown}{', ...' if len(names) > 30 else ''}."


def columns_of(spelled: Mapping[str, str]) -> dict[str, Type]:
    """Columns with their types from their spellings, as a spec, Arrow or DuckDB has them."""
    return {name: type_of(kind) for name, kind in spelled.items()}
