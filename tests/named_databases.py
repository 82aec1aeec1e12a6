"""Databases for the readers' contract that the tests cannot start: somebody names one.

``OPENREG_TEST_MSSQL=mssql://LOGIN:PASSWORD@127.0.0.1:1433/DATABASE?TrustServerCertificate=yes``
``OPENREG_TEST_ORACLE=oracle://LOGIN:PASSWORD@127.0.0.1:1521/SERVICE``

The database is the tests' to use: they make and drop the table ``kinds`` and the sequence ``s``
there, allow snapshots (SQL Server), look at the server's sessions and end their own; so the login
must be allowed to. It must be reached at an address of this machine, for example of a container or
a tunnel, since some tests put a breaking network between. What follows ``?`` is the connection's
extra. Where a variable is not set, the contract has no tests for that database.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import oracledb
import pyodbc

from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.extract.readers import mssql, oracle
from tests.extraction import Database
from tests.reader_databases import NATURAL, Source, Spelling, quoted_text

if TYPE_CHECKING:
    from pathlib import Path

_VARIABLES = {"mssql": "OPENREG_TEST_MSSQL", "oracle": "OPENREG_TEST_ORACLE"}

#: Of the two kinds of databases, those that are named.
NAMED = [name for name, variable in _VARIABLES.items() if os.environ.get(variable)]

_UUID = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
_LAST = datetime(9999, 12, 31)  # noqa: DTZ001

MSSQL = Spelling(
    types={
        "small": "smallint",
        "big": "bigint",
        "price": "decimal(18,5)",
        "long": "decimal(38,10)",
        "whole": "decimal(38,0)",
        "ratio": "float(53)",
        "ok": "bit",
        "note": "nvarchar(max)",
        "raw": "varbinary(max)",
        "day": "date",
        "clock": "time(6)",
        "local": "datetime2(6)",
        "instant": "datetimeoffset(6)",
        "uuid": "uniqueidentifier",
    },
    sleep=(
        "SELECT COUNT_BIG(*) AS x FROM sys.all_columns a CROSS JOIN sys.all_columns b "
        "CROSS JOIN sys.all_columns c WHERE a.name > b.name + c.name"
    ),
    many=(
        "SELECT TOP 100000 ROW_NUMBER() OVER (ORDER BY a.object_id, a.column_id, b.object_id, "
        "b.column_id) AS id, REPLICATE('x', 400) AS filler "
        "FROM sys.all_columns a CROSS JOIN sys.all_columns b ORDER BY id"
    ),
    text=lambda text: "N" + quoted_text(text),
    binary=lambda value: f"0x{value.hex()}",
    natural={kind: word for kind, word in NATURAL.items() if kind != "tiny"}
    | {"instant": "string"},
    truth=("0", "1"),
    writing=("SELECT NEXT VALUE FOR s AS a", "SELECT 1 AS a INTO copied"),
    zone=" +00:00",
    differing={"uuid": _UUID},
    undeclared={"uuid": _UUID, "instant": "2037-12-31 23:59:59.999999 +00:00"},
    odd_names=("a b", "ä", "select"),
)

ORACLE = Spelling(
    types={
        "small": "number(5)",
        "big": "number(19)",
        "price": "number(18,5)",
        "long": "number(38,10)",
        "whole": "number(38)",
        "tiny": "number(38,38)",
        "ratio": "binary_double",
        "note": "nvarchar2(2000)",
        "raw": "raw(2000)",
        "day": "date",
        "local": "timestamp(6)",
        "uuid": "varchar2(36)",
    },
    sleep=(
        "SELECT COUNT(*) AS x FROM all_objects a, all_objects b, all_objects c "
        "WHERE a.object_name > b.object_name || c.object_name"
    ),
    many=(
        "SELECT level AS id, RPAD('x', 400, 'x') AS filler FROM dual "
        "CONNECT BY level <= 100000 ORDER BY level"
    ),
    text=lambda text: "N" + quoted_text(text),
    binary=lambda value: f"HEXTORAW('{value.hex()}')",
    constant=" FROM dual",
    natural={kind: word for kind, word in NATURAL.items() if kind not in ("ok", "clock", "instant")}
    | {"big": "decimal128(19, 0)", "day": "timestamp[us]"},
    writing=("SELECT s.NEXTVAL AS a FROM dual",),
    undeclared={"day": _LAST},
    lowest={"note": None, "raw": None},  # where nothing and an empty text are the same
    odd_names=("a b", "ä", "select"),
    large=200,
    unknown="(?i)nothere|does not exist",
    refuses_unknown_databases=False,
)


def named_source(name: str, folder: Path) -> Source:
    """The database that a variable of the environment names."""
    url = urlsplit(os.environ[_VARIABLES[name]])
    connection = SourceConnection(
        conn_id="trades",
        conn_type=name,
        host=url.hostname,
        port=url.port or {"mssql": 1433, "oracle": 1521}[name],
        login=unquote(url.username or ""),
        password=unquote(url.password or ""),
        database=unquote(url.path.strip("/")),
        extra=dict(parse_qsl(url.query)),
    )
    return {"mssql": _mssql, "oracle": _oracle}[name](Database(folder, connection))


def _mssql(database: Database) -> Source:
    given = database.connection
    writing = replace(given, extra={**given.extra, "appname": "tests", "read_only": False})
    text = mssql.connection_string(writing, mssql.installed_driver())

    def execute(sql: str) -> list[Any]:
        with closing(pyodbc.connect(text, autocommit=True)) as connection:
            cursor = connection.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    for statement in (
        "DROP TABLE IF EXISTS kinds",
        "DROP SEQUENCE IF EXISTS s",
        "CREATE SEQUENCE s",
        "ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON",
    ):
        execute(statement)
    ours = "SELECT session_id FROM sys.dm_exec_sessions WHERE program_name = 'openreg'"
    running = f"SELECT count(*) FROM sys.dm_exec_requests WHERE session_id IN ({ours})"

    def end() -> None:
        for [session] in execute(ours):
            with suppress(pyodbc.Error):  # it may have ended
                execute(f"KILL {session}")

    return Source(database, MSSQL, execute, lambda: int(execute(running)[0][0]), end)


def _oracle(database: Database) -> Source:
    given = oracle.options(database.connection)

    def execute(sql: str) -> list[Any]:
        with oracledb.connect(**given) as connection, connection.cursor() as cursor:
            cursor.execute(
                "ALTER SESSION SET NLS_DATE_FORMAT = 'YYYY-MM-DD' NLS_NUMERIC_CHARACTERS = '.,' "
                "NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF6'"
            )
            cursor.execute(sql)
            rows: list[Any] = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows

    for statement in ("DROP TABLE kinds PURGE", "DROP SEQUENCE s"):
        with suppress(oracledb.DatabaseError):  # there is none
            execute(statement)
    execute("CREATE SEQUENCE s")
    ours = f"module = '{oracle.MODULE}'"
    running = f"SELECT count(*) FROM v$session WHERE {ours} AND status = 'ACTIVE'"

    def end() -> None:
        for sid, serial in execute(f"SELECT sid, serial# FROM v$session WHERE {ours}"):
            with suppress(oracledb.DatabaseError):  # it may have ended
                execute(f"ALTER SYSTEM KILL SESSION '{sid},{serial}' IMMEDIATE")

    return Source(database, ORACLE, execute, lambda: int(execute(running)[0][0]), end)
