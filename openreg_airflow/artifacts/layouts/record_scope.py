"""Where the placeholders of a layout get their values, and how messages name the place."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.layouts.fragment import Fragment
from openreg_airflow.artifacts.layouts.json_text import json_escaped
from openreg_airflow.artifacts.layouts.xml_text import escaped_column
from openreg_airflow.artifacts.values import value_format
from openreg_airflow.artifacts.values.placeholder import RUN_PREFIX
from openreg_airflow.artifacts.values.value_text import UnwritableValueError, is_text, text_of
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.artifacts.layouts.fragment import Complaint
    from openreg_airflow.artifacts.layouts.layout_parts import Element
    from openreg_airflow.artifacts.values.placeholder import Placeholder

_format = lru_cache(maxsize=1024)(value_format.parse)

#: Stands in an envelope where the records go; XML can never hold this character.
HOLE = "\0"


class Inside(Protocol):
    """Writes the repeated elements inside records; the renderer of their records does."""

    def inside(self, element: Element, outer: Scope) -> Fragment:
        """What an element gives that is repeated inside those of a scope: one text a row."""


@dataclass
class Scope:
    """Where placeholders get their values: a batch of records, or only the run.

    Attributes:
        batch: the rows of the repeated element; None around all records.
        first: the 1-based number of the first row in its table.
        record: the repeated element, or the root around all records.
        run: the values of ``{run....}``.
        layout: the layout's file name, for messages.
        rows: around all records: how many rows each table has.
        below: writes the repeated elements inside the records.
        outer: of inner rows, the scope of the rows that they belong to.
        owners: of each inner row, which row of the outer scope it belongs to.
    """

    batch: Any
    first: int
    record: Element
    run: Mapping[str, Any]
    layout: str
    rows: Mapping[str, int] = field(default_factory=dict)
    below: Inside | None = None
    outer: Scope | None = None
    owners: Any = None

    def inside(self, element: Element) -> Fragment:
        """What an element gives that is repeated inside the one of this scope."""
        if self.below is None:  # outside of all records: only a hole is left
            none = self.rows[str(element.each)] == 0
            return Fragment([HOLE], pa.array([False]) if none else None, varies=True)
        return self.below.inside(element, self)

    def text(self, found: Placeholder, element: Element, *, attribute: bool) -> pa.StringArray:
        """The escaped text of a placeholder, one for each record."""
        try:
            text = self._spelled(found)
            if self._is_safe(found):
                return text
            return escaped_column(text, attribute=attribute)
        except UnwritableValueError as error:
            raise self.error(str(error), element, error.row, found.name) from error

    def json(self, found: Placeholder, element: Element) -> pa.StringArray:
        """The text of a placeholder as it stands between the quotes of a JSON text."""
        try:
            text = self._spelled(found)
            return text if self._is_safe(found) else json_escaped(text)
        except UnwritableValueError as error:
            raise self.error(str(error), element, error.row, found.name) from error

    def kind(self, found: Placeholder) -> pa.DataType:
        """The type of a placeholder's values."""
        return self._values(found).type

    def _is_safe(self, found: Placeholder) -> bool:
        """Whether the texts hold nothing but digits and the signs of numbers and dates."""
        return not found.format and not is_text(self.kind(found))

    def _values(self, found: Placeholder) -> pa.Array:
        if found.of_run:
            return pa.array([self.run[found.name.removeprefix(RUN_PREFIX)]])
        return self.batch.column(found.name)

    def _spelled(self, found: Placeholder) -> pa.StringArray:
        text = text_of(self._values(found), _format(found.format))
        return pa.repeat(text[0], len(self)) if found.of_run else text

    def holds(self, element: Element) -> pa.BooleanArray:
        """Where the condition on an element is true."""
        try:
            return element.when.holds(self.batch)  # type: ignore[union-attr]
        except ValueError as error:
            raise self.error(str(error), element) from error

    def refuse(self, where: pa.BooleanArray, message: Complaint) -> None:
        """Raise if ``where`` is true of any record."""
        if (row := pc.index(where, pa.scalar(True)).as_py()) >= 0:
            text, place = message(row) if callable(message) else (message, "")
            raise self.error(text, None, row, inner=place)

    def outward(
        self, where: pa.BooleanArray, message: Complaint
    ) -> list[tuple[pa.BooleanArray, Complaint]]:
        """A fault of inner rows as one of the rows that they belong to."""
        rows = np.flatnonzero(where.to_numpy(zero_copy_only=False))
        if not len(rows) or self.outer is None:
            return []
        owners = self.owners[rows]
        faulty = np.zeros(len(self.outer), np.bool_)
        faulty[owners] = True

        def complain(owner: int) -> tuple[str, str]:
            row = int(rows[np.searchsorted(owners, owner)])
            text, place = message(row) if callable(message) else (message, "")
            return text, ", ".join(filter(None, (self.own_name(row), place)))

        return [(pa.array(faulty), complain)]

    def name(self, row: int) -> str:
        """How messages name a row."""
        if self.outer is None:
            return self.own_name(row)
        return f"{self.outer.name(int(self.owners[row]))}, {self.own_name(row)}"

    def own_name(self, row: int) -> str:
        """How messages name a row, without the record that an inner one belongs to."""
        key = self.record.key
        name = f" ({key} {self.batch.column(key)[row].as_py()})" if key else ""
        if self.outer is None:
            return f"record {self.first + row}{name}"
        number = int(np.count_nonzero(self.owners[: row + 1] == self.owners[row]))
        return f"row {number} of its {self.record.each}{name}"

    def error(
        self,
        message: str,
        element: Element | None,
        row: int | None = None,
        column: str = "",
        inner: str = "",
    ) -> ArtifactError:
        """An error that names the record, the element and the column."""
        places = []
        if row is not None and self.batch is not None:
            places.append(self.name(row))
        if inner:
            places.append(inner)
        if element is not None:
            places.append(f"{element.label} in {self.layout} line {element.line}")
        if column:
            places.append(f"column {column}")
        return ArtifactError(
            message, where=", ".join(places), hint="Mend the data or the transform, or the layout."
        )

    def __len__(self) -> int:
        return 1 if self.batch is None else self.batch.num_rows
