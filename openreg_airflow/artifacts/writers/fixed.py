"""Writes records of fields of fixed widths, streaming and a column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.artifacts.formats.fixed_spec import FixedField, FixedRunField
from openreg_airflow.artifacts.layouts.column_use import Use
from openreg_airflow.artifacts.values import condition
from openreg_airflow.artifacts.values.placeholder import SUM_PREFIX, Placeholder
from openreg_airflow.artifacts.writer import Progress, batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from openreg_airflow.artifacts.formats.fixed_spec import AnyField, FixedArtifact
    from openreg_airflow.artifacts.writer import Job
    from openreg_airflow.problem import Problem


class FixedWriter:
    """The writer of ``format: fixed``."""

    def tables(self, spec: FixedArtifact, folder: Path) -> frozenset[str]:  # noqa: ARG002
        """Only the artifact's own table."""
        return frozenset({spec.table})

    def write(self, job: Job, target: Path) -> str:
        """Write the file; see :class:`~openreg_airflow.artifacts.writer.Writer`."""
        from openreg_airflow.artifacts.formats.fixed_lines import FixedLines
        from openreg_airflow.artifacts.values import run_values
        from openreg_airflow.parquet_rows import opened

        spec: FixedArtifact = job.spec
        progress = Progress(job.filename, job.rows[spec.table])
        around = [f for record in (*spec.header_records, *spec.trailer_records) for f in record]
        wanted = [Placeholder(f.value) for f in around if isinstance(f, FixedRunField)]
        values = run_values.of(job, wanted)
        with opened(job.tables[spec.table]) as table, job.create(target) as file:
            lines = FixedLines(spec, table.schema_arrow)
            file.write(lines.header(values))
            first = 1
            # Of records without any column, the number of rows alone counts.
            names = lines.names or table.schema_arrow.names[:1]
            for batch in batches(table, names):
                file.write(lines.of(batch, first))
                first += batch.num_rows
                progress.at(first - 1)
            file.write(lines.trailer(values))
        return "not checked: fixed width has no schema"

    def uses(self, spec: FixedArtifact, folder: Path) -> Iterator[Use]:  # noqa: ARG002
        """The columns that are written, those that decide the type of a record, and of sums."""
        yield from _of_fields(spec.table, spec.fields or (), "fields")
        for place, kind in enumerate(spec.record_types or ()):
            for column in sorted(condition.parse(kind.when).columns):
                yield Use(spec.table, column, ("record_types", place, "when"))
            yield from _of_fields(spec.table, kind.fields, "record_types", place, "fields")
        for name in ("header_records", "trailer_records"):
            for place, fields in enumerate(getattr(spec, name)):
                yield from _of_fields(spec.table, fields, name, place)

    def check(self, spec: FixedArtifact, folder: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Nothing beyond what the section itself refuses."""
        yield from ()


def _of_fields(table: str, fields: Sequence[AnyField], *keys: str | int) -> Iterator[Use]:
    for place, field in enumerate(fields):
        if isinstance(field, FixedField):
            yield Use(table, field.column, (*keys, place, "column"), format=field.format)
        elif isinstance(field, FixedRunField) and field.value.startswith(SUM_PREFIX):
            column = field.value.removeprefix(SUM_PREFIX)
            yield Use(table, column, (*keys, place, "value"), summed=True)
