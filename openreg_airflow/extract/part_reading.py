"""One big query read in parts, side by side, and put together in the order of the parts.

Each part is written to a file of its own while it is read, so none waits for its turn and memory
holds. Where the database can, all parts see the state that the bounds were asked in.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pyarrow as pa

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.partition import bounds_query, part_queries, split
from openreg_airflow.extract.reader import KEEPS_RESULT, SharingReader, SharingSession
from openreg_airflow.extract.readings import Readings
from openreg_airflow.extract.shape import Shape
from openreg_airflow.extract.shared_session import SharedSession

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.extract.limits import Meter
    from openreg_airflow.extract.partition import Bound
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Reader, Session, SourceConnection
    from openreg_airflow.extract.spec import SourceSpec

log = logging.getLogger(__name__)


class PartReading:
    """One source, read in parts; a context manager that leaves nothing running.

    Args:
        spec: the source's section, with ``partition``.
        query: of the whole.
        reader: the database's reader.
        connection: where to read.
        declared: the Arrow types that the spec enforces, by column.
        scratch: a folder for parts that wait for their turn.
    """

    def __init__(
        self,
        spec: SourceSpec,
        query: Query,
        reader: Reader,
        connection: SourceConnection,
        *,
        declared: Mapping[str, pa.DataType],
        scratch: Path,
    ) -> None:
        assert spec.partition is not None  # noqa: S101 - seen by the caller
        self._spec = spec
        self._partition = spec.partition
        self._query = query
        self._reader = reader
        self._readings = Readings(
            connection, declared=declared, timeout_seconds=spec.timeout_seconds
        )
        self._scratch = scratch
        self._counting = threading.Lock()
        self.server = ""
        self.splits: list[Bound] = []

    def cancel(self) -> None:
        """Stop every part on the server."""
        self._readings.cancel()

    def read(
        self, meter: Meter, started: Callable[[pa.Schema], None]
    ) -> Generator[pa.RecordBatch, None, None]:
        """The rows in the order of the parts, in shape.

        Args:
            meter: counts the rows of all parts, and stops them at the source's bounds.
            started: is told the schema before the first row.

        Raises:
            SourceError: the source refuses, or a value does not fit its type.
            SourceUnavailableError: the source cannot be reached, is lost, or takes too long.
        """
        with SharedSession(self._reader) as keeper:
            self.splits = self._splits(keeper)
            reader = self._same_state(keeper)
            queries = part_queries(self._query, self._partition, self.splits)
            log.info("Reading %d parts of %s", len(queries), self._partition.column)
            with ThreadPoolExecutor(len(queries), "openreg-part") as pool:
                parts = [
                    pool.submit(self._part, number, query, reader, meter)
                    for number, query in enumerate(queries)
                ]
                try:
                    yield from self._in_order(parts, started)
                except BaseException:
                    self.cancel()
                    raise

    def _in_order(
        self, parts: list[Future[Path]], started: Callable[[pa.Schema], None]
    ) -> Iterator[pa.RecordBatch]:
        schema: pa.Schema | None = None
        for number, part in enumerate(parts):
            # A part that fails ends all, also while an earlier one is still read.
            while not part.done():
                wait([other for other in parts if not other.done()], return_when=FIRST_COMPLETED)
                for other in parts:
                    if other.done():
                        other.result()
            with pa.OSFile(str(part.result())) as file, pa.ipc.open_stream(file) as stream:
                if schema is None:
                    schema = stream.schema
                    started(schema)
                if stream.schema != schema:
                    raise self._unlike(number, schema, stream.schema)
                yield from stream
            part.result().unlink()

    def _part(self, number: int, query: Query, reader: Reader, meter: Meter) -> Path:
        """Read one part into a file of its own, so that it need not wait for its turn."""
        path = self._scratch / f"part-{number}.arrow"

        def place(column: str, row: int) -> str:
            return f"{query.file}, column {column}, part {number + 1}, row {row + 1}"

        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with self._readings.reading(query, reader) as reading:
            shape = Shape(reading.columns, self._spec.columns, file=query.file, place=place)
            rows = 0
            with (
                pa.OSFile(str(path), "wb") as file,
                pa.ipc.new_stream(file, shape.schema, options=options) as stream,
            ):
                for batch in reading:
                    converted = shape.convert(batch, rows_before=rows)
                    rows += batch.num_rows
                    with self._counting:
                        meter.count(converted)
                    stream.write_batch(converted)
        log.info("Part %d has %d rows", number + 1, rows)
        return path

    def _splits(self, keeper: SharedSession) -> list[Bound]:
        column, parts = self._partition.column, self._partition.parts
        assert parts is not None  # noqa: S101 - seen by the caller
        query = bounds_query(self._query, column)
        with self._readings.reading(query, keeper) as reading:
            self.server = reading.server
            if reading.keeps_results:
                log.warning(KEEPS_RESULT, self.server, "each part")
            shape = Shape(reading.columns, {}, file=query.file)
            batches = [self._bounds(shape, batch) for batch in reading]
        # By place, not by name: Oracle says LOW and HIGH.
        ends = pa.Table.from_batches(batches, shape.schema).columns
        [low], [high] = (end.to_pylist() for end in ends)
        try:
            return split(low, high, parts)
        except TypeError as error:
            message = f"the column {column} is {error}, which cannot be divided into parts"
            hint = "Choose a column of whole numbers, decimals, dates or timestamps."
            raise SourceError(message, where=query.file, hint=hint) from error

    def _bounds(self, shape: Shape, batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            return shape.convert(batch, rows_before=0)
        except SourceError as error:
            column = self._partition.column
            message = f"the least or the largest {column} cannot divide it: {error.message}"
            hint = "Leave such rows out in the query, or choose another column."
            raise SourceError(message, where=self._query.file, hint=hint) from error

    def _same_state(self, keeper: SharedSession) -> Reader:
        """A reader whose sessions see what the bounds were asked in, where there is one."""
        session = keeper.session
        if isinstance(session, SharingSession) and isinstance(self._reader, SharingReader):
            return _InState(self._reader, session.share(), self._reader.dialect)
        log.warning(
            "%s has no state that sessions can share: what is written while the parts are read "
            "may be in one and not in another",
            self.server,
        )
        return self._reader

    def _unlike(self, number: int, first: pa.Schema, other: pa.Schema) -> SourceError:
        names = [
            one.name for one, two in zip(first, other, strict=False) if one != two
        ] or first.names
        message = f"part {number + 1} has another type of {', '.join(names)} than the first"
        hint = "Declare the type under `columns:`."
        return SourceError(message, where=self._query.file, hint=hint)


class _InState:
    """A reader whose sessions all see one state."""

    def __init__(self, reader: SharingReader, state: str, dialect: str) -> None:
        self._reader = reader
        self._state = state
        self.dialect = dialect

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        return self._reader.open_in(connection, self._state, timeout_seconds=timeout_seconds)
