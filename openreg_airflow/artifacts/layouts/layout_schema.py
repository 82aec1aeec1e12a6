"""Holds a layout against an XML schema, without data.

What can be said without data: every element is known and stands in the schema's order, mandatory
ones are written, none is repeated that may stand only once, attributes are known and mandatory ones
there, constant codes are among those of the schema. Of a choice a layout may write several
elements, because the data decide which one is left.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts.layout_parts import Element, Fault
from openreg_airflow.artifacts.validity.xsd_model import (
    Declaration,
    Group,
    Kind,
    Particle,
    Schema,
    Wildcard,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def hold(root: Element, schema: Schema) -> list[Fault]:
    """The faults of a layout by a schema, in the order of the file.

    Elements around the document, such as a business envelope whose schema is not here, are passed
    over; the parts inside are looked at.
    """
    parts = list(_declared(root, schema))
    faults = list(undeclared(root, schema))
    faults += [f for element, declared in parts for f in _element(element, declared, schema)]
    return sorted(faults, key=lambda fault: fault.place)


def undeclared(root: Element, schema: Schema) -> Iterator[Fault]:
    """Elements with which a part of a schema begins and that it does not declare.

    Around them everything may stand, so that they would be held against nothing.
    """
    hint = f"Those are {', '.join(schema.roots()) or 'none'}; see to the xmlns."
    if not any(_declared(root, schema)):
        message = f"no element of the layout is one that {', '.join(schema.files)} declares"
        yield Fault(root.place(""), message, hint)
    yield from _strangers(root, schema, hint)


def _strangers(element: Element, schema: Schema, hint: str) -> Iterator[Fault]:
    if schema.element(element.tag):
        return
    if _namespace(element.tag) in {_namespace(tag) for tag in schema.roots()}:
        message = f"<{element.name}> is not among the elements that a document may begin with"
        yield Fault(element.place(""), message, hint)
        return
    for child in element.children:
        yield from _strangers(child, schema, hint)


def _namespace(tag: str) -> str:
    return tag.rpartition("}")[0]


def _declared(element: Element, schema: Schema) -> Iterator[tuple[Element, Declaration]]:
    if declared := schema.element(element.tag):
        yield element, declared
        return
    for child in element.children:
        yield from _declared(child, schema)


def _element(element: Element, declared: Declaration, schema: Schema) -> Iterator[Fault]:
    kind = schema.kind(declared)
    if kind.anything:
        return
    yield from _attributes(element, kind)
    if element.text and not kind.text:
        message = f"<{element.name}> holds elements and no text"
        yield Fault(element.place("text()"), message, _expected(kind))
    if len(element.text) == 1 and isinstance(element.text[0], str):
        yield from _code(element, "text()", element.text[0], kind.values)
    if kind.content is None:
        for child in element.children:
            message = f"<{child.name}> is inside <{element.name}>, which holds no elements"
            yield Fault(child.place(""), message)
        return
    matching = _Matching(element, kind.content, schema)
    yield from matching.faults
    for child, found in matching.pairs:
        yield from _element(child, found, schema)


def _expected(kind: Kind) -> str | None:
    names = [declared.name for declared in kind.content.declarations()] if kind.content else []
    return (
        f"Expected {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}." if names else None
    )


def _attributes(element: Element, kind: Kind) -> Iterator[Fault]:
    written = {a.name: a for a in element.attributes if ":" not in a.name and a.name != "xmlns"}
    for name, attribute in written.items():
        if name not in kind.attributes:
            known = ", ".join(kind.attributes)
            hint = f"Known are {known}." if known else "It has no attributes."
            message = f"<{element.name}> has no attribute {name} in the schema"
            yield Fault(element.place(name), message, hint)
        elif len(attribute.value) == 1 and isinstance(attribute.value[0], str):
            yield from _code(element, name, attribute.value[0], kind.attributes[name].values)
    for name, declared in kind.attributes.items():
        if declared.required and name not in written:
            message = f"<{element.name}> lacks the attribute {name}, which is mandatory"
            yield Fault(element.place(""), message)
        elif declared.required and name in element.optional:
            message = f"the attribute {name} of <{element.name}> is mandatory in the schema"
            yield Fault(element.place("r:optional"), message, "Take it out of r:optional.")


def _code(element: Element, part: str, text: str, values: Sequence[str]) -> Iterator[Fault]:
    if values and text not in values:
        message = f"{text!r} is not among the codes of <{element.name}>"
        yield Fault(element.place(part), message, f"Known are {', '.join(values)}.")


class _Matching:
    """The children of one element of a layout beside what the schema has there."""

    def __init__(self, element: Element, content: Group, schema: Schema) -> None:
        self.faults: list[Fault] = []
        self.pairs: list[tuple[Element, Declaration]] = []
        self._schema = schema
        self._content = content
        self._children = list(element.children)
        self._missing: list[str] = []
        #: How many of the groups around the present particle may be repeated.
        self._around = 0
        self._repeated: list[Fault] = []
        misplaced: set[str] = set()
        while True:
            self._missing, self._repeated, self.pairs = [], [], []
            end = self._take(content, 0)
            if end == len(self._children):
                break
            child = self._children.pop(end)
            self.faults.append(self._unexpected(element, child, end))
            misplaced.add(child.tag.rpartition("}")[2])
        for name in self._missing:
            if not misplaced.intersection(name.split(" or ")):
                names = " or ".join(f"<{part}>" for part in name.split(" or "))
                message = f"<{element.name}> lacks {names}, which is mandatory"
                self.faults.append(Fault(element.place(""), message))
        self.faults += self._repeated

    def _unexpected(self, element: Element, child: Element, at: int) -> Fault:
        order = [declared.name for declared in self._content.declarations()]
        name = child.tag.rpartition("}")[2]
        if any(self._schema.takes(d, child.tag) for d in self._content.declarations()):
            before = f" after <{self._children[at - 1].name}>" if at else ""
            message = f"<{child.name}> may not stand{before} in <{element.name}>"
            return Fault(child.place(""), message, f"The order is {', '.join(order)}.")
        close = difflib.get_close_matches(name, order, 1)
        hint = f"Did you mean {close[0]}? " if close else ""
        message = f"<{element.name}> has no element <{child.name}> in the schema"
        return Fault(child.place(""), message, f"{hint}It has {', '.join(order)}.")

    def _take(self, particle: Particle, at: int) -> int:
        """How far the children from ``at`` on are what the particle allows."""
        if isinstance(particle, Declaration):
            return self._take_elements(particle, at)
        if isinstance(particle, Wildcard):
            return self._take_any(particle, at)
        self._around += particle.maximum != 1
        take = self._take_sequence if particle.model == "sequence" else self._take_unordered
        end = take(particle, at)
        self._around -= particle.maximum != 1
        return end

    def _take_elements(self, declared: Declaration, at: int) -> int:
        end = at
        while end < len(self._children) and self._schema.takes(declared, self._children[end].tag):
            if end > at and self._around and declared.maximum == 1 and not self._children[end].when:
                break  # it belongs to the next round of the group
            self.pairs.append((self._children[end], declared))
            end += 1
        if end == at and declared.minimum:
            self._missing.append(declared.name)
        if declared.maximum == 1 and not self._around:
            self._once(self._children[at:end])
        return end

    def _once(self, children: Sequence[Element]) -> None:
        for place, child in enumerate(children):
            if child.each:
                message = f"<{child.name}> may stand only once and cannot be repeated"
                self._repeated.append(Fault(child.place("r:each"), message))
            elif place and not child.when and not children[place - 1].when:
                message = f"<{child.name}> may stand only once"
                hint = "With r:when on both, the data can decide which is written."
                self._repeated.append(Fault(child.place(""), message, hint))

    def _take_any(self, wildcard: Wildcard, at: int) -> int:
        end = at
        most = len(self._children) if wildcard.maximum is None else at + wildcard.maximum
        while end < min(most, len(self._children)) and wildcard.takes(self._children[end].tag):
            if declared := self._schema.element(self._children[end].tag):
                self.pairs.append((self._children[end], declared))
            end += 1
        return end

    def _take_sequence(self, group: Group, at: int) -> int:
        first = True
        while True:
            begin, missed = at, len(self._missing)
            for part in group.parts:
                at = self._take(part, at)
            if at == begin:
                if not (first and group.minimum):
                    del self._missing[missed:]
                return at
            if group.maximum == 1:
                return at
            first = False

    def _take_unordered(self, group: Group, at: int) -> int:
        begin = at
        left = list(group.parts)
        before = len(self._missing)
        progress = True
        while progress:
            progress = False
            for part in left:
                missed = len(self._missing)
                end = self._take(part, at)
                if end > at:
                    at, progress = end, True
                    if group.model == "all":
                        left.remove(part)
                    break
                del self._missing[missed:]
        if group.model == "all":
            if at > begin or group.minimum:
                self._missing += [p.name for p in left if isinstance(p, Declaration) and p.minimum]
        elif at == begin and group.minimum and not _may_be_empty(group):
            del self._missing[before:]
            self._missing.append(" or ".join(d.name for d in group.declarations()))
        return at


def _may_be_empty(particle: Particle) -> bool:
    if not particle.minimum:
        return True
    if not isinstance(particle, Group):
        return False
    if particle.model == "choice":
        return any(map(_may_be_empty, particle.parts))
    return all(map(_may_be_empty, particle.parts))
