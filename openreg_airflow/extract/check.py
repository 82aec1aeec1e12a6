"""What ``openreg check`` finds wrong with a source without reaching it."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.extract.query import QueryError
    from openreg_airflow.extract.spec import ExtractSection, SourceSpec

#: The connection's type is not known here, so SQL is wrong when it is wrong in all of these.
_DIALECTS = ("postgres", "sqlite", "mysql", "tsql", "oracle")

#: Any day will do: a check binds values only to see their types.
_SOME_DAY = date(2000, 1, 1)


def check(spec: ExtractSection, folder: Path) -> Iterator[Problem]:
    """Find faults of the section's SQL files.

    Args:
        spec: the ``extract`` section.
        folder: the report's folder.
    """
    for name, source in spec.sources.items():
        if source.file is not None:
            yield from _file(name, source)
        else:
            yield from _source(name, source, folder)


def _file(name: str, source: SourceSpec) -> Iterator[Problem]:
    from openreg_airflow.extract.files.text_forms import misplaced_formats

    assert source.file is not None  # noqa: S101 - seen by the caller
    file = source.file
    told = file.format == "parquet" or (file.format == "csv" and file.header)
    if not told and not source.columns:
        yield Problem(
            message=f"{file.format} does not tell its columns",
            hint="Declare them under `columns:`.",
            keys=("sources", name, "file", "format"),
        )
    for column, message in misplaced_formats(file, source.columns).items():
        yield Problem(
            message=message,
            hint="Give it the parts that the column's type needs, or correct `columns:`.",
            keys=("sources", name, "file", "formats", column),
        )


def _source(name: str, source: SourceSpec, folder: Path) -> Iterator[Problem]:
    from openreg_airflow.extract.query import QueryError, read

    try:
        text = read(folder, str(source.sql))
    except QueryError as error:
        yield Problem(message=error.message, hint=error.hint, keys=("sources", name, "sql"))
        return
    faults = []
    for dialect in _DIALECTS:
        fault, used = _fault(source, text, dialect)
        if fault is None:
            yield from _unused(name, source, used)
            yield from _unbounded(name, source, used)
            return
        faults.append(fault)
    fault = faults[0]
    yield Problem(
        message=fault.message,
        hint=fault.hint,
        keys=("sources", name, "sql"),
        file=folder / str(source.sql),
        line=fault.line,
        column=fault.column,
    )


def _fault(source: SourceSpec, text: str, dialect: str) -> tuple[QueryError | None, set[str]]:
    from openreg_airflow.errors import SpecError
    from openreg_airflow.extract.partition import check_query
    from openreg_airflow.extract.query import QueryError, grammar_fault, parse

    try:
        file = str(source.sql)
        query = parse(text, file=file, dialect=dialect, parameters=source.bind(_SOME_DAY))
    except QueryError as error:
        return error, set()
    if query.understood:
        if source.partition is not None:
            try:
                check_query(query)
            except SpecError as error:
                fault = QueryError(error.message, where=error.where, hint=error.hint)
                return fault, set()
        return None, set(query.used)
    return grammar_fault(text, file=file, dialect=dialect), set()


def _unused(name: str, source: SourceSpec, used: set[str]) -> Iterator[Problem]:
    for parameter in source.parameters:
        if parameter not in used:
            yield Problem(
                message=f"the parameter {parameter} is not used in {source.sql}",
                hint=f"Write :{parameter} in the query, or remove the parameter.",
                keys=("sources", name, "parameters", parameter),
            )


def _unbounded(name: str, source: SourceSpec, used: set[str]) -> Iterator[Problem]:
    from openreg_airflow.extract.spec import SINCE, UNTIL

    if source.incremental is None or used >= {SINCE, UNTIL}:
        return
    column = source.incremental.column
    yield Problem(
        message=f"{source.sql} does not read between :{SINCE} and :{UNTIL}",
        hint=f"Write {column} > :{SINCE} AND {column} <= :{UNTIL}.",
        keys=("sources", name, "incremental"),
    )
