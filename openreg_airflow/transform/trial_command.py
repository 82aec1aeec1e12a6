"""``openreg transform``: try a report's script in its sandbox, on a sample of real input."""

from __future__ import annotations

import logging
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail, find_report
from openreg_airflow.errors import OpenRegError
from openreg_airflow.scratch import scratch_folder

if TYPE_CHECKING:
    from rich.console import Console

    from dag_factory.report import ReportSpec
    from openreg_airflow.records import Dataset
    from openreg_airflow.settings import Settings

Day = Annotated[
    datetime,
    typer.Option("--business-date", formats=["%Y-%m-%d"], help="The reported day."),
]
_LONGEST_CELL = 60


def transform(
    report: Annotated[str, typer.Argument(help="The report's id or folder.")],
    business_date: Day,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Rows of each source; 0 for all.")
    ] = 1000,
    show: Annotated[int, typer.Option("--show", min=0, help="Rows of each result to show.")] = 10,
    anew: Annotated[
        bool, typer.Option("--extract", help="Extract anew, even when a run has extracted.")
    ] = False,
) -> None:
    """Run a report's script in the sandbox on a sample of its input; nothing is recorded.

    The input is what the newest run of that day has extracted, or is extracted now through the
    report's Airflow connections. Exit status 1: the script failed. 2: it, or its input, is
    not there.
    """
    from rich.console import Console

    console = Console()
    try:
        _try(report, business_date.date(), sample, show, anew=anew, console=console)
    except OpenRegError as error:
        fail(error)


def _try(
    report: str, business_date: date, sample: int, show: int, *, anew: bool, console: Console
) -> None:
    from dag_factory.load import load
    from dag_factory.mapping_sets import tenant_of, used_sets
    from openreg_airflow import settings as installation
    from openreg_airflow.mappings.spec import steps_of
    from openreg_airflow.transform import trial

    settings = installation.load()
    folder = find_report(report)
    spec = load(folder)
    trial.script_of(spec, folder, settings)
    _show_log()
    with scratch_folder() as scratch:
        for part in ("extracted", "sample", "mapped", "workspace"):
            (scratch / part).mkdir()
        extracted = None if anew else newest_extract(spec, business_date, settings)
        if extracted is None:
            console.print("extracting anew")
            extracted = trial.extract(spec, folder, business_date, scratch / "extracted")
        else:
            console.print(f"input of {next(iter(extracted.values())).parents[2].name}")
        inputs = trial.sampled(extracted, sample, scratch / "sample")
        snapshots = {}
        if sets := used_sets(spec):
            from openreg_airflow.mappings.by_hand import current_snapshots, filled

            snapshots = current_snapshots(
                sets, settings.store_url, scratch / "sets", tenant_of(spec)
            )
            steps = dict(steps_of(spec.map_, "source"))
            inputs = filled(
                inputs, steps, snapshots, business_date, scratch / "mapped", report_id=spec.id
            )
        done = trial.try_out(
            spec,
            folder,
            business_date,
            inputs,
            settings=settings,
            into=scratch / "workspace",
            mappings=snapshots,
        )
        for table, dataset in done.tables.items():
            _print(console, table, dataset, show)
    console.print(f"[green]{done.seconds:.2f} s[/] in the sandbox", highlight=False)


def newest_extract(
    spec: ReportSpec, business_date: date, settings: Settings
) -> dict[str, Path] | None:
    """The Parquet files of the newest run of a day that has extracted every source.

    None when there is no such run, or the workspace is not on this machine.
    """
    root = settings.workspace.removeprefix("file://")
    if "://" in root:
        return None
    runs = Path(root, spec.id, business_date.isoformat())
    found: list[tuple[float, dict[str, Path]]] = []
    for run in runs.iterdir() if runs.is_dir() else ():
        files = {
            source: run / "extract" / source / f"{source}.parquet"
            for source in spec.extract.sources
        }
        if all(file.is_file() for file in files.values()):
            found.append((max(file.stat().st_mtime for file in files.values()), files))
    return max(found, key=lambda one: one[0])[1] if found else None


def _show_log() -> None:
    """Show what the script prints and logs, and the warnings of everything else."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("openreg_airflow")
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    logger.propagate = False
    logging.getLogger("openreg_airflow.transform.execution.script").setLevel(logging.INFO)


def _print(console: Console, name: str, dataset: Dataset, show: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    from openreg_airflow.transform import trial

    table = Table(
        title=f"{name}: {dataset.rows:,} rows, {dataset.bytes:,} bytes", title_justify="left"
    )
    for column in dataset.columns:
        table.add_column(f"{escape(column.name)}\n[dim]{escape(column.type)}[/]", overflow="fold")
    for row in trial.first_rows(dataset, show).to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: object) -> str:
    from rich.markup import escape

    from openreg_airflow.transform.script_log import printable

    if value is None:
        return "[dim]NULL[/]"
    text = printable(str(value)).replace("\n", "\\n")
    return escape(text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 3]}...")
