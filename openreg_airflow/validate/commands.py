"""``openreg validate``: evaluate a report's rules outside Airflow."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail, find_report
from openreg_airflow.errors import OpenRegError, StoreUnavailableError
from openreg_airflow.scratch import scratch_folder

if TYPE_CHECKING:
    from openreg_airflow.records import Verdict

Day = Annotated[
    datetime,
    typer.Option("--business-date", formats=["%Y-%m-%d"], help="The reported day."),
]
Html = Annotated[
    Path | None, typer.Option("--html", help="Write a page with counts, bars and samples here.")
]
Failures = Annotated[
    Path | None, typer.Option("--failures", help="Write all failing rows here, as Parquet.")
]


def validate(  # noqa: PLR0917 - what the command line takes
    report: Annotated[str, typer.Argument(help="The report's id or folder.")],
    business_date: Day,
    run: Annotated[
        str | None, typer.Option("--run", help="A run id; the newest run when left out.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", help="NAME=FILE: a Parquet file instead of a run's; repeatable."),
    ] = None,
    html: Html = None,
    failures: Failures = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Evaluate a report's rules over the tables of a run, or over files; nothing is recorded.

    Exit status 0: no blocking rule failed. 1: one did. 2: the rules could not be evaluated.
    """
    from openreg_airflow.validate import summary
    from openreg_airflow.validate.page import page

    try:
        folder = find_report(report)
        title, verdict, source = _validate(
            folder, business_date.date(), run, _named(table or []), failures
        )
        if html is not None:
            text = page(
                verdict,
                counts=_counts(folder.name, business_date.date()),
                report_id=folder.name,
                title=title,
                business_date=business_date.date(),
                source=source,
            )
            html.write_text(text, encoding="utf-8")
    except (OpenRegError, OSError) as error:
        fail(error, 2)
    if as_json:
        typer.echo(json.dumps(verdict.model_dump(mode="json"), indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{folder.name}, business date {business_date:%Y-%m-%d}, {source}\n")
        for line in summary.lines(verdict):
            typer.echo(line)
        typer.echo(f"\n{summary.count(verdict)}.")
    raise typer.Exit(1 if verdict.blocking else 0)


def _validate(
    folder: Path,
    business_date: date,
    run: str | None,
    tables: dict[str, Path],
    failures: Path | None,
) -> tuple[str, Verdict, str]:
    """The report's title, the verdict, and what was looked at."""
    from dag_factory.load import load
    from dag_factory.mapping_sets import tenant_of, used_sets
    from openreg_airflow import settings as installation
    from openreg_airflow.errors import SpecError
    from openreg_airflow.records import Verdict
    from openreg_airflow.validate import offline
    from openreg_airflow.validate.phases import needed_sources

    settings = installation.load()
    spec = load(folder)
    if spec.validate_ is None:
        return spec.title, Verdict(results=()), "without a validate section"
    source, extracted = f"tables {', '.join(tables)}", tables
    if not tables:
        root = Path(settings.workspace.removeprefix("file://"))
        if "://" in str(settings.workspace) and not settings.workspace.startswith("file://"):
            message = f"the workspace {settings.workspace} is not on this machine"
            raise SpecError(message, hint="Fetch the tables and give them with --table.")
        stage = "extract" if spec.transform is None else "transform"
        found = offline.find_run(root, folder.name, business_date, stage, run)
        tables, source = offline.mapped_tables(found, stage), f"run {found.name}"
        extracted = offline.tables_of(found, "extract")
    with scratch_folder() as scratch:
        snapshots = {}
        if sets := used_sets(spec):
            from openreg_airflow.mappings.by_hand import current_snapshots

            snapshots = current_snapshots(
                sets, settings.store_url, scratch / "sets", tenant_of(spec)
            )
        verdict = offline.validate(
            spec.validate_,
            folder,
            tables,
            business_date,
            settings=settings,
            scratch=scratch,
            failures=failures or scratch / "failing_rows.parquet",
            records=spec.records,
            mappings=snapshots,
            sources={n: extracted[n] for n in needed_sources(spec.validate_) if n in extracted},
        )
    # The file of the failing rows is gone with the folder unless it was asked for.
    if not failures:
        verdict = verdict.model_copy(update={"failures": None})
    return spec.title, verdict, source


def _counts(report_id: str, business_date: date) -> tuple[str, ...]:
    """How the date's records reconcile by now, when a run was counted."""
    from openreg_airflow import settings
    from openreg_airflow.exception_queue.balance import balances
    from openreg_airflow.store import schema

    url = settings.load().store_url
    try:
        if schema.current(url) != schema.REVISION:
            return ()
        return tuple(balance.line() for balance in balances(url, report_id, business_date))
    except StoreUnavailableError as error:
        return (f"The exception queue cannot be read: {error.message}",)


def _named(tables: list[str]) -> dict[str, Path]:
    named = {}
    for text in tables:
        name, is_there, file = text.partition("=")
        if not is_there or not name or not file:
            message = f"--table {text}: write NAME=FILE"
            raise typer.BadParameter(message)
        named[name] = Path(file)
    return named
