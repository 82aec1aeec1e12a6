"""Excel's .xlsx as a stream of rows: ECMA-376 part 1, the parts that hold values.

The sheet is parsed while it is unpacked, so memory does not grow with it, and a number is handed
on by the digits that the file has: a library that gives floats would have rounded before we look.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from xml.parsers import expat

from openreg_airflow.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BLOCK = 1 << 20
#: Bounds of what a workbook may unfold to: small parts, shared texts (held in memory), the sheet.
_SMALL_PART = 32 << 20
_TEXTS = 256 << 20
_SHEET = 4 << 30
_LONGEST_TEXT = 1 << 20

_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
#: Number formats that are dates or times without being spelled out in the file (18.8.30).
_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_NOT_FORMAT = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_REFERENCE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")
_DAMAGED = (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, NotImplementedError)


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


class Workbook:
    """An open workbook; a context manager.

    Args:
        path: where it can be read.
        name: what it is called in messages.

    Raises:
        SourceError: it is not an .xlsx workbook, it is protected by a password, or too large.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        _refuse_others(path, name)
        try:
            self._zip = zipfile.ZipFile(path)
            self._parts = {info.filename: info for info in self._zip.infolist()}
            self._book, sheets = self._read_book()
            self.sheets = sheets
            self._dates = self._read_dates()
        except _DAMAGED as error:
            raise self._damaged(error) from error
        #: Whether days are counted from 1904 on, as on old Macintoshes.
        self.since_1904 = self._book in ("1", "true")
        #: Ranges of merged cells; known when all rows were read.
        self.merged: list[str] = []

    def __enter__(self) -> Workbook:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._zip.close()

    def rows(self, sheet: str) -> Iterator[tuple[int, list[Cell]]]:
        """The rows of a sheet that hold values, with their numbers."""
        try:
            reader = _SheetReader(self._dates, self._read_texts(), self.merged)
            for block in self._blocks(self.sheets[sheet], _SHEET):
                reader.feed(block)
                yield from reader.take()
            reader.feed(b"", last=True)
            yield from reader.take()
        except _DAMAGED as error:
            raise self._damaged(error) from error
        except _OutOfOrderError as error:
            message = f"sheet {sheet}: {error}"
            raise SourceError(message, where=self._name, hint="Save it anew in Excel.") from error

    def _read_book(self) -> tuple[str, dict[str, str]]:
        sheets: dict[str, str] = {}
        since_1904 = ["0"]
        targets = self._relations("xl/_rels/workbook.xml.rels")

        def start(tag: str, given: dict[str, str]) -> None:
            if tag == "workbookPr":
                since_1904[0] = given.get("date1904", "0")
            elif tag == "sheet":
                relation = given.get("id", "")
                if "worksheet" in targets.get(relation, ("", ""))[0]:
                    sheets[given["name"]] = targets[relation][1]

        self._parse("xl/workbook.xml", start)
        if not sheets:
            message = f"{self._name} has no sheets"
            raise SourceError(message, where=self._name)
        return since_1904[0], sheets

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        found = {}

        def start(tag: str, given: dict[str, str]) -> None:
            if tag == "Relationship":
                target = given["Target"]
                inside = target[1:] if target[0] == "/" else posixpath.join("xl", target)
                found[given["Id"]] = (given["Type"], posixpath.normpath(inside))

        self._parse(part, start)
        return found

    def _read_dates(self) -> list[bool]:
        """For each cell format whether it shows a number as a date or a time."""
        if "xl/styles.xml" not in self._parts:
            return []
        spelled: dict[int, str] = {}
        dates: list[bool] = []
        inside = [False]

        def start(tag: str, given: dict[str, str]) -> None:
            if tag == "numFmt":
                spelled[int(given["numFmtId"])] = given.get("formatCode", "")
            elif tag == "cellXfs":
                inside[0] = True
            elif tag == "xf" and inside[0]:
                number = int(given.get("numFmtId", "0"))
                code = _NOT_FORMAT.sub("", spelled.get(number, "")).lower()
                own = any(letter in code for letter in "ymdhs") and "general" not in code
                dates.append(own if number in spelled else number in _DATE_FORMATS)

        def end(tag: str) -> None:
            inside[0] = inside[0] and tag != "cellXfs"

        self._parse("xl/styles.xml", start, end)
        return dates

    def _read_texts(self) -> list[str]:
        if "xl/sharedStrings.xml" not in self._parts:
            return []
        reader = _TextsReader()
        for block in self._blocks("xl/sharedStrings.xml", _TEXTS):
            reader.feed(block)
        reader.feed(b"", last=True)
        return reader.texts

    def _parse(
        self,
        part: str,
        start: Callable[[str, dict[str, str]], None],
        end: Callable[[str], None] | None = None,
    ) -> None:
        parser = _parser(start, end or (lambda _: None))
        for block in self._blocks(part, _SMALL_PART):
            parser.Parse(block)
        parser.Parse(b"", True)

    def _blocks(self, part: str, most: int) -> Iterator[bytes]:
        """The bytes of a part; the archive's own word for their number is held to."""
        info = self._parts.get(part)
        if info is None:
            message = f"{self._name} is a zip archive, but not a workbook: it lacks {part}"
            raise SourceError(message, where=self._name, hint="Save it as .xlsx in Excel.")
        if info.file_size > most:
            message = (
                f"{part} of {self._name} unfolds to {info.file_size >> 20} MiB, "
                f"allowed are {most >> 20}"
            )
            raise SourceError(message, where=self._name, hint="Send the data as CSV or Parquet.")
        if info.flag_bits & 1:
            raise _protected(self._name)
        file: IO[bytes]
        with self._zip.open(info) as file:
            while block := file.read(_BLOCK):
                yield block

    def _damaged(self, error: Exception) -> SourceError:
        message = f"{self._name} is damaged: {error}"
        return SourceError(message, where=self._name, hint="Ask for the file again.")


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


