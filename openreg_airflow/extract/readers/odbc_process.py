"""The process in which an ODBC driver works for :mod:`openreg_airflow.extract.readers.odbc`.

It takes a login and a query from its input and answers on its output, both as pickled objects: an
answer that is an error ends it, and None ends a result.
"""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import arrow_odbc
import pyarrow as pa
import pyodbc

from openreg_airflow.errors import OpenRegError
from openreg_airflow.extract.reader import BATCH_BYTES, SourceColumn
from openreg_airflow.extract.readers.odbc_errors import connection_error, query_error
from openreg_airflow.extract.readers.odbc_products import Product, find_product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.spec import Value

_CONNECT_SECONDS = 30
_MOST_ROWS = 10_000
_DIGITS_128 = 38


class OdbcWork:
    """A session of the driver, logged in and made a reading one.

    Args:
        conn_id: of the connection, for errors.
        text: ODBC's connection string.
        widest: bytes that a text or binary value may have.
        timeout_seconds: wall time of a query.

    Raises:
        SourceError: the driver, the login, the database or the options are refused.
        SourceUnavailableError: the server cannot be reached or takes no more sessions.
    """

    def __init__(self, *, conn_id: str, text: str, widest: int, timeout_seconds: int) -> None:
        self._widest = widest
        self._timeout = timeout_seconds
        try:
            with closing(pyodbc.connect(text, timeout=_CONNECT_SECONDS)) as probe:
                name = str(probe.getinfo(pyodbc.SQL_DBMS_NAME))
                version = str(probe.getinfo(pyodbc.SQL_DBMS_VER))
            self._product: Product = find_product(name)
            for key, value in self._product.options.items():
                text += f"{key}={value.format(widest=widest)};"
            self._connection = arrow_odbc.connect(text, login_timeout_sec=_CONNECT_SECONDS)
        except (pyodbc.Error, arrow_odbc.Error) as error:
            raise connection_error(error, conn_id) from error
        self.server = f"{name} {version}"
        try:
            self.stop = self._begin()
        except arrow_odbc.Error as error:
            raise query_error(error, f"connection {conn_id}") from error

    def _begin(self) -> str | None:
        """Fix what the result must not depend on; return the statement that stops a query."""
        product = self._product
        for statement in product.begin:
            self._connection.execute(statement.format(seconds=self._timeout))
        if product.session_id is None or product.stop is None:
            return None
        [batch] = self._connection.read_arrow_batches(
            product.session_id, batch_size=1, fetch_concurrently=False
        )
        return product.stop.format(id=int(batch.column(0)[0].as_py()))

    def read(self, query: Query) -> tuple[tuple[SourceColumn, ...], Iterator[pa.RecordBatch]]:
        """Start the query; return its columns and its rows."""
        values: list[str] = []
        rendered = query.render(lambda name: self._bind(query.parameters[name], values))
        found: list[SourceColumn] = []

        def transit(schema: pa.Schema) -> pa.Schema:
            found.extend(_column(field) for field in schema)
            return pa.schema([pa.field(field.name, _transit(field.type)) for field in schema])

        try:
            reader = self._connection.read_arrow_batches(
                rendered.text,
                batch_size=_MOST_ROWS,
                parameters=values or None,
                # At least one row must fit, also one with several of the widest values.
                max_bytes_per_batch=max(BATCH_BYTES, 8 * self._widest),
                max_text_size=self._widest,
                max_binary_size=self._widest,
                map_schema=transit,
                query_timeout_sec=self._timeout if self._product.limits_queries else None,
                payload_text_encoding=arrow_odbc.TextEncoding.UTF16,
            )
        except arrow_odbc.Error as error:
            raise query_error(error, query.file) from error
        return tuple(found), self._batches(reader, query.file)

    def _batches(self, reader: Any, file: str) -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except arrow_odbc.Error as error:
            raise query_error(error, file, widest=self._widest) from error

    def _bind(self, value: Value | tuple[Value, ...], values: list[str]) -> str:
        """A parameter mark that reads the bound text in the value's type."""
        if isinstance(value, tuple):
            return ", ".join(self._bind(part, values) for part in value)
        text, mark = self._product.bind(value)
        values.append(text)
        return mark


def _column(field: pa.Field) -> SourceColumn:
    """A column of a result, from what the driver says of it."""
    kind = field.type
    word = str(kind).split("[", 1)[0]
    if pa.types.is_decimal(kind):
        scale = max(kind.scale, 0)
        digits = max(kind.precision, scale)
        found: pa.DataType | None = pa.decimal128(min(digits, _DIGITS_128), scale)
        spelled = f"decimal({digits},{scale})"
        if scale == digits:  # "-0." and the digits need more room than drivers are given
            return SourceColumn(field.name, None, f"{spelled}, which ODBC may cut off")
        return SourceColumn(field.name, found, spelled)
    if pa.types.is_integer(kind):
        found = pa.int64()
    elif pa.types.is_floating(kind):
        found = pa.float64()
    elif pa.types.is_fixed_size_binary(kind):
        found = pa.binary()
    elif pa.types.is_timestamp(kind):
        found = pa.timestamp("us", tz=kind.tz)
    elif pa.types.is_time(kind):
        found = pa.time64("us")
    else:
        carried = (pa.types.is_string, pa.types.is_binary, pa.types.is_boolean, pa.types.is_date32)
        found = kind if any(matches(kind) for matches in carried) else None
    return SourceColumn(field.name, found, word)


def _transit(kind: pa.DataType) -> pa.DataType:
    """The type in which a column leaves the driver.

    Text where the driver's own number could lose something: decimals, unsigned integers that the
    driver calls signed, and timestamps finer than a microsecond.
    """
    finer = pa.types.is_timestamp(kind) and kind.unit == "ns"
    finer = finer or (pa.types.is_time64(kind) and kind.unit == "ns")
    if pa.types.is_decimal(kind) or kind == pa.int64() or finer:
        return pa.string()
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()  # the length that the driver says is the longest, not each one's
    return pa.float64() if pa.types.is_floating(kind) else kind


def main() -> None:
    """Serve one login and one query."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a driver prints is no answer
    requests = sys.stdin.buffer

    def answer(found: object) -> None:
        pickle.dump(found, answers, protocol=5)
        answers.flush()

    try:
        work = OdbcWork(**pickle.load(requests))  # noqa: S301 - from our own parent
        answer((work.server, work.stop))
        columns, batches = work.read(pickle.load(requests))  # noqa: S301
        answer(columns)
        for batch in batches:
            answer(batch)
        answer(None)
    except OpenRegError as error:
        answer(error)
    except (EOFError, BrokenPipeError):
        return  # nobody asks any more


if __name__ == "__main__":
    main()
