"""Finds what has to be sent so that an authority has a table's records: a correction.

What the authority has comes from the store, record by record. Under the rules of some formats a
changed record goes out as the cancellation of the old one and a new report, under those of others
with an action of its own. DuckDB compares hashes, so that a million records take seconds and
bounded memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.references.content import load, open_database
from openreg_airflow.references.plan import make_plan
from openreg_airflow.references.rows import COLUMNS, IN_ORDER, put_records, read_records
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import duckdb

    from openreg_airflow.references.content import Records
    from openreg_airflow.references.spec import ReferencesSpec
    from openreg_airflow.store.reference_staging import StagedRecord
    from openreg_airflow.store.references import Held

_BATCH = 50_000
_HELD = pa.schema(
    [
        ("reference", pa.string()),
        ("event", pa.string()),
        ("cancels", pa.bool_()),
        ("digest", pa.string()),
        ("submission", pa.int64()),
        ("position", pa.int64()),
        ("before", pa.int64()),
        ("refused", pa.string()),
    ]
)
_SENT = "FROM plan WHERE what = 'send' AND {}cancels"


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What a correction consists of.

    Attributes:
        reports: rows that report something of a record.
        cancellations: rows that cancel one.
        unchanged: rows of the table that the authority has, or was told, already.
        inner: how many rows of each inner table go with the reports.
    """

    reports: int
    cancellations: int
    unchanged: int
    inner: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where a correction goes, each as Parquet.

    Attributes:
        rows: its rows, with the columns of the table of records.
        records: the same as the store takes them.
        inner: the rows of inner tables that go with them, by table.
    """

    rows: Path
    records: Path
    inner: Mapping[str, Path]


def derive(
    target: Records,
    spec: ReferencesSpec,
    *,
    held: Callable[[Iterable[list[StagedRecord]]], Iterable[list[Held]]],
    own: Mapping[int, int],
    written: Mapping[int, Path],
    resubmission: bool,
    out: Files,
    scratch: Path,
    left_out: Iterable[list[str]] = (),
) -> Correction:
    """Write the rows that make an authority's records those of a table.

    Cancellations come first, by reference; reports follow in the table's order, with the rows of
    inner tables that belong to them. A reference that another report or business date uses is not
    cancelled: the delivery is stopped then.

    Args:
        target: the records as they should stand; rows that cancel records of other business dates
            may be among them.
        spec: which column is what.
        held: how it stands with the references of records and of the artifact.
        own: the submissions of this artifact for this business date, by id; the number of the
            resubmission, 0 for a report.
        written: their tables by id.
        resubmission: the table holds only some of the records, so that none is gone.
        out: where it goes.
        scratch: a folder for what does not fit into memory.
        left_out: references of records that are not in the table and not gone, in batches.

    Raises:
        ArtifactError: a row cannot be understood, a reference stands in the table twice, or
            something that went out and cannot be taken back is no longer in the table.
    """
    with open_database(scratch) as database:
        load(database, target, spec)
        told = scratch / "target.parquet"
        put_records(database, [IN_ORDER], told)
        _load_held(database, held(read_records(told)), own)
        _load_left_out(database, left_out)
        make_plan(database, spec, resubmission=resubmission)
        _cancelling(database, target.path, spec, written)
        _write(database, target.path, spec, out.rows)
        put_records(database, _records(), out.records)
        inner = {
            one.table: _write_inner(database, number, one.path, out.inner[one.table])
            for number, one in enumerate(target.inner)
        }
        counts = [
            f"SELECT count(*) {_SENT.format('NOT ')}",
            f"SELECT (SELECT count(*) {_SENT.format('')}) "  # noqa: S608
            "+ (SELECT count(*) FROM old)",
            "SELECT count(*) FROM plan WHERE what = 'unchanged'",
        ]
        reports, cancelled, same = (database.execute(q).fetchall()[0][0] for q in counts)
    return Correction(reports=reports, cancellations=cancelled, unchanged=same, inner=inner)


def _load_held(
    database: duckdb.DuckDBPyConnection, held: Iterable[list[Held]], own: Mapping[int, int]
) -> None:
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


def _load_left_out(database: duckdb.DuckDBPyConnection, references: Iterable[list[str]]) -> None:
    database.execute("CREATE TABLE left_out (reference VARCHAR)")
    for batch in references:
        database.register("batch", pa.table({"reference": pa.array(batch, pa.string())}))
        database.execute("INSERT INTO left_out SELECT reference FROM batch")
        database.unregister("batch")


def _cancelling(
    database: duckdb.DuckDBPyConnection,
    target: Path,
    spec: ReferencesSpec,
    written: Mapping[int, Path],
) -> None:
    """The rows of old records, as they were sent, with the word for a cancellation."""
    columns = pq.read_schema(target).names
    database.execute(
        "CREATE TABLE cancelled AS SELECT * FROM read_parquet($1) LIMIT 0", [str(target)]
    )
    needed = database.execute("SELECT DISTINCT submission FROM old ORDER BY 1").fetchall()
    for (submission,) in needed:
        there = set(pq.read_schema(written[submission]).names)
        if spec.cancel_columns is not None:
            there &= {spec.column, *spec.cancel_columns}
        # Other columns, and those that were not there then, stay empty. An old record id may be
        # that of another row by now.
        made = {
            spec.action: "$3",
            spec.record_id: f"CAST(p.{named(spec.column)} AS VARCHAR) || '-' || $3",
        }
        names = ", ".join(
            f"{made[c]} AS {named(c)}" if c in made else f"p.{named(c)}"
            for c in columns
            if c in there or c in made
        )
        database.execute(
            f"INSERT INTO cancelled BY NAME SELECT {names} "  # noqa: S608
            "FROM read_parquet($1, file_row_number = true) p "
            "JOIN old ON old.position = p.file_row_number AND old.submission = $2",
            [str(written[submission]), submission, spec.cancel[0]],
        )
    listed = ", ".join(named(c) for c in columns)
    database.execute(
        f"INSERT INTO cancelled SELECT {listed} "  # noqa: S608
        "FROM read_parquet($1, file_row_number = true) p "
        "JOIN plan ON plan.position = p.file_row_number AND plan.what = 'send' AND plan.cancels",
        [str(target)],
    )
    database.execute(
        f"CREATE VIEW cancelling AS SELECT {listed} FROM cancelled "  # noqa: S608
        f"ORDER BY CAST({named(spec.column)} AS VARCHAR)"
    )


def _write(
    database: duckdb.DuckDBPyConnection, target: Path, spec: ReferencesSpec, out: Path
) -> None:
    listed = ", ".join(
        f"plan.word AS {named(c)}" if c == spec.action else f"p.{named(c)}"
        for c in pq.read_schema(target).names
    )
    reports = (
        f"SELECT {listed} FROM read_parquet({quoted(str(target))}, file_row_number = true) p "  # noqa: S608
        "JOIN plan ON plan.position = p.file_row_number AND plan.what = 'send' "
        "AND NOT plan.cancels ORDER BY p.file_row_number"
    )
    _copy(database, ("SELECT * FROM cancelling", reports), target, out)


def _records() -> tuple[str, str]:
    """The rows as the store takes them, in the order in which they are written."""
    sent = f"SELECT {COLUMNS}, position AS origin {_SENT}"
    old = "SELECT reference, true, digest, 'standing', '', NULL FROM old"
    cancelled = f"{sent.format('')} UNION ALL {old}"
    return (
        f"SELECT * FROM ({cancelled}) ORDER BY reference",  # noqa: S608
        f"{sent.format('NOT ')} ORDER BY position",
    )


def _write_inner(database: duckdb.DuckDBPyConnection, number: int, source: Path, out: Path) -> int:
    """The rows that belong to records that are sent; a row of several records is there once."""
    columns = ", ".join(named(name) for name in pq.read_schema(source).names)
    query = (
        f"SELECT {columns} FROM read_parquet({quoted(str(source))}, file_row_number = true) p "  # noqa: S608
        f"WHERE p.file_row_number IN (SELECT own FROM inner_{number} i JOIN plan "
        "ON plan.position = i.root WHERE plan.what = 'send') ORDER BY p.file_row_number"
    )
    return _copy(database, (query,), source, out)


def _copy(
    database: duckdb.DuckDBPyConnection, queries: tuple[str, ...], like: Path, out: Path
) -> int:
    """Write the rows of queries with the columns of a file, and give their number."""
    schema = pq.read_schema(like).remove_metadata()
    rows = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as file:
        for query in queries:
            for batch in database.sql(query).to_arrow_reader(_BATCH):
                if batch.num_rows:
                    file.write_table(pa.Table.from_batches([batch]).cast(schema))
                    rows += batch.num_rows
    return rows
