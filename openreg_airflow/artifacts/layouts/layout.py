"""XML layouts: a file that shows the document as it will look.

A layout is well-formed XML in the target namespace. Text and attributes hold placeholders,
``{column}`` or ``{column:format}`` (:mod:`~openreg_airflow.artifacts.values.value_format` lists the
formats), and attributes in the namespace ``urn:openreg:layout:1`` say what XML itself cannot:

==================  ================================================================================
``r:each="table"``  the element is written once for each row of the table
``r:key="column"``  with ``r:each``: the column by which messages name a record
``r:on="column"``   with ``r:each`` inside another: the columns that a row shares with the row it
                    belongs to; ``r:on="child_column = column, other"`` where names differ
``r:when="..."``    the element is written only where the condition holds
                    (:mod:`~openreg_airflow.artifacts.values.condition`)
``r:required``      ``"true"``: a record in which the element would be left out stops the run
``r:choice``        ``"true"``: at most one of the children may be written
``r:optional``      attributes of the element that are left out when they are NULL; other
                    attributes must have a value when their element has one
==================  ================================================================================

An element with ``r:each`` inside another is written once for each row of its table that belongs to
the row of the outer one, in the order of the rows; placeholders in it speak of the inner table.
Where no row belongs, it is left out, or stops the run with ``r:required``; a row that belongs to no
record stops the run always. ``r:when`` beside it says which of the rows are written.

An element is left out when all placeholders in it are NULL or empty; there are no empty elements.
Outside ``r:each``, placeholders speak of the run: ``{run.business_date}``, ``{run.report_id}``,
``{run.artifact}``, ``{run.filename}``, ``{run.records}``, ``{run.page}`` and the others of
:mod:`~openreg_airflow.artifacts.values.run_values`, and ``{sum.column}`` for the exact sum of
a column over all records. Space around texts, space between
elements and comments are not written.

This module reads a layout and knows what may stand where;
:mod:`openreg_airflow.artifacts.layouts.render` writes records by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts import layout_reader, layout_rules
from openreg_airflow.artifacts.writer import Relation
from openreg_airflow.errors import ArtifactError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from openreg_airflow.artifacts.layouts.layout_parts import Element, Fault


@dataclass(frozen=True)
class Layout:
    """A whole layout, free of faults."""

    path: Path
    root: Element

    def each(self) -> Iterator[tuple[Element, tuple[str, ...]]]:
        """The repeated elements, each with the tags from the root down to it.

        Those that stand inside another repeated element are not among them:
        :meth:`Element.inner` gives them.
        """
        yield from _each(self.root, ())

    def repeated(self) -> Iterator[Element]:
        """All repeated elements, at every depth."""
        return (element for element in self.root.walk() if element.each)

    def relations(self, table: str) -> tuple[Relation, ...]:
        """The tables inside the records of a table, parents first."""
        found: dict[Relation, None] = {}
        waiting = [element for element, _ in self.each() if element.each == table]
        for element in waiting:
            for inner in element.inner():
                found[Relation(str(inner.each), str(element.each), inner.on)] = None
                waiting.append(inner)
        return tuple(found)

    @property
    def tables(self) -> frozenset[str]:
        """The tables that the document is made of."""
        return frozenset(element.each for element in self.repeated() if element.each)


def _each(element: Element, above: tuple[str, ...]) -> Iterator[tuple[Element, tuple[str, ...]]]:
    way = (*above, element.tag)
    if element.each:
        yield element, way
        return
    for child in element.children:
        yield from _each(child, way)


def inspect(data: bytes) -> tuple[Element | None, list[Fault]]:
    """Read a layout; all its faults are found at once, in the order of the file."""
    root, faults = layout_reader.parse(data)
    if root is not None:
        faults += layout_rules.judge(root)
    return root, sorted(faults, key=lambda fault: fault.place)


def refused(path: Path, faults: Sequence[Fault]) -> ArtifactError:
    """The error of a layout or template with these faults: the first, and how many there are."""
    first, more = faults[0], len(faults) - 1
    return ArtifactError(
        first.message + (f" (and {more} more; openreg check lists all)" if more else ""),
        hint=first.hint,
        where=f"{path.name}, line {first.place[0]}, column {first.place[1]}",
    )


def read(path: Path) -> Layout:
    """Read a layout file.

    Raises:
        SpecError: the file is missing.
        ArtifactError: the layout has faults; the message says the first, ``where`` its place.
    """
    try:
        root, faults = inspect(path.read_bytes())
    except FileNotFoundError as error:
        message = f"layout {path.name} is missing"
        raise SpecError(message, where=str(path), hint="Put it beside report.yaml.") from error
    if root is None or faults:
        raise refused(path, faults)
    return Layout(path, root)
