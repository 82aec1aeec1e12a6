"""Reading YAML that people write: fast when it is right, exact about the place when it is wrong.

The loader follows the YAML 1.2 core schema where YAML 1.1 would surprise: ``no`` and ``on`` stay
text, ``12:30`` is not a number, and a key given twice is an error instead of a silent overwrite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without its C library
    from yaml import SafeLoader as _Base  # type: ignore[assignment]


#: What mostly lies behind a fault that the parser finds, by a part of its words.
_HINTS = {
    "tab character": "Indent with blanks.",
    "cannot start any token": "Indent with blanks, and put a text that begins with @, ` or % "
    "in quotes.",
    "mapping values are not allowed": "Put a text with a colon in quotes, indent the keys of one "
    "block alike, and write a blank behind a key's colon.",
    "while parsing a block mapping": "Indent the keys of one block alike, and put a text that "
    "begins with {, [ or a quote in quotes as a whole.",
    "while parsing a block collection": "Begin each entry of the list with a dash, all of them "
    "indented alike.",
    "scanning a simple key": "Write a blank behind the colon of a key, as in `title: Trades`.",
    "while parsing a flow": "Close each { and [ and put a comma between entries.",
    "quoted scalar": "Close each quote.",
}


class YamlError(Exception):
    """The text is not YAML that we accept.

    Attributes:
        line, column: 1-based place.
        hint: what the author can do about it, where that is known.
    """

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = next((hint for words, hint in _HINTS.items() if words in message), None)


class _Loader(_Base):
    """Safe, YAML 1.2 scalars, no duplicate keys, no aliases."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _at(key, "a key must be plain text")
            if key.value in seen:
                raise _at(key, f"the key {key.value!r} is given twice")
            seen.add(key.value)
            if key.value == "null":  # the name of an option, as that of CSV
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep=deep)


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


def _date(loader: Any, node: yaml.ScalarNode) -> date:
    del loader
    try:
        return date.fromisoformat(node.value)
    except ValueError as error:
        raise _at(node, f"{node.value} is not a day of the calendar") from error


_resolve("null", r"^(?:~|null|Null|NULL)$", "~nN")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])
_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
# A leading zero makes a code, not a number, and more than 18 digits are an identifier.
_resolve("int", r"^[-+]?(?:0|[1-9][0-9]{0,17})$", "-+0123456789")
_resolve("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
_resolve("timestamp", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "0123456789")
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)


def _refuse_aliases(text: str) -> None:
    if "&" not in text:  # an alias needs an anchor, so most specs are not read twice
        return
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise _at(event, "aliases (*name) are not allowed; write the value out")


def _at(marked: Any, message: str) -> YamlError:
    return YamlError(message, marked.start_mark.line + 1, marked.start_mark.column + 1)


def parse(text: str) -> Any:
    """The plain data of a YAML text.

    Raises:
        YamlError: it is not well-formed, repeats a key or uses an alias.
    """
    loader = None
    try:
        _refuse_aliases(text)
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = " ".join(part for part in (error.problem, error.context) if part)
        raise YamlError(message, line, column) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        message = f"the character {error.character!r} is not allowed"
        raise YamlError(message, before.count("\n") + 1, 1) from error
    finally:
        if loader is not None:
            loader.dispose()


@dataclass(frozen=True)
class Place:
    """A 1-based position in a file."""

    line: int
    column: int


class Places:
    """Where each value of a YAML text stands; made only when there is an error to report."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        loader = _Loader(text)
        try:
            self._root = loader.get_single_node()
        finally:
            loader.dispose()

    def of(self, keys: Sequence[str | int], *, key: bool = False) -> Place:
        """The place of the value that ``keys`` lead to, or of its key.

        A step that does not exist in the text is passed over (pydantic puts the tag of a
        discriminated union into its paths), so the answer is the nearest enclosing value.
        """
        node, place = self._root, Place(1, 1)
        for index, step in enumerate(keys):
            found = _child(node, step)
            if found is None:
                continue
            name, node = found
            at = name if key and index == len(keys) - 1 else node
            if isinstance(node, yaml.MappingNode | yaml.SequenceNode) and name is not None:
                at = name
            place = Place(at.start_mark.line + 1, at.start_mark.column + 1)
        return place

    def steps(self, keys: Sequence[str | int]) -> list[str | int]:
        """Those of ``keys`` that the text has; see :meth:`of` for the others."""
        node, there = self._root, []
        for step in keys:
            if (found := _child(node, step)) is not None:
                there.append(step)
                node = found[1]
        return there

    def inside(self, keys: Sequence[str | int], line: int, column: int) -> Place:
        """The place of a character of the text that ``keys`` lead to.

        It is exact for plain and quoted text on one line and for ``|`` blocks; where YAML folds
        lines or escapes characters it is the place where the text begins.

        Args:
            keys: the way to the text.
            line: 1-based line in the text.
            column: 1-based character in that line.
        """
        start, node = self.of(keys), self._root
        for step in keys:
            found = _child(node, step)
            if found is None:
                return start
            node = found[1]
        if not isinstance(node, yaml.ScalarNode):
            return start
        wanted = (node.value.split("\n") or [""])[min(line, node.value.count("\n") + 1) - 1]
        row = start.line + line - (0 if node.style == "|" else 1)
        source = self._lines[row - 1] if row <= len(self._lines) else ""
        begin = len(source) - len(source.lstrip(" ")) if node.style == "|" else start.column - 1
        begin += node.style in ("'", '"')
        if not wanted or source[begin : begin + len(wanted)] != wanted:
            return start
        return Place(row, begin + column)


def _child(node: Any, step: str | int) -> tuple[Any, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None
