"""Reading CSV of people: whatever encoding and delimiter, in bounded memory, with line numbers."""

from __future__ import annotations

import codecs
import csv
import hashlib
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from openreg_airflow.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Characters of the longest line; a file that is one long line is refused at this point.
LONGEST_LINE = 1_000_000
DELIMITERS = ",;\t|"
_CHUNK = 1 << 20
#: Bytes from which an encoding that is not UTF-8 is guessed.
_SAMPLE = 1 << 18
#: Those that spreadsheets write without a mark; among many more, short texts look like anything.
_LIKELY = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254"]
#: Latin letters within a word of Greek or Cyrillic ones: nobody wrote that.
_MIXED = re.compile(r"[A-Za-z][\u0370-\u04ff]|[\u0370-\u04ff][A-Za-z]")
#: Longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class CsvText:
    """How a CSV file is to be read.

    Attributes:
        path: the file.
        encoding: Python's name of its encoding.
        delimiter: the character between cells.
        sha256: hash of its bytes.
    """

    path: Path
    encoding: str
    delimiter: str
    sha256: str

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows with the number of the line on which each ends, the header first.

        Raises:
            MappingError: a line is too long, a quote is not closed, or the bytes are not of the
                encoding.
        """
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(_bounded(file, self.path), delimiter=self.delimiter, strict=True)
            try:
                for row in reader:
                    if row:
                        yield reader.line_num, row
            except csv.Error as error:
                message = f"the file is no CSV: {error}"
                raise MappingError(message, where=f"{self.path} line {reader.line_num}") from error
            except UnicodeDecodeError as error:
                raise _not_of(self.encoding, self.path, reader.line_num + 1) from error


def look(path: Path, encoding: str | None, delimiter: str | None, known: set[str]) -> CsvText:
    """Find out how a file is to be read.

    Args:
        path: the file.
        encoding: its encoding; found out when None.
        delimiter: its delimiter; found out from its header when None.
        known: names of columns that the header may have.

    Raises:
        MappingError: the file cannot be read, is empty, its encoding cannot be told, or there is
            no such encoding or delimiter.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        message = f"{delimiter!r} cannot be a delimiter"
        raise MappingError(message, hint="One character, such as , or ; or |, or the word tab.")
    try:
        found, sha256 = _encoding(path, encoding)
        with path.open(encoding=found, newline="") as file:
            header = next(_bounded(file, path), "")
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise MappingError(message, where=str(path)) from error
    except UnicodeDecodeError as error:
        raise _not_of(found, path, 1) from error
    except LookupError as error:
        message = f"there is no encoding {encoding!r}"
        raise MappingError(message, hint="Such as utf-8, cp1252, latin-1, utf-16.") from error
    if not header.strip():
        message = "the file has no header line"
        raise MappingError(message, where=str(path))
    return CsvText(path, found, delimiter or _delimiter(header, known), sha256)


def _encoding(path: Path, given: str | None) -> tuple[str, str]:
    """The encoding of a file and the hash of its bytes, which are read in pieces."""
    if given:
        codecs.lookup(given)
    sha256 = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    first, is_utf8 = b"", True
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            first = first or chunk[:4]
            try:
                is_utf8 = is_utf8 and decoder.decode(chunk) is not None
            except UnicodeDecodeError:
                is_utf8 = False
    marked = next((name for mark, name in _MARKS if first.startswith(mark)), None)
    # Who names the encoding does not say whether a mark stands before the text.
    if given and marked and _family(given) == _family(marked):
        given = marked
    return given or marked or ("utf-8" if is_utf8 else _guessed(path)), sha256.hexdigest()


def _family(encoding: str) -> str:
    """utf-8, utf-16 or utf-32, whatever the order of its bytes and with a mark or without."""
    name = codecs.lookup(encoding).name
    return re.sub(r"^(utf-(?:8|16|32))-(?:sig|le|be)$", r"\1", name)


def _guessed(path: Path) -> str:
    """The encoding that the lines look like which are more than ASCII."""
    from charset_normalizer import from_bytes

    sample, size = [], 0
    with path.open("rb") as file:
        while size < _SAMPLE and (line := file.readline(_SAMPLE)):
            if not line.isascii():
                sample.append(line)
                size += len(line)
    text = b"".join(sample)
    matches = from_bytes(text, cp_isolation=_LIKELY)
    best = matches.best()
    if best is None:
        message = "the file is not UTF-8, and its encoding cannot be told"
        raise MappingError(message, where=str(path), hint="Name it: --encoding cp1252")
    rank = (best.chaos, best.coherence)
    equal = [one.encoding for one in matches if (one.chaos, one.coherence) == rank]
    # What is met most often stands for all that say the same.
    readings = {text.decode(one, "replace"): one for one in equal}
    usual = text.decode(_LIKELY[0], "replace")
    if usual in readings or not any(char.isalpha() and not char.isascii() for char in usual):
        readings[usual] = _LIKELY[0]
    likely = {said: one for said, one in readings.items() if not _MIXED.search(said)} or readings
    if len(likely) > 1:
        raise _either(likely, path)
    return next(iter(likely.values()))


def _either(readings: dict[str, str], path: Path) -> MappingError:
    """The error of a file that says different things in equally likely encodings."""
    lines = zip(*(said.splitlines() for said in readings), strict=False)
    differing = next((one for one in lines if len(set(one)) > 1), tuple(readings))
    shown = [
        f"{encoding} ({said.strip()[:60]!r})"
        for encoding, said in zip(readings.values(), differing, strict=True)
    ]
    message = f"the file may be {' or '.join(shown)}"
    hint = f"Say which: --encoding {next(reversed(readings.values()))}"
    return MappingError(message, where=str(path), hint=hint)


def _delimiter(header: str, known: set[str]) -> str:
    """The delimiter with which the most names of the header are known columns."""

    def names(delimiter: str) -> int:
        cells = (cell.strip(' "\r\n').lower() for cell in header.split(delimiter))
        return sum(cell in known for cell in cells)

    return max(DELIMITERS, key=names)


def _bounded(file: IO[str], path: Path) -> Iterator[str]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            message = f"a line has more than {LONGEST_LINE} characters"
            hint = "This is no CSV file of mappings, or its line ends are missing."
            raise MappingError(message, where=f"{path} line {number}", hint=hint)
        yield line


def _not_of(encoding: str, path: Path, line: int) -> MappingError:
    message = f"the file is not {encoding}"
    return MappingError(
        message, where=f"{path} near line {line}", hint="Name its encoding: --encoding cp1252"
    )
