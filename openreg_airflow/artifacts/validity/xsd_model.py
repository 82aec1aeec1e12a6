"""What an XML schema allows: its elements, their order and number, attributes and codes.

Read from the schema files themselves, for ``openreg check`` and ``openreg layout scaffold``; a
finished file is held against the schema by libxml2
(:mod:`openreg_airflow.artifacts.validity.xsd`). Types are looked at only when they are asked for,
so that a schema may refer to itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from lxml import etree

from openreg_airflow.artifacts.validity import xsd_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_NAMESPACE = "http://www.w3.org/2001/XMLSchema"
XS = f"{{{_NAMESPACE}}}"
_GROUPS = tuple(XS + name for name in ("sequence", "choice", "all", "group"))
_GLOBALS = tuple(
    XS + n for n in ("element", "complexType", "simpleType", "group", "attribute", "attributeGroup")
)
_IDENTIFYING = frozenset({"ID", "IDREF", "IDREFS", "ENTITY", "ENTITIES"})
_FACETS = (
    "length", "minLength", "maxLength", "totalDigits", "fractionDigits",
    "minInclusive", "maxInclusive", "minExclusive", "maxExclusive", "pattern",
)  # fmt: skip


@dataclass(frozen=True)
class Wildcard:
    """``xs:any``: an element of these namespaces."""

    namespaces: tuple[str, ...]
    target: str
    minimum: int = 1
    maximum: int | None = 1

    def takes(self, tag: str) -> bool:
        """Whether an element of that tag may stand here."""
        namespace = tag[1:].partition("}")[0] if tag.startswith("{") else ""
        for allowed in self.namespaces:
            if allowed in {"##any", namespace}:
                return True
            if allowed == "##other" and namespace not in ("", self.target):
                return True
            if allowed == {"": "##local", self.target: "##targetNamespace"}.get(namespace):
                return True
        return False


@dataclass(frozen=True)
class Declaration:
    """An element where it may stand: how often, and what it may hold (:meth:`Schema.kind`)."""

    tag: str
    node: etree._Element
    minimum: int = 1
    maximum: int | None = 1

    @property
    def name(self) -> str:
        """Its name without the namespace."""
        return self.tag.rpartition("}")[2]


@dataclass(frozen=True)
class Group:
    """Parts in order, a choice of parts, or parts in any order."""

    model: Literal["sequence", "choice", "all"]
    parts: tuple[Particle, ...]
    minimum: int = 1
    maximum: int | None = 1

    def declarations(self) -> Iterator[Declaration]:
        """All elements in it, at every depth of groups, in order."""
        for part in self.parts:
            if isinstance(part, Declaration):
                yield part
            elif isinstance(part, Group):
                yield from part.declarations()


Particle = Declaration | Group | Wildcard


@dataclass(frozen=True)
class Attribute:
    """An attribute, and the only values that it may have, if they are listed."""

    name: str
    required: bool
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A type.

    Attributes:
        name: its local name; empty when it has none.
        content: the elements in it; None when there are none.
        text: whether it may hold text.
        anything: whether it may hold whatever there is.
        values: the only texts that it may have, if they are listed.
        facets: its restrictions as ``name value``, and the built-in type that they restrict.
    """

    name: str = ""
    content: Group | None = None
    text: bool = False
    anything: bool = False
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()


