"""Map steps: columns of a table filled from mapping sets, batch by batch and in the row's order."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openreg_airflow.errors import SpecError, UnmappedError
from openreg_airflow.extract.parquet import ParquetSink
from openreg_airflow.mapping_records import MappingUse, UnmappedValue
from openreg_airflow.records import Column, Dataset
from openreg_airflow.transform.runner.keys import KeyMismatchError, as_values
from openreg_airflow.transform.runner.lookup import Entries
from openreg_airflow.transform.runner.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from openreg_airflow.exception_queue.reasons import ReasonWriter
    from openreg_airflow.mapping_records import MappingSnapshot
    from openreg_airflow.mappings.spec import MapStep
    from openreg_airflow.records import FileRef

log = logging.getLogger(__name__)

#: Rows that are looked up at a time: at least so many, and more while they are small, since each
#: time begins with all keys of the set.
BATCH_ROWS = 65_536
_MOST_ROWS = 4 * BATCH_ROWS
_BATCH_BYTES = 8 << 20
#: Unmapped values of one step that its record lists.
MOST_LISTED = 10_000
#: Seconds between two lines about progress.
PROGRESS = 5.0


def entries_of(snapshot: MappingSnapshot, path: Path) -> Entries:
    """The entries of a snapshot, ready for look-ups."""
    keys = [key.name for key in snapshot.keys]
    return Entries(pq.read_table(path), keys, [value.name for value in snapshot.values])


class Filling:
    """One map step on one table.

    Args:
        name: the step's name.
        step: the step.
        entries: those of its set.
        schema: the table's columns before the step.
        business_date: the date that counts where the step names no column.

    Raises:
        SpecError: the step does not fit the set or the table.
    """

    def __init__(
        self, name: str, step: MapStep, entries: Entries, schema: pa.Schema, business_date: date
    ) -> None:
        self.name = name
        self.step = step
        self.tally = Tally()
        #: The rows of the last batch whose key was not found.
        self.unmapped = np.zeros(0, np.bool_)
        self._entries = entries
        self._business_date = business_date
        self._check(schema)
        self.schema = schema
        for column, value in step.fill.items():
            kind = entries.type_of(value)
            place = self.schema.get_field_index(column)
            new = pa.field(column, kind)
            self.schema = self.schema.append(new) if place < 0 else self.schema.set(place, new)
        self._defaults = {
            column: self._typed(column, value, entries.type_of(step.fill[column]))
            for column, value in step.default.items()
        }

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the filled columns; counts what was looked up.

        Raises:
            SpecError: a column is of another type than the key.
        """
        columns = [batch.column(name) for name in self.step.key]
        as_of = batch.column(self.step.as_of) if self.step.as_of else self._business_date
        try:
            found = self._entries.find(columns, as_of)
        except KeyMismatchError as error:
            raise self._wrong(str(error)) from error
        self.tally.add(columns, as_of, found)
        self.unmapped = found.unmapped
        arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
        missing = pa.array(found.unmapped) if found.unmapped.any() else None
        for column, value in self.step.fill.items():
            result = self._entries.take(value, found.entries)
            if missing is not None and self.step.unmapped == "default":
                result = pc.if_else(missing, self._defaults[column], result)
            elif missing is not None and self.step.unmapped == "original":
                original = self._original(columns[0], missing, result.type)
                result = pc.if_else(missing, original, result)
            arrays[column] = result
        return pa.RecordBatch.from_arrays([*arrays.values()], schema=self.schema)

    def aside(self, batch: pa.RecordBatch) -> Iterator[tuple[int, str]]:
        """The rows of the batch before the last step that are set aside, each with its reason."""
        if self.step.unmapped != "set_aside":
            return
        for row in np.flatnonzero(self.unmapped).tolist():
            key = " / ".join(str(batch.column(name)[row].as_py()) for name in self.step.key)
            yield row, f"mapping set {self.step.set_} has no entry for {key!r}"

    def use(self) -> MappingUse:
        """What was looked up."""
        tally = self.tally
        return MappingUse(
            place=f"map.{self.name}",
            name=self.step.set_,
            rows=tally.rows,
            blank=tally.blank,
            unmapped=tally.unmapped,
            distinct=tally.distinct,
            fallback=self.step.unmapped,
            values=tuple(
                UnmappedValue(key=key, rows=rows, first=first)
                for key, rows, first in tally.values(MOST_LISTED)
            ),
        )

    def _check(self, schema: pa.Schema) -> None:
        step, entries = self.step, self._entries
        if len(step.key) != len(entries.keys):
            listed = ", ".join(entries.keys)
            message = (
                f"set {step.set_} has the keys {listed}, but key names {len(step.key)} columns"
            )
            raise self._wrong(message)
        for column in (*step.key, *([step.as_of] if step.as_of else [])):
            if schema.get_field_index(column) < 0:
                message = f"table {step.table} has no column {column!r}"
                raise self._wrong(message, f"Its columns are: {', '.join(schema.names)}.")
        for value in step.fill.values():
            if value not in entries.values:
                message = f"set {step.set_} has no value {value!r}"
                raise self._wrong(message, f"Its values are: {', '.join(entries.values)}.")

    def _typed(self, column: str, value: Any, kind: pa.DataType) -> pa.Scalar:
        try:
            if isinstance(value, str) and kind != pa.string():
                return pa.scalar(value, pa.string()).cast(kind)
            return pa.scalar(value, kind)
        except (pa.ArrowException, TypeError, ValueError) as error:
            message = f"default {value!r} of column {column} is not {kind}"
            raise self._wrong(message) from error

    def _original(self, key: pa.Array, missing: pa.Array, kind: pa.DataType) -> pa.Array:
        try:
            return as_values(key, missing, kind)
        except pa.ArrowException as error:
            message = f"unmapped: original: a key of type {key.type} does not fit {kind}: {error}"
            raise self._wrong(message) from error

    def _wrong(self, message: str, hint: str | None = None) -> SpecError:
        return SpecError(message, hint=hint, where=f"map.{self.name}")


