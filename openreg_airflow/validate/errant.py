"""Finds the first row at which a condition cannot be evaluated, by halves."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import duckdb

from openreg_airflow.sql_quoting import named
from openreg_airflow.validate.message import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.language.compiler import Condition

_EVALUATION = (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException)


def erring_row(
    connection: duckdb.DuckDBPyConnection,
    condition: Condition,
    table: str,
    rows: int,
    parameters: Mapping[str, Any],
) -> str | None:
    """Where a condition fails: the row's number, and the values that the condition reads.

    Args:
        connection: the session with the table.
        condition: one that failed over the whole table.
        table: its table.
        rows: how many rows the table has.
        parameters: the value of ``$business_date`` if the condition asks for it.

    Returns:
        ``row 17 (price=1, rate=0)``, or None when no single row is at fault.

    Raises:
        duckdb.Error: the search itself was interrupted or ran out of memory.
    """
    columns = ", ".join(map(named, condition.columns))
    if not columns:
        return None
    low, high = 0, rows
    if not _fails(connection, condition, (table, columns), (low, high), parameters):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _fails(connection, condition, (table, columns), (low, middle), parameters):
            high = middle
        else:
            low = middle
    texts = ", ".join(f"CAST({named(column)} AS VARCHAR)" for column in condition.columns)
    query = f"SELECT {texts} FROM {named(table)} LIMIT 1 OFFSET {low}"  # noqa: S608
    with suppress(duckdb.Error):
        [values] = connection.execute(query).fetchall()
        pairs = zip(condition.columns, values, strict=True)
        listed = ", ".join(f"{c}={'NULL' if v is None else shown(v)}" for c, v in pairs)
        return f"row {low + 1:,} ({listed})"
    return None


def _fails(
    connection: duckdb.DuckDBPyConnection,
    condition: Condition,
    source: tuple[str, str],
    rows: tuple[int, int],
    parameters: Mapping[str, Any],
) -> bool:
    table, columns = source
    first, end = rows
    # The name of the table stands for the part, inside the condition's own subqueries too.
    query = (
        f"WITH {named(table)} AS MATERIALIZED (SELECT {columns} FROM memory.main.{named(table)} "  # noqa: S608
        f"LIMIT {end - first} OFFSET {first}) "
        f"SELECT count(*) FROM {named(table)} WHERE ({condition.sql}) IS NOT TRUE"
    )
    try:
        connection.execute(query, dict(parameters)).fetchall()
    except _EVALUATION:
        return True
    return False
