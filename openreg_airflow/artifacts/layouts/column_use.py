"""Which columns an artifact speaks of, so that ``openreg check`` finds those that are not there,
or are written in a format of another type.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts.values import run_line, value_format
from openreg_airflow.artifacts.values.placeholder import SUM_PREFIX
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.layouts.layout import Layout
    from openreg_airflow.artifacts.layouts.layout_parts import Element
    from openreg_airflow.artifacts.values.placeholder import Placeholder


@dataclass(frozen=True)
class Use:
    """A column that is spoken of, and where: the keys in the artifact's section, or a line.

    Attributes:
        table: the table that must have it.
        column: its name.
        keys: the way to it inside the artifact's section.
        file: the file that speaks of it, when it is not ``report.yaml``.
        line: 1-based line in that file.
        format: how its values are spelled.
        summed: whether its sum is taken.
    """

    table: str
    column: str
    keys: tuple[str | int, ...] = ()
    file: Path | None = None
    line: int | None = None
    format: str = ""
    summed: bool = False


def of_columns(table: str, columns: Mapping[str, Any] | None, *keys: str) -> Iterator[Use]:
    """Those of a section's ``columns``."""
    for name, column in (columns or {}).items():
        form = getattr(column, "format", "")
        yield Use(table, name, (*keys, "columns", name), format=form)


def alike_titles(columns: Mapping[str, Any] | None, what: str, *keys: str) -> Iterator[Problem]:
    """Columns that would be written under the title of another one.

    Args:
        columns: a section's ``columns``.
        what: names the columns in the file, as ``the header``.
        *keys: the way to ``columns`` inside the artifact's section.
    """
    seen: set[str] = set()
    for name, column in (columns or {}).items():
        title = column.title or name
        if title in seen:
            message = f"{what} would name {title!r} twice"
            yield Problem(message=message, keys=(*keys, "columns", name))
        seen.add(title)


def of_lines(table: str, lines: Iterable[str], *keys: str) -> Iterator[Use]:
    """Those of the sums in header and trailer records."""
    for place, line in enumerate(lines):
        yield from _sums(table, run_line.placeholders([line]), (*keys, place), None, None)


def of_layout(document: Layout, table: str) -> Iterator[Use]:
    """Those of a layout or template."""
    path = document.path.resolve()
    for element in document.repeated():
        for column, line in element.columns():
            yield Use(str(element.each), column, (), path, line)
        for below in _within(element):
            for found in below.own_placeholders:
                if found.format and not found.of_run:
                    yield Use(str(element.each), found.name, (), path, below.line, found.format)
        for inner in element.inner():
            yield from (Use(str(inner.each), own, (), path, inner.line) for own, _ in inner.on)
    for element in document.root.walk():
        yield from _sums(table, element.own_placeholders, (), path, element.line)


def faults(uses: Iterable[Use], tables: Mapping[str, Mapping[str, str] | None]) -> list[Problem]:
    """The columns that a declared table does not have, or has with a type that does not fit.

    Args:
        uses: what an artifact speaks of.
        tables: the declared types of the columns by table; None where they are not declared.
    """
    found: dict[Problem, None] = {}
    for use in uses:
        known = tables.get(use.table)
        if known is None:
            continue
        if use.column not in known:
            close = difflib.get_close_matches(use.column, list(known), 1)
            hint = f"Did you mean {close[0]}? " if close else ""
            message = f"table {use.table} has no column {use.column}"
            hint = f"{hint}Its columns are {', '.join(known)}."
        elif message := _misfit(use, known[use.column]):
            hint = f"The column is declared as {known[use.column]}."
        else:
            continue
        column = 1 if use.line else None
        problem = Problem(
            message=message, hint=hint, keys=use.keys, file=use.file, line=use.line, column=column
        )
        found[problem] = None
    return list(found)


def _misfit(use: Use, declared: str) -> str:
    """Why a column of a declared type cannot be written so; empty when it can."""
    kind = declared.partition("(")[0]
    if kind == "any":
        return ""
    if use.summed and kind not in ("integer", "decimal"):
        return f"column {use.column} has no exact sum"
    form = value_format.parse(use.format)
    fits: tuple[str, ...] = (kind,)
    if isinstance(form, value_format.Fixed):
        fits = ("integer", "decimal", "float")
    elif isinstance(form, value_format.Flags):
        fits = ("boolean",)
    elif isinstance(form, value_format.Pattern):
        days, times = form.directives & {"Y", "m", "d"}, form.directives - {"Y", "m", "d"}
        fits = ("timestamp", "timestamp_utc")
        fits += () if times else ("date",)
        fits += () if days else ("time",)
    if kind in fits:
        return ""
    return f"column {use.column} cannot be written as {use.format}"


def _within(element: Element) -> Iterator[Element]:
    """An element and those below it that speak of the same table."""
    yield element
    for child in element.children:
        if child.each is None:
            yield from _within(child)


def _sums(
    table: str,
    placeholders: Iterable[Placeholder],
    keys: tuple[str | int, ...],
    file: Path | None,
    line: int | None,
) -> Iterator[Use]:
    for found in placeholders:
        if found.name.startswith(SUM_PREFIX):
            column = found.name.removeprefix(SUM_PREFIX)
            yield Use(table, column, keys, file, line, found.format, summed=True)
