"""One big query read in parts of so many rows, one after the other in one session.

A driver that keeps a whole result in memory then keeps one part at a time. All parts are read in
the state of the database in which their rows were counted, where it can hold one, and each part
must have just the rows that were counted.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract.reader import HoldingSession
from openreg_airflow.extract.readings import Readings
from openreg_airflow.extract.shape import Shape
from openreg_airflow.extract.shared_session import Lent, SharedSession
from openreg_airflow.extract.sized_parts import AskedDivider, sized_parts, sizes_query

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import Any

    from openreg_airflow.extract.limits import Meter
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Reader, Session, SourceConnection
    from openreg_airflow.extract.sized_parts import SizedPart
    from openreg_airflow.extract.spec import SourceSpec

log = logging.getLogger(__name__)


class SizedReading:
    """One source, read in parts of so many rows; one session, which does not outlive the reading.

    Args:
        spec: the source's section, with ``partition``.
        query: of the whole.
        reader: the database's reader.
        connection: where to read.
        declared: the Arrow types that the spec enforces, by column.
    """

    def __init__(
        self,
        spec: SourceSpec,
        query: Query,
        reader: Reader,
        connection: SourceConnection,
        *,
        declared: Mapping[str, pa.DataType],
    ) -> None:
        assert spec.partition is not None  # noqa: S101 - seen by the caller
        self._spec = spec
        self._by = AskedDivider(spec.partition)
        self._query = query
        self._reader = reader
        self._readings = Readings(
            connection, declared=declared, timeout_seconds=spec.timeout_seconds
        )
        self._held = False
        self.server = ""
        self.splits: list[str] = []

    def cancel(self) -> None:
        """Stop the part that is being read on the server; no other begins."""
        self._readings.cancel()

    def read(
        self, meter: Meter, started: Callable[[pa.Schema], None]
    ) -> Generator[pa.RecordBatch, None, None]:
        """The rows in the order of the parts, in shape.

        Args:
            meter: counts the rows of all parts, and stops them at the source's bounds.
            started: is told the schema before the first row.

        Raises:
            SourceError: the source refuses, a value does not fit its type, or the column does not
                divide the rows.
            SourceUnavailableError: the source cannot be reached, is lost, or takes too long; or
                rows were written between two parts.
        """
        with SharedSession(self._reader, opened=self._hold) as session:
            parts = self._parts(session)
            self.splits = [str(part.low) for part in parts[1:]]
            log.info("Reading %d parts by %s, in turn", len(parts), self._by.column)
            schema: pa.Schema | None = None
            for number, part in enumerate(parts, 1):
                before = meter.rows
                with self._readings.reading(part.query, session) as reading:
                    shape = Shape(reading.columns, self._spec.columns, file=self._query.file)
                    if schema is None:
                        schema = shape.schema
                        started(schema)
                    if shape.schema != schema:
                        raise self._unlike(number)
                    for batch in reading:
                        converted = shape.convert(batch, rows_before=meter.rows)
                        meter.count(converted)
                        yield converted
                self._check(number, part, meter.rows - before)
                log.info("Part %d of %d has %d rows", number, len(parts), part.rows)

    def _hold(self, session: Session) -> None:
        """Hold one state of the database for all parts, where that can be had."""
        if isinstance(session, Lent):
            self._held = True  # one of a snapshot, which others have held
            return
        if isinstance(session, HoldingSession):
            # It may not be known how its product does that.
            with suppress(SpecError):
                session.hold()
                self._held = True
        if not self._held:
            log.warning(
                "%s holds no state of the database: what is written while the parts are read "
                "makes this fail",
                session.server,
            )

    def _parts(self, session: SharedSession) -> list[SizedPart]:
        sizes = sizes_query(self._query, self._by)
        with self._readings.reading(sizes, session) as reading:
            self.server = reading.server
            shape = Shape(reading.columns, {}, file=self._query.file)
            batches = [self._ends(shape, batch) for batch in reading]
        columns = pa.Table.from_batches(batches, shape.schema).columns
        found: Iterator[tuple[Any, ...]] = zip(*(c.to_pylist() for c in columns), strict=True)
        counted = ((low, int(valued), int(everyone)) for low, valued, everyone in found)
        return sized_parts(self._query, self._by, counted)

    def _ends(self, shape: Shape, batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            return shape.convert(batch, rows_before=0)
        except SourceError as error:
            message = f"a value of {self._by.column} cannot bound a part: {error.message}"
            hint = "Leave such rows out in the query, or choose another column."
            raise SourceError(message, where=self._query.file, hint=hint) from error

    def _check(self, number: int, part: SizedPart, rows: int) -> None:
        """Believe in a part only when it has the rows that were counted."""
        if rows == part.rows:
            return
        message = f"part {number} has {rows} rows, and {part.rows} were counted"
        if not self._held:
            hint = "Rows were written meanwhile: read a table that is finished."
            raise SourceUnavailableError(message, where=self._query.file, hint=hint)
        hint = (
            f"{self._by.column} is not sorted as it is compared: choose a column of numbers "
            "or dates. Or the table has no transactions and was written meanwhile."
        )
        raise SourceError(message, where=self._query.file, hint=hint)

    def _unlike(self, number: int) -> SourceError:
        message = f"part {number} has other types than the first"
        hint = "Declare the types under `columns:`."
        return SourceError(message, where=self._query.file, hint=hint)
