"""SQLite: the type belongs to the value, and a column only prefers one.

A column's type is taken from its declaration in CREATE TABLE, where the query passes the column
through; the value of an expression has no declared type, and the first rows tell it. Whatever
then does not fit is an error. SQLite has no exact decimals: it keeps them as binary floats unless
their column is TEXT, so store them as text and declare ``decimal(P,S)`` in the spec.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pyarrow as pa

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract.exact import UNBOUNDED_DECIMAL
from openreg_airflow.extract.reader import BATCH_BYTES, SourceColumn, SourceConnection, Stream
from openreg_airflow.extract.readers.sqlite_numbers import sqlite_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from openreg_airflow.extract.query import Query, Rendered
    from openreg_airflow.extract.reader import Session

_FIRST_BATCH = 2_000
_MOST_ROWS = 20_000
#: Rows that are taken from the driver before their size is looked at: what a jump from narrow
#: to wide rows costs in memory.
_GLANCE_ROWS = 16
#: What a number or a NULL counts for.
_PLAIN_BYTES = 8
#: Smaller batches than others': a row of Python objects is some ten times its size in Arrow.
_BATCH_BYTES = BATCH_BYTES // 8
_BUSY_SECONDS = 30.0

#: Options of SQLite's URI file names that an Airflow connection's extra may set.
_URI_OPTIONS = ("cache", "immutable", "nolock", "vfs")

#: Result codes (their low byte) after which another try may succeed.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_FULL,  # of the disk that a large sort spills to
    }
)

_STORED = {int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}
_NUMERIC = re.compile(r"(?:DECIMAL|NUMERIC)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?")
_NAMED = {
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "UUID": pa.string(),
    "JSON": pa.string(),
}


class SqliteReader:
    """Reads SQLite files; the connection's host is the file's path."""

    dialect = "sqlite"

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:  # noqa: ARG002
        """Open the file for reading only; it must exist.

        Raises:
            SourceError: there is no such file, or it is not a database.
        """
        path = database_path(connection)
        if not path.is_file():
            message = f"connection {connection.conn_id}: there is no SQLite file {path}"
            raise SourceError(message, hint="Correct the connection's host: it is the path.")
        options = {"mode": "ro"}
        options.update({k: str(v) for k, v in connection.extra.items() if k in _URI_OPTIONS})
        uri = f"file:{quote(str(path))}?{urlencode(options)}"
        try:
            database = sqlite3.connect(
                uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise _refused(error, f"connection {connection.conn_id}, file {path}") from error
        return SqliteSession(database)


def database_path(connection: SourceConnection) -> Path:
    """The file of a connection.

    Airflow's form has the path as host; a URI of three slashes puts all of it, one of two slashes
    the rest of it, into the schema.
    """
    parts = [part for part in (connection.host, connection.database) if part]
    if not parts:
        message = f"connection {connection.conn_id} names no SQLite file"
        raise SpecError(message, hint="Set its host to the file's absolute path.")
    return Path("/".join(parts)).expanduser().absolute()


class SqliteSession:
    """An open file; see :class:`openreg_airflow.extract.reader.Session`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._cursor: sqlite3.Cursor | None = None
        self.server = f"SQLite {sqlite3.sqlite_version}"

    def hold(self) -> None:
        """Keep all queries in one transaction; it sees what was there at the first."""
        self._database.execute("BEGIN")

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:
        """Start the query; see :class:`openreg_airflow.extract.reader.Session`."""
        values: dict[str, Any] = {}

        def spell(name: str) -> str:
            given = query.parameters[name]
            parts = given if isinstance(given, tuple) else (given,)
            names = [f"p{len(values) + number}" for number in range(len(parts))]
            values.update(zip(names, (_bound(name, part) for part in parts), strict=True))
            return ", ".join(f":{name}" for name in names)

        rendered = query.render(spell)
        try:
            declarations = self._declarations(query)
            self._cursor = cursor = self._database.execute(rendered.text, values)
            names = [column[0] for column in cursor.description or ()]
            rows = _Rows(cursor)
            first = rows.fetch(_FIRST_BATCH)
        except (sqlite3.Error, OverflowError) as error:
            raise _refused(error, query.file, _place(query, rendered, error)) from error
        columns = _columns(names, declarations, first)
        loose = {i for i, column in enumerate(columns) if not column.source_type}
        strict = {i: columns[i].type for i in loose if names[i] not in declared}
        shown = [
            column if column.source_type else SourceColumn(column.name, column.type, "expression")
            for column in columns
        ]
        return Stream(tuple(shown), _batches(rows, first, shown, strict, query.file))

    def _declarations(self, query: Query) -> list[str]:
        """The declared types of the result's columns; empty for expressions.

        Python's driver does not tell them, but a temporary view has them. Views take no
        parameters, and NULL in their place changes no column.
        """
        text = query.render(lambda _: "NULL").text
        self._database.execute("PRAGMA query_only = OFF")  # the file itself is open for reading
        self._database.execute(f"CREATE TEMP VIEW openreg_columns AS {text}")
        try:
            found = self._database.execute("PRAGMA temp.table_info(openreg_columns)").fetchall()
        finally:
            self._database.execute("DROP VIEW temp.openreg_columns")
            self._database.execute("PRAGMA query_only = ON")
        return [str(row[2]).upper() for row in found]

    def cancel(self) -> None:
        """Interrupt the running query; see :class:`openreg_airflow.extract.reader.Session`."""
        with suppress(sqlite3.ProgrammingError):  # it is closed already
            self._database.interrupt()

    def close(self) -> None:
        """Close the file; see :class:`openreg_airflow.extract.reader.Session`.

        A query that is not at its end keeps the file locked beyond its connection, for as long as
        anything holds it, the trace of an error for example.
        """
        if self._cursor is not None:
            self._cursor.close()
        self._database.close()


