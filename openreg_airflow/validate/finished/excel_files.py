"""Excel workbooks, read back a row at a time."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from contextlib import closing, contextmanager
from datetime import datetime, time
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any

from openreg_airflow.errors import ArtifactError
from openreg_airflow.validate.finished.opening import opened
from openreg_airflow.validate.finished.text_files import wanted_columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.validate.finished.form import FileForm
    from openreg_airflow.validate.finished.records import RecordWriter
    from openreg_airflow.validate.finished.spec import ReadBack

#: What every workbook has in it, and how large one may be without its compression.
_CONTENT = "[Content_Types].xml"
_MOST_BYTES = 2 << 30


def read_excel(path: Path, name: str, form: FileForm, reading: ReadBack, into: RecordWriter) -> int:
    """Read the first sheet of a workbook.

    Numbers are given with the digits that Excel has of them, days as 2026-03-31.

    Args:
        path: the file, which may be packed.
        name: its name.
        form: how it was written.
        reading: what is wanted of it.
        into: takes the records.

    Returns:
        The number of records.

    Raises:
        ArtifactError: it is no workbook, a column is missing, or a cell has a formula or an error.
    """
    with _book(path, name, into.folder) as book:
        rows = _rows(book, name)
        titles = next(rows, None) if form.header else list(form.names)
        if titles is None:
            message = f"{name} has no row with the names of its columns"
            raise ArtifactError(message)
        wanted = wanted_columns([title or "" for title in titles], reading, name)
        records = into.of_file(name, list(wanted))
        for number, row in enumerate(rows, start=1):
            if any(value is not None for value in row[len(titles) :]):
                message = f"{name}, record {number} has more values than the {len(titles)} columns"
                raise ArtifactError(message)
            records.add([row[at] if at < len(row) else None for at in wanted.values()])
        return records.end()


@contextmanager
def _book(path: Path, name: str, folder: Path) -> Iterator[Any]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    with path.open("rb") as plain, tempfile.TemporaryFile(dir=folder) as unpacked:
        file: IO[bytes] = plain
        if not _is_workbook(plain):
            with opened(path, name) as packed:
                shutil.copyfileobj(packed, unpacked)
            file = unpacked
        try:
            with zipfile.ZipFile(file) as archive:
                size = sum(part.file_size for part in archive.infolist())
            if size > _MOST_BYTES:
                message = f"{name} is larger than 2 GiB without its compression"
                raise ArtifactError(message)
            book = load_workbook(file, read_only=True, keep_links=False)
        except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError) as error:
            message = f"{name} is no Excel workbook: {error}"
            raise ArtifactError(message) from error
        with closing(book):
            yield book


def _is_workbook(file: IO[bytes]) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return _CONTENT in archive.namelist()


def _rows(book: Any, name: str) -> Iterator[list[str | None]]:
    sheet = book.worksheets[0]
    # What a file says of its own size may be less than it has.
    sheet.reset_dimensions()
    for number, row in enumerate(sheet.iter_rows(), start=1):
        for cell in row:
            if cell.data_type in ("f", "e"):
                what = "a formula" if cell.data_type == "f" else f"the error {cell.value}"
                message = f"{name}, row {number} has {what} in {cell.coordinate}"
                raise ArtifactError(message)
        yield [_text(cell.value) for cell in row]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
