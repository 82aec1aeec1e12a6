"""Lines of an import in temporary tables of the store, and what they would do to a set.

Staging takes no lock, so that a file may be large and a disk slow; only the plan and its
execution are made while the set is locked. All work is done by the database, a set at a time.
"""

from __future__ import annotations

import csv
import io
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import text

from openreg_airflow.errors import StoreUnavailableError
from openreg_airflow.store.mapping_models import CURRENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

Mode = Literal["merge", "replace"]
OUTCOMES = ("added", "changed", "ended", "removed", "unchanged", "refused")

_CHUNK = 1000
_STAGED = """
CREATE TEMPORARY TABLE openreg_staged (
    line BIGINT, key TEXT {collate}, value TEXT {collate},
    effective_from {date}, effective_to {date}, reason TEXT
)
"""
#: Keys of which a line is not just what is known. All others need no further look.
_TOUCHED = """
CREATE TEMPORARY TABLE openreg_touched AS
SELECT s.key AS key FROM openreg_staged s LEFT JOIN openreg_mapping_entry e
    ON e.set_id = :set_id AND e.key = s.key AND e.effective_from = s.effective_from
    AND e.revision_to = :current
WHERE s.reason IS NULL
    AND (e.id IS NULL OR e.value <> s.value OR e.effective_to <> s.effective_to)
UNION
SELECT key FROM openreg_staged WHERE reason IS NULL
GROUP BY key, effective_from HAVING COUNT(*) > 1
"""
#: What a merge touches: the entries of the keys of the file.
_OF_KEYS = "AND key IN (SELECT key FROM openreg_touched)"
_OTHERS = """
    UNION ALL
    SELECT NULL, id, key, value, effective_from, effective_to FROM known
    WHERE NOT EXISTS (
        SELECT 1 FROM openreg_staged s
        WHERE s.key = known.key AND s.effective_from = known.effective_from AND s.reason IS NULL
    )
"""
_REMOVED = """
UNION ALL
SELECT NULL, 'removed', NULL, key, value, effective_from, effective_to, id, value, effective_to
FROM known
WHERE NOT EXISTS (
    SELECT 1 FROM openreg_staged s
    WHERE s.key = known.key AND s.effective_from = known.effective_from AND s.reason IS NULL
)
"""
# An entry that begins before a line and reaches into it ends where the line begins, if nothing is
# left of it behind the line and the lines that join it: its island, which reaches so far.
_PLANNED = """
CREATE TEMPORARY TABLE openreg_planned AS
WITH lines AS (
    SELECT line, key, value, effective_from, effective_to,
        MIN(line) OVER (PARTITION BY key, effective_from) AS first
    FROM openreg_staged WHERE reason IS NULL AND key IN (SELECT key FROM openreg_touched)
), known AS (
    SELECT id, key, value, effective_from, effective_to FROM openreg_mapping_entry
    WHERE set_id = :set_id AND revision_to = :current {of_keys}
), timeline AS (
    SELECT line, CAST(NULL AS BIGINT) AS id, key, value, effective_from, effective_to
    FROM lines WHERE line = first
    {others}
), neighbours AS (
    SELECT timeline.*,
        LAG(line) OVER sorted AS last_line,
        LAG(effective_from) OVER sorted AS last_from,
        LAG(effective_to) OVER sorted AS last_to,
        LEAD(line) OVER sorted AS next_line,
        LEAD(effective_from) OVER sorted AS next_from,
        CASE WHEN LAG(line) OVER sorted IS NOT NULL
            AND LAG(effective_to) OVER sorted >= effective_from THEN 0 ELSE 1 END AS breaks
    FROM timeline WINDOW sorted AS (PARTITION BY key ORDER BY effective_from)
), islands AS (
    SELECT neighbours.*, SUM(breaks) OVER (
        PARTITION BY key ORDER BY effective_from ROWS UNBOUNDED PRECEDING) AS island
    FROM neighbours
), reached AS (
    SELECT islands.*, MAX(effective_to) OVER (PARTITION BY key, island) AS reach FROM islands
), judged AS (
    SELECT reached.*, CASE
        WHEN last_line IS NOT NULL AND last_to > effective_from
            THEN 'overlaps line ' || last_line
        WHEN next_line IS NULL AND next_from < effective_to
            THEN 'reaches into the entry that begins ' || CAST(next_from AS TEXT)
        WHEN last_line IS NULL AND last_to > effective_from AND last_to > reach
            THEN 'lies inside the entry of '
                || REPLACE(CAST(last_from AS TEXT), '0001-01-01', 'always') || ' to '
                || REPLACE(CAST(last_to AS TEXT), '9999-12-31', 'open')
                || ', of which the rest would be lost'
        END AS reason
    FROM reached
)
SELECT judged.line AS line, CASE
        WHEN judged.reason IS NOT NULL THEN 'refused'
        WHEN same.id IS NULL THEN 'added'
        WHEN same.value <> judged.value THEN 'changed'
        WHEN same.effective_to = judged.effective_to THEN 'unchanged'
        WHEN same.effective_to > judged.effective_to THEN 'ended'
        ELSE 'changed' END AS outcome,
    judged.reason AS reason, judged.key AS key, judged.value AS value,
    judged.effective_from AS effective_from, judged.effective_to AS effective_to,
    same.id AS id, same.value AS old_value, same.effective_to AS old_to
FROM judged LEFT JOIN openreg_mapping_entry same
    ON same.set_id = :set_id AND same.key = judged.key
    AND same.effective_from = judged.effective_from AND same.revision_to = :current
WHERE judged.line IS NOT NULL
UNION ALL
SELECT next_line, 'ended', NULL, key, value, effective_from, next_from, id, value, effective_to
FROM judged WHERE line IS NULL AND next_line IS NOT NULL AND next_from < effective_to
UNION ALL
SELECT line, 'refused', 'has the same key and beginning as line ' || first, key, value,
    effective_from, effective_to, NULL, NULL, NULL
FROM lines WHERE line <> first
UNION ALL
SELECT line, 'refused', reason, key, value, effective_from, effective_to, NULL, NULL, NULL
FROM openreg_staged WHERE reason IS NOT NULL
{removed}
"""
_UNTOUCHED = """
SELECT (SELECT COUNT(*) FROM openreg_staged WHERE reason IS NULL) - (
    SELECT COUNT(*) FROM openreg_staged
    WHERE reason IS NULL AND key IN (SELECT key FROM openreg_touched))
"""
_CLOSE = """
UPDATE openreg_mapping_entry SET revision_to = :revision
WHERE id IN (SELECT id FROM openreg_planned WHERE outcome IN ('changed', 'ended', 'removed'))
"""
_INSERT = """
INSERT INTO openreg_mapping_entry
    (set_id, key, value, effective_from, effective_to, revision_from, revision_to)
SELECT :set_id, key, value, effective_from, effective_to, :revision, :current
FROM openreg_planned WHERE outcome IN ('added', 'changed', 'ended')
"""


