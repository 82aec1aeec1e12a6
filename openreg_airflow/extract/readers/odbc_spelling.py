"""Queries whose times the database spells itself, since its driver makes others of them.

PostgreSQL's driver reads the text that the server sends with a pattern of four digits for the year
and none for what is beside it: infinity becomes the end of 9999, the year 12026 becomes today, and
a day before our era the same day of our era. Where the server is asked for text there is nothing
to read, which also takes half the processor's time.
"""

from __future__ import annotations

import pyarrow as pa

#: More than any day or timestamp is spelled with; a cast to a length cuts off, so it has to be.
_TEXT = "varchar(40)"
_ALIAS = "openreg_rows"


def describing(sql: str) -> str:
    """A query with the columns of another, and no rows."""
    return f"SELECT * FROM (\n{sql}\n) AS {_ALIAS} LIMIT 0"  # noqa: S608 - the author's own query


def spelling(sql: str, columns: pa.Schema) -> str | None:
    """A query with the rows of another, in their order, with times as text; None if it has none.

    Args:
        sql: the other query.
        columns: as the driver describes them.
    """
    names = [f"c{number}" for number in range(len(columns))]
    values = [_spelled(name, field.type) for name, field in zip(names, columns, strict=True)]
    if values == names:
        return None
    listed = ", ".join(
        f"{value} AS {_quoted(field.name)}" for value, field in zip(values, columns, strict=True)
    )
    return f"SELECT {listed} FROM (\n{sql}\n) AS {_ALIAS}({', '.join(names)})"  # noqa: S608


def is_spelled(kind: pa.DataType) -> bool:
    """Whether the database spells values of a type."""
    return _spelled("", kind) != ""


def _spelled(name: str, kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):  # without the zone of an instant: the session is in UTC
        return f"CAST(CAST({name} AS timestamp) AS {_TEXT})"
    # Money passes for a short float, and loses digits where it is one.
    if pa.types.is_date(kind) or pa.types.is_float32(kind):
        return f"CAST({name} AS {_TEXT})"
    return name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