class Schema:
    """The schema files of a document and of what stands around it, read together.

    Args:
        paths: the files; what they include or import is read too.

    Raises:
        ArtifactError: a file is no schema, or includes one that is not on this machine.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.files: tuple[str, ...] = ()
        #: Whether something in a document must be unique in it or be named elsewhere in it.
        self.compares_values = False
        self._globals: dict[tuple[str, str], etree._Element] = {}
        self._substitutes: dict[str, list[str]] = {}
        self._seen: set[tuple[Path, str]] = set()
        for path in paths:
            xsd_schema.compile_schema(path)
            self._read(path, "")
            self.files += (path.name,)

    def roots(self) -> list[str]:
        """The tags of the elements that a document may begin with."""
        return [tag for sort, tag in self._globals if sort == "element"]

    def element(self, tag: str) -> Declaration | None:
        """An element that stands at the top of a schema; None when there is none of that tag."""
        node = self._globals.get(("element", tag))
        return None if node is None else Declaration(tag, node)

    def takes(self, declaration: Declaration, tag: str) -> bool:
        """Whether an element may stand where another is declared."""
        return tag == declaration.tag or tag in self._substitutes.get(declaration.tag, ())

    def kind(self, declaration: Declaration) -> Kind:
        """The type of an element."""
        return self._kind_of(declaration.node)

    def _read(self, path: Path, namespace: str) -> None:
        root = etree.parse(path, etree.XMLParser(**xsd_schema.SAFE)).getroot()
        if not root.get("targetNamespace") and namespace:
            root.set("targetNamespace", namespace)
        target = root.get("targetNamespace", "")
        if (path.resolve(), target) in self._seen:
            return
        self._seen.add((path.resolve(), target))
        self.compares_values = self.compares_values or _compares_values(root)
        for node in root.iterchildren(*_GLOBALS):
            sort = etree.QName(node).localname
            tag = _tag(target, node.get("name", ""))
            self._globals.setdefault(("type" if sort.endswith("Type") else sort, tag), node)
            if head := node.get("substitutionGroup"):
                self._substitutes.setdefault(self._resolve(node, head), []).append(tag)
        for reference in root.iterchildren(XS + "include", XS + "redefine", XS + "override"):
            self._read(path.parent / reference.get("schemaLocation", ""), target)
        for reference in root.iterchildren(XS + "import"):
            if location := reference.get("schemaLocation"):
                self._read(path.parent / location, "")

    def _resolve(self, node: etree._Element, name: str) -> str:
        prefix, _, local = name.rpartition(":")
        namespace = node.nsmap.get(prefix or None) or ""
        return _tag(namespace or _target(node), local)

    def _global(self, sort: str, node: etree._Element, name: str) -> etree._Element | None:
        tag = self._resolve(node, name)
        return self._globals.get((sort, tag), self._globals.get((sort, tag.rpartition("}")[2])))

    def _kind_of(self, node: etree._Element) -> Kind:
        inline = next(node.iterchildren(XS + "complexType", XS + "simpleType"), None)
        if inline is not None:
            return self._type(inline)
        if named := node.get("type"):
            return self._named(node, named)
        if head := node.get("substitutionGroup"):
            other = self._global("element", node, head)
            if other is not None:
                return self._kind_of(other)
        return Kind("anyType", text=True, anything=True)

    def _named(self, node: etree._Element, name: str) -> Kind:
        tag = self._resolve(node, name)
        if tag.startswith(XS):
            local = tag[len(XS) :]
            return Kind(local, text=True, anything=local == "anyType", facets=(local,))
        found = self._global("type", node, name)
        return Kind(name, text=True, anything=True) if found is None else self._type(found)

    def _type(self, node: etree._Element) -> Kind:
        name = node.get("name", "")
        if node.tag == XS + "simpleType":
            return replace(self._simple(node), name=name)
        mixed = node.get("mixed") == "true"
        inside = next(node.iterchildren(XS + "simpleContent", XS + "complexContent"), None)
        if inside is None:
            return Kind(name, self._content(node), text=mixed, attributes=self._attributes(node))
        change = next(inside.iterchildren(XS + "extension", XS + "restriction"))
        base = self._named(change, change.get("base", "xs:anyType"))
        attributes = {**base.attributes, **self._attributes(change)}
        if inside.tag == XS + "simpleContent":
            return replace(base, name=name, attributes=attributes)
        own = self._content(change)
        content = own
        if change.tag == XS + "extension" and base.content is not None:
            content = base.content if own is None else Group("sequence", (base.content, own))
        mixed = mixed or inside.get("mixed") == "true" or (base.text and not base.anything)
        return Kind(name, content, text=mixed, attributes=attributes)

    def _simple(self, node: etree._Element) -> Kind:
        change = next(node.iterchildren(XS + "restriction"), None)
        if change is None:  # a list or a union
            return Kind(text=True)
        inline = next(change.iterchildren(XS + "simpleType"), None)
        if inline is not None:
            base = self._simple(inline)
        else:
            base = self._named(change, change.get("base", "xs:string"))
        listed = tuple(v.get("value", "") for v in change.iterchildren(XS + "enumeration"))
        own = tuple(
            f"{etree.QName(f).localname} {f.get('value')}"
            for f in change.iterchildren(*(XS + facet for facet in _FACETS))
        )
        return replace(base, values=listed or base.values, facets=(*base.facets, *own))

    def _content(self, node: etree._Element) -> Group | None:
        top = next(node.iterchildren(*_GROUPS), None)
        return None if top is None else self._group(top)

    def _group(self, node: etree._Element) -> Group:
        low, high = _occurrence(node)
        if node.tag == XS + "group":
            named = self._global("group", node, node.get("ref", ""))
            inside = None if named is None else self._content(named)
            return Group("sequence", () if inside is None else (inside,), low, high)
        parts: list[Particle] = []
        for child in node.iterchildren(XS + "element", XS + "any", *_GROUPS):
            if child.tag == XS + "element":
                if child.get("maxOccurs") != "0":
                    parts.append(self._declaration(child))
            elif child.tag == XS + "any":
                allowed = tuple(child.get("namespace", "##any").split())
                parts.append(Wildcard(allowed, _target(child), *_occurrence(child)))
            else:
                parts.append(self._group(child))
        return Group(etree.QName(node).localname, tuple(parts), low, high)  # type: ignore[arg-type]

    def _declaration(self, node: etree._Element) -> Declaration:
        low, high = _occurrence(node)
        if reference := node.get("ref"):
            found = self._global("element", node, reference)
            tag = self._resolve(node, reference)
            return Declaration(tag, node if found is None else found, low, high)
        form = node.get("form") or node.getroottree().getroot().get("elementFormDefault")
        namespace = _target(node) if form == "qualified" else ""
        return Declaration(_tag(namespace, node.get("name", "")), node, low, high)

    def _attributes(self, node: etree._Element) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        for child in node.iterchildren(XS + "attribute", XS + "attributeGroup"):
            if child.tag == XS + "attributeGroup":
                named = self._global("attributeGroup", child, child.get("ref", ""))
                found |= {} if named is None else self._attributes(named)
                continue
            declared = child
            if reference := child.get("ref"):
                other = self._global("attribute", child, reference)
                declared = child if other is None else other
            name = declared.get("name") or child.get("ref") or ""
            if child.get("use") != "prohibited":
                values = self._kind_of(declared).values
                found[name] = Attribute(name, child.get("use") == "required", values)
        return found


def _compares_values(root: etree._Element) -> bool:
    if next(root.iter(XS + "unique", XS + "key", XS + "keyref"), None) is not None:
        return True
    named = (node.get(place, "") for node in root.iter(etree.Element) for place in ("type", "base"))
    return any(name.rpartition(":")[2] in _IDENTIFYING for name in named)


def _occurrence(node: etree._Element) -> tuple[int, int | None]:
    most = node.get("maxOccurs", "1")
    return int(node.get("minOccurs", "1")), None if most == "unbounded" else int(most)


def _target(node: etree._Element) -> str:
    return node.getroottree().getroot().get("targetNamespace", "")


def _tag(namespace: str, local: str) -> str:
    return f"{{{namespace}}}{local}" if namespace else local