def column_letters(number: int) -> str:
    """The letters of a column's number, from 0."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


class _OutOfOrderError(ValueError):
    """A sheet whose rows or cells are not one after the other."""


class _TextsReader:
    """Collects the shared texts; phonetic spellings (rPh) are no part of them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._parts: list[str] | None = None
        self._taking = self._phonetic = False
        self._parser = _parser(self._start, self._end, self._text)

    def feed(self, block: bytes, *, last: bool = False) -> None:
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
            self.texts.append("".join(self._parts or ()))
            self._parts = None
        elif tag == "rPh":
            self._phonetic = False
        elif tag == "t":
            self._taking = False


class _SheetReader:
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
        self._parser = _parser(self._start, self._end, self._text)

    def feed(self, block: bytes, *, last: bool = False) -> None:
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
                raise _OutOfOrderError(message)
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
            raise _OutOfOrderError(message)
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
                raise _OutOfOrderError(message)
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
        if self._value is None:
            if self._formula:
                self._cells.append(Cell(self._column, "uncalculated", ""))
            return
        text = "".join(self._value)
        kind = _KINDS.get(self._type, "text")
        if self._type == "s":
            text = self._texts[int(text)]
        elif kind == "number":
            style = int(self._style)
            if style < len(self._dates) and self._dates[style]:
                kind = "date"
        self._cells.append(Cell(self._column, kind, text))


_KINDS = {"n": "number", "b": "boolean", "e": "error", "d": "iso"}


def _parser(
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


def _refuse_others(path: Path, name: str) -> None:
    with path.open("rb") as file:
        start = file.read(8)
        if start.startswith(b"PK"):
            return
        if not start:
            message = f"{name} is empty"
        elif start == _OLD:
            rest = file.read(8 << 20)
            if _ENCRYPTED in rest:
                raise _protected(name)
            message = f"{name} is in Excel's old format .xls"
        else:
            message = f"{name} is not an Excel workbook"
    raise SourceError(message, where=name, hint="Save it as .xlsx in Excel.")


def _protected(name: str) -> SourceError:
    message = f"{name} is protected by a password"
    return SourceError(message, where=name, hint="Ask for it without one.")
