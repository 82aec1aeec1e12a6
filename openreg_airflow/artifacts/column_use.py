"""Which columns an artifact speaks of, so that ``openreg check`` knows those that are not there."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts import run_line
from openreg_airflow.artifacts.placeholder import SUM_PREFIX
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.layout import Layout
    from openreg_airflow.artifacts.placeholder import Placeholder


@dataclass(frozen=True)
class Use:
    """A column that is spoken of, and where: the keys in the artifact's section, or a line.

    Attributes:
        table: the table that must have it.
        column: its name.
        keys: the way to it inside the artifact's section.
        file: the file that speaks of it, when it is not ``report.yaml``.
        line: 1-based line in that file.
    """

    table: str
    column: str
    keys: tuple[str | int, ...] = ()
    file: Path | None = None
    line: int | None = None


def of_columns(table: str, columns: Iterable[str] | None, *keys: str) -> Iterator[Use]:
    """Those of a section's ``columns``."""
    for column in columns or ():
        yield Use(table, column, (*keys, "columns", column))


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
        for inner in element.inner():
            yield from (Use(str(inner.each), own, (), path, inner.line) for own, _ in inner.on)
    for element in document.root.walk():
        yield from _sums(table, element.own_placeholders, (), path, element.line)


def unknown(uses: Iterable[Use], tables: Mapping[str, Mapping[str, Any] | None]) -> list[Problem]:
    """The columns that a declared table does not have.

    Args:
        uses: what an artifact speaks of.
        tables: the declared columns by table; None where they are not declared.
    """
    found: dict[Problem, None] = {}
    for use in uses:
        known = tables.get(use.table)
        if known is None or use.column in known:
            continue
        close = difflib.get_close_matches(use.column, list(known), 1)
        hint = f"Did you mean {close[0]}? " if close else ""
        problem = Problem(
            message=f"table {use.table} has no column {use.column}",
            hint=f"{hint}Its columns are {', '.join(known)}.",
            keys=use.keys,
            file=use.file,
            line=use.line,
            column=1 if use.line else None,
        )
        found[problem] = None
    return list(found)


def _sums(
    table: str,
    placeholders: Iterable[Placeholder],
    keys: tuple[str | int, ...],
    file: Path | None,
    line: int | None,
) -> Iterator[Use]:
    for found in placeholders:
        if found.name.startswith(SUM_PREFIX):
            yield Use(table, found.name.removeprefix(SUM_PREFIX), keys, file, line)
