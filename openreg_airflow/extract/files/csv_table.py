"""CSV: parsed by Arrow block by block, every value as text; faults are told by their line.

Arrow is fast because it does not count lines. When something is wrong, the file is read again by
Python's own parser, which does.
"""

from __future__ import annotations

import codecs
import csv
import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.files.content import (
    BROKEN,
    LONGEST_LINE,
    damaged,
    lines,
    too_long,
    unpacked,
)
from openreg_airflow.extract.files.csv_quotes import doubtful
from openreg_airflow.extract.files.table import check_names, need_columns
from openreg_airflow.extract.reader import SourceColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.extract.file_spec import FileSpec

#: Small enough that wide rows of Python text stay small in the error path, large enough for speed.
_BLOCK = 4 << 20
_SHOWN = 60
#: What ends a line for Arrow.
_LINE_END = re.compile(r"\r\n|\r|\n")
#: Encodings that take a byte order mark for a letter, by those that leave it out.
_UNMARKED = {
    "utf-16": {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE},
    "utf-32": {"utf-32-le": codecs.BOM_UTF32_LE, "utf-32-be": codecs.BOM_UTF32_BE},
}


class CsvTable:
    """One CSV file; see :class:`openreg_airflow.extract.files.table.FileTable`."""

    def __init__(self, path: Path, name: str, spec: FileSpec, declared: Mapping[str, str]) -> None:
        self._path = path
        self._name = name
        self._spec = spec
        self._encoding = _encoding(path, spec)
        if not spec.header:
            need_columns(declared, "CSV without a header")
        passed: list[str] = []
        first = next(self._rows(passed=passed), None)
        before = passed if spec.header else passed[: spec.skip_lines]
        self._lines_before = sum(len(_LINE_END.findall(line)) for line in before)
        if first is None and (spec.header or path.stat().st_size):
            message = f"{name} is empty" if not path.stat().st_size else f"{name} has no header"
            raise SourceError(message, where=name, hint="Ask for the file again.")
        self._names = list(first[1]) if spec.header and first else list(declared)
        where = f"{name}, line {first[0]}" if first else name
        check_names(self._names, declared, where=where)
        self._empty = first is None
        self.columns = tuple(SourceColumn(n, pa.string(), "text") for n in self._names)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, every value as text."""
        rows = 0
        try:
            with unpacked(self._path, self._spec) as file:
                for batch in self._parsed(file):
                    self._check_line_breaks(batch, rows)
                    yield batch
                    rows += batch.num_rows
            self._check_quotes()
        except (pa.ArrowInvalid, UnicodeError) as error:
            raise self._fault(error) from error
        except BROKEN as error:
            raise damaged(self._name, error) from error

    def place(self, row: int) -> str:
        """The line on which a row begins."""
        for index, (line, _) in enumerate(self._rows(), -1 if self._spec.header else 0):
            if index == row:
                return f"line {line}"
        return f"row {row + 1}"

    def _parsed(self, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
        spec = self._spec
        if self._empty or not self._has_rows():
            return
        read = arrow_csv.ReadOptions(
            column_names=self._names,
            skip_rows=self._lines_before,
            block_size=min(_BLOCK, LONGEST_LINE),
            encoding=self._encoding,
        )
        parse = arrow_csv.ParseOptions(
            delimiter=spec.delimiter, quote_char=spec.quote, newlines_in_values=True
        )
        convert = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(self._names, pa.string()),
            null_values=list(spec.null_values),
            strings_can_be_null=bool(spec.null_values),
            quoted_strings_can_be_null=False,
        )
        with arrow_csv.open_csv(file, read, parse, convert) as reader:
            yield from reader

    def _has_rows(self) -> bool:
        """Whether there is more than a header, with which alone Arrow is not content."""
        rows = self._rows()
        if self._spec.header:
            next(rows, None)
        return next(rows, None) is not None

    def _check_line_breaks(self, batch: pa.RecordBatch, before: int) -> None:
        """Refuse values over several lines: an open quote would swallow rows without a word."""
        if self._spec.multiline:
            return
        for name, column in zip(self._names, batch.columns, strict=True):
            broken = pc.match_substring_regex(column, "[\r\n]")
            index = pc.index(broken, True).as_py()
            if index >= 0:
                message = f"the value of {name} goes over several lines"
                hint = (
                    "See whether a quote is not closed. Set `multiline: true` if values may "
                    "hold line breaks."
                )
                where = f"{self._name}, column {name}, {self.place(before + index)}"
                raise SourceError(message, where=where, hint=hint)

    def _check_quotes(self) -> None:
        """Refuse text behind a closing quote, and a file that ends inside quotes."""
        with unpacked(self._path, self._spec) as file:
            if not doubtful(file, self._spec):
                return
        for _ in self._rows(strict=True):
            pass

    def _misquoted(self, error: csv.Error, line: int) -> SourceError:
        if "field larger" in str(error):
            return too_long(self._name, line)
        open_end = "end of data" in str(error)
        message = (
            "a quote is not closed" if open_end else "text follows the quote that ends a value"
        )
        hint = "Correct the file: within quotes, a quote is written twice."
        return SourceError(message, where=f"{self._name}, line {line}", hint=hint)

    def _rows(
        self, *, strict: bool = False, passed: list[str] | None = None
    ) -> Iterator[tuple[int, list[str]]]:
        """The rows with the numbers of their first lines, blank lines left out, by Python.

        Args:
            strict: text behind a closing quote is an error.
            passed: is given the lines up to the end of the row that was asked for last.
        """
        spec = self._spec
        csv.field_size_limit(LONGEST_LINE)
        with unpacked(self._path, spec) as file:
            text = _decoded(file, self._encoding, self._name)
            if passed is not None:
                text = _noted(text, passed)
            for _ in range(spec.skip_lines):
                next(text, None)
            rows = csv.reader(
                text,
                delimiter=spec.delimiter,
                quotechar=spec.quote,
                doublequote=True,
                strict=strict,
            )
            before = spec.skip_lines
            try:
                for row in rows:
                    if row:
                        yield before + 1, row
                    before = spec.skip_lines + rows.line_num
            except csv.Error as error:
                if "new-line" in str(error):
                    message = "a line ends with a carriage return alone"
                    hint = "Ask for the file with line feeds, or with both."
                    where = f"{self._name}, line {before + 1}"
                    raise SourceError(message, where=where, hint=hint) from error
                if strict:
                    raise self._misquoted(error, before + 1) from error
                raise

    def _fault(self, error: Exception) -> SourceError:
        """What is wrong with a file that Arrow refuses, and on which line."""
        number = 0
        try:
            for number, row in self._rows():
                if len(row) != len(self._names):
                    shown = self._spec.delimiter.join(row)[:_SHOWN]
                    message = f"expected {len(self._names)} values, found {len(row)}: {shown!r}"
                    where = f"{self._name}, line {number}"
                    return SourceError(message, where=where, hint="Correct the file.")
        except SourceError as found:
            return found
        except csv.Error:
            return too_long(self._name, number + 1)
        if "straddling" in str(error):
            message = f"a row is longer than {_BLOCK >> 20} MiB"
            return SourceError(message, where=self._name, hint="See whether a quote is not closed.")
        return SourceError(f"it cannot be read as CSV: {error}", where=self._name)


def _encoding(path: Path, spec: FileSpec) -> str:
    """The encoding of a file, with the byte order mark that it begins with left out."""
    for general, marks in _UNMARKED.items():
        if spec.encoding in marks:
            with unpacked(path, spec) as file:
                start = file.read(len(marks[spec.encoding]))
            return general if start == marks[spec.encoding] else spec.encoding
    return spec.encoding


def _noted(text: Iterator[str], passed: list[str]) -> Iterator[str]:
    for line in text:
        passed.append(line)
        yield line


def _decoded(file: IO[bytes], encoding: str, name: str) -> Iterator[str]:
    """The lines of a file as text; says which line is not of the encoding."""
    if encoding.startswith(("utf-16", "utf-32")):
        yield from _wide(file, encoding, name)
        return
    plain = encoding.replace("utf-8-sig", "utf-8")
    for number, line in lines(file, name):
        try:
            text = line.decode(plain)
        except UnicodeDecodeError as error:
            raise _misencoded(encoding, error, f"{name}, line {number}") from error
        yield text.removeprefix("\ufeff") if number == 1 else text


def _wide(file: IO[bytes], encoding: str, name: str) -> Iterator[str]:
    import io

    reader = io.TextIOWrapper(file, encoding=encoding, newline="\n")
    number = 0
    try:
        while line := reader.readline(LONGEST_LINE):
            number += 1
            yield line
    except UnicodeError as error:
        raise _misencoded(encoding, error, f"{name}, after line {number}") from error


def _misencoded(encoding: str, error: UnicodeError, where: str) -> SourceError:
    reason = getattr(error, "reason", str(error))
    message = f"the text is not {encoding}: {reason}"
    hint = "Set `encoding:` to that of the file, for example cp1252."
    return SourceError(message, where=where, hint=hint)


@contextmanager
def open_csv(
    path: Path, name: str, spec: FileSpec, declared: Mapping[str, str]
) -> Iterator[CsvTable]:
    """Open a CSV file."""
    try:
        yield CsvTable(path, name, spec, declared)
    except BROKEN as error:
        raise damaged(name, error) from error
