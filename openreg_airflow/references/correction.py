"""Finds what has to be sent so that an authority has a table's records: a correction.

What the authority has comes from the store, record by record; a changed record goes out as the
cancellation of the old one and a new report, since an authority takes no changes. DuckDB compares
hashes, so that a million records take seconds and bounded memory.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import ArtifactError
from openreg_airflow.references.rows import (
    column_names,
    open_database,
    refuse_unreadable,
    selection,
)
from openreg_airflow.sql_quoting import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import duckdb

    from openreg_airflow.references.spec import ReferencesSpec
    from openreg_airflow.store.references import Held

log = logging.getLogger(__name__)

_BATCH = 50_000
_HELD = pa.schema(
    [
        ("reference", pa.string()),
        ("cancels", pa.bool_()),
        ("digest", pa.string()),
        ("submission", pa.int64()),
        ("position", pa.int64()),
        ("before", pa.int64()),
    ]
)
#: Which of the target's rows say what the authority has already, and which it was told before.
_PLAN = """
CREATE TABLE plan AS
SELECT t.position, t.reference, t.cancels, CASE
    WHEN n.position IS NOT NULL AND NOT h.cancels AND h.digest = n.digest
        AND (o.id IS NOT NULL OR c.position IS NOT NULL) THEN 'unchanged'
    WHEN t.cancels AND h.cancels AND o.id IS NOT NULL THEN 'unchanged'
    ELSE 'send' END AS what
FROM target t
LEFT JOIN target n ON n.reference = t.reference AND NOT n.cancels
LEFT JOIN target c ON c.reference = t.reference AND c.cancels
LEFT JOIN held h ON h.reference = t.reference
LEFT JOIN own o ON o.id = h.submission
"""
#: Records of ours that stand, and are other ones now or gone, without a row that cancels them.
_OLD = """
CREATE TABLE old AS
SELECT h.reference, h.submission, h.position
FROM held h JOIN own o ON o.id = h.submission
LEFT JOIN target n ON n.reference = h.reference AND NOT n.cancels
LEFT JOIN target c ON c.reference = h.reference AND c.cancels
WHERE NOT h.cancels AND c.position IS NULL AND CASE
    WHEN n.position IS NOT NULL THEN n.digest <> h.digest
    ELSE o.resubmission = 0 AND NOT $1 END
"""
_TAKEN_BACK = """
SELECT h.reference FROM held h JOIN own o ON o.id = h.submission
WHERE h.cancels AND o.resubmission = 0 AND h.before IS NOT NULL
    AND h.before NOT IN (SELECT id FROM own)
    AND h.reference NOT IN (SELECT reference FROM target)
