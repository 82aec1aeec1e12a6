"""Writes JSON documents by a template, streaming, and holds the result against its schema."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts import json_template
from openreg_airflow.artifacts.layouts.column_use import of_layout
from openreg_airflow.artifacts.layouts.layout import Layout
from openreg_airflow.artifacts.validity import schema_search
from openreg_airflow.artifacts.validity.schema_search import NO_SCHEMA, VALID, for_job
from openreg_airflow.errors import ArtifactError
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from openreg_airflow.artifacts.formats.json_spec import JsonArtifact, JsonBase
    from openreg_airflow.artifacts.layouts.column_use import Use
    from openreg_airflow.artifacts.writer import Job, Relation

log = logging.getLogger(__name__)

_TABLE_HINT = "The artifact's table is the one whose rows are its records."


class JsonWriter:
    """The writer of ``format: json``."""

    def tables(self, spec: JsonArtifact, folder: Path) -> frozenset[str]:
        """The tables that the template repeats objects for."""
        return json_template.document(folder / spec.template).tables | {spec.table}

    def relations(self, spec: JsonArtifact, folder: Path) -> tuple[Relation, ...]:
        """The tables that stand inside its records."""
        return json_template.document(folder / spec.template).relations(spec.table)

    def write(self, job: Job, target: Path) -> str:
        """Write the document and check it; see :meth:`~openreg_airflow.artifacts.writer.Writer`."""
        from openreg_airflow.artifacts.layouts.document import refuse_unknown_columns, write
        from openreg_airflow.artifacts.layouts.json_fragment import form
        from openreg_airflow.artifacts.validity.json_schema import Schema

        spec: JsonArtifact = job.spec
        document = json_template.document(job.folder / spec.template)
        if spec.table not in document.tables:
            message = _not_repeated(spec, document.tables)
            raise ArtifactError(message, where=f"artifact {job.artifact}", hint=_TABLE_HINT)
        path, outcome = (
            (None, NO_SCHEMA) if spec.json_schema is None else for_job(spec.json_schema, job)
        )
        schema = Schema(path) if path else None
        refuse_unknown_columns(document, job)
        frame = write(document, job, target, form=form(spec))
        if job.draft:
            return outcome
        if outcome != VALID:
            log.warning("%s: %s", job.filename, outcome)
        if schema is not None:
            schema.document(target, frame, _way(document, spec.table))
        return outcome

    def uses(self, spec: JsonArtifact, folder: Path) -> Iterator[Use]:
        """The columns that the template speaks of."""
        yield from of_layout(json_template.document(folder / spec.template), spec.table)

    def check(self, spec: JsonArtifact, folder: Path) -> Iterator[Problem]:
        """Faults of the template, with line and column, and of the schema that is there."""
        tables = yield from check_template(folder / spec.template, None)
        if tables is not None and spec.table not in tables:
            yield Problem(message=_not_repeated(spec, tables), hint=_TABLE_HINT, keys=("table",))
        yield from check_schema(spec, folder)


def check_template(
    path: Path, table: str | None
) -> Generator[Problem, None, frozenset[str] | None]:
    """Faults of a template; gives the tables of one without faults."""
    if not path.is_file():
        message = f"template {path.name} is missing"
        yield Problem(message=message, hint="Put it beside report.yaml.", keys=("template",))
        return None
    path = path.resolve()
    root, faults = json_template.inspect(path.read_text(encoding="utf-8-sig"), table)
    for fault in faults:
        line, column = fault.place
        yield Problem(message=fault.message, hint=fault.hint, file=path, line=line, column=column)
    return None if root is None or faults else Layout(path, root).tables


def check_schema(spec: JsonBase, folder: Path) -> Iterator[Problem]:
    """Whether the schema, where it is on this machine, is one."""
    if spec.json_schema is None:
        return
    from openreg_airflow.artifacts.validity.json_schema import Schema

    if path := schema_search.find(spec.json_schema.file, schema_search.static_folders(folder)):
        try:
            Schema(path)
        except ArtifactError as error:
            yield Problem(message=error.message, hint=error.hint, keys=("schema",))


def _not_repeated(spec: JsonArtifact, tables: frozenset[str]) -> str:
    known = ", ".join(sorted(tables))
    return f"template {spec.template} has no $each for table {spec.table}, but for {known}"


def _way(document: Layout, table: str) -> tuple[str | int, ...]:
    """The way from the document to the array of its records."""
    element = next(element for element, _ in document.each() if element.each == table)
    steps = element.name.split("/")[:-1]
    return tuple(int(step) if step.isdigit() else step for step in steps)