class StagedLine(NamedTuple):
    """One line of an import.

    Attributes:
        line: where it is in the file.
        key, value: packed cells; None in a line that is refused.
        effective_from, effective_to: ISO dates, open ends as the store has them.
        reason: why it is refused; None when it can be read.
    """

    line: int
    key: str | None
    value: str | None
    effective_from: str | None
    effective_to: str | None
    reason: str | None = None


def stage(connection: Connection, lines: Iterable[StagedLine]) -> int:
    """Write lines into a temporary table; return how many.

    Raises:
        StoreUnavailableError: the database went away, or its disk is full.
    """
    postgresql = connection.dialect.name == "postgresql"
    collate, date = ('COLLATE "C"', "DATE") if postgresql else ("", "TEXT")
    connection.execute(text(_STAGED.format(collate=collate, date=date)))
    count = _copy(connection, lines) if postgresql else _insert(connection, lines)
    connection.execute(
        text("CREATE INDEX openreg_staged_key ON openreg_staged (key, effective_from)")
        if postgresql
        else text("CREATE INDEX temp.openreg_staged_key ON openreg_staged (key, effective_from)")
    )
    if postgresql:
        connection.execute(text("ANALYZE openreg_staged"))
    return count


def plan(connection: Connection, set_id: int, mode: Mode) -> dict[str, int]:
    """Decide what each staged line does to a set; return how many have each outcome."""
    merging = mode == "merge"
    statement = _PLANNED.format(
        of_keys=_OF_KEYS if merging else "",
        others=_OTHERS if merging else "",
        removed="" if merging else _REMOVED,
    )
    values = {"set_id": set_id, "current": CURRENT}
    connection.execute(text(_TOUCHED), values)
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE openreg_touched"))
    connection.execute(text(statement), values)
    found = connection.execute(
        text("SELECT outcome, COUNT(*) FROM openreg_planned GROUP BY outcome")
    )
    counts = dict.fromkeys(OUTCOMES, 0)
    for outcome, count in found:
        counts[outcome] = count
    counts["unchanged"] += connection.scalar(text(_UNTOUCHED)) or 0
    return counts


