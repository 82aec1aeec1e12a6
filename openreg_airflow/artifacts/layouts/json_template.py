"""JSON templates: a file that shows the document, or the object of one line, as it will look.

Texts hold placeholders, ``{column}`` or ``{column:format}``. A text that is one placeholder becomes
a value of the column's type: a number, true or false, or a text; any other text stays a text.
Members of an object whose name begins with ``$`` say what JSON itself cannot:

=====================  =========================================================================
``"$each": "table"``   the object is written once for each row of the table; it is the only entry
                       of an array
``"$key": "column"``   beside ``$each``: the column by which messages name a record
``"$on": "column"``    beside ``$each`` inside another: the columns that a row shares with the row
                       it belongs to; ``"child_column = column, other"`` where names differ
``"$when": "..."``     the object is written only where the condition holds
``"$required": [...]`` the members without which a record stops the run; those of an object
``"$text": "{price}"`` the only member: a text, whatever the column's type
=====================  =========================================================================

Outside ``$each``, placeholders speak of the run, as in XML layouts. An array without rows
is ``[]``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from openreg_airflow.artifacts.layouts.layout import Layout, refused
from openreg_airflow.artifacts.layouts.layout_parts import Element, Fault, Place
from openreg_airflow.artifacts.values import condition, placeholder, run_values, value_format
from openreg_airflow.artifacts.values.placeholder import Placeholder
from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.formats.json_spec import JsonColumn

_INSTRUCTIONS = ("$each", "$key", "$on", "$when", "$required", "$text")
_START = {"": (1, 1)}


@dataclass(frozen=True, kw_only=True)
class Node(Element):
    """One value of a template.

    Attributes:
        kind: what it is.
        member: the name under which it stands in an object.
        constant: the JSON of a value without placeholders.
        as_text: whether its value is a text whatever the column's type is.
    """

    kind: Literal["object", "array", "value"] = "value"
    member: str = ""
    constant: str = ""
    as_text: bool = False

    @property
    def label(self) -> str:
        """How messages name it: the way to it, ``header/date``."""
        return self.name or "the record"


def of_columns(table: str, columns: Mapping[str, JsonColumn]) -> Node:
    """The object of one line, with a member for each column."""
    children = tuple(
        Node(
            name=column.title or name,
            tag="",
            places=_START,
            member=column.title or name,
            text=(Placeholder(name, column.format),),
            required=column.required,
        )
        for name, column in columns.items()
    )
    return Node(name="", tag="", places=_START, kind="object", children=children, each=table)


def document(path: Path) -> Layout:
    """Read the template of a document.

    Raises:
        SpecError: the file is missing.
        ArtifactError: it has faults; the message says the first.
    """
    return Layout(path, _read(path, None))


def line(path: Path, table: str) -> Layout:
    """Read the template of the object of a line, of which there is one for each row of a table.

    Raises:
        SpecError: the file is missing.
        ArtifactError: it has faults; the message says the first.
    """
    return Layout(path, _read(path, table))


def _read(path: Path, table: str | None) -> Node:
    try:
        root, faults = inspect(path.read_text(encoding="utf-8-sig"), table)
    except FileNotFoundError as error:
        message = f"template {path.name} is missing"
        raise SpecError(message, where=str(path), hint="Put it beside report.yaml.") from error
    if root is None or faults:
        raise refused(path, faults)
    return root


class _TwiceError(ValueError):
    pass


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n]))
        message = f"member {name!r} stands twice in an object"
        raise _TwiceError(message)
    return found


def inspect(text: str, table: str | None = None) -> tuple[Node | None, list[Fault]]:
    """Read a template; all its faults are found at once, in the order of the file.

    Args:
        text: the template.
        table: of the template of a line, the table whose rows are the lines.
    """
    try:
        value = json.loads(text, object_pairs_hook=_members)
    except json.JSONDecodeError as error:
        return None, [Fault((error.lineno, error.colno), f"not JSON: {error.msg}")]
    except _TwiceError as error:
        return None, [Fault((1, 1), str(error))]
    reader = _Reader(text)
    root = reader.node(value, (), inside=table is not None)
    if table is None and not any(node.each for node in root.walk()):
        message = "no object has $each, so no record would ever be written"
        hint = 'Put "$each": "TABLE" into the object of one record.'
        reader.faults.append(Fault((1, 1), message, hint))
    if table is not None:
        if root.kind != "object":
            reader.faults.append(Fault((1, 1), "the template of a line is an object"))
        root = replace(root, each=table)
    return root, sorted(reader.faults, key=lambda fault: fault.place)


class _Reader:
    def __init__(self, text: str) -> None:
        self.faults: list[Fault] = []
        self._text = text
        self._known: Any = None

    def place(self, way: tuple[str | int, ...]) -> Place:
        import yaml

        from openreg_airflow.yaml_source import Places

        try:
            self._known = self._known or Places(self._text)
        except yaml.YAMLError:  # JSON that YAML does not read, such as one indented by tabs
            return 1, 1
        found = self._known.of(way)
        return found.line, found.column

    def node(self, value: Any, way: tuple[str | int, ...], *, inside: bool) -> Node:
        name = "/".join(str(step) for step in way)
        common: dict[str, Any] = {"name": name, "tag": f"/{name}", "places": {"": self.place(way)}}
        common["member"] = str(way[-1]) if way else ""
        if isinstance(value, dict):
            if set(value) == {"$text"} and isinstance(value["$text"], str):
                text = self._template(value["$text"], (*way, "$text"), inside=inside)
                return Node(**common, text=text, as_text=True)
            return self._object(value, way, common, inside=inside)
        if isinstance(value, list):
            items = tuple(self.node(item, (*way, n), inside=inside) for n, item in enumerate(value))
            if any(item.each for item in items) and len(items) > 1:
                self._fault(way, "an object with $each is the only entry of its array")
            return Node(**common, kind="array", children=items)
        text = self._template(value, way, inside=inside) if isinstance(value, str) else ()
        if any(isinstance(part, Placeholder) for part in text):
            return Node(**common, text=text)
        constant = json.dumps("".join(map(str, text)) if text else value, ensure_ascii=False)
        return Node(**common, constant=constant)

    def _object(
        self, value: dict[str, Any], way: tuple[str | int, ...], common: Any, *, inside: bool
    ) -> Node:
        each = self._instruction(value, "$each", way)
        key = self._instruction(value, "$key", way)
        on = self._on(self._instruction(value, "$on", way))
        when = self._when(self._instruction(value, "$when", way), way)
        if each and (not way or not isinstance(way[-1], int)):
            self._fault((*way, "$each"), "an object with $each stands in an array")
        if each and inside and not on:
            message = "$each inside another $each needs $on, to say which rows belong together"
            self._fault((*way, "$each"), message)
        if not each and (key or on):
            self._fault(way, "$key and $on stand beside $each")
        if when and not inside:
            self._fault((*way, "$when"), "$when speaks of a record and stands inside $each")
        members = {name: inner for name, inner in value.items() if not name.startswith("$")}
        for name in value:
            if name.startswith("$") and name not in _INSTRUCTIONS:
                known = ", ".join(_INSTRUCTIONS)
                self._fault((*way, name), f"{name} is unknown; known are {known}")
        required = value.get("$required", [])
        if not isinstance(required, list):
            required = [required]
        for name in required:
            if name not in members:
                self._fault((*way, "$required"), f"$required names {name}, which is no member")
        within = inside or each is not None
        children = tuple(
            replace(self.node(inner, (*way, name), inside=within), required=name in required)
            for name, inner in members.items()
        )
        return Node(
            **common, kind="object", children=children, each=each, key=key, on=on, when=when
        )

    def _instruction(self, value: dict[str, Any], name: str, way: Any) -> str | None:
        found = value.get(name)
        if found is not None and not isinstance(found, str):
            self._fault((*way, name), f"{name} is a text")
            return None
        return found

    def _on(self, text: str | None) -> tuple[tuple[str, str], ...]:
        pairs = []
        for part in (text or "").split(","):
            own, _, other = (side.strip() for side in part.partition("="))
            if own:
                pairs.append((own, other or own))
        return tuple(pairs)

    def _when(self, text: str | None, way: Any) -> condition.Condition | None:
        try:
            return None if text is None else condition.parse(text)
        except condition.ConditionError as error:
            self._fault((*way, "$when"), f"$when: {error}")
            return None

    def _template(self, text: str, way: Any, *, inside: bool) -> placeholder.Template:
        try:
            template = placeholder.parse(text)
        except placeholder.TemplateError as error:
            self._fault(way, str(error))
            return ()
        for fault in _judge(template, inside=inside):
            self._fault(way, fault)
        return template

    def _fault(self, way: tuple[str | int, ...], message: str) -> None:
        self.faults.append(Fault(self.place(way), message))


def _judge(template: placeholder.Template, *, inside: bool) -> Iterator[str]:
    for part in template:
        if isinstance(part, str):
            continue
        if part.of_run:
            if unknown := run_values.fault(part):
                yield unknown
        elif not inside:
            yield f"{part} speaks of a record and stands outside any object with $each"
        try:
            value_format.parse(part.format)
        except ValueError as error:
            yield f"{part}: {error}"
