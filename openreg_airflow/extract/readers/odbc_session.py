"""A session with an ODBC driver that works in a process of its own.

A driver may crash, it may let nobody else in while it waits, and it may read a result to its end
before it lets go of it. Its process can then just be ended.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract.outline import UndividedError
from openreg_airflow.extract.query import Added
from openreg_airflow.extract.reader import Stream
from openreg_airflow.extract.readers.odbc_columns import column, refuse_bits_as_numbers
from openreg_airflow.extract.readers.odbc_division import divided
from openreg_airflow.extract.readers.odbc_products import Product, find_product
from openreg_airflow.extract.readers.odbc_stop import stop_query
from openreg_airflow.extract.readers.odbc_wire import (
    WireError,
    receive,
    received_error,
    received_schema,
    send,
)
from openreg_airflow.extract.shape import Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.sized_parts import SizedPart

log = logging.getLogger(__name__)

#: Nothing is computed there, and a pool of waiting threads costs memory and time.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
LOGIN_SECONDS = 30
_DIVIDE_OTHERWISE = (
    "Say yourself how the query is divided: `partition: {column: ..., rows: ...}` of the source."
)


class OdbcSession:
    """One session; see :class:`openreg_airflow.extract.reader.Session`.

    Args:
        text: ODBC's connection string.
        refuse: raises for a query that does more than read and that a session of the product would
            let through.
    """

    def __init__(self, text: str, refuse: Callable[[Query, Product], None]) -> None:
        self._text = text
        self._refuse = refuse
        self._product = Product(name="")
        self._stop: str | None = None
        self._reading = False
        self._lock = threading.Lock()  # cancel() comes from another thread than close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "openreg_airflow.extract.readers.odbc_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _ENVIRONMENT,
        )
        assert self._process.stdin  # noqa: S101 - for the type checker
        assert self._process.stdout  # noqa: S101
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self.server = "ODBC"
        self._held = False
        self._keeps_all = self.keeps_results = False

    def begin(self, **login: Any) -> None:
        """Log in; learn what is read, and how a query is stopped.

        Args:
            login: the arguments of :class:`~.readers.odbc_process.OdbcWork` but the string.

        Raises:
            SourceError: the driver, the login, the database or the options are refused.
            SourceUnavailableError: the server cannot be reached or takes no more sessions.
        """
        answer = self._ask({"text": self._text, "login_seconds": LOGIN_SECONDS} | login)
        self.server, self._stop = str(answer["server"]), answer["stop"]
        self._product = find_product(str(answer["product"]))
        self._keeps_all = self.keeps_results = bool(answer["keeps_all"])

    @property
    def product(self) -> Product:
        """The database product, once the session has begun."""
        return self._product

    def hold(self) -> None:
        """Keep all queries in one transaction over one state of the database.

        Raises:
            SpecError: it is not known how this product does that.
            SourceError: the database refuses.
        """
        if self._product.hold is None:
            message = f"it is not known how {self.server} holds a snapshot through ODBC"
            raise SpecError(message, hint="Set `snapshot: false`, or read with one query.")
        self._ask({"hold": True})
        self._held = True

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:
        """Start the query; see :class:`openreg_airflow.extract.reader.Session`.

        Where the driver keeps a whole result in memory, the query is read in parts if it can be.
        """
        self._refuse(query, self._product)
        parts = self._parts(query) if self._keeps_all else []
        self.keeps_results = self._keeps_all and not parts
        first = self._start(parts[0].query if len(parts) > 1 else query)
        refuse_bits_as_numbers(first, declared, query.file)
        columns = tuple(column(field, self._product.as_text) for field in first)
        return Stream(columns, self._in_turn(parts, first) if len(parts) > 1 else self._batches())

    def _start(self, query: Query, **more: Any) -> pa.Schema:
        """Start one query; its batches must be read before the next is started."""
        text, values = self._bound(query)
        self._check_count(query, len(values))
        self._reading = True
        answer = self._ask({"sql": text, "values": values, "file": query.file} | more)
        return self._understood(received_schema, answer.get("columns"))

    def _bound(self, query: Query) -> tuple[str, list[str]]:
        """A query as its driver takes it, and the values of its marks as text."""
        values: list[str] = []
        rendered = query.render(lambda name: self._bind(name, query.parameters[name], values))
        return rendered.text, values

    def _parts(self, query: Query) -> list[SizedPart]:
        """The parts of a query that is read in parts though nobody asks for it; else none."""
        facts = self._product.table_facts
        # A part binds two more: where it begins, and where it ends.
        most = self._product.most_values - 2
        given = any(isinstance(piece, Added) for piece in query.pieces)
        if facts is None or given or len(self._bound(query)[1]) > most:
            return []
        try:
            by, parts = divided(
                query, self._product.dialect, facts, ask=self._small, hold=self._hold_once
            )
        except UndividedError as error:
            log.info("%s is read as a whole: %s", query.file, error)
            return []
        if len(parts) > 1:
            log.info("Reading %d parts by %s, in turn, for the driver", len(parts), by.column)
        return parts

    def _hold_once(self) -> None:
        if not self._held:
            self.hold()

    def _small(self, query: Query) -> list[tuple[Any, ...]]:
        """All rows of a small result; an error of the database leaves the session as it is."""
        found = self._start(query, optional=True)
        columns = [column(field, self._product.as_text) for field in found]
        batches = list(self._batches())
        shape = Shape(columns, {}, file=query.file)
        table = pa.Table.from_batches(
            [shape.convert(batch, rows_before=0) for batch in batches], shape.schema
        )
        return list(zip(*(one.to_pylist() for one in table.columns), strict=True))

    def _in_turn(self, parts: list[SizedPart], first: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The batches of the parts, each of which has the rows that were counted."""
        for number, part in enumerate(parts, 1):
            # Whether a column may have NULL differs: the database makes inner joins of outer ones.
            if number > 1 and not _alike(self._start(part.query), first):
                message = f"part {number} has other types than the first"
                raise SourceError(message, where=part.query.file, hint=_DIVIDE_OTHERWISE)
            rows = 0
            for batch in self._batches():
                rows += batch.num_rows
                yield batch
            if rows != part.rows:
                message = f"part {number} has {rows} rows, and {part.rows} were counted"
                raise SourceError(message, where=part.query.file, hint=_DIVIDE_OTHERWISE)
            log.info("Part %d of %d has %d rows", number, len(parts), rows)

    def _bind(self, name: str, value: Value | tuple[Value, ...], values: list[str]) -> str:
        """A parameter mark that reads the bound text in the value's type."""
        if isinstance(value, tuple):
            return ", ".join(self._bind(name, part, values) for part in value)
        text, mark = self._product.bind(name, value)
        values.append(text)
        return mark

    def _check_count(self, query: Query, bound: int) -> None:
        """Refuse more values than the driver takes: what it does then looks like a lost server."""
        most = self._product.most_values
        if bound <= most:
            return
        counts = {k: len(v) if isinstance(v, tuple) else 1 for k, v in query.used.items()}
        name = max(counts, key=lambda k: counts[k])
        message = (
            f"the query binds {bound:,} values, :{name} alone {counts[name]:,}, and "
            f"{self._product.called} takes at most {most:,}"
        )
        hint = (
            f"Keep the values of :{name} in a table of the database and join with it, or join with "
            "them in the transform; or take a connection of the database's own type, not odbc."
        )
        raise SpecError(message, where=query.file, hint=hint)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows = self._understood(pa.ipc.open_stream, self._answers)
        while (batch := self._understood(next, rows, None)) is not None:
            yield batch
        self._answer()  # the end of the rows is only believed when it is said
        self._reading = False

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with suppress(OSError):  # it is gone; what it said before, if anything, is read next
            send(self._requests, request)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._understood(receive, self._answers)
        if (error := received_error(answer)) is not None:
            self._reading = False
            raise error
        return answer

    def _understood(self, take: Callable[..., Any], *given: Any) -> Any:
        """What the process said; what cannot be read is the word of one that has gone."""
        try:
            return take(*given)
        except (WireError, pa.ArrowException, OSError, ValueError) as error:
            self._reading = False
            message = f"the connection was lost: the driver's process ended ({self._ended()})"
            raise SourceUnavailableError(message, hint=self._hint()) from error

    def _hint(self) -> str:
        if self._product.name:
            return (
                "If it ends so each time, the driver cannot take a type or parameter of the query, "
                "for example PostgreSQL's numeric(5,-2): cast it, or take a connection of the "
                "database's own type, not odbc."
            )
        return "If it ends so each time: is unixODBC installed? On Debian: unixodbc."

    def _ended(self) -> str:
        self._process.kill()
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def cancel(self) -> None:
        """Ask the server to stop; see :class:`openreg_airflow.extract.reader.Session`.

        The end of the process closes its connection, which ends its query where nothing else does.
        """
        with self._lock:
            if self._process.poll() is not None:
                return
            if self._stop is not None:
                stop_query(self._text, self._stop)
            self._process.kill()

    def close(self) -> None:
        """End the session; see :class:`openreg_airflow.extract.reader.Session`."""
        if self._reading:
            self.cancel()
        with self._lock:
            self._process.kill()
            self._process.wait()
            for pipe in (self._requests, self._answers):
                with suppress(OSError):
                    pipe.close()


def _alike(one: pa.Schema, other: pa.Schema) -> bool:
    return bool(one.names == other.names and one.types == other.types)
