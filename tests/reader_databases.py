"""The databases that the contract of readers is held against, and how each spells its SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from openreg_airflow.extract.reader import SourceConnection
from tests.extraction import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal
    from pathlib import Path

    from tests.services.mariadb import MariadbServer
    from tests.services.postgres import PostgresServer

ODBC_DRIVERS = {"postgres": "PostgreSQL Unicode", "mariadb": "MariaDB Unicode"}
LOGIN = "openreg_reader"
PASSWORD = "it's a \\ secret"  # noqa: S105


@dataclass(frozen=True)
class Spelling:
    """How a database spells types and values.

    Attributes:
        types: its word for each kind of column.
        sleep: a query that takes minutes.
        many: a query of 100,000 rows with columns ``id`` and ``filler``, some 40 MB.
        text, binary: the literal of a value.
        quote: marks around an odd column name.
        constant: what follows a SELECT of constants.
        natural: Arrow types of the kinds when the spec declares none.
        truth: false and true.
        number: the literal of a decimal.
        writing: queries that a parser takes for reading ones, and that write.
        zone: what marks a literal of an instant as UTC.
        differing: values of the highest row that the driver spells otherwise.
        undeclared: the same, when no type is declared.
        odd_names: of columns, which are kept.
        lowest: values of the lowest row that the database keeps otherwise.
        large: how often a text of seven letters fits into a note.
        unknown: what an error of a name that there is not says.
        refuses_unknown_databases: for good; another may just not be there yet.
    """

    types: Mapping[str, str]
    sleep: str
    many: str
    text: Callable[[str], str]
    binary: Callable[[bytes], str]
    quote: str = '"'
    constant: str = ""
    natural: Mapping[str, str] = field(default_factory=dict)
    truth: tuple[str, str] = ("false", "true")
    number: Callable[[Decimal], str] = "{:f}".format
    writing: tuple[str, ...] = ()
    zone: str = ""
    differing: Mapping[str, Any] = field(default_factory=dict)
    undeclared: Mapping[str, Any] = field(default_factory=dict)
    odd_names: tuple[str, ...] = ("a b", "ä;--", "select", "%s ? :x")
    lowest: Mapping[str, Any] = field(default_factory=dict)
    large: int = 400_000
    unknown: str = "nothere"
    refuses_unknown_databases: bool = True


@dataclass(frozen=True)
class Source:
    """A database with its reader's connection; ``execute`` runs statements as its owner."""

    database: Database
    spelling: Spelling
    execute: Callable[[str], Any]
    active: Callable[[], int]
    break_sessions: Callable[[], Any]

    def elsewhere(self, **changes: Any) -> Database:
        """The same database reached by a changed connection."""
        changed = replace(self.database.connection, **changes)
        return replace(self.database, connection=changed)

    def reached(self, **changes: Any) -> Source:
        """The same source with a changed connection."""
        return replace(self, database=self.elsewhere(**changes))


def quoted_text(text: str) -> str:
    """The standard's literal of a text."""
    return "'" + text.replace("'", "''") + "'"


NATURAL = {
    "small": "int64",
    "big": "int64",
    "price": "decimal128(18, 5)",
    "long": "decimal128(38, 10)",
    "whole": "decimal128(38, 0)",
    "tiny": "decimal128(38, 38)",
    "ratio": "double",
    "ok": "bool",
    "note": "string",
    "raw": "binary",
    "day": "date32[day]",
    "clock": "time64[us]",
    "local": "timestamp[us]",
    "instant": "timestamp[us, tz=UTC]",
    "uuid": "string",
}

POSTGRES = Spelling(
    types={
        "small": "smallint",
        "big": "bigint",
        "price": "numeric(18,5)",
        "long": "numeric(38,10)",
        "whole": "numeric(38,0)",
        "tiny": "numeric(38,38)",
        "ratio": "double precision",
        "ok": "boolean",
        "note": "text",
        "raw": "bytea",
        "day": "date",
        "clock": "time",
        "local": "timestamp",
        "instant": "timestamptz",
        "uuid": "uuid",
    },
    sleep="SELECT CAST(pg_sleep(600) AS text) AS x",
    many=(
        "SELECT g AS id, repeat('x', 400) AS filler FROM generate_series(1, 100000) AS g ORDER BY g"
    ),
    text=quoted_text,
    binary=lambda value: f"'\\x{value.hex()}'",
    natural=NATURAL,
    writing=("SELECT nextval('s')",),
    zone="+00",
)

MARIADB = Spelling(
    types={
        "small": "smallint",
        "big": "bigint",
        "price": "decimal(18,5)",
        "long": "decimal(38,10)",
        "whole": "decimal(38,0)",
        "tiny": "decimal(38,38)",
        "ratio": "double",
        "ok": "boolean",
        "note": "longtext",
        "raw": "longblob",
        "day": "date",
        "clock": "time(6)",
        "local": "datetime(6)",
        "instant": "timestamp(6) NULL",
        "uuid": "uuid",
    },
    sleep="SELECT sleep(600) AS x",
    many="SELECT seq AS id, repeat('x', 400) AS filler FROM seq_1_to_100000 ORDER BY seq",
    text=lambda text: quoted_text(text.replace("\\", "\\\\")),
    binary=lambda value: f"x'{value.hex()}'",
    quote="`",
    natural=NATURAL | {"ok": "int64"},
    writing=(
        "SELECT nextval(s)",
        "SELECT 1 AS a INTO OUTFILE '/tmp/openreg-never'",
        "SELECT 1 AS a /*! INTO OUTFILE '/tmp/openreg-never' */",
    ),
)

