"""A DuckDB connection that can read the report's tables and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from openreg_airflow.language.library import install
from openreg_airflow.language.scope import holding
from openreg_airflow.sql_quoting import named, quoted
from openreg_airflow.validate.duckdb_syntax import place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from openreg_airflow.validate.job import MappingTable
    from openreg_airflow.validate.spec import ValidateLimits

#: No extensions, no secrets, no variables of Python; undefined results are errors.
STRICT: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
    "python_scan_all_frames": False,
    "ieee_floating_point_ops": False,
    "error_on_division_by_zero": True,
}


@dataclass(frozen=True)
class View:
    """Rows of a local Parquet file under a name: what is selected, and which rows."""

    path: Path
    columns: str = "*"
    rows: str = "true"


def mapping_views(mappings: Mapping[str, MappingTable], day: date) -> dict[str, View]:
    """Two views of each mapping set: the entries of the business date, and those of all dates.

    Args:
        mappings: the sets by name.
        day: the business date.
    """
    views = {}
    for name, one in mappings.items():
        codes = one.codes(name)
        columns = ", ".join(named(column.name) for column in (*one.keys, *one.values))
        holds = holding("entries", f"DATE '{day.isoformat()}'")
        views[codes.view] = View(one.path, columns, holds)
        views[codes.dated_view] = View(one.path)
    return views


def open_session(
    tables: Mapping[str, Path],
    limits: ValidateLimits,
    scratch: Path,
    views: Mapping[str, View] | None = None,
    sql: str | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open a connection with the tables as views, then lock it.

    After that the connection reads the tables' own files and its temporary files; every other
    file, the network, extensions and all settings are out of reach of any statement. Division by
    zero and other undefined results are errors, never NULL or infinity.

    Args:
        tables: local Parquet files by table name.
        limits: memory, disk and threads that the connection may use.
        scratch: an existing private folder for temporary files.
        views: further tables, which are parts of files; one of ``tables`` hides its namesake.
        sql: all SQL that will be asked, if that is known; see
            :func:`openreg_airflow.language.library.install`.
    """
    files = {name: View(path) for name, path in tables.items()}
    shown = {**(views or {}), **files}
    connection = duckdb.connect(
        ":memory:",
        config={
            **STRICT,
            "memory_limit": f"{limits.memory_mb}MiB",
            "threads": limits.threads,
            "temp_directory": str(scratch / "spill"),
            "max_temp_directory_size": f"{limits.disk_mb}MiB",
            "errors_as_json": True,
        },
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET parquet_metadata_cache = true")
        install(connection, sql)
        paths = ", ".join(quoted(str(one.path)) for one in shown.values())
        connection.execute(f"SET allowed_paths = [{paths}]")
        for name, one in shown.items():
            file = f"read_parquet({quoted(str(one.path))}) AS entries"
            columns = all_columns(connection, one.path) if one.columns == "*" else one.columns
            query = f"SELECT {columns} FROM {file} WHERE {one.rows}"  # noqa: S608
            connection.execute(f"CREATE VIEW {named(name)} AS {query}")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


def all_columns(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """``*`` for a file, with floating point numbers as they are and not as statistics have them.

    The least and greatest value that Parquet keeps of a column leave NaN out, and DuckDB takes them
    for bounds of all values: of a column with 1, 2 and NaN no value would be NaN, nor above 2,
    which NaN is in SQL. What is read through TRY has no such bounds, and costs no time.

    Args:
        connection: one that may read the file.
        path: the Parquet file.
    """
    described = connection.execute(
        f"DESCRIBE SELECT * FROM read_parquet({quoted(str(path))})"  # noqa: S608
    ).fetchall()
    floating = [named(name) for name, kind, *_ in described if "DOUBLE" in kind or "FLOAT" in kind]
    read = ", ".join(f"TRY({name}) AS {name}" for name in floating)
    return f"* REPLACE ({read})" if floating else "*"


def reason(error: duckdb.Error, sql: str, offset: int) -> str:
    """What DuckDB says of a failed statement, on one line, with the place in the rule's SQL.

    Args:
        error: the error; its text is JSON, as :func:`open_session` asks DuckDB.
        sql: the rule's SQL.
        offset: where that SQL begins in the statement that failed, in bytes.
    """
    kind, _, text = str(error).partition(": ")
    try:
        details = json.loads(text)
    except ValueError:
        details = {"exception_message": text or kind}
    said = str(details["exception_message"])
    # What follows is advice about settings that a rule cannot change.
    for advice in (". Use TRY(", "\n\nPossible solutions:"):
        said = said.partition(advice)[0]
    said = "; ".join(line.strip() for line in said.splitlines() if line.strip())
    position = int(details.get("position", -1)) - offset
    if 0 <= position <= len(sql.encode()):
        line, column = place(sql, position)
        said = f"{said} (line {line}, column {column} of its SQL)"
    if isinstance(error, duckdb.OutOfMemoryException):
        said = f"{said}; the limits are validate.limits.memory_mb and disk_mb"
    return f"{kind}: {said}"