def fill(
    source: Path, into: Path, fillings: Sequence[Filling], reasons: ReasonWriter | None = None
) -> int:
    """Write a table with the filled columns of all its steps.

    Rows keep their order; memory holds a few batches. A step that is to fail on unmapped values
    lets the table be read to its end first, so that all of them are counted.

    Args:
        source: the table as Parquet.
        into: the file to write.
        fillings: the table's steps, in order.
        reasons: takes the rows that are set aside; they stay in the file.

    Returns:
        The number of rows.
    """
    started = said = time.monotonic()
    rows = 0
    with (
        pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20) as file,
        closing(_ahead(file.iter_batches(batch_size=_rows_at_once(file.metadata)))) as batches,
        ParquetSink(into, fillings[-1].schema) as sink,
    ):
        for batch in batches:
            filled = batch.replace_schema_metadata(None)
            for filling in fillings:
                before, filled = filled, filling.apply(filled)
                if reasons is not None:
                    for row, message in filling.aside(before):
                        place = f"map.{filling.name}"
                        reasons.add(filling.step.table, place, message, row=rows + row)
            rows += len(filled)
            if not any(one.tally.unmapped and one.step.unmapped == "fail" for one in fillings):
                sink.write(filled)
            if (now := time.monotonic()) - said >= PROGRESS:
                said = now
                log.info("%s: %s rows mapped in %.0f s", source.name, f"{rows:,}", now - started)
    return rows


def _rows_at_once(about: pq.FileMetaData) -> int:
    size = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    fitting = _BATCH_BYTES * about.num_rows // max(1, size)
    return int(min(max(fitting, BATCH_ROWS), _MOST_ROWS))


def _ahead(batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
    """The batches, of which the next one is read while one is worked on."""
    with ThreadPoolExecutor(1, "openreg-map") as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def report(uses: Sequence[MappingUse]) -> None:
    """Show in the log what steps of a run have looked up and not found."""
    for use in uses:
        log.log(logging.WARNING if use.unmapped else logging.INFO, "%s", use)


def unmapped_error(uses: Sequence[MappingUse], report_id: str) -> UnmappedError | None:
    """The error of the steps that are to fail, or None when all was found."""
    failed = [use for use in uses if use.unmapped and use.fallback == "fail"]
    if not failed:
        return None
    message = "; ".join(
        f"{use.place}: set {use.name} has no entry for {use.listed()}, {use.unmapped:,} rows in all"
        for use in failed
    )
    hint = (
        f"`openreg mappings unmapped {report_id}` writes them as a file to fill in and import; "
        "then start a new run of this business date, since a run keeps seeing the entries that "
        "were known when it began. Or say by unmapped: in the spec what else becomes of them."
    )
    return UnmappedError(message, hint=hint)


def dataset(ref: FileRef, rows: int, schema: pa.Schema) -> Dataset:
    """The record of a table that steps have filled."""
    columns = tuple(
        Column(name=field.name, type=str(field.type), nullable=field.nullable) for field in schema
    )
    return Dataset(**ref.model_dump(), rows=rows, columns=columns)


def by_table(steps: Mapping[str, MapStep]) -> dict[str, dict[str, MapStep]]:
    """The steps by the table that they fill."""
    tables: dict[str, dict[str, MapStep]] = {}
    for name, step in steps.items():
        tables.setdefault(step.table, {})[name] = step
    return tables
