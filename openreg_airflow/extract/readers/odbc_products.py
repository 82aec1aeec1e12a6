"""What is known of databases behind ODBC, by the name that their drivers give."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from openreg_airflow.extract.parameter import type_of
from openreg_airflow.extract.readers.mysql_settings import UNCUT
from openreg_airflow.extract.readers.sqlite_numbers import sqlite_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.extract.parameter import Value

#: Letters of two, three and four bytes in UTF-8.
UNLIKE_LETTERS = "\u00e9\u20ac\U0001f600"
_AS_HEX = UNLIKE_LETTERS.encode().hex()


@dataclass(frozen=True, kw_only=True)
class Product:
    """A database product.

    Attributes:
        name: what its driver calls it.
        called: what messages call it.
        dialect: sqlglot's name of its SQL; of others only what the standard says is known.
        options: put into the connection string, so that the driver streams a result;
            ``{widest}`` is the room for one value.
        begin: statements that make a session a reading one; ``{seconds}`` is the time limit.
        hold: statements that keep what follows in one transaction over one state of the database;
            None when it is not known how.
        still_there: a statement that only succeeds in the session as it was begun. It is run
            after the last row, since some drivers take a broken connection for the end of the rows.
        session_id: a query for the session's number.
        stop: a statement that another session stops the query with; ``{id}`` is the number.
        marks: how a bound text is read in each type; ``{scale}`` is of a decimal.
        as_text: how a query makes text of a column; for hints.
        most_values: that may be bound in a query, with each value of a list; drivers lose the
            connection with more, or crash. ODBC itself numbers them with 16 bits.
        limits_queries: the driver itself can stop a query at a limit.
        dates_as_text: the driver makes another day or NULL of a day that is none, like -infinity or
            0000-00-00, unless it is asked for text.
        plain_as_bytes: the driver makes another time or number, or NULL, of one that it does not
            expect, like 0000-00-00 or 24:00:00, and stops at the room that it needs for it as text,
            but gives it as it is when it is asked for bytes.
        bits_as_numbers: the driver gives a single bit rightly only when it is asked for a number.
        short_floats: what the driver says is a float of 32 bits is one, and keeps its digits.
        binary_numbers: decimals become integers of 64 bits or binary floats.
        spells_times: a query that gives 1 where the database can be asked for days and timestamps
            as text, by a query around the one that is read, and keeps that one's order.
        several_results: a text of the database may hold several statements, and return more than
            one result.
        writes_files: a reading session may still write files, and executes some comments.
        speaks_utf8: a query that makes :data:`UNLIKE_LETTERS` of plain ASCII. A driver that gives
            them as UTF-8 is asked for all text so, which spares it two conversions a value; None
            where only UTF-16 is known to lose nothing.
        streams_since: the first version of the driver, as ODBC spells it, that does not keep a
            whole result in memory; empty when each one streams.
        table_facts: a query for what is known of a table, by its schema (empty for the session's)
            and name, once or more times. A row for each column: 1 where transactions see one state
            of the table, bytes of a row, name and type; no index; its place. Then one for each
            index that a column is in: the third is the column's name, the fifth the index's, then
            the column's place in it, and 0 where it is unique.
        tls_initials: of the words for ``SSLmode``, where the driver takes any other for no TLS.
        encrypted: a query that gives 1 in a session with TLS, where the driver goes on without it
            although ``FORCETLS`` asks for it.
        passing: the server's numbers of errors after which another try may succeed.
        hints: what to do about an error, by the server's number.
    """

    name: str
    called: str = "the ODBC source"
    dialect: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    begin: tuple[str, ...] = ()
    hold: tuple[str, ...] | None = None
    still_there: str | None = None
    session_id: str | None = None
    stop: str | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    as_text: str = "CAST({name} AS text)"
    most_values: int = 65_535
    limits_queries: bool = False
    dates_as_text: bool = False
    plain_as_bytes: bool = False
    bits_as_numbers: bool = False
    short_floats: bool = False
    binary_numbers: bool = False
    spells_times: str | None = None
    several_results: bool = False
    writes_files: bool = False
    speaks_utf8: str | None = None
    streams_since: str = ""
    table_facts: str | None = None
    tls_initials: str = ""
    encrypted: str | None = None
    passing: frozenset[int] = frozenset()
    hints: Mapping[int, str] = field(default_factory=dict)

    def bind(self, name: str, value: Value) -> tuple[str, str]:
        """A parameter's value as text, and the mark that reads it.

        Raises:
            SpecError: the database would read another value from the text.
        """
        kind = type_of(value)
        if self.binary_numbers and isinstance(value, Decimal):
            number = sqlite_number(name, value, as_text=True)
            value = number if isinstance(number, int) else value
        text = f"{value:f}" if isinstance(value, Decimal) else str(value)
        scale = len(text.partition(".")[2])
        return text, self.marks.get(kind, "?").format(scale=scale)


#: PostgreSQL sorts a query in FROM where it says ORDER BY, and does nothing to its rows afterwards.
#: Its relatives, which may divide a query among machines, call themselves otherwise or add to it.
_KEEPS_ORDER = (
    "SELECT CAST((version() ~ '^PostgreSQL [1-9][0-9][.0-9]* on '"
    " OR version() ~ '^PostgreSQL [1-9][0-9][.0-9]* [(](Debian|Ubuntu) ')"
    " AND NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus') AS integer)"
)

_POSTGRES = Product(
    name="PostgreSQL",
    dialect="postgres",
    # Without it the driver keeps the whole result in memory.
    options={"UseDeclareFetch": "1", "Fetch": "10000", "MaxLongVarcharSize": "{widest}"},
    begin=(
        "SET TIME ZONE 'UTC'",
        "SET datestyle = 'ISO'",
        "SET statement_timeout = '{seconds}s'",
        "SET synchronize_seqscans = off",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    ),
    hold=("BEGIN",),
    still_there="SELECT 1",
    session_id="SELECT pg_backend_pid()",
    stop="SELECT pg_cancel_backend({id})",
    marks={
        "date": "CAST(? AS date)",
        "decimal": "CAST(? AS numeric)",
        "integer": "CAST(? AS bigint)",
        "string": "CAST(? AS text)",
    },
    most_values=10_000,  # integers failed between 12,000 and 15,000, text between 30,000 and 50,000
    dates_as_text=True,
    spells_times=_KEEPS_ORDER,
    tls_initials="daprv",  # disable, allow, prefer, require, verify
    speaks_utf8=f"SELECT convert_from(decode('{_AS_HEX}', 'hex'), 'UTF8')",
)

_MYSQL = Product(
    name="MySQL",
    dialect="mysql",
    options={"FORWARDONLY": "1", "NO_CACHE": "1"},
    begin=(
        f"SET SESSION time_zone = '+00:00', {UNCUT}, max_execution_time = {{seconds}}000",
        "SET SESSION TRANSACTION READ ONLY",
    ),
    hold=(
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
    still_there="SELECT 1",
    session_id="SELECT connection_id()",
    stop="KILL QUERY {id}",
    marks={
        "date": "CAST(? AS date)",
        "decimal": "CAST(? AS decimal(65,{scale}))",
        "integer": "CAST(? AS signed)",
    },
    as_text="CAST({name} AS char)",
    dates_as_text=True,
    writes_files=True,
    speaks_utf8=f"SELECT CONVERT(UNHEX('{_AS_HEX}') USING utf8mb4)",
)

#: Schema and name are given for each of the three, or the server opens all its tables. `*` does not
#: give invisible columns.
_MARIADB_TABLE = """
SELECT CASE WHEN t.engine = 'InnoDB' AND t.table_type = 'BASE TABLE' THEN 1 ELSE 0 END AS steady,
    CAST(COALESCE(t.avg_row_length, 0) AS signed) AS row_bytes, c.column_name,
    CAST(c.data_type AS char(64)) AS kind, NULL AS index_name,
    CAST(c.ordinal_position AS signed) AS place, 0 AS several
FROM information_schema.tables t
JOIN information_schema.columns c ON c.extra NOT LIKE '%INVISIBLE%'
    AND c.table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND c.table_name = ?
WHERE t.table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND t.table_name = ?
UNION ALL
SELECT 0, 0, s.column_name, '', s.index_name, CAST(s.seq_in_index AS signed),
    CAST(s.non_unique AS signed)
FROM information_schema.statistics s
WHERE s.table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND s.table_name = ?
ORDER BY index_name, place
"""

_MARIADB = Product(
    name="MariaDB",
    dialect="mysql",
    options={"FORWARDONLY": "1", "STREAMRS": "1"},
    begin=(
        # As the driver has asked for, before the server's init_connect may have changed it.
        "SET SESSION character_set_client = utf8mb4, character_set_connection = utf8mb4, "
        "character_set_results = utf8mb4",
        f"SET SESSION time_zone = '+00:00', {UNCUT}, max_statement_time = {{seconds}}",
        "SET SESSION TRANSACTION READ ONLY",
    ),
    hold=_MYSQL.hold,
    still_there=_MYSQL.still_there,
    session_id=_MYSQL.session_id,
    stop=_MYSQL.stop,
    marks=_MYSQL.marks,
    as_text=_MYSQL.as_text,
    most_values=32_767,  # the driver counts them with 16 bits and a sign
    plain_as_bytes=True,
    bits_as_numbers=True,
    short_floats=True,
    writes_files=_MYSQL.writes_files,
    speaks_utf8=_MYSQL.speaks_utf8,
    streams_since="03.02",
    table_facts=_MARIADB_TABLE,
    encrypted=(
        "SELECT CASE WHEN variable_value = '' THEN 0 ELSE 1 END"
        " FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
    ),
)

#: https://learn.microsoft.com/en-us/sql/relational-databases/errors-events
SQL_SERVER = Product(
    name="Microsoft SQL Server",
    dialect="tsql",
    called="SQL Server",
    begin=(
        # There is no read-only session. What a query might write is undone, since nothing commits.
        "SET XACT_ABORT ON",
        "SET DATEFORMAT ymd",  # of text, whatever the login's language is
        "IF (SELECT snapshot_isolation_state FROM sys.databases WHERE database_id = DB_ID()) = 1 "
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
        "BEGIN TRANSACTION",
    ),
    hold=(
        "ROLLBACK TRANSACTION",
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
        "BEGIN TRANSACTION",
    ),
    still_there="IF @@TRANCOUNT = 0 THROW 50000, 'the transaction has ended', 1",
    session_id="SELECT CAST(@@SPID AS int)",
    stop="KILL {id}",
    marks={
        "date": "CAST(? AS date)",
        "decimal": "CAST(? AS decimal(38,{scale}))",
        "integer": "CAST(? AS bigint)",
    },
    as_text="CAST({name} AS varchar(8000))",
    limits_queries=True,
    several_results=True,
    passing=frozenset(
        {
            233, 10053, 10054, 10060,  # the network
            596, 6005, 17142, 18401, 18451,  # the session was killed; the server stops or pauses
            701, 802, 1204, 8645, 8651,  # memory and locks
            1205, 1222, 3960,  # deadlock, lock time-out, a snapshot's conflict
            983, 988, 4221, 41840,  # an availability group that changes roles
            10928, 10929, 40197, 40501, 40613, 49918, 49919, 49920,  # Azure, for a while
        }
    ),
    hints={
        208: "Correct the name in the query, or the connection's database (its schema).",
        229: "Let the connection's login read this, or correct the query.",
        3952: (
            "Let an administrator run ALTER DATABASE ... SET ALLOW_SNAPSHOT_ISOLATION ON, or set "
            "`snapshot: false` (in a partition: `parts`, not `rows`), or set `isolation_level` in "
            "the extra of the connection."
        ),
        4060: "Check the connection's database (its schema) and what its login may open.",
        18456: "Check the connection's login and password.",
    },
)  # fmt: skip

#: SQLite compares a number with a text and finds them different.
_SQLITE = Product(
    name="SQLite",
    dialect="sqlite",
    marks={"decimal": "CAST(? AS numeric)", "integer": "CAST(? AS integer)"},
    plain_as_bytes=True,
    binary_numbers=True,
)

_KNOWN = (_POSTGRES, _MARIADB, _MYSQL, SQL_SERVER, _SQLITE)


def find_product(name: str) -> Product:
    """What is known of a product; of others nothing but ODBC itself."""
    return next((known for known in _KNOWN if known.name == name), Product(name=name))
