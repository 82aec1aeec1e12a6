"""Writes a first layout from an XML schema, for its author to cut down.

Each element of the schema is written once, with a placeholder named after it; comments say how
often it may stand and what it may hold. What the layout does not need is to be deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from openreg_airflow.artifacts.layouts.layout_parts import NAMESPACE
from openreg_airflow.artifacts.validity.xsd_model import (
    Declaration,
    Group,
    Particle,
    Schema,
    Wildcard,
)
from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.artifacts.validity.xsd_model import Kind

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
#: A schema that unfolds to more is not written out to the end.
_MOST_ELEMENTS = 20_000
_MOST_CODES = 12


@dataclass
class _Node:
    name: str
    tag: str
    kind: Kind
    way: tuple[str, ...]
    notes: list[str]
    mandatory: bool = False
    repeated: bool = False
    choice: bool = False
    #: The first of a choice of which one must stand.
    chosen: bool = False
    record: bool = False
    children: list[_Node | str] = field(default_factory=list)

    def walk(self) -> Iterator[_Node]:
        yield self
        for child in self.children:
            if isinstance(child, _Node):
                yield from child.walk()

    @property
    def holds_record(self) -> bool:
        return any(node.record for node in self.walk())

    @property
    def leaf(self) -> bool:
        return not any(isinstance(child, _Node) for child in self.children)


def scaffold(schema: Schema, root: str, table: str = "records") -> str:
    """A layout for a document with the given root element.

    Args:
        schema: the schema.
        root: the name of one of its top elements, with or without ``{namespace}``.
        table: the table whose rows are the records: those of the first element that may be
            repeated.

    Raises:
        SpecError: the schema has no such element.
    """
    tags = [tag for tag in schema.roots() if root in (tag, tag.rpartition("}")[2])]
    declared = schema.element(tags[0]) if tags else None
    if declared is None:
        known = ", ".join(sorted(tag.rpartition("}")[2] for tag in schema.roots()))
        message = f"{', '.join(schema.files)} has no element {root} at its top"
        raise SpecError(message, hint=f"Those are {known}.")
    top = _Builder(schema).node(declared, (), mandatory=True)
    if isinstance(top, str):
        message = f"<{root}> holds nothing that could be written"
        raise SpecError(message)
    repeated = [node for node in top.walk() if node.repeated]
    record = max(repeated, key=lambda node: sum(1 for _ in node.walk()), default=None)
    record = record or next((n for n in top.walk() if n is not top and not n.leaf), None)
    record = record or next((n for n in top.walk() if n is not top), top)
    record.record = True
    for node in top.walk():
        if node.holds_record:
            for child in _elements(node):
                child.chosen = child.chosen and child.holds_record
    _fill(top)
    return _Printer(table, _columns(record), top.tag).text(top)


def _fill(node: _Node) -> None:
    """Choose something for each element outside the record that would else be empty."""
    if node.record:
        return
    children = list(_elements(node))
    if children and not any(c.mandatory or c.chosen or c.holds_record for c in children):
        children[0].chosen = True
    for child in children:
        if child.mandatory or child.chosen or child.holds_record:
            _fill(child)


class _Builder:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._open: list[object] = []
        self._made = 0

    def node(
        self, declared: Declaration, above: tuple[str, ...], *, mandatory: bool
    ) -> _Node | str:
        """The element, or what to say of one that is not written."""
        occurs = _occurs(declared)
        if declared.node in self._open:
            return f"{declared.name} {occurs}: again as above"
        if self._made >= _MOST_ELEMENTS:
            return f"{declared.name} {occurs}: left out, this layout is long enough"
        self._made += 1
        kind = self._schema.kind(declared)
        way = (*above, declared.name)
        node = _Node(declared.name, declared.tag, kind, way, [occurs])
        node.mandatory = mandatory and declared.minimum > 0
        node.repeated = declared.maximum != 1
        if kind.content is not None:
            self._open.append(declared.node)
            whole = self._group(kind.content, node, mandatory=True)
            self._open.pop()
            if not whole:
                return f"{declared.name} {occurs}: {'; '.join(_comments(node))}"
            node.choice = _is_choice(kind.content) and len(list(_elements(node))) > 1
        if node.leaf and not kind.text and not kind.attributes:
            return f"{declared.name} {occurs}: {'; '.join(_comments(node)) or 'empty'}"
        node.notes += _facets(kind)
        return node

    def _group(self, group: Group, node: _Node, *, mandatory: bool) -> bool:
        """Add what is in a group; false when something mandatory cannot be written."""
        mandatory = mandatory and group.minimum > 0
        choice = group.model == "choice" and len(group.parts) > 1
        if choice:
            names = " | ".join(_named(part) for part in group.parts)
            node.children.append(f"{'one of' if mandatory else 'none or one of'} {names}")
        if group.maximum != 1:
            node.children.append(f"the following may be repeated {_occurs(group)}")
        before = len(node.children)
        whole = True
        for part in group.parts:
            inside = mandatory and not choice
            if isinstance(part, Declaration):
                made = self.node(part, node.way, mandatory=inside)
                whole = whole and not (inside and part.minimum and isinstance(made, str))
                node.children.append(made)
            elif isinstance(part, Wildcard):
                node.children.append(f"any element of {' '.join(part.namespaces)}")
                whole = whole and not (inside and part.minimum)
            else:
                whole = self._group(part, node, mandatory=inside) and whole
        first = next((c for c in node.children[before:] if isinstance(c, _Node)), None)
        if choice and mandatory:
            whole = first is not None
            if first is not None:
                first.chosen = True
        return whole


def _elements(node: _Node) -> Iterator[_Node]:
    return (child for child in node.children if isinstance(child, _Node))


def _comments(node: _Node) -> list[str]:
    return [child for child in node.children if isinstance(child, str)]


def _is_choice(group: Group) -> bool:
    if group.model == "choice":
        return group.maximum == 1 and all(
            isinstance(part, Declaration) and part.maximum == 1 for part in group.parts
        )
    return (
        len(group.parts) == 1 and isinstance(group.parts[0], Group) and _is_choice(group.parts[0])
    )


def _named(part: Particle) -> str:
    if isinstance(part, Declaration):
        return part.name
    if isinstance(part, Wildcard):
        return "any"
    return f"({' '.join(_named(inner) for inner in part.parts)})"


def _occurs(part: Declaration | Group) -> str:
    high = "n" if part.maximum is None else str(part.maximum)
    return str(part.minimum) if str(part.minimum) == high else f"{part.minimum}..{high}"


def _facets(kind: Kind) -> list[str]:
    if kind.values:
        more = ["..."] if len(kind.values) > _MOST_CODES else []
        return [", ".join([*kind.values[:_MOST_CODES], *more])]
    return [", ".join(kind.facets)] if kind.facets else []


def _columns(record: _Node) -> dict[tuple[str, ...], str]:
    """A name for each text and attribute in the record: as short a way to it as is its own."""
    depth = len(record.way)
    ways: list[tuple[str, ...]] = []
    for node in record.walk():
        if node.leaf and node.kind.text:
            ways.append(node.way)
        ways += [(*node.way, f"@{name}") for name in node.kind.attributes]
    words = {way: [_snake(part) for part in (way[depth:] or way[-1:])] for way in ways}
    times: dict[tuple[str, ...], int] = {}
    for parts in words.values():
        for start in range(len(parts)):
            key = tuple(parts[start:])
            times[key] = times.get(key, 0) + 1
    names: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for way, parts in words.items():
        start = next((s for s in reversed(range(len(parts))) if times[tuple(parts[s:])] == 1), 0)
        name = "_".join(parts[start:])
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique)
        names[way] = unique
    return names


def _snake(name: str) -> str:
    return "_".join(word.lower() for word in _WORD.findall(name)) or "value"


class _Printer:
    def __init__(self, table: str, columns: dict[tuple[str, ...], str], root: str) -> None:
        self._table = table
        self._columns = columns
        self._namespace = root[1:].partition("}")[0] if root.startswith("{") else ""
        self._lines: list[str] = []

    def text(self, root: _Node) -> str:
        self._lines.append('<?xml version="1.0" encoding="UTF-8"?>')
        self._comment("Made from the schema. Delete what is not reported, name your columns.", 0)
        opening = [f"xmlns:r={quoteattr(NAMESPACE)}"]
        if self._namespace:
            opening.insert(0, f"xmlns={quoteattr(self._namespace)}")
        self._node(root, 0, inside=False, namespace=self._namespace, more=opening)
        return "\n".join(self._lines) + "\n"

    def _comment(self, text: str, depth: int) -> None:
        self._lines.append(f"{'  ' * depth}<!-- {_safe(text)} -->")

    def _node(
        self, node: _Node, depth: int, *, inside: bool, namespace: str, more: list[str]
    ) -> None:
        if not inside and not (node.mandatory or node.chosen or node.holds_record):
            self._comment(f"{node.name} {'; '.join(node.notes)}", depth)
            return
        within = inside or node.record
        own = node.tag[1:].partition("}")[0] if node.tag.startswith("{") else ""
        if own != namespace:
            more = [*more, f"xmlns={quoteattr(own)}"]
        opening = " ".join([f"<{node.name}", *more, *self._instructions(node, inside, depth)])
        attributes = self._attributes(node, within)
        opening = " ".join([opening, *attributes])
        note = _safe("; ".join(node.notes))
        if node.repeated and inside:
            note += ', repeat it by r:each="TABLE" r:on="COLUMN"'
        indent = "  " * depth
        if not node.leaf:
            self._lines.append(f"{indent}{opening}> <!-- {note} -->")
            for child in node.children:
                if isinstance(child, str):
                    self._comment(child, depth + 1)
                else:
                    self._node(child, depth + 1, inside=within, namespace=own, more=[])
            self._lines.append(f"{indent}</{node.name}>")
        elif node.kind.text:
            value = f"{{{self._columns[node.way]}}}" if within else _constant(node)
            self._lines.append(f"{indent}{opening}>{value}</{node.name}> <!-- {note} -->")
        else:
            self._lines.append(f"{indent}{opening}/> <!-- {note} -->")

    def _instructions(self, node: _Node, inside: bool, depth: int) -> list[str]:
        found = []
        if node.record and depth:
            found.append(f'r:each="{self._table}"')
        if inside and node.mandatory:
            found.append('r:required="true"')
        if (inside or node.record) and node.choice:
            found.append('r:choice="true"')
        return found

    def _attributes(self, node: _Node, within: bool) -> list[str]:
        found, optional = [], []
        for name, attribute in node.kind.attributes.items():
            if within:
                found.append(f'{name}="{{{self._columns[(*node.way, f"@{name}")]}}}"')
                optional += [] if attribute.required else [name]
            elif attribute.required:
                found.append(f'{name}="{next(iter(attribute.values), "TODO")}"')
        if optional:
            found.append(f'r:optional="{" ".join(optional)}"')
        return found


def _constant(node: _Node) -> str:
    if node.kind.values:
        return node.kind.values[0]
    if "date" in node.kind.facets:
        return "{run.business_date}"
    return "TODO"


def _safe(text: str) -> str:
    while "--" in text:
        text = text.replace("--", "- -")
    return text.rstrip("-")
