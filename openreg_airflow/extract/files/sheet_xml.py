"""The XML of a workbook's sheets and texts, parsed as it comes: ECMA-376 part 1, 18.3 and 18.4."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_TEXT = 1 << 20
#: How a sheet spells a character that XML cannot hold, or changes: 22.9.2.19. An underscore that
#: would look like the beginning of one is spelled so too.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_REFERENCE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell with a value.

    Attributes:
        column: its number, from 0.
        kind: ``number``, ``date`` (a number that is shown as one), ``text``, ``boolean``,
            ``error``, ``iso`` (a date in ISO spelling), or ``uncalculated``.
        text: the value as the file has it.
    """

    column: int
    kind: str
    text: str


def column_number(reference: str) -> int:
    """The number, from 0, of the column of a cell such as ``AB12``.

    Raises:
        ValueError: it is not the name of a cell.
    """
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise ValueError(reference)
    number = 0
    for letter in found[1]:
        number = number * 26 + ord(letter) - 64
    return number - 1


def unescaped(text: str) -> str:
    """A text of a workbook with its escaped characters: ``_x000D_`` is a carriage return."""
    if "_x" not in text:
        return text
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    # Two escapes may be the halves of one letter.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16")


def column_letters(number: int) -> str:
    """The letters of a column's number, from 0."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


class OutOfOrderError(ValueError):
    """A sheet whose rows or cells are not one after the other."""


class TextsReader:
    """Collects the shared texts; phonetic spellings (rPh) are no part of them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._parts: list[str] | None = None
        self._taking = self._phonetic = False
        self._parser = xml_parser(self._start, self._end, self._text)

    def feed(self, block: bytes, *, last: bool = False) -> None:
        """Take the next bytes of the part."""
        self._parser.Parse(block, last)

    def _start(self, tag: str, given: dict[str, str]) -> None:  # noqa: ARG002
        if tag == "si":
            self._parts = []
        elif tag == "rPh":
            self._phonetic = True
        elif tag == "t":
            self._taking = self._parts is not None and not self._phonetic

    def _text(self, text: str) -> None:
        if self._taking and self._parts is not None:
            self._parts.append(text)

    def _end(self, tag: str) -> None:
        if tag == "si":
            self.texts.append(unescaped("".join(self._parts or ())))
            self._parts = None
        elif tag == "rPh":
            self._phonetic = False
        elif tag == "t":
            self._taking = False


class SheetReader:
    """Turns the XML of a sheet into rows."""

    def __init__(self, dates: list[bool], texts: list[str], merged: list[str]) -> None:
        self._dates = dates
        self._texts = texts
        self._merged = merged
        self._done: list[tuple[int, list[Cell]]] = []
        self._row = 0
        self._cells: list[Cell] = []
        self._column = -1
        self._type = self._style = ""
        self._value: list[str] | None = None
        self._seen = self._formula = self._phonetic = False
        self._length = 0
        self._parser = xml_parser(self._start, self._end, self._text)

    def feed(self, block: bytes, *, last: bool = False) -> None:
        """Take the next bytes of the part."""
        self._parser.Parse(block, last)

    def take(self) -> list[tuple[int, list[Cell]]]:
        """The rows that are complete."""
        done, self._done = self._done, []
        return done

    def _start(self, tag: str, given: dict[str, str]) -> None:
        if tag == "c":
            self._begin_cell(given)
        elif tag in ("v", "t"):
            if not self._phonetic:
                self._value = self._value if self._value is not None else []
                self._seen = True
        elif tag == "row":
            number = int(given.get("r") or self._row + 1)
            if number <= self._row:
                message = f"row {number} comes after row {self._row}"
                raise OutOfOrderError(message)
            self._row, self._column, self._cells = number, -1, []
        elif tag == "f":
            self._formula = True
        elif tag == "rPh":
            self._phonetic = True
        elif tag == "mergeCell":
            self._merged.append(given.get("ref", ""))

    def _begin_cell(self, given: dict[str, str]) -> None:
        reference = given.get("r")
        column = self._column + 1 if reference is None else column_number(reference)
        if column <= self._column:
            message = f"cell {reference} is out of order"
            raise OutOfOrderError(message)
        self._column = column
        self._type = given.get("t", "n")
        self._style = given.get("s", "0")
        self._value = None
        self._seen = self._formula = False
        self._length = 0

    def _text(self, text: str) -> None:
        # Between v or t and their ends only; a formula's own text is not taken.
        if self._value is not None and self._seen:
            self._length += len(text)
            if self._length > _LONGEST_TEXT:
                message = f"a cell of row {self._row} is longer than {_LONGEST_TEXT} characters"
                raise OutOfOrderError(message)
            self._value.append(text)

    def _end(self, tag: str) -> None:
        if tag in ("v", "t"):
            self._seen = False
        elif tag == "c":
            self._end_cell()
        elif tag == "row" and self._cells:
            self._done.append((self._row, self._cells))
        elif tag == "rPh":
            self._phonetic = False

    def _end_cell(self) -> None:
        text = "".join(self._value or ())
        kind = _KINDS.get(self._type, "text")
        if self._value is None or (not text and kind != "text"):
            if self._formula:
                self._cells.append(Cell(self._column, "uncalculated", ""))
            return
        if self._type == "s":
            index = int(text)
            if index < 0:
                raise IndexError(text)
            text = self._texts[index]
        elif kind == "text":
            text = unescaped(text)
        elif kind == "number":
            style = int(self._style)
            if style < len(self._dates) and self._dates[style]:
                kind = "date"
        self._cells.append(Cell(self._column, kind, text))


_KINDS = {"n": "number", "b": "boolean", "e": "error", "d": "iso"}


def xml_parser(
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None] | None = None,
) -> Any:
    """An XML parser that names elements without their namespaces, and knows no entities."""
    parser = expat.ParserCreate(namespace_separator="}")
    plain: dict[str, str] = {}

    def local(tag: str) -> str:
        if tag not in plain:
            plain[tag] = tag.rpartition("}")[2]
        return plain[tag]

    def started(tag: str, given: dict[str, str]) -> None:
        start(local(tag), {local(name): value for name, value in given.items()})

    def refuse(*_: object) -> None:
        message = "it declares entities"
        raise zipfile.BadZipFile(message)

    parser.StartElementHandler = started
    parser.EndElementHandler = lambda tag: end(local(tag))
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    return parser
