"""Excel: one sheet of a workbook as a table, a value as it is or not at all.

A number of Excel is a binary float of which 15 digits are meant. The file spells it with up to 17,
so 1234.56 may stand there as 1234.5599999999999: the shortest spelling of the same float is taken
if it has at most 15 digits. Everything else would be a guess, and is refused.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import SourceError
from openreg_airflow.extract.files.sheet_xml import column_letters
from openreg_airflow.extract.files.table import check_names, need_columns
from openreg_airflow.extract.files.workbook import Workbook
from openreg_airflow.extract.reader import SourceColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.extract.file_spec import FileSpec
    from openreg_airflow.extract.files.sheet_xml import Cell

_BATCH_ROWS = 10_000
_BATCH_BYTES = 4 << 20
_DIGITS = 15
_SHOWN = 60
_NUMBERS = ("decimal", "integer", "float")
_TIMES = ("date", "time", "timestamp", "timestamp_utc")
#: How far, in days, a time of day may be from a whole millisecond: Excel's own resolution.
_TOLERANCE = Decimal("0.00001") / 86400
_DAY_MS = 86_400_000


class ExcelTable:
    """One sheet; see :class:`openreg_airflow.extract.files.table.FileTable`."""

    def __init__(
        self, book: Workbook, name: str, spec: FileSpec, declared: Mapping[str, str]
    ) -> None:
        need_columns(declared, "an Excel sheet")
        self._book = book
        self._name = name
        self._spec = spec
        self._sheet = _sheet(book, name, spec)
        self._rows = book.rows(self._sheet)
        names = self._header()
        where = f"{name}, sheet {self._sheet}, row {spec.header_row}"
        check_names(names, declared, where=where, closed=True)
        self._names = names
        self._kinds = [declared[column] for column in names]
        self._before = 0
        self._numbers: list[int] = []
        self.columns = tuple(
            SourceColumn(column, arrow_type(declared[column]), "Excel cell") for column in names
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, every value as text; rows without any value are left out."""
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        size = 0
        for number, cells in self._rows:
            row = self._row(number, cells)
            if all(value is None for value in row):
                continue
            rows.append(row)
            numbers.append(number)
            size += sum(len(value) for value in row if value)
            if len(rows) >= _BATCH_ROWS or size >= _BATCH_BYTES:
                yield self._batch(rows, numbers)
                rows, numbers, size = [], [], 0
        self._refuse_merged()
        if rows:
            yield self._batch(rows, numbers)

    def place(self, row: int) -> str:
        """The number of the row in the sheet."""
        return f"sheet {self._sheet}, row {self._numbers[row - self._before]}"

    def _batch(self, rows: list[list[str | None]], numbers: list[int]) -> pa.RecordBatch:
        self._before += len(self._numbers)
        self._numbers = numbers
        arrays = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, names=self._names)

    def _header(self) -> list[str]:
        for number, cells in self._rows:
            if number < self._spec.header_row:
                continue
            if number > self._spec.header_row:
                self._rows = chain([(number, cells)], self._rows)
                break
            names = [""] * (cells[-1].column + 1)
            for cell in cells:
                if cell.kind not in ("text", "number", "date"):
                    raise self._wrong(cell, number, f"a name of a column is an {cell.kind}")
                names[cell.column] = cell.text
            while names and not names[-1]:
                names.pop()
            return names
        message = f"row {self._spec.header_row} of sheet {self._sheet} holds no names of columns"
        raise SourceError(message, where=self._name, hint="Correct `header_row:` or `sheet:`.")

    def _row(self, number: int, cells: list[Cell]) -> list[str | None]:
        row: list[str | None] = [None] * len(self._names)
        for cell in cells:
            if cell.column < len(row):
                row[cell.column] = self._value(cell, number, self._kinds[cell.column])
            elif cell.text or cell.kind == "uncalculated":
                raise self._wrong(cell, number, "it is outside the columns that have a name")
        return row

    def _value(self, cell: Cell, number: int, kind: str) -> str | None:
        if cell.kind == "text":
            return self._text(cell, number, kind)
        if cell.kind == "error":
            raise self._wrong(cell, number, f"the formula's result is {cell.text}")
        if cell.kind == "uncalculated":
            raise self._wrong(cell, number, "the formula was never calculated")
        try:
            if cell.kind == "number" and (kind.startswith(_NUMBERS) or kind == "string"):
                return digits(cell.text, whole=kind == "string")
            if cell.kind == "date" and kind in _TIMES:
                return moment(cell.text, kind, since_1904=self._book.since_1904)
        except ValueError as error:
            raise self._wrong(cell, number, str(error)) from error
        if cell.kind == "boolean" and kind == "boolean":
            return "true" if cell.text == "1" else "false"
        if cell.kind == "iso" and kind in _TIMES:
            return cell.text.replace("T", " ")
        raise self._wrong(cell, number, f"a {cell.kind} ({cell.text[:_SHOWN]}) is not {kind}")

    def _text(self, cell: Cell, number: int, kind: str) -> str | None:
        if cell.text in self._spec.null_values:
            return None
        column = self._names[cell.column]
        if kind == "float" or (kind == "boolean" and column not in self._spec.formats):
            raise self._wrong(cell, number, f"the text {cell.text[:_SHOWN]!r} is not {kind}")
        return cell.text

    def _refuse_merged(self) -> None:
        """Refuse merged cells among the data: only the first of them would have the value."""
        for area in self._book.merged:
            last = area.rpartition(":")[2].lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
            if last.isdigit() and int(last) >= self._spec.header_row:
                message = f"the cells {area} of sheet {self._sheet} are merged"
                hint = "Unmerge them: only the first would have the value."
                raise SourceError(message, where=self._name, hint=hint)

    def _wrong(self, cell: Cell, number: int, message: str) -> SourceError:
        address = f"{column_letters(cell.column)}{number}"
        column = (
            self._names[cell.column]
            if hasattr(self, "_names") and cell.column < len(self._names)
            else column_letters(cell.column)
        )
        where = f"{self._name}, column {column}, sheet {self._sheet}, row {number}"
        hint = "Correct the workbook, or declare another type under `columns:`."
        return SourceError(f"cell {address}: {message}", where=where, hint=hint)