def _columns(
    names: Sequence[str], declarations: Sequence[str], first: Sequence[tuple[Any, ...]]
) -> list[SourceColumn]:
    columns = []
    for index, name in enumerate(names):
        declaration = declarations[index] if index < len(declarations) else ""
        declared = _declared_type(declaration)
        if declared is None:
            declared, declaration = _seen_type([row[index] for row in first]), ""
        columns.append(SourceColumn(name, declared, declaration.lower()))
    return columns


def _declared_type(declaration: str) -> pa.DataType | None:
    """The Arrow type for a declaration: SQLite's rules of affinity, and a few names of types."""
    if match := _NUMERIC.fullmatch(declaration.strip()):
        if match[1] is None:
            return UNBOUNDED_DECIMAL
        digits, scale = int(match[1]), int(match[2] or 0)
        return pa.decimal128(digits, scale) if scale <= digits <= 38 and digits else None
    word = re.match(r"[A-Z]*", declaration.strip())[0]  # type: ignore[index]
    if word in _NAMED:
        return _NAMED[word]
    affinities = (
        (("BOOL",), pa.bool_()),
        (("INT",), pa.int64()),
        (("CHAR", "CLOB", "TEXT"), pa.string()),
        (("BLOB",), pa.binary()),
        (("REAL", "FLOA", "DOUB"), pa.float64()),
    )
    for parts, kind in affinities:
        if any(part in declaration for part in parts):
            return kind
    return None


def _seen_type(values: Sequence[Any]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.float64()
    return _STORED[kinds.pop()] if len(kinds) == 1 else pa.string()


def _batches(
    source: _Rows,
    first: Sequence[tuple[Any, ...]],
    columns: Sequence[SourceColumn],
    strict: Mapping[int, pa.DataType],
    file: str,
) -> Iterator[pa.RecordBatch]:
    rows, before = first, 0
    while rows:
        arrays = []
        for index, values in enumerate(zip(*rows, strict=True)):
            array = _array(values)
            if index in strict:
                _check_kind(values, strict[index], columns[index].name, file, before)
            arrays.append(array)
        batch = pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
        yield batch
        before += len(rows)
        del batch
        try:
            rows = source.fetch(_MOST_ROWS)
        except sqlite3.Error as error:
            raise _refused(error, file) from error


class _Rows:
    """The rows of a cursor, in batches of about the same size however wide they are."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._glance = _GLANCE_ROWS

    def fetch(self, most: int) -> list[tuple[Any, ...]]:
        """The next rows: at most ``most``, and fewer when they are wide."""
        rows: list[tuple[Any, ...]] = []
        size = 0
        while len(rows) < most and size < _BATCH_BYTES:
            found = self._cursor.fetchmany(min(self._glance, most - len(rows)))
            if not found:
                break
            width = sum(map(_size, zip(*found, strict=True))) // len(found)
            rows += found
            size += width * len(found)
            self._glance = max(1, min(_GLANCE_ROWS, _BATCH_BYTES // max(width, 1)))
        return rows


def _size(values: tuple[Any, ...]) -> int:
    """About how many bytes the values of one column take in Arrow."""
    try:
        return sum(map(len, filter(None, values)))
    except TypeError:  # numbers, or numbers among text
        return sum(len(v) if isinstance(v, str | bytes) else _PLAIN_BYTES for v in values)


def _array(values: Sequence[Any]) -> pa.Array:
    """One column of a batch; values of several types become a struct with a child for each."""
    kinds = sorted({type(value) for value in values} - {type(None)}, key=lambda kind: kind.__name__)
    if not kinds:
        return pa.nulls(len(values), pa.string())
    if len(kinds) == 1:
        return pa.array(values, _STORED[kinds[0]])
    parts = [
        pa.array([value if type(value) is kind else None for value in values], _STORED[kind])
        for kind in kinds
    ]
    return pa.StructArray.from_arrays(parts, names=[kind.__name__ for kind in kinds])


def _check_kind(
    values: Sequence[Any], kind: pa.DataType, name: str, file: str, rows_before: int
) -> None:
    """Hold an expression to the type that its first rows showed, since nobody declared one."""
    fitting = {type(None)} | {
        stored
        for stored, arrow in _STORED.items()
        if arrow == kind or (pa.types.is_floating(kind) and stored is int)
    }
    if set(map(type, values)) <= fitting:
        return
    row = next(i for i, value in enumerate(values) if type(value) not in fitting)
    message = (
        f"the value {values[row]!r} is {type(values[row]).__name__}, the first rows of the "
        f"expression showed {kind}"
    )
    raise SourceError(
        message,
        where=f"{file}, column {name}, row {rows_before + row + 1}",
        hint=f"Declare the type of {name} under `columns:`.",
    )


def _bound(name: str, value: date | Decimal | int | str) -> str | int | float:
    """A parameter as SQLite knows it: dates as ISO text, decimals as numbers."""
    if isinstance(value, Decimal):
        return sqlite_number(name, value)
    return value if isinstance(value, str | int) else value.isoformat()


def _place(query: Query, rendered: Rendered, error: Exception) -> str | None:
    """The place of a syntax error, from the word that SQLite stumbled over."""
    near = re.match(r'near "(.+)": syntax error', str(error))
    if near and rendered.text.count(near[1]) == 1:
        return query.place(rendered, rendered.text.index(near[1]))
    return None


def _refused(
    error: Exception, what: str, place: str | None = None
) -> SourceError | SourceUnavailableError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    message = f"SQLite refuses: {error}"
    if code in _PASSING:
        return SourceUnavailableError(message, where=place or what)
    return SourceError(message, where=place or what)