ORDER BY h.reference LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What a correction consists of.

    Attributes:
        reports: rows that report a record.
        cancellations: rows that cancel one.
        unchanged: rows of the table that the authority has, or was told, already.
    """

    reports: int
    cancellations: int
    unchanged: int


def derive(
    target: Path,
    spec: ReferencesSpec,
    *,
    held: Iterable[list[Held]],
    own: Mapping[int, int],
    written: Mapping[int, Path],
    resubmission: bool,
    out: Path,
    scratch: Path,
) -> Correction:
    """Write the rows that make an authority's records those of a table.

    Cancellations come first, by reference; reports follow in the table's order. A reference that
    another report or business date uses is not cancelled: the delivery is stopped then.

    Args:
        target: the records as they should stand, as Parquet; rows that cancel records of other
            business dates may be among them.
        spec: which column is what.
        held: how it stands with the references of the table and of the artifact.
        own: the submissions of this artifact for this business date, by id; the number of the
            resubmission, 0 for a report.
        written: their tables by id.
        resubmission: the table holds only some of the records, so that none is gone.
        out: where the rows go, as Parquet with the table's columns.
        scratch: a folder for what does not fit into memory.

    Raises:
        ArtifactError: a row cannot be understood, a reference stands in the table twice, or a
            cancellation of another date's record, which went out, is no longer in the table.
    """
    refuse_unreadable(target, spec)
    with open_database(scratch) as database:
        _load(database, target, spec, held, own)
        _refuse_twice(database)
        if not resubmission and (row := database.execute(_TAKEN_BACK).fetchone()):
            message = f"the cancellation of {row[0]!r} went out and is no longer in the table"
            hint = "A cancellation cannot be taken back: report the record anew."
            raise ArtifactError(message, hint=hint)
        database.execute(_PLAN)
        database.execute(_OLD, [resubmission])
        _old_rows(database, target, spec, written)
        _write(database, target, out)
        count = dict(database.execute("SELECT what, count(*) FROM plan GROUP BY what").fetchall())
        [[reports]] = database.execute(
            "SELECT count(*) FROM plan WHERE what = 'send' AND NOT cancels"
        ).fetchall()
        [[cancelled]] = database.execute("SELECT count(*) FROM old").fetchall()
    sent = count.get("send", 0)
    return Correction(
        reports=reports,
        cancellations=sent - reports + cancelled,
        unchanged=count.get("unchanged", 0),
    )


def _load(
    database: duckdb.DuckDBPyConnection,
    target: Path,
    spec: ReferencesSpec,
    held: Iterable[list[Held]],
    own: Mapping[int, int],
) -> None:
    chosen = selection(spec, column_names(database, target))
    database.execute(
        f"CREATE TABLE target AS SELECT {chosen} "  # noqa: S608
        "FROM read_parquet($1, file_row_number = true)",
        [str(target)],
    )
    database.execute("CREATE TABLE own (id BIGINT, resubmission INTEGER)")
    for one, number in own.items():
        database.execute("INSERT INTO own VALUES ($1, $2)", [one, number])
    database.register("batch", _HELD.empty_table())
    database.execute("CREATE TABLE held AS SELECT * FROM batch")
    for rows in held:
        columns = zip(*rows, strict=True)
        arrays = [pa.array(values, f.type) for values, f in zip(columns, _HELD, strict=True)]
        database.register("batch", pa.Table.from_arrays(arrays, schema=_HELD))
        database.execute("INSERT INTO held SELECT * FROM batch")
    database.unregister("batch")


def _refuse_twice(database: duckdb.DuckDBPyConnection) -> None:
    row = database.execute(
        "SELECT reference, cancels FROM target GROUP BY reference, cancels "
        "HAVING count(*) > 1 ORDER BY reference LIMIT 1"
    ).fetchone()
    if row is not None:
        message = f"{row[0]!r} is {'cancelled' if row[1] else 'reported'} twice in the table"
        raise ArtifactError(message, hint="Give every record a reference of its own.")


def _old_rows(
    database: duckdb.DuckDBPyConnection,
    target: Path,
    spec: ReferencesSpec,
    written: Mapping[int, Path],
) -> None:
    """The rows of old records, as they were sent, with the word for a cancellation."""
    columns = column_names(database, target)
    database.execute(
        "CREATE TABLE cancelled AS SELECT * FROM read_parquet($1) LIMIT 0", [str(target)]
    )
    needed = database.execute("SELECT DISTINCT submission FROM old ORDER BY 1").fetchall()
    for (submission,) in needed:
        path = str(written[submission])
        there = set(column_names(database, written[submission]))
        # A column that was not there then stays empty.
        names = ", ".join(
            f"$3 AS {named(c)}" if c == spec.action else f"p.{named(c)}"
            for c in columns
            if c in there or c == spec.action
        )
        database.execute(
            f"INSERT INTO cancelled BY NAME SELECT {names} "  # noqa: S608
            "FROM read_parquet($1, file_row_number = true) p "
            "JOIN old ON old.position = p.file_row_number AND old.submission = $2",
            [path, submission, spec.cancel[0]],
        )
    name = named(spec.column)
    listed = ", ".join(named(c) for c in columns)
    database.execute(
        f"INSERT INTO cancelled SELECT {listed} "  # noqa: S608
        "FROM read_parquet($1, file_row_number = true) p "
        "JOIN plan ON plan.position = p.file_row_number AND plan.what = 'send' AND plan.cancels",
        [str(target)],
    )
    database.execute(
        f"CREATE VIEW cancelling AS SELECT {listed} FROM cancelled "  # noqa: S608
        f"ORDER BY CAST({name} AS VARCHAR)"
    )


def _write(database: duckdb.DuckDBPyConnection, target: Path, out: Path) -> None:
    schema = pq.read_schema(target).remove_metadata()
    listed = ", ".join(f"p.{named(name)}" for name in schema.names)
    queries: tuple[tuple[str, list[str]], ...] = (
        ("SELECT * FROM cancelling", []),
        (
            f"SELECT {listed} FROM read_parquet($1, file_row_number = true) p "  # noqa: S608
            "JOIN plan ON plan.position = p.file_row_number AND plan.what = 'send' "
            "AND NOT plan.cancels ORDER BY p.file_row_number",
            [str(target)],
        ),
    )
    with pq.ParquetWriter(out, schema, compression="zstd") as file:
        for query, values in queries:
            for batch in database.sql(query, params=values).to_arrow_reader(_BATCH):
                if batch.num_rows:
                    file.write_table(pa.Table.from_batches([batch]).cast(schema))