def digits(text: str, *, whole: bool = False) -> str:
    """A number of Excel by its digits.

    Args:
        text: as the file spells it.
        whole: it is wanted as text, which only whole numbers are without a doubt.

    Raises:
        ValueError: it has more digits than Excel's numbers hold.
    """
    number = _decimal(text)
    if not number.is_finite():
        message = f"{text} is not a number"
        raise ValueError(message)
    if _significant(number) > _DIGITS:
        shortest = Decimal(repr(float(text)))
        # What no float is spelled like was written by something else, with digits we must not lose.
        if _significant(shortest) > _DIGITS or Decimal(f"{float(text):.17g}") != number:
            message = f"{text} has more than the {_DIGITS} digits that Excel's numbers hold"
            raise ValueError(message)
        number = shortest
    if whole and number != number.to_integral_value():
        message = f"the number {text} is not text"
        raise ValueError(message)
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def moment(text: str, kind: str, *, since_1904: bool) -> str:
    """A date or time of Excel, which counts days, in ISO spelling.

    Raises:
        ValueError: it is no day of the calendar, or finer than a millisecond.
    """
    serial = _decimal(text)
    days = int(serial // 1)
    milliseconds = ((serial - days) * _DAY_MS).to_integral_value()
    if abs((serial - days) - milliseconds / _DAY_MS) > _TOLERANCE:
        message = f"{text} is not a whole millisecond"
        raise ValueError(message)
    if kind == "time":
        if days or milliseconds >= _DAY_MS:
            message = f"{text} is a date or a duration, not a time of day"
            raise ValueError(message)
        start = datetime(2000, 1, 1)  # noqa: DTZ001 - only its clock is used
    else:
        start = _first_day(days, since_1904=since_1904)
    found = start + timedelta(days=days if kind != "time" else 0, milliseconds=int(milliseconds))
    clock = f"{found:%H:%M:%S.%f}"
    if kind == "time":
        return clock
    day = f"{found.year:04d}-{found.month:02d}-{found.day:02d}"
    if kind != "date":
        return f"{day} {clock}"
    if milliseconds:
        message = f"{day} {clock} has a time of day"
        raise ValueError(message)
    return day


def _first_day(days: int, *, since_1904: bool) -> datetime:
    """The day that Excel counts from: 1900 has a 29 February there, day 60."""
    if since_1904:
        low, start = 0, datetime(1904, 1, 1)  # noqa: DTZ001
    else:
        low, start = 1, datetime(1899, 12, 31 if days < 60 else 30)  # noqa: DTZ001
    if days < low or days > 2_958_465 or (days == 60 and not since_1904):
        message = f"day {days} is no day of the calendar"
        raise ValueError(message)
    return start


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError as error:
        message = f"{text[:_SHOWN]!r} is not a number"
        raise ValueError(message) from error


def _significant(number: Decimal) -> int:
    return len("".join(map(str, number.as_tuple().digits)).strip("0")) or 1


def _sheet(book: Workbook, name: str, spec: FileSpec) -> str:
    known = ", ".join(book.sheets)
    if spec.sheet is None:
        if len(book.sheets) > 1:
            message = f"{name} has several sheets: {known}"
            raise SourceError(message, where=name, hint="Name one under `sheet:`.")
        return next(iter(book.sheets))
    if spec.sheet not in book.sheets:
        message = f"{name} has no sheet {spec.sheet!r}"
        raise SourceError(message, where=name, hint=f"It has {known}.")
    return spec.sheet


@contextmanager
def open_excel(
    path: Path, name: str, spec: FileSpec, declared: Mapping[str, str]
) -> Iterator[ExcelTable]:
    """Open a sheet of a workbook."""
    with Workbook(path, name) as book:
        yield ExcelTable(book, name, spec, declared)
