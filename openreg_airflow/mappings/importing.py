"""Many entries at once: from a CSV file, an Excel sheet or a program; all of them or none."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from openreg_airflow.errors import MappingError
from openreg_airflow.mappings import csv_file, excel_file, lines, staging
from openreg_airflow.mappings.entries import key_text, value_text
from openreg_airflow.mappings.model import PERIOD
from openreg_airflow.mappings.outcomes import ImportOptions, ImportOutcome, line_outcome
from openreg_airflow.mappings.reading import find_set, ready
from openreg_airflow.mappings.sets import KIND, subject
from openreg_airflow.mappings.writing import Change, finish, locked, require_changeable
from openreg_airflow.store.audit import AuditEntry
from openreg_airflow.store.engine import failures_told
from openreg_airflow.store.mapping_models import ALWAYS, FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import date
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from openreg_airflow.mappings.model import MappingSet
    from openreg_airflow.mappings.outcomes import LineOutcome
    from openreg_airflow.mappings.staging import StagedLine
    from openreg_airflow.store.actor import Actor

_PROGRESS_SECONDS = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Source:
    """Lines to import, and what the audit trail says of where they are from."""

    lines: Iterator[StagedLine]
    form: str
    told: dict[str, Any]


def import_file(
    url: str,
    name: str,
    path: Path,
    actor: Actor,
    *,
    tenant: str = "",
    options: ImportOptions | None = None,
    told: Callable[[LineOutcome], None] | None = None,
) -> ImportOutcome:
    """Import a CSV file, or a sheet of Excel when its name ends with ``.xlsx``.

    The file has the set's columns, and ``effective_from`` and ``effective_to`` where dates
    matter, in any order under their names. A line whose key and beginning are in the set changes
    that entry; an entry that begins before a line and reaches into it is ended where the line
    begins.

    Args:
        url: SQLAlchemy URL of the store.
        name: the set's name.
        path: the file.
        actor: who imports it.
        tenant: whose set it is.
        options: how.
        told: called for every line that changes something or is refused, by line.

    Raises:
        MappingError: the file as a whole cannot be taken, or the set cannot be changed.
        MappingConflictError: the set was changed since the caller saw it.
        StoreUnavailableError: the database cannot be reached or went away; nothing was written.
    """
    options = options or ImportOptions()
    engine = ready(url)
    with _connected(engine) as connection:
        with connection.begin():
            found = find_set(connection, name, tenant)
            source = _opened(found, path, options)
        return _run(connection, found, source, actor, options=options, told=told)


def upsert(
    url: str,
    name: str,
    entries: Iterable[tuple[Mapping[str, Any], Mapping[str, Any], date | None, date | None]],
    actor: Actor,
    *,
    tenant: str = "",
    options: ImportOptions | None = None,
    told: Callable[[LineOutcome], None] | None = None,
    reference: bool = False,
) -> ImportOutcome:
    """Add and change many entries by program, as :func:`import_file` does with lines.

    Args:
        entries: key and value by column, beginning and end (None for open); numbered from 1.
        reference: the set is reference data; only what updates that says so.

    Raises:
        as :func:`import_file`.
    """
    options = options or ImportOptions()
    engine = ready(url)
    with _connected(engine) as connection:
        with connection.begin():
            found = find_set(connection, name, tenant)
        source = _Source(_staged(found, entries), "entries of a program", {})
        return _run(
            connection, found, source, actor, options=options, told=told, reference=reference
        )


def _run(
    connection: Connection,
    found: MappingSet,
    source: _Source,
    actor: Actor,
    *,
    options: ImportOptions,
    told: Callable[[LineOutcome], None] | None,
    reference: bool = False,
) -> ImportOutcome:
    begun = time.monotonic()
    with connection.begin():
        count = staging.stage(connection, _progress(source.lines, found.name))
    if options.mode == "replace" and not count:
        message = f"nothing would be left of {found.name!r}: there are no lines to replace it by"
        raise MappingError(message, hint="Archive a set that is no longer used.")
    # SQLite's write lock only where something is written: a dry run disturbs nobody.
    connection = connection.execution_options(openreg_write=not options.dry_run)
    with connection.begin() as work:
        checks: dict[str, Any] = {"expected": options.expected, "reference": reference}
        if options.dry_run:
            state = find_set(connection, found.name, found.tenant)
            require_changeable(connection, state, **checks)
        else:
            state = locked(connection, found.name, found.tenant, **checks)
        _same(found, state)
        log.info("mapping set %s: %s lines are read, planning", found.name, count)
        counts = staging.plan(connection, found.id, options.mode)
        if told:
            for row in staging.planned(connection):
                told(line_outcome(row))
        changes = sum(counts[kind] for kind in ("added", "changed", "ended", "removed"))
        writing = bool(changes) and not counts["refused"] and not options.dry_run
        if writing:
            log.info("mapping set %s: writing %s changes", found.name, changes)
            change = Change(connection, state, state.revision + 1)
            staging.execute(connection, found.id, change.revision)
            entry = _audited(change, source, actor, options, counts | {"lines": count})
            finish(change, actor, "import", [entry])
        else:
            work.rollback()
    seconds = time.monotonic() - begun
    told_counts = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    log.info("mapping set %s: %s lines in %.1f s: %s", found.name, count, seconds, told_counts)
    return ImportOutcome(
        set=found.name,
        mode=options.mode,
        dry_run=options.dry_run,
        applied=writing,
        revision=state.revision + writing,
        lines=count,
        form=source.form,
        seconds=round(seconds, 3),
        **counts,
    )


def _opened(found: MappingSet, path: Path, options: ImportOptions) -> _Source:
    """Find out how a file is to be read; its lines are read later."""
    if options.date_format is not None and options.date_format not in lines.DATE_FORMATS:
        message = f"there is no date format {options.date_format!r}"
        raise MappingError(message, hint=f"One of: {', '.join(lines.DATE_FORMATS)}.")
    sheet = excel_file.is_excel(path)
    known = {column.name for column in found.keys + found.values} | set(PERIOD)
    if sheet:
        sha256, form = excel_file.sheet_sha256(path), "Excel"
    else:
        text_file = csv_file.look(path, options.encoding, options.delimiter, known)
        sha256, form = text_file.sha256, f"{text_file.encoding}, {text_file.delimiter!r}"

    def rows() -> Iterator[tuple[int, list[str]]]:
        return excel_file.sheet_rows(path, options.sheet) if sheet else text_file.rows()

    first = next(rows(), None)
    if first is None:
        message = "the file has no header line"
        raise MappingError(message, where=str(path))
    header = lines.header_of(found.shape, first[1], f"{path} line {first[0]}")
    dates = options.date_format or lines.date_format(
        found.shape, header, islice(rows(), 1, None), str(path)
    )
    read = lines.lines_of(found.shape, header, islice(rows(), 1, None), dates, sheet=sheet)
    about = {"file": path.name, "sha256": sha256}
    return _Source(read, f"{form}, {dates}", about)


def _staged(
    found: MappingSet,
    entries: Iterable[tuple[Mapping[str, Any], Mapping[str, Any], date | None, date | None]],
) -> Iterator[StagedLine]:
    for number, (key, value, begin, end) in enumerate(entries, 1):
        first, last = (begin or ALWAYS).isoformat(), (end or FOREVER).isoformat()
        try:
            key_cells, value_cells = key_text(found, key), value_text(found, value)
        except MappingError as error:
            yield staging.StagedLine(number, None, None, None, None, error.message)
            continue
        reason = None if first < last else f"the end {last} is not after the beginning {first}"
        yield staging.StagedLine(number, key_cells, value_cells, first, last, reason)


def _audited(
    change: Change,
    source: _Source,
    actor: Actor,
    options: ImportOptions,
    counts: dict[str, int],
) -> AuditEntry:
    """The entry of the trail: the old and new values are the revision's records, which its digest
    binds to the trail."""
    return AuditEntry(
        actor=actor,
        action="import",
        kind=KIND,
        subject=subject(change.set.name, change.set.tenant),
        before={"revision": change.set.revision},
        after={"mode": options.mode, **source.told, **counts},
    )


def _same(seen: MappingSet, found: MappingSet) -> None:
    if seen.id != found.id:
        message = f"mapping set {seen.name!r} became another one meanwhile"
        raise MappingError(message)


def _progress(found: Iterator[StagedLine], name: str) -> Iterator[StagedLine]:
    told = time.monotonic()
    for count, line in enumerate(found, 1):
        if not count % 10_000 and time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            log.info("mapping set %s: %s lines read", name, count)
        yield line


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """One connection, since temporary tables end with it; the caller begins transactions."""
    with failures_told(engine), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # Temporary tables may be larger than memory, whatever the build's default is.
            with connection.begin():
                connection.execute(text("PRAGMA temp_store = FILE"))
        yield connection
