"""Checks the section ``records`` against the tables and the layouts that it must fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts import layout
from openreg_airflow.exception_queue.spec import children
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dag_factory.report import ReportSpec
    from openreg_airflow.artifacts.layouts.layout_parts import Element


def check(spec: ReportSpec, folder: Path) -> Iterator[Problem]:
    """Columns that are not there, and inner tables of layouts that are not declared.

    Args:
        spec: the report's spec.
        folder: its folder, where the layouts are.
    """
    yield from _unknown_columns(spec)
    for name, artifact in spec.artifacts.items():
        path = getattr(artifact, "layout", None)
        if path is None or not (folder / path).is_file():
            continue
        root, faults = layout.inspect((folder / path).read_bytes())
        if root is None or faults:
            continue  # They are told of already.
        for element in root.walk():
            if element.each in spec.records:
                yield from _undeclared(spec, name, element)


def _unknown_columns(spec: ReportSpec) -> Iterator[Problem]:
    declared = spec.columns() or {}
    for name, table in spec.records.items():
        used = [(column, (name, "key" if table.key else "on")) for column in table.naming]
        for child in children(spec.records, name):
            used += [(column, (child, "on")) for column in spec.records[child].shared.values()]
        columns = declared.get(name)
        for column, keys in used:
            if columns is not None and column not in columns:
                yield Problem(
                    message=f"records: the table {name} has no column {column!r}",
                    hint=f"Its columns are {', '.join(columns)}.",
                    keys=keys,
                )


def _undeclared(spec: ReportSpec, artifact: str, element: Element) -> Iterator[Problem]:
    """Rows that a layout nests in a record must leave it together with the record."""
    for inner in element.inner():
        if inner.each not in spec.records:
            yield Problem(
                message=f"artifact {artifact}: rows of {inner.each} stand inside {element.each}, "
                "and would be left behind when its record is set aside",
                hint=f"Add under records: {inner.each}: {{parent: {element.each}, on: [...]}}.",
                keys=(str(element.each),),
            )
