"""What is known of databases behind ODBC, by the name that their drivers give."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from openreg_airflow.extract.spec import type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.extract.spec import Value


@dataclass(frozen=True, kw_only=True)
class Product:
    """A database product.

    Attributes:
        name: what its driver calls it.
        options: put into the connection string, so that the driver streams a result;
            ``{widest}`` is the room for one value.
        begin: statements that make a session a reading one; ``{seconds}`` is the time limit.
        session_id: a query for the session's number.
        stop: a statement that another session stops the query with; ``{id}`` is the number.
        marks: how a bound text is read in each type; ``{scale}`` is of a decimal.
        limits_queries: the driver itself can stop a query at a limit.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    begin: tuple[str, ...] = ()
    session_id: str | None = None
    stop: str | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    limits_queries: bool = False

    def bind(self, value: Value) -> tuple[str, str]:
        """A value as text, and the mark that reads it."""
        kind = type_of(value)
        text = f"{value:f}" if isinstance(value, Decimal) else str(value)
        scale = len(text.partition(".")[2])
        return text, self.marks.get(kind, "?").format(scale=scale)


_POSTGRES = Product(
    name="PostgreSQL",
    # Without it the driver keeps the whole result in memory.
    options={"UseDeclareFetch": "1", "Fetch": "10000", "MaxLongVarcharSize": "{widest}"},
    begin=(
        "SET TIME ZONE 'UTC'",
        "SET statement_timeout = '{seconds}s'",
        "SET synchronize_seqscans = off",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    ),
    session_id="SELECT pg_backend_pid()",
    stop="SELECT pg_cancel_backend({id})",
    marks={
        "date": "CAST(? AS date)",
        "decimal": "CAST(? AS numeric)",
        "integer": "CAST(? AS bigint)",
        "string": "CAST(? AS text)",
    },
)

_MYSQL = Product(
    name="MySQL",
    options={"FORWARDONLY": "1", "NO_CACHE": "1"},
    begin=(
        "SET SESSION time_zone = '+00:00', max_execution_time = {seconds}000",
        "SET SESSION TRANSACTION READ ONLY",
    ),
    session_id="SELECT connection_id()",
    stop="KILL QUERY {id}",
    marks={
        "date": "CAST(? AS date)",
        "decimal": "CAST(? AS decimal(65,{scale}))",
        "integer": "CAST(? AS signed)",
    },
)

_MARIADB = Product(
    name="MariaDB",
    options=_MYSQL.options,
    begin=(
        "SET SESSION time_zone = '+00:00', max_statement_time = {seconds}",
        "SET SESSION TRANSACTION READ ONLY",
    ),
    session_id=_MYSQL.session_id,
    stop=_MYSQL.stop,
    marks=_MYSQL.marks,
)

_SQL_SERVER = Product(
    name="Microsoft SQL Server",
    session_id="SELECT CAST(@@SPID AS int)",
    stop="KILL {id}",
    marks={
        "date": "CAST(? AS date)",
        "decimal": "CAST(? AS decimal(38,{scale}))",
        "integer": "CAST(? AS bigint)",
    },
    limits_queries=True,
)

#: SQLite compares a number with a text and finds them different.
_SQLITE = Product(
    name="SQLite",
    marks={"decimal": "CAST(? AS numeric)", "integer": "CAST(? AS integer)"},
)

_KNOWN = (_POSTGRES, _MARIADB, _MYSQL, _SQL_SERVER, _SQLITE)


def find_product(name: str) -> Product:
    """What is known of a product; of others nothing but ODBC itself."""
    return next((known for known in _KNOWN if known.name == name), Product(name=name))
