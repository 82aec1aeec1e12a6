"""DuckDB's own parser and catalogue: SQL taken apart without a table, and the functions there are.

What is known of a rule's SQL comes from here, so that it is read as it will be when it runs.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import duckdb


@cache
def parser() -> duckdb.DuckDBPyConnection:
    """A connection without tables or access to anything, for taking statements apart."""
    return duckdb.connect(
        ":memory:",
        config={"threads": 1, "autoload_known_extensions": False, "enable_external_access": False},
    )


def syntax(sql: str) -> str:
    """DuckDB's syntax tree of some SQL, or what is wrong with it, as JSON."""
    [(text,)] = parser().cursor().execute("SELECT json_serialize_sql($1)", [sql]).fetchall()
    return str(text)


def place(sql: str, offset: int) -> tuple[int, int]:
    """The 1-based line and column of a byte offset in ``sql``."""
    before = sql.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def without_end(sql: str) -> str:
    """The statement without its final semicolons; what follows the first one is only comment."""
    for offset, kind in duckdb.tokenize(sql):
        if kind == duckdb.token_type.operator and sql.encode()[offset : offset + 1] == b";":
            return sql.encode()[:offset].decode()
    return sql


class FunctionEntry(NamedTuple):
    """One of DuckDB's functions, as its catalogue has it; all but the stability in lower case."""

    name: str
    kind: str
    definition: str
    stability: str | None


@cache
def functions() -> tuple[FunctionEntry, ...]:
    """All functions of DuckDB; one that takes other types again is there again."""
    rows = (
        parser()
        .cursor()
        .execute(
            "SELECT DISTINCT lower(function_name), function_type, "
            "lower(coalesce(macro_definition, '')), stability FROM duckdb_functions()"
        )
    )
    return tuple(FunctionEntry(*row) for row in rows.fetchall())
