"""Writes delimited values, streaming and a column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts.column_use import alike_titles, of_columns, of_lines
from openreg_airflow.artifacts.writer import Progress, batches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.artifacts.formats.csv_spec import CsvArtifact
    from openreg_airflow.artifacts.layouts.column_use import Use
    from openreg_airflow.artifacts.writer import Job
    from openreg_airflow.problem import Problem


class CsvWriter:
    """The writer of ``format: csv``."""

    def tables(self, spec: CsvArtifact, folder: Path) -> frozenset[str]:  # noqa: ARG002
        """Only the artifact's own table."""
        return frozenset({spec.table})

    def write(self, job: Job, target: Path) -> str:
        """Write the file; see :class:`~openreg_airflow.artifacts.writer.Writer`."""
        from openreg_airflow.artifacts.formats.csv_lines import CsvLines
        from openreg_airflow.artifacts.values import run_line, run_values
        from openreg_airflow.parquet_rows import opened

        spec: CsvArtifact = job.spec
        progress = Progress(job.filename, job.rows[spec.table])
        around = (*spec.header_records, *spec.trailer_records)
        values = run_values.of(job, run_line.placeholders(around))
        with opened(job.tables[spec.table]) as table, job.create(target) as file:
            lines = CsvLines(spec, table.schema_arrow)
            file.write(lines.header(values))
            first = 1
            for batch in batches(table, lines.names):
                file.write(lines.of(batch, first))
                first += batch.num_rows
                progress.at(first - 1)
            file.write(lines.trailer(values))
        return "not checked: CSV has no schema"

    def uses(self, spec: CsvArtifact, folder: Path) -> Iterator[Use]:  # noqa: ARG002
        """The columns that are written, and those of sums."""
        yield from of_columns(spec.table, spec.columns)
        yield from of_lines(spec.table, spec.header_records, "header_records")
        yield from of_lines(spec.table, spec.trailer_records, "trailer_records")

    def check(self, spec: CsvArtifact, folder: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Titles that would stand twice in the header."""
        if spec.header:
            yield from alike_titles(spec.columns, "the header")
