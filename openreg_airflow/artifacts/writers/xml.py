"""Writes XML documents by a layout, streaming, and holds the result against its schema."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts import layout
from openreg_airflow.artifacts.layouts.column_use import of_layout
from openreg_airflow.artifacts.validity import schema_search
from openreg_airflow.artifacts.validity.schema_search import NO_SCHEMA, VALID
from openreg_airflow.errors import ArtifactError
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openreg_airflow.artifacts.formats.xml_spec import XmlArtifact
    from openreg_airflow.artifacts.layouts.column_use import Use
    from openreg_airflow.artifacts.layouts.layout_parts import Element
    from openreg_airflow.artifacts.writer import Job, Relation

log = logging.getLogger(__name__)

_TABLE_HINT = "The artifact's table is the one whose rows are its records."
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


class XmlWriter:
    """The writer of ``format: xml``."""

    def tables(self, spec: XmlArtifact, folder: Path) -> frozenset[str]:
        """The tables that the layout repeats elements for."""
        return layout.read(folder / spec.layout).tables | {spec.table}

    def relations(self, spec: XmlArtifact, folder: Path) -> tuple[Relation, ...]:
        """The tables that stand inside its records."""
        return layout.read(folder / spec.layout).relations(spec.table)

    def write(self, job: Job, target: Path) -> str:
        """Write the document and check it; see :meth:`~openreg_airflow.artifacts.writer.Writer`."""
        from openreg_airflow.artifacts.layouts.document import refuse_unknown_columns, write

        spec: XmlArtifact = job.spec
        document = layout.read(job.folder / spec.layout)
        if spec.table not in document.tables:
            message = _not_repeated(spec, document.tables)
            raise ArtifactError(message, where=f"artifact {job.artifact}", hint=_TABLE_HINT)
        hold, outcome = _schema(spec, job, document)
        refuse_unknown_columns(document, job)
        write(document, job, target, declaration=_DECLARATION)
        if job.draft:
            return outcome
        if outcome != VALID:
            log.warning("%s: %s", job.filename, outcome)
        if hold is not None:
            hold(target)
        return outcome

    def uses(self, spec: XmlArtifact, folder: Path) -> Iterator[Use]:
        """The columns that the layout speaks of."""
        yield from of_layout(layout.read(folder / spec.layout), spec.table)

    def check(self, spec: XmlArtifact, folder: Path) -> Iterator[Problem]:
        """Faults of the layout, with line and column."""
        path = folder / spec.layout
        if not path.is_file():
            message = f"layout {spec.layout} is missing"
            yield Problem(message=message, hint="Put it beside report.yaml.", keys=("layout",))
            return
        path = path.resolve()
        root, faults = layout.inspect(path.read_bytes())
        for fault in faults:
            line, column = fault.place
            yield Problem(
                message=fault.message, hint=fault.hint, file=path, line=line, column=column
            )
        if root is None or faults:
            return
        tables = layout.Layout(path, root).tables
        if spec.table not in tables:
            yield Problem(message=_not_repeated(spec, tables), hint=_TABLE_HINT, keys=("table",))
        yield from _by_schema(spec, root, path)


def _not_repeated(spec: XmlArtifact, tables: frozenset[str]) -> str:
    known = ", ".join(sorted(tables))
    return f"layout {spec.layout} has no r:each for table {spec.table}, but for {known}"


def _by_schema(spec: XmlArtifact, root: Element, path: Path) -> Iterator[Problem]:
    """Faults of the layout by those of its schemas that are on this machine."""
    if spec.xsd is None:
        return
    from openreg_airflow.artifacts.layouts import layout_schema
    from openreg_airflow.artifacts.validity import xsd_model

    folders = schema_search.static_folders(path.parent)
    names = (spec.xsd.file, *spec.xsd.envelope)
    found = [place for name in names if (place := schema_search.find(name, folders))]
    if not found or found[0].name != Path(spec.xsd.file).name:
        return
    try:
        schema = xsd_model.Schema(found)
    except ArtifactError as error:
        yield Problem(message=str(error.message), hint=error.hint, keys=("schema",))
        return
    for fault in layout_schema.hold(root, schema):
        line, column = fault.place
        yield Problem(message=fault.message, hint=fault.hint, file=path, line=line, column=column)


def _schema(
    spec: XmlArtifact, job: Job, document: layout.Layout
) -> tuple[Callable[[Path], int] | None, str]:
    """What holds a file against the schema, None without one, and what its success is called."""
    if spec.xsd is None:
        return None, NO_SCHEMA
    from openreg_airflow.artifacts.layouts import layout_schema
    from openreg_airflow.artifacts.validity import xsd, xsd_model, xsd_pieces, xsd_schema

    paths, absent = {}, []
    for name in (spec.xsd.file, *spec.xsd.envelope):
        path, outcome = schema_search.look_up(name, job, required=spec.xsd.required)
        if path:
            paths[name] = path
        else:
            absent.append(outcome)
    if spec.xsd.file not in paths:
        return None, "; ".join(absent)
    schema = xsd_schema.compile_together(list(paths.values()), document.root.tag)
    model = xsd_model.Schema(paths.values())
    for fault in layout_schema.undeclared(document.root, model):
        place = f"{document.path.name}, line {fault.place[0]}, column {fault.place[1]}"
        raise ArtifactError(fault.message, where=place, hint=fault.hint)
    element, way = next(each for each in document.each() if each[0].each == spec.table)
    apart = element.name if xsd_pieces.separable(model, way) else None
    outcome = "; ".join([f"valid by {', '.join(paths)}", *absent]) if absent else VALID
    return partial(xsd.validate, schema=schema, record=way, name=apart), outcome
