"""From the rows of a file to lines of an import, each with its reason when it cannot be taken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from openreg_airflow.errors import MappingError
from openreg_airflow.formula import unguarded
from openreg_airflow.mappings import cells
from openreg_airflow.mappings.excel_file import Refused
from openreg_airflow.mappings.model import PERIOD
from openreg_airflow.mappings.staging import StagedLine
from openreg_airflow.store.mapping_models import ALWAYS, FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from openreg_airflow.mappings.model import Shape

#: Ways to write a date that can be told from the file, by the name that people give them.
DATE_FORMATS = {
    "YYYY-MM-DD": "%Y-%m-%d",
    "YYYYMMDD": "%Y%m%d",
    "YYYY/MM/DD": "%Y/%m/%d",
    "DD.MM.YYYY": "%d.%m.%Y",
    "DD/MM/YYYY": "%d/%m/%Y",
    "MM/DD/YYYY": "%m/%d/%Y",
    "DD-MM-YYYY": "%d-%m-%Y",
}
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_OPEN_FROM, _OPEN_TO = ALWAYS.isoformat(), FOREVER.isoformat()


@dataclass(frozen=True)
class Header:
    """Where the columns of a set are in a file.

    Attributes:
        places: position of each key column and value column.
        begin, end: position of the period's; None when the file does not have it.
        width: cells of a row.
    """

    places: tuple[int, ...]
    begin: int | None
    end: int | None
    width: int


def header_of(shape: Shape, names: list[str], where: str) -> Header:
    """Find the set's columns in a file's header.

    Raises:
        MappingError: a column is unknown, missing, or there twice.
    """
    found = [unguarded(name).strip().lower() for name in names]
    wanted = [column.name for column in shape.keys + shape.values]
    if unknown := [name for name in found if name not in (*wanted, *PERIOD)]:
        message = f"the set has no column {unknown[0][:100]!r}"
        hint = f"Its columns are: {', '.join((*wanted, *PERIOD))}."
        raise MappingError(message, where=where, hint=hint)
    if twice := [name for name in found if found.count(name) > 1]:
        message = f"the column {twice[0]!r} is there twice"
        raise MappingError(message, where=where)
    if missing := [name for name in wanted if name not in found]:
        message = f"the column {missing[0]!r} is missing"
        hint = f"The file needs: {', '.join(wanted)}; {' and '.join(PERIOD)} if dates matter."
        raise MappingError(message, where=where, hint=hint)
    begin, end = (found.index(name) if name in found else None for name in PERIOD)
    return Header(tuple(map(found.index, wanted)), begin, end, len(names))


def date_format(
    shape: Shape, header: Header, rows: Iterable[tuple[int, list[str]]], where: str
) -> str:
    """The way in which a file writes dates, from all of its dates.

    Raises:
        MappingError: several ways fit, and they differ.
    """
    columns = shape.keys + shape.values
    dated = [
        place for place, column in zip(header.places, columns, strict=True) if column.type == "date"
    ]
    dated += [place for place in (header.begin, header.end) if place is not None]
    possible = dict(DATE_FORMATS)
    seen: set[str] = set()
    for _, row in rows if dated else ():
        for text in (row[place].strip() for place in dated if place < len(row)):
            if not text or isinstance(text, Refused) or text in seen:
                continue
            fitting = {name: form for name, form in possible.items() if _fits(text, form)}
            # What fits nothing is a mistake of that line, and says nothing of the others.
            possible = fitting or possible
            if len(possible) == 1:
                return next(iter(possible))
            if len(seen) < 10_000:
                seen.add(text)
    if len(possible) < len(DATE_FORMATS) and seen and _differ(seen, possible.values()):
        message = f"the dates may be {' or '.join(possible)}"
        hint = f"Say which: --date-format {next(iter(possible))}"
        raise MappingError(message, where=where, hint=hint)
    return next(iter(possible))


def _differ(texts: set[str], patterns: Iterable[str]) -> bool:
    """Whether a date is another one in another format: 01/01/2026 is not."""
    fitting = (text for text in texts if all(_fits(text, pattern) for pattern in patterns))
    return any(
        len({datetime.strptime(text, pattern) for pattern in patterns}) > 1  # noqa: DTZ007
        for text in fitting
    )


def lines_of(
    shape: Shape, header: Header, rows: Iterable[tuple[int, list[str]]], form: str, *, sheet: bool
) -> Iterator[StagedLine]:
    """The lines of an import.

    Args:
        shape: the set's columns.
        header: where they are.
        rows: the file's rows after the header, with their numbers.
        form: a name of :data:`DATE_FORMATS`.
        sheet: they are a sheet's, whose rows may end early; in CSV, texts may have an apostrophe
            before what a spreadsheet would execute.
    """
    as_date = date_reader(form)
    columns = shape.keys + shape.values
    readers = [_reader(column.type, as_date, guarded=not sheet) for column in columns]
    names = [column.name for column in columns]
    keys = len(shape.keys)
    readers[keys:] = map(_filled, readers[keys:])
    for number, row in rows:
        if len(row) != header.width:
            if not sheet or len(row) > header.width:
                reason = f"has {len(row)} cells, the header {header.width}"
                yield StagedLine(number, None, None, None, None, reason)
                continue
            row += [""] * (header.width - len(row))  # noqa: PLW2901
        column = 0
        try:
            texts: list[str | None] = []
            for column, place in enumerate(header.places):
                cell = row[place]
                texts.append(readers[column](cell) if cell else None)
            key = cells.packed_key(texts[:keys])
            value = cells.packed_value(texts[keys:])
            first = _edge(row, header.begin, as_date, _OPEN_FROM)
            last = _edge(row, header.end, as_date, _OPEN_TO)
            if first >= last:
                message = f"the end {last} is not after the beginning {first}"
                raise ValueError(message)
        except _CellError as error:
            yield StagedLine(number, None, None, None, None, f"{names[column]}: {error}")
        except ValueError as error:
            yield StagedLine(number, None, None, None, None, str(error))
        else:
            yield StagedLine(number, key, value, first, last)


def date_reader(form: str) -> Callable[[str], str]:
    """The function that reads dates of one format to ISO; it raises ValueError."""
    pattern = DATE_FORMATS[form]
    known: dict[str, str] = {}

    def read(text: str) -> str:
        found = known.get(text)
        if found is None:
            stripped = text.strip()
            if not _fits(stripped, pattern):
                # A sheet has its real dates as ISO, beside those that are text.
                if not _fits(stripped, "%Y-%m-%d"):
                    message = f"{stripped[:50]!r} is no date {form}"
                    raise ValueError(message)
                found = stripped
            else:
                found = datetime.strptime(stripped, pattern).date().isoformat()  # noqa: DTZ007
            if len(known) < 100_000:
                known[text] = found
        return found

    return read


class _CellError(ValueError):
    """A cell is wrong."""


def _reader(
    column_type: str, as_date: Callable[[str], str], *, guarded: bool
) -> Callable[[str], str | None]:
    if column_type == "string":
        spelled = cells.spelled("string")

        def read(cell: str) -> str | None:
            if isinstance(cell, Refused):
                raise _CellError(cell)
            try:
                return spelled(unguarded(cell) if guarded and cell[0] == "'" else cell)
            except ValueError as error:
                raise _CellError(str(error)) from None

        return read
    other = as_date if column_type == "date" else cells.spelled(column_type)

    def read_other(cell: str) -> str | None:
        if isinstance(cell, Refused):
            raise _CellError(cell)
        text = cell.strip()
        try:
            return other(text) if text else None
        except ValueError as error:
            raise _CellError(str(error)) from None

    return read_other


def _filled(read: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """The reader of a value column: what is still to be filled in is refused before its type."""

    def read_filled(cell: str) -> str | None:
        try:
            cells.require_filled(cell)
        except ValueError as error:
            raise _CellError(str(error)) from None
        return read(cell)

    return read_filled


def _edge(row: list[str], place: int | None, as_date: Callable[[str], str], none: str) -> str:
    cell = row[place] if place is not None else ""
    if isinstance(cell, Refused):
        message = f"{PERIOD[none == _OPEN_TO]}: {cell}"
        raise ValueError(message)
    return as_date(cell) if cell and not cell.isspace() else none


def _fits(text: str, pattern: str) -> bool:
    if pattern == "%Y-%m-%d" and not _ISO.fullmatch(text):
        return False
    if pattern == "%Y%m%d" and not (len(text) == 8 and text.isascii() and text.isdigit()):
        return False
    try:
        datetime.strptime(text, pattern)  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return False
    return True