#: Decimals are kept as text, see :mod:`openreg_airflow.extract.readers.sqlite`.
_TEXTS = ("price", "long", "whole", "tiny")
SQLITE = Spelling(
    types=POSTGRES.types
    | dict.fromkeys(_TEXTS, "text")
    | {"raw": "blob", "instant": "timestamp", "ratio": "double"},
    sleep="WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n",
    many=(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000) "
        "SELECT x AS id, printf('%.*c', 400, 'x') AS filler FROM n ORDER BY x"
    ),
    text=quoted_text,
    binary=lambda value: f"x'{value.hex()}'",
    natural=NATURAL | dict.fromkeys(_TEXTS, "string") | {"instant": "timestamp[us]"},
    number=lambda value: f"'{value:f}'",
    undeclared={
        "price": "9999999999999.99999",
        "long": "9999999999999999999999999999.9999999999",
        "whole": "9" * 38,
        "tiny": "0." + "9" * 38,
        "instant": datetime(2037, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    },
)


def sqlite_source(folder: Path) -> Source:
    """A SQLite file; it has no logins, no sessions and no network."""
    path = folder / "kinds.db"

    def execute(sql: str) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(sql)

    execute("CREATE TABLE something (a int)")
    connection = SourceConnection(conn_id="trades", conn_type="sqlite", host=str(path))
    return Source(Database(folder, connection), SQLITE, execute, lambda: 0, lambda: None)


def postgres_source(postgres: PostgresServer, folder: Path) -> Source:
    """PostgreSQL, read by a login that may do no more."""
    name = f"{LOGIN}_{postgres.database}"
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD %s", [PASSWORD])
    postgres.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    postgres.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC")
    postgres.execute("CREATE SEQUENCE s")
    connection = SourceConnection(
        conn_id="trades",
        conn_type="postgres",
        host=postgres.host,
        port=postgres.port,
        login=name,
        password=PASSWORD,
        database=postgres.database,
    )
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE usename = '{name}' AND pid <> pg_backend_pid()"
    )
    running = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}' AND state <> 'idle'"
    return Source(
        Database(folder, connection),
        POSTGRES,
        postgres.execute,
        lambda: int(postgres.execute(running)[0][0]),
        lambda: postgres.execute(kill),
    )


def drop_postgres_login(postgres: PostgresServer) -> None:
    """Undo what :func:`postgres_source` made outside the database."""
    name = f"{LOGIN}_{postgres.database}"
    postgres.execute(f"DROP OWNED BY {name}")
    postgres.execute(f"DROP ROLE {name}")


def mariadb_source(mariadb: MariadbServer, folder: Path) -> Source:
    """MariaDB, read by a login that may do no more, except try to write files."""
    mariadb.execute(
        f"CREATE OR REPLACE USER {LOGIN}@'%' IDENTIFIED BY {MARIADB.text(PASSWORD)}",
        f"GRANT SELECT, INSERT ON {mariadb.database}.* TO {LOGIN}@'%'",
        f"GRANT FILE ON *.* TO {LOGIN}@'%'",
        "CREATE SEQUENCE s",
    )
    connection = SourceConnection(
        conn_id="trades",
        conn_type="mysql",
        host=mariadb.host,
        port=mariadb.port,
        login=LOGIN,
        password=PASSWORD,
        database=mariadb.database,
    )
    return Source(
        Database(folder, connection),
        MARIADB,
        lambda sql: mariadb.execute("SET time_zone = '+00:00'", sql),
        lambda: mariadb.active(LOGIN),
        lambda: mariadb.execute(f"KILL USER {LOGIN}"),
    )


def odbc_source(source: Source, product: str) -> Source:
    """The same database read through its ODBC driver."""
    connection = replace(
        source.database.connection, conn_type="odbc", extra={"driver": ODBC_DRIVERS[product]}
    )
    spelling = source.spelling
    # Drivers may cut off numbers below one, so such columns are refused; a test of its own.
    types = {kind: word for kind, word in spelling.types.items() if kind != "tiny"}
    natural = {kind: word for kind, word in spelling.natural.items() if kind != "tiny"}
    natural["instant"] = "timestamp[us]"
    changed: dict[str, Any] = {
        "types": types,
        "natural": natural,
        "undeclared": {"instant": datetime(2037, 12, 31, 23, 59, 59, 999999)},  # noqa: DTZ001
        "odd_names": ("a b", "ä", "select"),
    }
    if product == "postgres":
        uuid = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
        natural["ok"] = "string"
        changed |= {"differing": {"uuid": uuid}}
        changed["undeclared"] |= {"ok": "1", "uuid": uuid}
    return replace(
        source,
        database=replace(source.database, connection=connection),
        spelling=replace(spelling, **changed),
    )
