"""From one query to one Parquet file: streamed, exact, bounded in memory, with evidence."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import SpecError
from openreg_airflow.extract.extracted import Extracted, Head, columns_of
from openreg_airflow.extract.limits import Meter
from openreg_airflow.extract.mark import Mark
from openreg_airflow.extract.parquet import ParquetSink
from openreg_airflow.extract.part_reading import PartReading
from openreg_airflow.extract.partition import check_query
from openreg_airflow.extract.query import parse, read
from openreg_airflow.extract.reader import KEEPS_RESULT, find_reader
from openreg_airflow.extract.reading import Reading
from openreg_airflow.extract.shape import Shape
from openreg_airflow.extract.sized_reading import SizedReading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Reader, SourceConnection
    from openreg_airflow.extract.spec import SourceSpec

log = logging.getLogger(__name__)

_LISTED_VALUES = 10
_PARTS = ".openreg-parts-"


class Extraction:
    """The extraction of one source for one business date.

    Args:
        spec: the source's section of the spec.
        folder: the report's folder, where the SQL file is.
        connection: the database.
        business_date: bound as ``:business_date``.
        reader: reads in place of the one for the connection's type.
        window: the text of :since and :until of an incremental source; None is an open end.

    Raises:
        SpecError: the SQL file is missing, empty or not one reading query, or there is no
            reader for the connection's type.
    """

    def __init__(
        self,
        spec: SourceSpec,
        folder: Path,
        connection: SourceConnection,
        business_date: date,
        *,
        reader: Reader | None = None,
        window: tuple[str | None, str | None] = (None, None),
    ) -> None:
        if spec.sql is None:
            message = "the source reads a file, not a query"
            raise SpecError(message)
        self._spec = spec
        self._connection = connection
        self._reader = reader or find_reader(connection.conn_type)
        self.query: Query = parse(
            read(folder, spec.sql),
            file=spec.sql,
            dialect=self._reader.dialect,
            parameters=spec.bind(business_date, window),
        )
        self._mark = Mark(spec.incremental, self.query) if spec.incremental else None
        self._declared = {name: arrow_type(kind) for name, kind in spec.columns.items()}
        self._parts: PartReading | SizedReading | None = None
        if spec.partition is not None:
            check_query(self.query)
        self._reading = Reading(
            self._reader,
            connection,
            self.query,
            declared=self._declared,
            timeout_seconds=spec.timeout_seconds,
        )

    def cancel(self) -> None:
        """Stop a running extraction, on the server too; :meth:`run` then raises."""
        self._reading.cancel()
        if self._parts is not None:
            self._parts.cancel()

    def run(self, path: Path) -> Extracted:
        """Write the query's result to a Parquet file.

        Raises:
            SourceError: the source refuses, or a value does not fit its declared type.
            SourceUnavailableError: the source cannot be reached, is lost, or takes too long.
            OSError: the file cannot be written.
        """
        started, started_at = time.monotonic(), datetime.now(UTC)
        self._log_start()
        if self._spec.partition is not None:
            return self._run_parts(path, started, started_at)
        with self._reading as reading:
            if reading.keeps_results:
                log.warning(KEEPS_RESULT, reading.server, self.query.file)
            shape = Shape(reading.columns, self._spec.columns, file=self.query.file)
            if self._mark is not None:
                self._mark.check(shape.schema)
            meter = Meter(self._spec, what="the query", where=self.query.file, started=started)
            with ParquetSink(path, shape.schema) as sink:
                rows = self._stream(reading, shape, sink, meter)
        done = Extracted(
            rows=rows,
            columns=columns_of(shape.schema),
            connection=self._connection.conn_id,
            server=reading.server,
            query=self.query,
            mark=self._mark.text if self._mark is not None else None,
            started_at=started_at,
            seconds=time.monotonic() - started,
        )
        self._log_end(done, path)
        return done

    def _run_parts(self, path: Path, started: float, started_at: datetime) -> Extracted:
        meter = Meter(self._spec, what="the query", where=self.query.file, started=started)
        for left in path.parent.glob(f"{_PARTS}*"):  # by an attempt that was killed
            shutil.rmtree(left, ignore_errors=True)
        with (
            tempfile.TemporaryDirectory(dir=path.parent, prefix=_PARTS) as scratch,
            ExitStack() as stack,
        ):
            self._parts = parts = self._part_reading(Path(scratch))
            sinks: list[ParquetSink] = []
            schemas: list[pa.Schema] = []

            def begin(schema: pa.Schema) -> None:
                if self._mark is not None:
                    self._mark.check(schema)
                schemas.append(schema)
                sinks.append(stack.enter_context(ParquetSink(path, schema)))

            for batch in stack.enter_context(closing(parts.read(meter, begin))):
                if self._mark is not None:
                    self._mark.look(batch)
                sinks[0].write(batch)
        done = Extracted(
            rows=meter.rows,
            columns=columns_of(schemas[0]),
            connection=self._connection.conn_id,
            server=parts.server,
            query=self.query,
            mark=self._mark.text if self._mark is not None else None,
            started_at=started_at,
            seconds=time.monotonic() - started,
            splits=tuple(map(str, parts.splits)),
        )
        self._log_end(done, path)
        return done

    def _part_reading(self, scratch: Path) -> PartReading | SizedReading:
        given = (self._spec, self.query, self._reader, self._connection)
        assert self._spec.partition is not None  # noqa: S101 - seen by the caller
        if self._spec.partition.part_rows is not None:
            return SizedReading(*given, declared=self._declared)
        return PartReading(*given, declared=self._declared, scratch=scratch)

    def head(self, rows: int) -> Head:
        """Read the first rows and cancel the rest; nothing is written.

        Raises:
            SourceError: the source refuses, or a value does not fit its declared type.
            SourceUnavailableError: the source cannot be reached, is lost, or takes too long.
        """
        with self._reading as reading:
            if reading.keeps_results:
                log.warning(KEEPS_RESULT, reading.server, self.query.file)
            shape = Shape(reading.columns, self._spec.columns, file=self.query.file)
            batches: list[pa.RecordBatch] = []
            found = 0
            for batch in reading:
                # One row more is converted than shown: it tells that there are more.
                part = batch.slice(0, rows + 1 - found)
                batches.append(shape.convert(part, rows_before=found))
                found += part.num_rows
                if found > rows:
                    break
        table = pa.Table.from_batches(batches, shape.schema)
        return Head(
            table=table.slice(0, rows),
            columns=reading.columns,
            server=reading.server,
            more=found > rows,
        )

    def _stream(self, reading: Reading, shape: Shape, sink: ParquetSink, meter: Meter) -> int:
        for batch in reading:
            converted = shape.convert(batch, rows_before=meter.rows)
            meter.count(converted)
            if self._mark is not None:
                self._mark.look(converted)
            sink.write(converted)
        return meter.rows

    def _log_start(self) -> None:
        query = self.query
        log.info(
            "Reading %s (SHA-256 %s) from connection %s with %s",
            query.file,
            query.sha256,
            self._connection.conn_id,
            _listed(query.used) or "no parameters",
        )
        if not query.understood:
            log.warning("The grammar of %s is not understood; the database judges it", query.file)
        elif not query.ordered and self._spec.partition is None:
            log.warning(
                "%s has no ORDER BY: the database may give the rows in another order next time, "
                "and the report's files would differ. Add an ORDER BY that leaves no ties.",
                query.file,
            )

    def _log_end(self, done: Extracted, path: Path) -> None:
        log.info(
            "%s rows, %d columns, %s bytes of Parquet from %s in %.2f s; SQL SHA-256 %s, %s",
            f"{done.rows:,}",
            len(done.columns),
            f"{path.stat().st_size:,}",
            done.server,
            done.seconds,
            done.query.sha256,
            _listed(done.query.used) or "no parameters",
        )


def _listed(parameters: Mapping[str, Value | tuple[Value, ...]]) -> str:
    return ", ".join(f":{name} = {_spelled(value)}" for name, value in parameters.items())


def _spelled(value: Value | tuple[Value, ...]) -> str:
    if not isinstance(value, tuple):
        return str(value)
    more = f" and {len(value) - _LISTED_VALUES} more" if len(value) > _LISTED_VALUES else ""
    return f"({', '.join(str(part) for part in value[:_LISTED_VALUES])}{more})"
