"""What a record consists of: its row, the rows of inner tables that belong to it, and its step.

DuckDB reads the tables and spills to disk, so that memory grows neither with the records nor with
their inner rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import ArtifactError
from openreg_airflow.orphans import orphaned
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from openreg_airflow.references.spec import ReferencesSpec

#: The most that the store keeps of a reference.
_LONGEST = 250
_LOWER = f"{2**64 - 1}::UHUGEINT"


@dataclass(frozen=True, kw_only=True)
class Inner:
    """An inner table of records.

    Attributes:
        table: its name.
        parent: name of the table to whose rows its own belong.
        on: the columns that are equal: of the inner table, of the parent.
        path: its rows as Parquet.
    """

    table: str
    parent: str
    on: tuple[tuple[str, str], ...]
    path: Path


@dataclass(frozen=True, kw_only=True)
class Records:
    """The tables that records are made of.

    Attributes:
        name: name of the table with a row a record.
        path: its rows as Parquet.
        inner: the tables inside, parents first.
    """

    name: str
    path: Path
    inner: tuple[Inner, ...] = ()


def open_database(scratch: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A database in memory with bounded memory.

    Args:
        scratch: where it puts what does not fit into memory; nowhere when left out.
    """
    config: dict[str, Any] = {"max_memory": "256MiB", "threads": 2}
    if scratch is not None:
        config["temp_directory"] = str(scratch)
    database = duckdb.connect(":memory:", config=config)
    database.execute("SET TimeZone = 'UTC'")
    database.execute("SET preserve_insertion_order = true")
    return database


def load(database: duckdb.DuckDBPyConnection, records: Records, spec: ReferencesSpec) -> None:
    """Make the table ``target`` of records, and ``inner_0`` and so on of their inner rows.

    ``target`` has a record's ``position`` from 0, its ``reference``, the ``word`` of its action,
    whether it ``cancels``, what it ``needs`` of the reference before (``free``: it does not stand;
    ``unused``: it never did; ``standing``; ``known``: it stands or did; ``uncancelled`` and
    ``any``, where another system may have reported it), which ``event`` it tells
    of (nothing for the record itself, otherwise the word and its number) and the ``digest`` of its
    content, inner rows in their order included. ``inner_N`` has the position of the record as
    ``root`` and the number of the inner row as ``own``.

    Args:
        database: of :func:`open_database`.
        records: the tables.
        spec: which column is what.

    Raises:
        ArtifactError: a row has no reference or another word for its action, an inner row belongs
            to no record, or an inner table cannot be joined.
    """
    _refuse_unreadable(database, records.path, spec)
    for number in range(len(records.inner)):
        _load_inner(database, records, number)
    without = {spec.action, *spec.ignore, spec.record_id}
    digest = f"md5({_plain(_columns(records.path, without))})"
    source = f"(SELECT *, file_row_number AS position FROM {_rows(records.path)})"  # noqa: S608
    if records.inner:
        hashes = " UNION ALL ".join(
            f"SELECT root, hash FROM inner_{number}"  # noqa: S608
            for number in range(len(records.inner))
        )
        database.execute(
            "CREATE TABLE inner_digest AS SELECT root, bit_xor(hash) AS hash "  # noqa: S608
            f"FROM ({hashes}) GROUP BY root"
        )
        source = f"{source} LEFT JOIN inner_digest ON root = position"
        # A number of 128 bits becomes text a hundred times slower than two of 64.
        inner = f"((hash >> 64)::UBIGINT) || ' ' || ((hash & {_LOWER})::UBIGINT)"
        digest = f"CASE WHEN hash IS NULL THEN {digest} ELSE md5({digest} || ' ' || {inner}) END"
    database.execute(
        f"CREATE TABLE target AS SELECT {_steps(spec)}, {digest} AS digest "  # noqa: S608
        f"FROM {source} ORDER BY position"
    )


def _steps(spec: ReferencesSpec) -> str:
    word, reference = (f"CAST({named(c)} AS VARCHAR)" for c in (spec.action, spec.column))
    event = "''"
    if spec.further:
        number = f"row_number() OVER (PARTITION BY {reference}, {word} ORDER BY position)"
        event = f"CASE WHEN {word} IN {_words(spec.further)} THEN {word} || ' ' || {number} "
        event += "ELSE '' END"
    about = _words((*spec.cancel, *spec.further))
    standing, known = ("uncancelled", "any") if spec.elsewhere else ("standing", "known")
    revived = f"WHEN {word} = {quoted(spec.revive)} THEN '{known}' " if spec.revive else ""
    return (
        f"position, {reference} AS reference, {word} AS word, "
        f"{word} IN {_words(spec.cancel)} AS cancels, "
        f"CASE WHEN {word} IN {about} THEN '{standing}' {revived}"
        f"ELSE {quoted('unused' if spec.correct else 'free')} END AS needs, {event} AS event"
    )


