"""What must be true of a layout beyond being well-formed XML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts.layout_parts import Attribute, Element, Fault
from openreg_airflow.artifacts.values import run_values, value_format

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE = re.compile(r"[a-z][a-z0-9_]*")
_RECORD_ONLY = ("when", "required", "choice")


def judge(root: Element) -> list[Fault]:
    """All faults of a layout, in no particular order."""
    faults = list(_judge(root, inside=False))
    if root.each:
        faults.append(
            Fault(
                root.place("r:each"),
                "the document itself cannot be repeated",
                "Put r:each on the element of one record.",
            )
        )
    if not any(element.each for element in root.walk()):
        faults.append(
            Fault(
                root.place(""),
                "no element has r:each, so no record would ever be written",
                'Put r:each="TABLE" on the element of one record.',
            )
        )
    return faults


def _judge(element: Element, *, inside: bool) -> Iterator[Fault]:
    yield from _content(element)
    yield from _instructions(element, inside=inside)
    yield from _placeholders(element, inside=inside or element.each is not None)
    for child in element.children:
        yield from _judge(child, inside=inside or element.each is not None)


def _content(element: Element) -> Iterator[Fault]:
    if element.text and element.children:
        message = f"<{element.name}> has both text and elements"
        yield Fault(element.place("text()"), message)
    if not (element.text or element.children or _plain_attributes(element)):
        message = f"<{element.name}> has no content, and empty elements are never written"
        yield Fault(element.place(""), message, "Give it a placeholder, a text or an element.")


def _instructions(element: Element, *, inside: bool) -> Iterator[Fault]:
    if element.each is not None:
        yield from _repetition(element, inside=inside)
    else:
        for name in ("key", "on"):
            if f"r:{name}" in element.places:
                yield Fault(element.place(f"r:{name}"), f"r:{name} stands beside r:each")
    if not inside and element.each is None:
        for name in _RECORD_ONLY:
            if f"r:{name}" in element.places:
                message = f"r:{name} speaks of a record and stands inside an element with r:each"
                yield Fault(element.place(f"r:{name}"), message)
    if element.choice and len(element.children) < 2:
        yield Fault(element.place("r:choice"), "r:choice needs two elements to choose from")
    names = {attribute.name for attribute in _plain_attributes(element)}
    for name in sorted(element.optional - names):
        message = f"r:optional names {name}, which <{element.name}> does not have"
        yield Fault(element.place("r:optional"), message)


def _repetition(element: Element, *, inside: bool) -> Iterator[Fault]:
    if not _TABLE.fullmatch(element.each or ""):
        yield Fault(element.place("r:each"), f"{element.each!r} is not the name of a table")
    if inside and "r:on" not in element.places:
        message = "r:each inside another r:each needs r:on, to say which rows belong together"
        hint = 'Add r:on="COLUMN", a column that both tables have.'
        yield Fault(element.place("r:each"), message, hint)
    if not inside and "r:on" in element.places:
        message = "r:on stands beside an r:each that is inside another"
        yield Fault(element.place("r:on"), message)
    if element.when and not inside:
        message = "r:when beside r:each would drop records"
        hint = "Filter the rows in the transform, or put r:when on elements below."
        yield Fault(element.place("r:when"), message, hint)


def _placeholders(element: Element, *, inside: bool) -> Iterator[Fault]:
    parts = [("text()", element.text)]
    parts += [(attribute.name, attribute.value) for attribute in element.attributes]
    for part, template in parts:
        for found in template:
            if isinstance(found, str):
                continue
            place = element.place(part)
            if found.of_run:
                if unknown := run_values.fault(found):
                    yield Fault(place, unknown)
            elif not inside:
                message = f"{found} speaks of a record and stands outside any element with r:each"
                yield Fault(place, message, "Outside, write {run.business_date} and the like.")
            try:
                value_format.parse(found.format)
            except ValueError as error:
                yield Fault(place, f"{found}: {error}")


def _plain_attributes(element: Element) -> list[Attribute]:
    return [a for a in element.attributes if a.name.partition(":")[0] != "xmlns"]
