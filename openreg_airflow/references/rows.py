"""The references of a table's rows, and whether each row reports or cancels its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from openreg_airflow.errors import ArtifactError
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from openreg_airflow.references.spec import ReferencesSpec
    from openreg_airflow.store.reference_staging import StagedRecord

_BATCH = 50_000
#: The most that the store keeps of a reference.
_LONGEST = 250


def open_database(scratch: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A database in memory with bounded memory.

    Args:
        scratch: where it puts what does not fit into memory; nowhere when left out.
    """
    config: dict[str, Any] = {"max_memory": "512MiB", "threads": 2}
    if scratch is not None:
        config["temp_directory"] = str(scratch)
    database = duckdb.connect(":memory:", config=config)
    database.execute("SET TimeZone = 'UTC'")
    database.execute("SET preserve_insertion_order = true")
    return database


def words(values: Sequence[str]) -> str:
    """Texts as a list in SQL."""
    return "(" + ", ".join(map(quoted, values)) + ")"


def selection(spec: ReferencesSpec, columns: Sequence[str]) -> str:
    """The SQL of ``position``, ``reference``, ``cancels`` and ``digest`` of the rows of a table.

    The digest tells a record's content: each value as text with its length before it, so that no
    two records look alike. The action does not count.

    Args:
        spec: which column is what.
        columns: the columns of the table.
    """
    texts = [f"CAST({named(c)} AS VARCHAR)" for c in columns if c != spec.action]
    plain = ", ".join(f"coalesce(length({t}) || ':' || {t}, '-')" for t in texts)
    return (
        f"file_row_number AS position, CAST({named(spec.column)} AS VARCHAR) AS reference, "
        f"CASE WHEN {named(spec.action)} IN {words(spec.cancel)} THEN true "
        f"WHEN {named(spec.action)} IN {words(spec.new)} THEN false END AS cancels, "
        f"md5(concat({plain})) AS digest"
    )


def column_names(database: duckdb.DuckDBPyConnection, table: Path) -> list[str]:
    """The columns of a Parquet file."""
    found = database.execute("SELECT * FROM read_parquet($1) LIMIT 0", [str(table)])
    return [column[0] for column in found.description or ()]


def refuse_unreadable(table: Path, spec: ReferencesSpec) -> None:
    """See that every row has a reference, and says whether it reports or cancels.

    Raises:
        ArtifactError: a column is missing, or a row has no reference, one that is too long, or
            another word for its action.
    """
    with open_database() as database:
        _refuse_unreadable(database, table, spec)


def _refuse_unreadable(
    database: duckdb.DuckDBPyConnection, table: Path, spec: ReferencesSpec
) -> None:
    columns = column_names(database, table)
    for name in (spec.column, spec.action):
        if name not in columns:
            message = f"the table has no column {name}, which `references` names"
            raise ArtifactError(message, hint=f"Its columns are {', '.join(columns)}.")
    action = f"CAST({named(spec.action)} AS VARCHAR)"
    row = database.execute(
        f"SELECT position, reference, action FROM (SELECT {selection(spec, columns)}, "  # noqa: S608
        f"{action} AS action FROM read_parquet($1, file_row_number = true)) "
        "WHERE reference IS NULL OR length(reference) NOT BETWEEN 1 AND $2 OR cancels IS NULL "
        "ORDER BY position LIMIT 1",
        [str(table), _LONGEST],
    ).fetchone()
    if row is None:
        return
    position, reference, said = row
    if reference is None or not 1 <= len(reference) <= _LONGEST:
        message = f"{spec.column} is {reference!r}, which is no reference"
        hint = f"Every row needs one, of at most {_LONGEST} characters."
    else:
        message = f"{spec.action} of {reference!r} is {said!r}"
        hint = f"Expected {', '.join((*spec.new, *spec.cancel))}: see `references`."
    raise ArtifactError(message, where=f"row {position + 1}", hint=hint)


def records(table: Path, spec: ReferencesSpec) -> Iterator[list[StagedRecord]]:
    """The records of a table in their order, in batches.

    Args:
        table: a Parquet file.
        spec: which column is what.

    Raises:
        ArtifactError: as :func:`refuse_unreadable`.
    """
    with open_database() as database:
        _refuse_unreadable(database, table, spec)
        chosen = selection(spec, column_names(database, table))
        found = database.execute(
            f"SELECT {chosen} FROM read_parquet($1, file_row_number = true)",  # noqa: S608
            [str(table)],
        )
        while rows := found.fetchmany(_BATCH):
            yield rows