def _load_inner(database: duckdb.DuckDBPyConnection, records: Records, number: int) -> None:
    """The rows of an inner table with their records, their places and their hashes."""
    inner = records.inner[number]
    names = [records.name, *(one.table for one in records.inner)]
    if names.count(inner.table) > 1:
        message = f"table {inner.table} belongs to records in two ways"
        raise ArtifactError(message, hint="Give each of the ways a table of its own.")
    place = names.index(inner.parent)
    parent = records.inner[place - 1].path if place else records.path
    _refuse_types(inner, parent)
    same = " AND ".join(f"i.{named(a)} = p.{named(b)}" for a, b in inner.on)
    rows, owners = f"{_rows(inner.path)} i", f"{_rows(parent)} p"
    [(lost, first)] = database.execute(
        f"SELECT count(*), min(i.file_row_number) FROM {rows} ANTI JOIN {owners} ON {same}"  # noqa: S608
    ).fetchall()
    if lost:
        raise orphaned(lost, inner.parent, f"table {inner.table} row {first + 1}")
    above = f"{owners} JOIN inner_{place - 1} o ON o.own = p.file_row_number" if place else owners
    root, way = ("o.root", "o.way || '/'") if place else ("p.file_row_number", "''")
    plain = _plain([f"i.{name}" for name in _columns(inner.path, set())])
    # Two equal rows have two places, so that neither cancels the other out.
    database.execute(
        f"CREATE TABLE inner_{number} AS SELECT root, own, way, "  # noqa: S608
        f"md5_number({quoted(inner.table + ' ')} || way || ' ' || plain) AS hash FROM ("
        f"SELECT {root} AS root, i.file_row_number AS own, {plain} AS plain, "
        f"{way} || row_number() OVER (PARTITION BY {root}, p.file_row_number "
        f"ORDER BY i.file_row_number) AS way FROM {rows} JOIN ({above}) ON {same})"
    )


def _refuse_types(inner: Inner, parent: Path) -> None:
    own, other = pq.read_schema(inner.path), pq.read_schema(parent)
    for name, above in inner.on:
        for table, column, schema in ((inner.table, name, own), (inner.parent, above, other)):
            if column not in schema.names:
                message = f"table {table} has no column {column}"
                raise ArtifactError(message, hint=f"Its columns are {', '.join(schema.names)}.")
        if (one := own.field(name).type) != (two := other.field(above).type):
            message = f"column {name} of {inner.table} is {one}, but {above} is {two}"
            hint = "Rows belong together by equal values: declare the same type for both."
            raise ArtifactError(message, hint=hint)


def _refuse_unreadable(
    database: duckdb.DuckDBPyConnection, table: Path, spec: ReferencesSpec
) -> None:
    """See that every row has a reference, and a word that is known for its action."""
    schema = pq.read_schema(table)
    columns = schema.names
    wanted = (spec.column, spec.action, *spec.names, *(spec.cancel_columns or ()), *spec.ignore)
    for name in wanted:
        if name not in columns:
            message = f"the table has no column {name}, which `references` names"
            raise ArtifactError(message, hint=f"Its columns are {', '.join(columns)}.")
    if (
        spec.derived
        and spec.record_id
        and not pa.types.is_string(schema.field(spec.record_id).type)
    ):
        message = f"{spec.record_id} is {schema.field(spec.record_id).type}, not text"
        hint = "Derived cancellations are named by text: declare the record id as string."
        raise ArtifactError(message, hint=hint)
    row = database.execute(
        "SELECT position, reference, word FROM (SELECT file_row_number AS position, "  # noqa: S608
        f"CAST({named(spec.column)} AS VARCHAR) AS reference, "
        f"CAST({named(spec.action)} AS VARCHAR) AS word FROM {_rows(table)}) "
        "WHERE reference IS NULL OR length(reference) NOT BETWEEN 1 AND $1 OR word IS NULL "
        f"OR word NOT IN {_words(spec.words)} ORDER BY position LIMIT 1",
        [_LONGEST],
    ).fetchone()
    if row is None:
        return
    position, reference, said = row
    if reference is None or not 1 <= len(reference) <= _LONGEST:
        message = f"{spec.column} is {reference!r}, which is no reference"
        hint = f"Every row needs one, of at most {_LONGEST} characters."
    else:
        message = f"{spec.action} of {reference!r} is {said!r}"
        hint = f"Expected {', '.join(spec.words)}: see `references`."
    raise ArtifactError(message, where=f"row {position + 1}", hint=hint)


def _columns(table: Path, without: AbstractSet[str | None]) -> list[str]:
    return [named(name) for name in pq.read_schema(table).names if name not in without]


def _plain(columns: Sequence[str]) -> str:
    """Values as one text, each with its length before it, so that no two rows look alike."""
    texts = [f"CAST({column} AS VARCHAR)" for column in columns]
    return (
        "concat('', " + ", ".join(f"coalesce(length({t}) || ':' || {t}, '-')" for t in texts) + ")"
    )


def _rows(path: Path) -> str:
    """SQL for the rows of a file with their numbers."""
    return f"read_parquet({quoted(str(path))}, file_row_number = true)"


def _words(values: Sequence[str]) -> str:
    return "(" + ", ".join(map(quoted, values)) + ")"
