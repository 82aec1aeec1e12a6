"""Reads the XML of a layout with expat, which says the line and column of everything."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

from openreg_airflow.artifacts.layouts.layout_parts import (
    INSTRUCTIONS,
    NAMESPACE,
    Attribute,
    Element,
    Fault,
)
from openreg_airflow.artifacts.values import condition, placeholder

if TYPE_CHECKING:
    from openreg_airflow.artifacts.layouts.layout_parts import Place
    from openreg_airflow.artifacts.values.placeholder import Template

_SPACE = " \t\r\n"
_ATTRIBUTE = re.compile(rb"""\s(?P<name>[^\s=<>"']+)\s*=\s*(?:"(?P<a>[^"]*)"|'(?P<b>[^']*)')""")
_PAIR = re.compile(r"\s*(?P<inner>[A-Za-z_]\w*)\s*(?:=\s*(?P<outer>[A-Za-z_]\w*)\s*)?", re.ASCII)
_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")


@dataclass
class _Frame:
    """An element whose end is not read yet."""

    name: str
    tag: str
    places: dict[str, Place]
    scope: dict[str, str]
    attributes: list[Attribute] = field(default_factory=list)
    instructions: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    text: str = ""


def parse(data: bytes) -> tuple[Element | None, list[Fault]]:
    """The root element of a layout, and what is wrong with its XML, templates and conditions."""
    if not data.strip():
        return None, [Fault((1, 1), "the layout is empty", "Write the document as it shall look.")]
    reader = _Reader(data)
    return reader.read(), reader.faults


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.faults: list[Fault] = []
        self._data = data
        self._root: Element | None = None
        self._stack: list[_Frame] = []
        # An encoding of ours, because expat would believe whatever the file declares.
        self._parser = expat.ParserCreate("utf-8")
        self._parser.ordered_attributes = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.ProcessingInstructionHandler = self._processing_instruction

    def read(self) -> Element | None:
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            reason = expat.errors.messages[error.code]
            self._fault((error.lineno, error.offset + 1), f"not well-formed XML: {reason}")
            return None
        return self._root

    def _fault(self, place: Place, message: str, hint: str | None = None) -> None:
        self.faults.append(Fault(place, message, hint))

    def _here(self) -> Place:
        return self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1

    def _doctype(self, *_: object) -> None:
        self._fault(self._here(), "a layout has no document type", "Remove <!DOCTYPE ...>.")

    def _processing_instruction(self, target: str, _: str) -> None:
        self._fault(self._here(), f"the processing instruction <?{target}?> would not be written")

    def _characters(self, text: str) -> None:
        frame = self._stack[-1]
        if "text()" not in frame.places and text.strip(_SPACE):
            line, column = self._here()
            frame.places["text()"] = line, column + len(text) - len(text.lstrip(_SPACE))
        frame.text += text

    def _start(self, name: str, listed: list[str]) -> None:
        pairs = list(zip(listed[::2], listed[1::2], strict=True))
        scope = dict(self._stack[-1].scope) if self._stack else {"xml": "xml", "": ""}
        for key, value in pairs:
            if key == "xmlns" or key.startswith("xmlns:"):
                scope[key.partition(":")[2]] = value
        places = {"": self._here()} | self._attribute_places()
        prefix, _, local = name.rpartition(":")
        namespace = self._namespace(prefix, scope, places[""])
        if namespace == NAMESPACE:
            message = f"<{name}>: the layout's own namespace has attributes, not elements"
            self._fault(places[""], message)
        frame = _Frame(name, f"{{{namespace}}}{local}" if namespace else local, places, scope)
        for key, value in pairs:
            self._attribute(frame, key, value)
        self._stack.append(frame)

    def _attribute(self, frame: _Frame, key: str, value: str) -> None:
        place = frame.places.get(key, frame.places[""])
        prefix, _, local = key.rpartition(":")
        if key == "xmlns" or prefix == "xmlns":
            if value != NAMESPACE:
                frame.attributes.append(Attribute(key, (value,)))
        elif prefix and self._namespace(prefix, frame.scope, place) == NAMESPACE:
            frame.instructions[local] = value
            frame.places[f"r:{local}"] = place
            if local not in INSTRUCTIONS:
                known = ", ".join(f"{prefix}:{name}" for name in INSTRUCTIONS)
                self._fault(place, f"{key} is unknown; known are {known}")
        else:
            frame.attributes.append(Attribute(key, self._template(value, place)))

    def _end(self, name: str) -> None:  # noqa: ARG002
        frame = self._stack.pop()
        given = frame.instructions
        when = None
        if "when" in given:
            line, column = frame.places["r:when"]
            try:
                when = condition.parse(given["when"])
            except condition.ConditionError as error:
                self._fault((line, column + error.offset), f"condition: {error}")
        for flag in ("required", "choice"):
            if given.get(flag, "true") not in ("true", "false"):
                self._fault(frame.places[f"r:{flag}"], f"expected true or false in r:{flag}")
        text = frame.text.strip(_SPACE)
        element = Element(
            name=frame.name,
            tag=frame.tag,
            places=frame.places,
            attributes=tuple(frame.attributes),
            text=self._template(text, frame.places["text()"]) if text else (),
            children=tuple(frame.children),
            each=given.get("each"),
            on=self._on(given["on"], frame.places["r:on"]) if "on" in given else (),
            key=given.get("key"),
            when=when,
            required=given.get("required") == "true",
            choice=given.get("choice") == "true",
            optional=frozenset(given.get("optional", "").split()),
        )
        if self._stack:
            self._stack[-1].children.append(element)
        else:
            self._root = element

    def _on(self, text: str, place: Place) -> tuple[tuple[str, str], ...]:
        pairs = []
        for part in text.split(","):
            match = _PAIR.fullmatch(part)
            if match is None:
                message = f"{part.strip()!r} does not say by which column rows belong together"
                hint = 'Write r:on="column", or r:on="inner_column = outer_column".'
                self._fault(place, message, hint)
                return ()
            pairs.append((match["inner"], match["outer"] or match["inner"]))
        return tuple(pairs)

    def _template(self, text: str, place: Place) -> Template:
        try:
            return placeholder.parse(text)
        except placeholder.TemplateError as error:
            before = text[: error.offset].split("\n")
            line = place[0] + len(before) - 1
            column = error.offset + place[1] if len(before) == 1 else len(before[-1]) + 1
            self._fault((line, column), str(error))
            return (text,)

    def _namespace(self, prefix: str, scope: dict[str, str], place: Place) -> str:
        if prefix not in scope:
            self._fault(place, f"prefix {prefix} is not declared", f'Add xmlns:{prefix}="...".')
        return scope.get(prefix, "")

    def _attribute_places(self) -> dict[str, Place]:
        """Where the values of the attributes of the element that is being read begin."""
        start = self._parser.CurrentByteIndex
        tag = _TAG.match(self._data, start)
        places: dict[str, Place] = {}
        for match in _ATTRIBUTE.finditer(tag[0] if tag else b""):
            begin = start + max(match.start("a"), match.start("b"))
            line = self._data.rfind(b"\n", 0, begin) + 1
            column = len(self._data[line:begin].decode("utf-8", "replace")) + 1
            places[match["name"].decode()] = self._data.count(b"\n", 0, begin) + 1, column
        return places
