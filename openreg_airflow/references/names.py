"""By what an authority's answers name the rows of a file, and whether that tells them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from openreg_airflow.errors import ArtifactError
from openreg_airflow.references.content import open_database
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from openreg_airflow.references.spec import ReferencesSpec

#: Between the values of several columns that together name a row.
BETWEEN = " / "
#: The most that the store keeps of a name.
_LONGEST = 250


def name_of(values: str | Sequence[str]) -> str:
    """What an answer names a row by, as one text."""
    return values if isinstance(values, str) else BETWEEN.join(values)


def name_sql(columns: Sequence[str]) -> str:
    """The same in SQL; NULL where one of the columns is."""
    return f" || {quoted(BETWEEN)} || ".join(f"CAST({named(c)} AS VARCHAR)" for c in columns)


def refuse_alike(
    table: Path, columns: Sequence[str], about: ReferencesSpec | None, scratch: Path
) -> None:
    """See that an answer to each row of a table can be told from those to the others.

    Where answers name rows by reference alone, a cancellation may stand beside the new report of
    its reference: the authority only looks at the report when it took the cancellation. What is
    told of a record besides needs a name of its own.

    Args:
        table: the rows as they are written.
        columns: those by which answers name a row.
        about: the artifact's ``references``.
        scratch: a folder for what does not fit into memory.

    Raises:
        ArtifactError: a row has no name, one that is too long, or that of another row.
    """
    there = pq.read_schema(table).names
    if missing := [name for name in columns if name not in there]:
        message = f"the table has no column {missing[0]}, by which answers name its rows"
        raise ArtifactError(message, hint=f"Its columns are {', '.join(there)}.")
    told = "false"
    if about is not None and tuple(columns) == (about.column,) and about.record is None:
        words = ", ".join(map(quoted, (*about.new, *about.cancel, about.revive or "")))
        told = f"bool_and(CAST({named(about.action)} AS VARCHAR) IN ({words}))"
    with open_database(scratch) as database:
        rows = f"read_parquet({quoted(str(table))}, file_row_number = true)"
        named_rows = f"SELECT {name_sql(columns)} AS name, * FROM {rows}"  # noqa: S608
        nameless = database.execute(
            f"SELECT file_row_number, length(name) FROM ({named_rows}) WHERE name IS NULL "  # noqa: S608
            f"OR length(name) NOT BETWEEN 1 AND {_LONGEST} ORDER BY 1 LIMIT 1"
        ).fetchone()
        alike = database.execute(
            "SELECT name, count(*), min(file_row_number), max(file_row_number) "  # noqa: S608
            f"FROM ({named_rows}) GROUP BY name HAVING count(*) > 1 AND NOT {told} "
            "ORDER BY min(file_row_number) LIMIT 1"
        ).fetchone()
    by = ", ".join(columns)
    if nameless is not None:
        row, length = nameless
        message = (
            f"{by} has {length} characters" if length else f"{by} is empty"
        ) + ", and answers name the row by it"
        hint = f"Every row needs a name of at most {_LONGEST} characters."
        raise ArtifactError(message, where=f"row {row + 1}", hint=hint)
    if alike is not None:
        name, count, first, last = alike
        message = (
            f"{count} rows are named {name!r} by {by}, rows {first + 1} and {last + 1} among them: "
            "nobody could tell which of them an answer means"
        )
        hint = (
            "Let `record` in the artifact's `references` tell the rows apart, such as a technical "
            "record id that the file has, or [uti, action]; or give these reports artifacts of "
            "their own."
        )
        raise ArtifactError(message, hint=hint)
