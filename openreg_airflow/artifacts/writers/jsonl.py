"""Writes one JSON object a line, streaming, and holds each against its schema."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.formats.json_spec import JsonColumn
from openreg_airflow.artifacts.layouts import json_template
from openreg_airflow.artifacts.layouts.column_use import alike_titles, of_columns, of_layout
from openreg_airflow.artifacts.layouts.layout import Layout
from openreg_airflow.artifacts.validity.schema_search import NO_SCHEMA, VALID, for_job
from openreg_airflow.artifacts.writers.json import check_schema, check_template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.artifacts.formats.json_spec import JsonLinesArtifact
    from openreg_airflow.artifacts.layouts.column_use import Use
    from openreg_airflow.artifacts.writer import Job, Relation
    from openreg_airflow.problem import Problem

log = logging.getLogger(__name__)


class JsonLinesWriter:
    """The writer of ``format: jsonl``."""

    def tables(self, spec: JsonLinesArtifact, folder: Path) -> frozenset[str]:
        """The artifact's own table, and those that its template repeats objects for."""
        if spec.template is None:
            return frozenset({spec.table})
        return json_template.line(folder / spec.template, spec.table).tables

    def relations(self, spec: JsonLinesArtifact, folder: Path) -> tuple[Relation, ...]:
        """The tables that stand inside its lines."""
        if spec.template is None:
            return ()
        return json_template.line(folder / spec.template, spec.table).relations(spec.table)

    def write(self, job: Job, target: Path) -> str:
        """Write the lines and check them; see :meth:`~openreg_airflow.artifacts.writer.Writer`."""
        from openreg_airflow.artifacts.layouts.document import refuse_unknown_columns, write_lines
        from openreg_airflow.artifacts.layouts.json_fragment import form
        from openreg_airflow.artifacts.validity.json_schema import Schema

        spec: JsonLinesArtifact = job.spec
        path, outcome = (
            (None, NO_SCHEMA) if spec.json_schema is None else for_job(spec.json_schema, job)
        )
        schema = Schema(path) if path else None
        document = _line(spec, job)
        refuse_unknown_columns(document, job)
        write_lines(document, job, target, form(spec, lines=True))
        if job.draft:
            return outcome
        if outcome != VALID:
            log.warning("%s: %s", job.filename, outcome)
        if schema is not None:
            schema.lines(target)
        return outcome

    def uses(self, spec: JsonLinesArtifact, folder: Path) -> Iterator[Use]:
        """The columns that are written, or that the template speaks of."""
        yield from of_columns(spec.table, spec.columns)
        if spec.template is not None:
            yield from of_layout(json_template.line(folder / spec.template, spec.table), spec.table)

    def check(self, spec: JsonLinesArtifact, folder: Path) -> Iterator[Problem]:
        """Names that would stand twice in a line, faults of the template and of the schema."""
        yield from alike_titles(spec.columns, "a line")
        if spec.template is not None:
            yield from check_template(folder / spec.template, spec.table)
        yield from check_schema(spec, folder)


def _line(spec: JsonLinesArtifact, job: Job) -> Layout:
    if spec.template is not None:
        return json_template.line(job.folder / spec.template, spec.table)
    columns = spec.columns
    if columns is None:
        import pyarrow.parquet as pq

        names = pq.read_schema(job.tables[spec.table]).names
        columns = {name: JsonColumn() for name in names}
    root = json_template.of_columns(spec.table, columns)
    return Layout(job.folder / "report.yaml", root)
