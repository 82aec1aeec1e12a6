"""Reading and writing sheets of Excel; every cell is text when we write it, so that it stays so."""

from __future__ import annotations

import hashlib
import re
import zipfile
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

#: Rows of a sheet, the header among them.
MOST_ROWS = 1_048_576
#: Characters of a cell.
LONGEST_CELL = 32_767
#: Bytes of a workbook without compression; more is a trap rather than a table.
_MOST_BYTES = 2 << 30
#: Bytes from which a part is judged by its compression, and how far no table is compressed: one
#: text that never ends is, and would be read into memory as one cell.
_LARGE_PART = 50 << 20
_MOST_COMPRESSED = 500
#: How a workbook spells characters that XML cannot hold, such as a carriage return.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class Refused(str):
    """A cell that cannot be taken, with the reason in place of its text."""

    __slots__ = ()


def is_excel(path: Path) -> bool:
    """Whether a file's name says that it is a workbook."""
    return path.suffix.lower() in (".xlsx", ".xlsm")


def sheet_sha256(path: Path) -> str:
    """The hash of a workbook's bytes.

    Raises:
        MappingError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise MappingError(message, where=str(path)) from error


def sheet_rows(path: Path, sheet: str | None) -> Iterator[tuple[int, list[str]]]:
    """The rows of a sheet with their numbers, the header first; empty rows are left out.

    Numbers and dates are written out as text. A cell with a formula or an error is a
    :class:`Refused`.

    Args:
        path: the workbook.
        sheet: the sheet's name; the first one when None.

    Raises:
        MappingError: the file is no workbook, is too large, or has no such sheet.
    """
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MOST_BYTES:
                message = "the workbook is larger than 2 GiB without its compression"
                raise MappingError(message, where=str(path))
            if any(_is_trap(part) for part in archive.infolist()):
                message = (
                    f"the workbook has a part that is compressed over {_MOST_COMPRESSED} times"
                )
                hint = "No table is. Open it in a spreadsheet, look at it, and save it again."
                raise MappingError(message, where=str(path), hint=hint)
        book = load_workbook(path, read_only=True, keep_links=False)
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        raise MappingError(message, where=str(path)) from error
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError) as error:
        message = f"the file is no Excel workbook: {error}"
        raise MappingError(message, where=str(path)) from error
    with closing(book):
        if sheet is not None and sheet not in book.sheetnames:
            message = f"the workbook has no sheet {sheet!r}"
            hint = f"Its sheets are: {', '.join(book.sheetnames)}."
            raise MappingError(message, where=str(path), hint=hint)
        table = book[sheet] if sheet is not None else book.worksheets[0]
        for number, row in enumerate(table.iter_rows(), 1):
            cells = [_text(cell) for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                yield number, cells


def _is_trap(part: zipfile.ZipInfo) -> bool:
    small = max(part.compress_size, 1) * _MOST_COMPRESSED
    return part.file_size > _LARGE_PART and part.file_size > small


def write_sheet(path: Path, name: str, rows: Iterable[Sequence[str]]) -> int:
    """Write a workbook of one sheet, in which every cell is text; return its rows.

    Raises:
        MappingError: there are more rows than a sheet has, or a longer text than a cell has.
        OSError: the file cannot be written.
    """
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    # A fixed instant: the same entries give the same bytes.
    book = Workbook(str(path), {"constant_memory": True, "strings_to_formulas": False})
    book.set_properties({"created": datetime(2000, 1, 1)})  # noqa: DTZ001 - Excel knows no zones
    sheet = book.add_worksheet(name[:31])
    try:
        with closing(book):
            return _write_rows(sheet, rows)
    except FileCreateError as error:
        [cause] = error.args
        raise OSError(cause.errno, cause.strerror, str(path)) from error


def _write_rows(sheet: Any, rows: Iterable[Sequence[str]]) -> int:
    count = 0
    for row in rows:
        if count == MOST_ROWS:
            message = f"a sheet has {MOST_ROWS} rows; there are more entries"
            raise MappingError(message, hint="Export them as CSV.")
        for column, text in enumerate(row):
            if len(text) > LONGEST_CELL:
                message = f"a cell has {LONGEST_CELL} characters; a value has more"
                raise MappingError(message, hint="Export them as CSV.")
            if text:
                sheet.write_string(count, column, text)
        count += 1
    return count


def _text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f":
        return Refused("holds a formula")
    if cell.data_type == "e":
        return Refused(f"holds the error {value}")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        return value.date().isoformat()
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
    return str(value)
