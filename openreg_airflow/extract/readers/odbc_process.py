"""The process in which an ODBC driver works for :mod:`~.readers.odbc_session`.

Its first message is a login; then it answers one request after the other, each to hold a state of
the database or to read a query. An answer that is an error ends it. See
:mod:`~.readers.odbc_wire` for how the messages look.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

import arrow_odbc
import pyarrow as pa
import pyarrow.compute as pc
import pyodbc

from openreg_airflow.errors import OpenRegError, SourceError, SourceUnavailableError
from openreg_airflow.extract.readers.odbc_columns import room_for_bytes, transit
from openreg_airflow.extract.readers.odbc_errors import connection_error, query_error, too_wide
from openreg_airflow.extract.readers.odbc_products import UNLIKE_LETTERS, Product, find_product
from openreg_airflow.extract.readers.odbc_spelling import describing, is_spelled, spelling
from openreg_airflow.extract.readers.odbc_stop import TaskWatch
from openreg_airflow.extract.readers.odbc_wire import (
    WireError,
    error_message,
    receive,
    schema_text,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MOST_ROWS = 10_000
#: Room of a batch in the driver, of which only what values need is ever touched; there are two.
#: Each batch costs something a column, and with texts of unknown length 16 MB are a hundred rows.
_BUFFER_BYTES = 48 << 20
#: Rows of this many bytes are sent together.
_SENT_BYTES = 1 << 20


@dataclass
class _Room:
    """A number of bytes that is read when buffers are made: after the columns are known."""

    size: int

    def __int__(self) -> int:
        return self.size


class OdbcWork:
    """A session of the driver, logged in and made a reading one.

    Args:
        conn_id: of the connection, for errors.
        text: ODBC's connection string.
        widest: bytes that a text or binary value may have.
        timeout_seconds: wall time of a query.
        login_seconds: wall time of the login.
        begin: statements that the connection asks for, after those of its product.
        product: the product that is expected, for errors of the login.
        force_tls: refuse a session without TLS, where it is known how to see that.

    Raises:
        SourceError: the driver, the login, the database or the options are refused.
        SourceUnavailableError: the server cannot be reached or takes no more sessions.
    """

    def __init__(
        self,
        *,
        conn_id: str,
        text: str,
        widest: int,
        timeout_seconds: int,
        login_seconds: int,
        begin: Sequence[str] = (),
        product: str = "",
        force_tls: bool = False,
    ) -> None:
        self._conn_id = conn_id
        self._widest = widest
        self._timeout = timeout_seconds
        self.product: Product = find_product(product)
        try:
            with closing(pyodbc.connect(text, timeout=login_seconds, autocommit=True)) as probe:
                name = str(probe.getinfo(pyodbc.SQL_DBMS_NAME))
                version = str(probe.getinfo(pyodbc.SQL_DBMS_VER))
                driver = str(probe.getinfo(pyodbc.SQL_DRIVER_VER))
            self.product = find_product(name)
            for key, value in self.product.options.items():
                text += f"{key}={value.format(widest=widest)};"
            self._connection = arrow_odbc.connect(text, login_timeout_sec=login_seconds)
        except (pyodbc.Error, arrow_odbc.Error) as error:
            raise connection_error(error, conn_id, self.product) from error
        self.server = f"{name} {version}"
        self.keeps_all = driver < self.product.streams_since
        if force_tls and self.product.encrypted and self._number(self.product.encrypted) != 1:
            message = f"{self.product.called} does not support TLS, which the connection asks for"
            hint = "Let the server's administrator set TLS up, or take it from the extra."
            raise SourceError(message, where=f"connection {conn_id}", hint=hint)
        self._run([one.format(seconds=timeout_seconds) for one in self.product.begin])
        self._run(begin)
        self.stop = self._how_to_stop()
        self._encoding = self._text_encoding()
        self._holds = False
        spells = self.product.spells_times
        self._spells_times = spells is not None and self._number(spells) == 1

    def hold(self) -> None:
        """See one state of the database from now on; its product knows how."""
        self._run(self.product.hold or ())
        self._holds = True

    def _run(self, statements: Sequence[str]) -> None:
        try:
            for statement in statements:
                self._connection.execute(statement)
        except arrow_odbc.Error as error:
            raise query_error(error, f"connection {self._conn_id}", self.product) from error

    def _how_to_stop(self) -> str | None:
        """The statement with which another connection stops a query of this one."""
        product = self.product
        if product.session_id is None or product.stop is None:
            return None
        return product.stop.format(id=self._number(product.session_id))

    def _number(self, query: str) -> int:
        try:
            [batch] = self._connection.read_arrow_batches(
                query, batch_size=1, fetch_concurrently=False
            )
        except arrow_odbc.Error as error:
            raise query_error(error, f"connection {self._conn_id}", self.product) from error
        return int(batch.column(0)[0].as_py())

    def _text_encoding(self) -> arrow_odbc.TextEncoding:
        """UTF-8 where driver and locale prove to give it whole."""
        if self.product.speaks_utf8 is None:
            return arrow_odbc.TextEncoding.UTF16
        try:
            batches = self._connection.read_arrow_batches(
                self.product.speaks_utf8,
                batch_size=1,
                max_text_size=self._widest,
                fetch_concurrently=False,
                payload_text_encoding=arrow_odbc.TextEncoding.UTF8,
            )
            found = [value for batch in batches for value in batch.column(0).to_pylist()]
        except arrow_odbc.Error:
            found = []
        whole = found == [UNLIKE_LETTERS]
        return arrow_odbc.TextEncoding.UTF8 if whole else arrow_odbc.TextEncoding.UTF16

    def read(
        self,
        answers: IO[bytes],
        *,
        sql: str,
        values: Sequence[str],
        file: str,
        optional: bool = False,
    ) -> None:
        """Run a query and send its columns and its rows; or the error of one that is optional."""
        try:
            reader, columns = self._run_query(sql, values, file)
        except SourceError as error:
            if not optional:
                raise
            send(answers, error_message(error))
            return
        send(answers, {"columns": schema_text(columns)})
        self._send_rows(answers, reader, columns, file)
        self._check_still_there(file)
        send(answers, {})

    def _run_query(
        self, sql: str, values: Sequence[str], file: str
    ) -> tuple[arrow_odbc.BatchReader, pa.Schema]:
        told = self._described(sql, values, file) if self._spells_times else None
        found: list[pa.Field] = []
        room = _Room(self._widest)

        def remember(schema: pa.Schema) -> pa.Schema:
            found.extend(schema if told is None else _as_told(told, schema, file))
            room.size = room_for_bytes(schema, self._widest)
            return pa.schema([pa.field(f.name, transit(f.type, self.product)) for f in schema])

        try:
            reader = self._connection.read_arrow_batches(
                (told and spelling(sql, told)) or sql,
                batch_size=_MOST_ROWS,
                parameters=list(values) or None,
                # At least one row must fit, also one with several of the widest values.
                max_bytes_per_batch=max(_BUFFER_BYTES, 8 * self._widest),
                # One byte more than is let through: MariaDB's driver cuts it off without a word.
                max_text_size=self._widest + 1,
                max_binary_size=cast("int", room),
                map_schema=remember,
                query_timeout_sec=self._timeout if self.product.limits_queries else None,
                payload_text_encoding=self._encoding,
            )
        except arrow_odbc.Error as error:
            raise query_error(error, file, self.product) from error
        return reader, pa.schema(found)

    def _described(self, sql: str, values: Sequence[str], file: str) -> pa.Schema | None:
        """The columns of a query that the database then spells the times of.

        None where it does not take this; the query then runs as it is, and says what is wrong.
        """
        found: list[pa.Schema] = []

        def remember(schema: pa.Schema) -> pa.Schema:
            found.append(schema)
            return pa.schema([pa.field(f.name, pa.string()) for f in schema])

        try:
            list(
                self._connection.read_arrow_batches(
                    describing(sql),
                    batch_size=1,
                    parameters=list(values) or None,
                    max_text_size=1,
                    map_schema=remember,
                    fetch_concurrently=False,
                )
            )
        except arrow_odbc.Error as error:
            if self._holds:  # the driver has ended the transaction, and with it the state
                raise query_error(error, file, self.product) from error
            return None
        return found[0]

    def _send_rows(
        self, answers: IO[bytes], reader: arrow_odbc.BatchReader, columns: pa.Schema, file: str
    ) -> None:
        texts = [n for n, kind in enumerate(columns.types) if pa.types.is_string(kind)]

        def checked() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                if any(self._is_cut(batch.column(n)) for n in texts):
                    raise too_wide(file, self._widest)
                yield batch

        try:
            with pa.ipc.new_stream(answers, reader.schema) as stream:
                for batch in _gathered(checked()):
                    stream.write_batch(batch)
                    answers.flush()
            more = self.product.several_results and reader.more_results(batch_size=1)
        except arrow_odbc.Error as error:
            raise query_error(error, file, self.product, widest=self._widest) from error
        if more:  # its rows stand in the way of any other statement
            message = "the query returns more than one result"
            raise SourceError(message, where=file, hint="Leave one query in the file.")

    def _is_cut(self, texts: pa.StringArray) -> bool:
        """Whether a text fills the room, so that its end may be missing."""
        data = texts.buffers()[2]
        if data is None or data.size <= self._widest:
            return False
        filling = texts.filter(pc.greater(pc.binary_length(texts), self._widest))
        if self._encoding is arrow_odbc.TextEncoding.UTF8:
            return len(filling) > 0
        return any(len(text.encode("utf-16-le")) > 2 * self._widest for text in filling.to_pylist())

    def _check_still_there(self, file: str) -> None:
        """Believe in the end of the rows only when the session has not ended before it."""
        try:
            if self.product.still_there is not None:
                self._connection.execute(self.product.still_there)
        except arrow_odbc.Error as error:
            message = f"the connection was lost before the end of the rows was certain: {error}"
            raise SourceUnavailableError(" ".join(message.split()), where=file) from error


def _as_told(told: pa.Schema, schema: pa.Schema, file: str) -> list[pa.Field]:
    """The columns that arrive; those that the database spells are what they were told to be."""
    if told.names != schema.names:
        message = "the columns of the query changed while it began"
        raise SourceUnavailableError(message, where=file)
    return [
        before if is_spelled(before.type) else after
        for before, after in zip(told, schema, strict=True)
    ]


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of a useful size: with wide columns the driver gives a few dozen rows at a time.

    The first goes at once, for whoever only looks at it.
    """
    gathered: list[pa.RecordBatch] = []
    rows = size = 0
    for number, batch in enumerate(batches):
        gathered.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if not number or rows >= _MOST_ROWS or size >= _SENT_BYTES:
            yield pa.concat_batches(gathered)
            gathered, rows, size = [], 0, 0
    if gathered:
        yield pa.concat_batches(gathered)


def serve(requests: IO[bytes], answers: IO[bytes], watch: TaskWatch) -> None:
    """Answer one session's requests until there are no more."""
    try:
        login = receive(requests)
        work = OdbcWork(**login)
        if work.stop is not None:
            watch.stops(login["text"], work.stop)
        told: dict[str, Any] = {"server": work.server, "product": work.product.name}
        send(answers, told | {"stop": work.stop, "keeps_all": work.keeps_all})
        while True:
            request = receive(requests)
            if request.get("hold"):
                work.hold()
                send(answers, {})
            else:
                work.read(answers, **request)
    except OpenRegError as error:
        send(answers, error_message(error))
    except (WireError, BrokenPipeError):
        return  # nobody asks any more


def main() -> None:
    """Serve on this process's input and output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a driver prints is no answer
    serve(sys.stdin.buffer, answers, TaskWatch())


if __name__ == "__main__":
    main()
