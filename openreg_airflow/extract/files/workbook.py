"""Excel's .xlsx as a stream of rows: ECMA-376 part 1, the parts that hold values.

The sheet is parsed while it is unpacked, so memory does not grow with it, and a number is handed
on by the digits that the file has: a library that gives floats would have rounded before we look.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from typing import IO, TYPE_CHECKING
from xml.parsers import expat

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.files.sheet_xml import (
    OutOfOrderError,
    SheetReader,
    TextsReader,
    xml_parser,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openreg_airflow.extract.files.sheet_xml import Cell

_BLOCK = 1 << 20
#: Bounds of what a workbook may unfold to: small parts, shared texts (held in memory), the sheet.
_SMALL_PART = 32 << 20
_TEXTS = 256 << 20
_SHEET = 4 << 30

_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
#: Number formats that are dates or times without being spelled out in the file (18.8.30).
_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_NOT_FORMAT = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
#: What a damaged archive, XML that is none, and numbers and references that are none end in.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    expat.ExpatError,
    EOFError,
    NotImplementedError,
    ValueError,
    LookupError,
)


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
            reader = SheetReader(self._dates, self._read_texts(), self.merged)
            for block in self._blocks(self.sheets[sheet], _SHEET):
                reader.feed(block)
                yield from reader.take()
            reader.feed(b"", last=True)
            yield from reader.take()
        except OutOfOrderError as error:
            message = f"sheet {sheet}: {error}"
            raise SourceError(message, where=self._name, hint="Save it anew in Excel.") from error
        except _DAMAGED as error:
            raise self._damaged(error) from error

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
        reader = TextsReader()
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
        parser = xml_parser(start, end or (lambda _: None))
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
