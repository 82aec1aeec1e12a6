"""How an import is asked for, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from openreg_airflow.mappings import cells
from openreg_airflow.records import Record
from openreg_airflow.store.mapping_models import ALWAYS, FOREVER

if TYPE_CHECKING:
    from openreg_airflow.mappings.staging import Mode


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How a file is imported.

    Attributes:
        mode: ``merge`` adds and changes what the file has; ``replace`` also removes what it does
            not have.
        dry_run: only tell what would happen.
        expected: the set's revision that the caller saw; None when it does not matter.
        encoding, delimiter, date_format: found out from the file when None.
        sheet: the sheet of a workbook; the first when None.
    """

    mode: Mode = "merge"
    dry_run: bool = False
    expected: int | None = None
    encoding: str | None = None
    delimiter: str | None = None
    date_format: str | None = None
    sheet: str | None = None


class LineOutcome(Record):
    """What one line does, or would do; unchanged lines are not told.

    Attributes:
        line: of the file; None for an entry that is removed since no line has it.
        outcome: ``added``, ``changed``, ``ended``, ``removed`` or ``refused``.
        reason: why it is refused.
        key, value: the cells as text; none where they could not be read.
        effective_from, effective_to: the period afterwards; None is an open end.
        old_value, old_to: value and end until now, where there was an entry.
    """

    line: int | None
    outcome: str
    reason: str | None
    key: tuple[str | None, ...]
    value: tuple[str | None, ...]
    effective_from: date | None
    effective_to: date | None
    old_value: tuple[str | None, ...] | None
    old_to: date | None


class ImportOutcome(Record):
    """What an import did, or would do.

    Attributes:
        applied: it was written; not in a dry run, nor when a line was refused, nor when there was
            nothing to write.
        revision: the set's revision afterwards.
        lines: lines of the file, without its header.
        form: how the file was read: its encoding, delimiter and dates.
    """

    set: str
    mode: str
    dry_run: bool
    applied: bool
    revision: int
    lines: int
    added: int
    changed: int
    ended: int
    removed: int
    unchanged: int
    refused: int
    form: str
    seconds: float


def line_outcome(row: Any) -> LineOutcome:
    """The outcome of a row of the plan."""

    def cell(packed: str | None) -> tuple[str | None, ...]:
        return cells.unpack(packed) if packed is not None else ()

    def day(given: date | str | None, none: date) -> date | None:
        found = date.fromisoformat(given) if isinstance(given, str) else given
        return None if found == none else found

    return LineOutcome(
        line=row.line,
        outcome=row.outcome,
        reason=row.reason,
        key=cell(row.key),
        value=cell(row.value),
        effective_from=day(row.effective_from, ALWAYS),
        effective_to=day(row.effective_to, FOREVER),
        old_value=cell(row.old_value) if row.old_value is not None else None,
        old_to=day(row.old_to, FOREVER),
    )
