"""A look-up in a mapping set as of a date of each row, for whoever joins the set to the table."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

#: The table of the condition with its look-ups, in subqueries of a joined condition.
JOINED = "openreg_joined"
#: Columns that a join adds to the table begin with it.
PREFIX = "openreg_look_up_"


@dataclass(frozen=True)
class LookUp:
    """The entry of a mapping set for a key, on a date; either may differ from row to row.

    Attributes:
        view: the table with the entries of all dates.
        keys: the set's key columns, in order.
        given: SQL of the table's row for each key.
        day: SQL of the table's row for the date or instant.
        value: the column of the set that is wanted; None to know whether there is an entry.
    """

    view: str
    keys: tuple[str, ...]
    given: tuple[str, ...]
    day: str
    value: str | None

    @property
    def entry(self) -> str:
        """A name for the entry: all look-ups that find the same one have the same name."""
        found = (self.view, self.keys, self.given, self.day)
        return PREFIX + sha256(repr(found).encode()).hexdigest()[:16]

    @property
    def column(self) -> str:
        """The name of the column that holds what is found: NULL, or not true, without an entry."""
        wanted = "" if self.value is None else sha256(self.value.encode()).hexdigest()[:8]
        return f"{self.entry}_{wanted}"

    def needs(self, other: LookUp) -> bool:
        """Whether its key or date is made of what another one finds."""
        return any(other.column in sql for sql in (*self.given, self.day))
