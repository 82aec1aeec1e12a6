"""What a layout is made of: elements with their attributes, instructions and places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openreg_airflow.artifacts.values.condition import Condition
    from openreg_airflow.artifacts.values.placeholder import Placeholder, Template

#: 1-based line and column.
Place = tuple[int, int]

NAMESPACE = "urn:openreg:layout:1"
INSTRUCTIONS = ("each", "on", "key", "when", "required", "choice", "optional")


@dataclass(frozen=True)
class Fault:
    """What is wrong in a layout, and where."""

    place: Place
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Attribute:
    """An attribute as it is written, with its prefix; namespace declarations are attributes."""

    name: str
    value: Template


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element of a layout.

    Attributes:
        name: as written, with its prefix.
        tag: ``{namespace}local``, as lxml spells it.
        places: where its parts begin: 1-based line and column of the element itself (``""``), its
            text (``"text()"``) and the values of its attributes, by name; an instruction's name
            begins with ``r:`` here, whatever the layout's prefix is.
        text: its text; empty when it has children.
        each, key, when, required, choice, optional: the instructions on it.
        on: the columns by which rows belong to rows of the element above: inner and outer names.
    """

    name: str
    tag: str
    places: Mapping[str, Place]
    attributes: tuple[Attribute, ...] = ()
    text: Template = ()
    children: tuple[Element, ...] = ()
    each: str | None = None
    on: tuple[tuple[str, str], ...] = ()
    key: str | None = None
    when: Condition | None = None
    required: bool = False
    choice: bool = False
    optional: frozenset[str] = field(default=frozenset())

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"<{self.name}>"

    @property
    def line(self) -> int:
        """The 1-based line where it begins."""
        return self.places[""][0]

    def place(self, part: str) -> Place:
        """Where a part begins; the element itself when the part is not written."""
        return self.places.get(part, self.places[""])

    @property
    def own_placeholders(self) -> Iterator[Placeholder]:
        """The placeholders of its text and attributes."""
        for template in (self.text, *(attribute.value for attribute in self.attributes)):
            yield from (part for part in template if not isinstance(part, str))

    def walk(self) -> Iterator[Element]:
        """The element and all below it, in the order of the document."""
        yield self
        for child in self.children:
            yield from child.walk()

    def columns(self) -> Iterator[tuple[str, int]]:
        """The columns of its table that it and those below it speak of, with their lines."""
        names = {p.name for p in self.own_placeholders if not p.of_run}
        names |= self.when.columns if self.when else frozenset()
        names |= {self.key} if self.key else set()
        yield from ((name, self.line) for name in sorted(names))
        for child in self.children:
            if child.each is None:
                yield from child.columns()
            else:
                yield from ((outer, child.line) for _, outer in child.on)

    def inner(self) -> Iterator[Element]:
        """The repeated elements inside it that no other repeated element stands between."""
        for child in self.children:
            if child.each is None:
                yield from child.inner()
            else:
                yield child
