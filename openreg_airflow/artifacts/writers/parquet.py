"""Writes Parquet of declared types; the same rows give the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts.formats.parquet_spec import ParquetColumn
from openreg_airflow.artifacts.layouts.column_use import alike_titles, of_columns
from openreg_airflow.artifacts.writer import Progress, batch_rows, batches, unknown_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    from openreg_airflow.artifacts.formats.parquet_spec import ParquetArtifact
    from openreg_airflow.artifacts.layouts.column_use import Use
    from openreg_airflow.artifacts.writer import Job
    from openreg_airflow.problem import Problem

#: A row group of long records has no more rows than this many batches.
_BATCHES = 8
_DIGITS = 76


class ParquetWriter:
    """The writer of ``format: parquet``."""

    def tables(self, spec: ParquetArtifact, folder: Path) -> frozenset[str]:  # noqa: ARG002
        """Only the artifact's own table."""
        return frozenset({spec.table})

    def write(self, job: Job, target: Path) -> str:
        """Write the file; see :class:`~openreg_airflow.artifacts.writer.Writer`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from openreg_airflow.parquet_rows import opened

        spec: ParquetArtifact = job.spec
        progress = Progress(job.filename, job.rows[spec.table])
        with opened(job.tables[spec.table]) as table:
            columns = spec.columns or {name: ParquetColumn() for name in table.schema_arrow.names}
            schema = _schema(spec, columns, table.schema_arrow)
            group = min(spec.row_group, _BATCHES * batch_rows(table))
            with pq.ParquetWriter(
                target, schema, compression=spec.compression, write_page_index=True
            ) as file:
                done = 0
                for rows in _groups(table, list(columns), group):
                    arrays = [
                        _cast(
                            name,
                            rows.column(name),
                            schema.field(place),
                            done + 1,
                            required=column.required,
                        )
                        for place, (name, column) in enumerate(columns.items())
                    ]
                    file.write_table(pa.table(arrays, schema=schema), row_group_size=group)
                    done += rows.num_rows
                    progress.at(done)
        return "not checked: Parquet carries its own schema"

    def uses(self, spec: ParquetArtifact, folder: Path) -> Iterator[Use]:  # noqa: ARG002
        """The columns that are written."""
        yield from of_columns(spec.table, spec.columns)

    def check(self, spec: ParquetArtifact, folder: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Names that would stand twice in the file."""
        yield from alike_titles(spec.columns, "the file")


def _schema(
    spec: ParquetArtifact, columns: Mapping[str, ParquetColumn], known: pa.Schema
) -> pa.Schema:
    import pyarrow as pa

    from openreg_airflow.column_types import arrow_type

    fields = []
    for name, column in columns.items():
        if name not in known.names:
            raise unknown_column(spec.table, name, known.names)
        kind = arrow_type(column.type) if column.type else known.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        # Arrow knows no mandatory column without a type, as one of only NULLs or no rows is.
        nullable = not column.required or pa.types.is_null(kind)
        fields.append(pa.field(column.title or name, kind, nullable=nullable))
    return pa.schema(fields)


def _groups(table: pq.ParquetFile, names: list[str], rows: int) -> Iterator[pa.Table]:
    """The rows in groups of the same size, whatever the row groups of the table are."""
    import pyarrow as pa

    held: list[Any] = []
    count = 0
    for batch in batches(table, names):
        part = batch
        while count + part.num_rows >= rows:
            taken = rows - count
            yield pa.Table.from_batches([*held, part.slice(0, taken)])
            held, count = [], 0
            part = part.slice(taken)
        if part.num_rows:
            held.append(part)
            count += part.num_rows
    if held:
        yield pa.Table.from_batches(held)


def _cast(
    name: str, values: pa.ChunkedArray, field: pa.Field, first: int, *, required: bool
) -> pa.Array:
    import pyarrow as pa

    from openreg_airflow.artifacts.values import field_error
    from openreg_airflow.artifacts.values.value_text import UnwritableValueError

    array = values.combine_chunks()
    try:
        if required:
            field_error.refuse_null(array)
        if array.type == field.type:
            return array
        try:
            return _exact(array, field.type)
        except pa.ArrowNotImplementedError as error:
            message = f"the column is {array.type} and cannot become {field.type}"
            raise UnwritableValueError(message) from error
        except pa.ArrowInvalid as error:
            row = _first_failing(array, field.type)
            message = f"{array[row].as_py()} cannot be held exactly as {field.type}"
            raise UnwritableValueError(message, row) from error
    except UnwritableValueError as error:
        raise field_error.unwritable(error, first, name) from error


def _exact(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values of another type, each the same value.

    Raises:
        pyarrow.ArrowInvalid: a value is not the same in that type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_decimal(kind):
        own = values.type
        # Arrow rescales without looking whether a number leaves its bits: it gets room first.
        if pa.types.is_integer(own):
            values = pc.cast(values, pa.decimal256(_DIGITS, kind.scale))
        elif pa.types.is_decimal(own):
            if own.precision - own.scale + max(kind.scale, own.scale) > _DIGITS:
                message = f"{own} cannot be rescaled to {kind}"
                raise pa.ArrowNotImplementedError(message)
            values = pc.cast(values, pa.decimal256(_DIGITS, own.scale))
            values = pc.cast(values, pa.decimal256(_DIGITS, kind.scale))
    return pc.cast(values, kind)


def _first_failing(values: pa.Array, kind: pa.DataType) -> int:
    """The first value that cannot be cast, found by halving."""
    import pyarrow as pa

    begin, end = 0, len(values)
    while end - begin > 1:
        middle = (begin + end) // 2
        try:
            _exact(values.slice(begin, middle - begin), kind)
        except pa.ArrowInvalid:
            end = middle
        else:
            begin = middle
    return begin
