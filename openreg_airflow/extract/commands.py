"""``openreg extract``: look at a source's first rows outside Airflow."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.errors import OpenRegError

if TYPE_CHECKING:
    from openreg_airflow.extract.spec import SourceSpec

Day = Annotated[
    datetime,
    typer.Option("--business-date", formats=["%Y-%m-%d"], help="The reported day."),
]


def extract(
    report: Annotated[str, typer.Argument(help="The report's id or folder.")],
    business_date: Day,
    source: Annotated[
        str | None, typer.Argument(help="The source's name; needed when there are several.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Rows to show.")] = 20,
) -> None:
    """Show the first rows of a source and their types; nothing is written or recorded.

    The connection is taken from wherever Airflow has it. The query is cancelled after the rows
    that are shown. Exit status 1: the source refuses or cannot be reached. 2: there is none.
    """
    from rich.console import Console

    from dag_factory.load import load
    from openreg_airflow import settings
    from openreg_airflow.command_line import fail, find_report, use_metadata_database
    from openreg_airflow.extract.preview import show
    from openreg_airflow.extract.sources import extraction

    try:
        folder = find_report(report)
        name, spec = _source(load(folder).extract.sources, source)
        use_metadata_database()
        day, folders = business_date.date(), settings.load().source_folders
        head = extraction(spec, folder, day, source_folders=folders).head(limit)
    except (OpenRegError, OSError) as error:
        fail(error)
    console = Console()
    show(head, console)
    rows = head.table.num_rows
    said = (
        f"the first {rows} rows" if head.more else f"{rows} row{'s' * (rows != 1)}, all there are"
    )
    reached = f", connection {spec.reads_from}" if spec.reads_from else ""
    read = spec.sql if spec.file is None else spec.file.path_on(day)
    console.print(f"{name}: {said}; {head.server}{reached}, {read}", highlight=False)


def _source(sources: dict[str, SourceSpec], wanted: str | None) -> tuple[str, SourceSpec]:
    from openreg_airflow.errors import SpecError

    if wanted is None and len(sources) == 1:
        return next(iter(sources.items()))
    if wanted is None or wanted not in sources:
        message = "say which source" if wanted is None else f"there is no source {wanted!r}"
        raise SpecError(message, hint=f"The report has {', '.join(sources)}.")
    return wanted, sources[wanted]
