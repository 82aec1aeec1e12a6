"""Which rows of a table say what the authority has already, and which go out, and as what.

The tables are those of :mod:`openreg_airflow.references.content`, and ``held``: what was said last
of each reference and event, with the submission that said so; ``own`` are the submissions of the
same artifact and business date; ``left_out``: references of records that wait elsewhere and are
not gone. The result are the tables ``plan``, with what becomes of each row,
and ``old``: records of ours that stand and are to be cancelled, with no row of the table for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import ArtifactError
from openreg_airflow.sql_quoting import quoted

if TYPE_CHECKING:
    import duckdb

    from openreg_airflow.references.spec import ReferencesSpec

#: n reports the record of the row, c cancels it; o is there when the authority has it from us.
#: What it rejected and a resubmission reported otherwise is no news as long as the source is as
#: it was: it would take back what was mended.
_PLAN = """
CREATE TABLE plan AS
SELECT position, reference, cancels, event, digest, what, goes AS word,
    CASE WHEN goes = word THEN needs WHEN stands THEN {standing} ELSE {known} END AS needs
FROM (
    SELECT t.position, t.reference, t.word, t.cancels, t.needs, t.event, t.digest,
        NOT h.cancels AS stands, {goes} AS goes,
        CASE
        WHEN t.event <> '' AND h.digest = t.digest AND o.id IS NOT NULL THEN 'unchanged'
        WHEN {left} THEN 'unchanged'
        WHEN t.event = '' AND n.position IS NOT NULL AND NOT h.cancels AND h.digest = n.digest
            AND (o.id IS NOT NULL OR c.position IS NOT NULL) THEN 'unchanged'
        WHEN t.cancels AND h.cancels AND o.id IS NOT NULL THEN 'unchanged'
        ELSE 'send' END AS what
    FROM target t
    LEFT JOIN target n ON n.reference = t.reference AND NOT n.cancels AND n.event = ''
    LEFT JOIN target c ON c.reference = t.reference AND c.cancels
    LEFT JOIN held h ON h.reference = t.reference AND h.event = t.event
    LEFT JOIN own o ON o.id = h.submission
)
"""
_OLD = """
CREATE TABLE old AS
SELECT h.reference, h.submission, h.position, h.digest
FROM held h JOIN own o ON o.id = h.submission
LEFT JOIN target n ON n.reference = h.reference AND NOT n.cancels AND n.event = ''
LEFT JOIN target c ON c.reference = h.reference AND c.cancels
WHERE NOT h.cancels AND h.event = '' AND c.position IS NULL AND CASE
    WHEN n.position IS NOT NULL
        THEN $1 AND n.digest <> h.digest AND ($2 OR n.digest IS DISTINCT FROM h.refused)
    ELSE o.resubmission = 0 AND NOT $2
        AND h.reference NOT IN (SELECT reference FROM left_out) END
"""
_TAKEN_BACK = """
SELECT h.reference FROM held h JOIN own o ON o.id = h.submission
WHERE h.cancels AND o.resubmission = 0 AND h.before IS NOT NULL
    AND h.before NOT IN (SELECT id FROM own)
    AND h.reference NOT IN (SELECT reference FROM target)
    AND h.reference NOT IN (SELECT reference FROM left_out)
ORDER BY h.reference LIMIT 1
"""
#: With its record, what was told of it is gone.
_UNTOLD = """
SELECT h.reference, h.event FROM held h JOIN own o ON o.id = h.submission
LEFT JOIN held b ON b.reference = h.reference AND b.event = '' AND b.cancels
LEFT JOIN target t ON t.reference = h.reference AND t.event = h.event
WHERE h.event <> '' AND o.resubmission = 0 AND b.reference IS NULL AND t.position IS NULL
    AND h.reference NOT IN (SELECT reference FROM old)
    AND h.reference NOT IN (SELECT reference FROM target WHERE cancels)
    AND h.reference NOT IN (SELECT reference FROM left_out)
ORDER BY h.reference, h.event LIMIT 1
"""


def make_plan(
    database: duckdb.DuckDBPyConnection, spec: ReferencesSpec, *, resubmission: bool
) -> None:
    """Make the tables ``plan`` and ``old``.

    Args:
        database: with the tables that are compared.
        spec: under which rules records are corrected.
        resubmission: the table holds only some of the records, so that none is gone.

    Raises:
        ArtifactError: a reference stands in the table twice, or something that went out and
            cannot be taken back is no longer in the table.
    """
    _refuse_twice(database)
    if not resubmission and (row := database.execute(_TAKEN_BACK).fetchone()):
        message = f"the cancellation of {row[0]!r} went out and is no longer in the table"
        hint = "A cancellation cannot be taken back: report the record anew."
        raise ArtifactError(message, hint=hint)
    by_action = spec.corrections == "by_action"
    # What we told of a record that another system reported does not make it one of ours.
    standing, known = ("uncancelled", "any") if spec.elsewhere else ("standing", "known")
    goes = _goes(spec) if by_action else "t.word"
    left = "false" if resubmission else "NOT t.cancels AND NOT h.cancels AND h.refused = t.digest"
    database.execute(
        _PLAN.format(goes=goes, standing=quoted(standing), known=quoted(known), left=left)
    )
    database.execute(_OLD, [not by_action, resubmission])
    if not resubmission and (row := database.execute(_UNTOLD).fetchone()):
        reference, event = row
        message = (
            f"{event.rsplit(' ', 1)[0]} of {reference!r} went out and is no longer in the table"
        )
        hint = "Keep its row, and put what is right into a row of its own."
        raise ArtifactError(message, hint=hint)


def _goes(spec: ReferencesSpec) -> str:
    """As what a row goes out: what we told before is corrected, and what we cancelled revived."""
    corrected = "".join(
        f"WHEN {quoted(word)} THEN {quoted(goes)} " for word, goes in sorted(spec.correct.items())
    )
    revived = (
        f"WHEN h.cancels AND t.word IN ({', '.join(map(quoted, spec.new))}) "
        f"THEN {quoted(spec.revive)} "
        if spec.revive is not None
        else ""
    )
    return (
        f"CASE WHEN t.cancels OR o.id IS NULL THEN t.word {revived}WHEN h.cancels THEN t.word "
        f"ELSE CASE t.word {corrected}ELSE t.word END END"
    )


def _refuse_twice(database: duckdb.DuckDBPyConnection) -> None:
    row = database.execute(
        "SELECT reference, cancels FROM target GROUP BY reference, cancels, event "
        "HAVING count(*) > 1 ORDER BY reference LIMIT 1"
    ).fetchone()
    if row is not None:
        message = f"{row[0]!r} is {'cancelled' if row[1] else 'reported'} twice in the table"
        raise ArtifactError(message, hint="Give every record a reference of its own.")