def execute(connection: Connection, set_id: int, revision: int) -> None:
    """Do what was planned."""
    values = {"set_id": set_id, "revision": revision, "current": CURRENT}
    connection.execute(text(_CLOSE), values)
    connection.execute(text(_INSERT), values)


def planned(connection: Connection) -> Iterator[Any]:
    """What was planned, by line; lines that change nothing are left out."""
    query = text(
        "SELECT line, outcome, reason, key, value, effective_from, effective_to, old_value, "
        "old_to FROM openreg_planned WHERE outcome <> 'unchanged' "
        "ORDER BY line IS NULL, line, outcome, key, effective_from"
    )
    yield from connection.execute(query, execution_options={"yield_per": _CHUNK})


class _CopyText(io.TextIOBase):
    """Lines as the text that COPY reads, made as it is read."""

    def __init__(self, lines: Iterable[StagedLine]) -> None:
        self._lines = iter(lines)
        self._waiting = ""
        self.count = 0
        self.error: BaseException | None = None

    def read(self, size: int | None = -1) -> str:
        """The next characters; nothing at the end."""
        size = 65_536 if size is None or size < 0 else size
        while len(self._waiting) < size and (chunk := self._chunk()):
            out = io.StringIO()
            csv.writer(out).writerows(chunk)
            self._waiting += out.getvalue()
            self.count += len(chunk)
        read, self._waiting = self._waiting[:size], self._waiting[size:]
        return read

    def _chunk(self) -> list[StagedLine]:
        try:
            return list(islice(self._lines, _CHUNK))
        except BaseException as error:
            # The driver tells only that reading failed.
            self.error = error
            raise


def _copy(connection: Connection, lines: Iterable[StagedLine]) -> int:
    source = _CopyText(lines)
    driver: Any = connection.connection.driver_connection
    dialect: Any = connection.dialect
    try:
        with driver.cursor() as cursor:
            cursor.copy_expert("COPY openreg_staged FROM STDIN WITH (FORMAT csv)", source)
    except dialect.loaded_dbapi.Error as error:
        if source.error:
            raise source.error from None
        raise _lost(error) from error
    return source.count


def _insert(connection: Connection, lines: Iterable[StagedLine]) -> int:
    import sqlite3

    driver: Any = connection.connection.driver_connection
    try:
        statement = "INSERT INTO temp.openreg_staged VALUES (?, ?, ?, ?, ?, ?)"
        return int(driver.executemany(statement, lines).rowcount)
    except sqlite3.OperationalError as error:
        raise _lost(error) from error


def _lost(error: Exception) -> StoreUnavailableError:
    message = f"the lines cannot be written to the store: {' '.join(str(error).split())}"
    return StoreUnavailableError(message, hint="Nothing was changed. Import again.")
