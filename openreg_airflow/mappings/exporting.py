"""Writing the entries of a set as CSV or Excel, such that they can be imported again unchanged."""

from __future__ import annotations

import csv
import logging
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openreg_airflow.errors import MappingError
from openreg_airflow.formula import guarded
from openreg_airflow.mappings import cells
from openreg_airflow.mappings.excel_file import is_excel, write_sheet
from openreg_airflow.mappings.model import PERIOD
from openreg_airflow.mappings.reading import BATCH, entries_query, ready, set_version
from openreg_airflow.store.engine import transaction
from openreg_airflow.store.mapping_models import ALWAYS, FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from datetime import date
    from pathlib import Path
    from typing import IO

_PROGRESS_SECONDS = 5
#: First characters of cells that :func:`guarded` looks at, so that most are not.
_SUSPECT = frozenset("'=+-@\t\r\n＝＋－＠")

log = logging.getLogger(__name__)


def export_file(
    url: str,
    name: str,
    path: Path,
    *,
    tenant: str = "",
    business_date: date | None = None,
    recorded_at: datetime | None = None,
) -> int:
    """Write the entries of a set into a file; Excel when its name ends with ``.xlsx``.

    The file gets its name only when it is complete.

    Args:
        url: SQLAlchemy URL of the store.
        name: the set's name.
        path: the file.
        tenant: whose set it is.
        business_date: only what is true on that day; every period when None.
        recorded_at: as it was known at that instant; as it is known now when None.

    Returns:
        The number of entries.

    Raises:
        MappingError: there is no such set, or a sheet cannot hold it.
        StoreUnavailableError: the database cannot be reached, or went away.
    """
    with closing(_texts(url, name, tenant, business_date, recorded_at)) as rows:
        return write_file(path, name, rows) - 1


def write_file(path: Path, name: str, rows: Iterator[list[str]]) -> int:
    """Write rows of text into a file, which gets its name only when it is complete.

    Args:
        path: the file; Excel when its name ends with ``.xlsx``, otherwise CSV.
        name: the set's name, for the sheet.
        rows: the header and the entries.

    Returns:
        The number of rows, the header among them.

    Raises:
        MappingError: a sheet cannot hold the rows.
        OSError: the file cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        if path.suffix.lower() == ".xlsm":
            message = "a workbook without macros is not called .xlsm"
            raise MappingError(message, where=str(path), hint="Call it .xlsx.")
        if is_excel(path):
            count = write_sheet(unfinished, name, rows)
        else:
            with unfinished.open("w", encoding="utf-8", newline="") as out:
                count = write_csv(out, rows)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def export_text(
    url: str,
    name: str,
    out: IO[str],
    *,
    tenant: str = "",
    business_date: date | None = None,
    recorded_at: datetime | None = None,
) -> int:
    """Write the entries of a set as CSV into an open text file, as :func:`export_file` does."""
    with closing(_texts(url, name, tenant, business_date, recorded_at)) as rows:
        return write_csv(out, rows) - 1


def write_csv(out: IO[str], rows: Iterator[list[str]]) -> int:
    """Write rows as CSV, no cell of which a spreadsheet executes; return how many."""
    # Both characters of the line end make Python quote a cell that has one of them.
    writer = csv.writer(out, lineterminator="\r\n")
    count = 0
    for row in rows:
        writer.writerow([guarded(cell) if cell[:1] in _SUSPECT else cell for cell in row])
        count += 1
    return count


def _texts(
    url: str,
    name: str,
    tenant: str,
    business_date: date | None,
    recorded_at: datetime | None,
) -> Generator[list[str]]:
    """The header and the entries as rows of text."""
    version = set_version(url, name, recorded_at or datetime.now(UTC), tenant=tenant)
    found = version.set
    yield [*(column.name for column in found.keys + found.values), *PERIOD]
    row_of = _row_of()
    told, begun, count = time.monotonic(), time.monotonic(), 0
    query = entries_query(found.id, version.revision, business_date)
    with transaction(ready(url), write=False) as connection:
        result = connection.execute(query, execution_options={"yield_per": BATCH})
        for rows in result.partitions(BATCH):
            yield from map(row_of, rows)
            count += len(rows)
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                log.info("mapping set %s: %s entries written", name, count)
    log.info("mapping set %s: %s entries in %.1f s", name, count, time.monotonic() - begun)


def _row_of() -> Callable[[tuple[str, str, date, date]], list[str]]:
    """The function from what the store has to the cells of a row."""
    days: dict[date, str] = {ALWAYS: "", FOREVER: ""}

    def day(given: date) -> str:
        text = days.get(given)
        if text is None:
            text = days[given] = given.isoformat()
        return text

    def row(entry: tuple[str, str, date, date]) -> list[str]:
        key, value, begin, end = entry
        packed = f"{key}{cells.SEPARATOR}{value}".replace(cells.NULL, "")
        return [*packed.split(cells.SEPARATOR), day(begin), day(end)]

    return row
