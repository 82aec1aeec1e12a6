"""``openreg artifact``: look at artifacts, at what changed between runs, and at their numbers."""

from __future__ import annotations

import json
import zipfile
import zlib
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError, SpecError
from openreg_airflow.scratch import scratch_folder

if TYPE_CHECKING:
    from openreg_airflow.records import ArtifactFile, Dataset
    from openreg_airflow.store.artifact_history import KeptArtifact

app = typer.Typer(help="Finished artifacts.", no_args_is_help=True)

Report = Annotated[str | None, typer.Option("--report", help="The report, where runs are alike.")]
Name = Annotated[str | None, typer.Option("--artifact", help="The artifact, where there are some.")]


@app.callback()
def _artifact() -> None:
    """Finished artifacts."""


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Id of the run.")],
    report: Report = None,
    artifact: Name = None,
    part: Annotated[int, typer.Option(min=1, help="Which of its files.")] = 1,
    count: Annotated[int, typer.Option("--lines", min=0, help="Lines of the file.")] = 40,
) -> None:
    """Print the metadata of an artifact and the beginning of a file, laid out."""
    from openreg_airflow import settings
    from openreg_airflow.artifacts.looking import head
    from openreg_airflow.stage import open_workspace

    try:
        here = settings.load()
        kept = _one(here.store_url, run, report, artifact)
        _print_metadata(kept)
        found = [file for file in kept.artifact.reports if file.part == part]
        if not found:
            message = f"artifact {kept.artifact.name} has no part {part}"
            raise SpecError(message, hint=f"It has {len(kept.artifact.reports)} parts.")
        if kept.removed_at is not None:
            typer.echo(f"\nThe retention policy removed the files at {kept.removed_at:%Y-%m-%d}.")
            return
        typer.echo(f"\n{found[0].filename}")
        spec = kept.artifact.metadata.get("spec") or {"format": kept.artifact.format}
        with open_workspace(here).open_stream(found[0]) as file:
            for line in islice(head.lines(file, spec), count):
                typer.echo(_printable(line))
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        said = f"the file cannot be unpacked: {error}; openreg verify {run} tells if it was changed"
        fail(said, 1)
    except ValueError as error:
        fail(str(error), 1)
    except (OpenRegError, OSError) as error:
        fail(error)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="Id of the first run.")],
    after: Annotated[str, typer.Argument(help="Id of the second run.")],
    *,
    report: Report = None,
    artifact: Name = None,
    table: Annotated[
        str | None, typer.Option(help="Another table of the artifact than that of its records.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Columns that tell records apart, by commas; the spec's key."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Records that are shown.")] = 50,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page too.", dir_okay=False)
    ] = None,
) -> None:
    """Compare the records of two runs of a report by their key; exit status 1 when they differ.

    What is compared are the tables that the files were written from.
    """
    from openreg_airflow import settings
    from openreg_airflow.artifacts.looking import difference_page
    from openreg_airflow.artifacts.looking.difference import between
    from openreg_airflow.stage import open_workspace

    try:
        here = settings.load()
        kept = [_one(here.store_url, run, report, artifact) for run in (before, after)]
        tables = [_table(each, table) for each in kept]
        columns = key.split(",") if key else list(kept[1].artifact.metadata.get("key") or ())
        if not columns:
            message = f"the spec of artifact {kept[1].artifact.name} names no key"
            raise SpecError(message, hint="Name the columns that tell records apart: --key.")
        workspace = open_workspace(here)
        labels = tuple(f"run {each.run.run_id}" for each in kept)
        with (
            scratch_folder() as folder,
            workspace.open_local(tables[0]) as first,
            workspace.open_local(tables[1]) as second,
            between(first, second, columns, folder, (labels[0], labels[1])) as found,
        ):
            for line in difference_page.lines(found, columns, limit):
                typer.echo(_printable(line))
            if html is not None:
                title = f"{kept[0].run.report_id}: {labels[0]} and {labels[1]}"
                with html.open("w", encoding="utf-8") as file:
                    difference_page.write_html(found, columns, file, title, limit)
                typer.echo(f"wrote {html}")
            same = found.summary.same
    except (OpenRegError, OSError) as error:
        fail(error, 2)
    if not same:
        raise typer.Exit(1)


@app.command()
def numbers(
    sequence: Annotated[str, typer.Argument(help="Name of the sequence.")],
    period: Annotated[str | None, typer.Option(help="Only this year.")] = None,
) -> None:
    """Print who has which number of a sequence, and which wait for a run to be repeated."""
    from openreg_airflow import settings
    from openreg_airflow.store.numbering import Numbering

    try:
        found = Numbering(settings.load().store_url).numbers(sequence, period)
    except OpenRegError as error:
        fail(error)
    for row in found:
        owner = (
            "free"
            if row["report_id"] is None
            else (
                f"{row['report_id']} {row['business_date']} {row['artifact']} "
                f"version {row['version']} part {row['part']}"
                f"{'' if row['finished'] else ', not finished'}"
            )
        )
        typer.echo(f"{row['period']:4}  {row['number']:>10}  {owner}".strip())
    if not found:
        fail(f"no number of sequence {sequence} was allocated")


def _one(store_url: str, run: str, report: str | None, name: str | None) -> KeptArtifact:
    """The only artifact that is meant.

    Raises:
        SpecError: there is none, or more than one.
    """
    from openreg_airflow.store.artifact_history import ArtifactHistory

    found = ArtifactHistory(store_url).find(runs=[run], report=report, artifact=name)
    if not found:
        message = f"run {run} has no finished artifact" + (f" {name}" if name else "")
        raise SpecError(message, hint="Run ids are those of Airflow's runs.")
    if len(found) > 1:
        names = ", ".join(f"{each.run.report_id} {each.artifact.name}" for each in found)
        message = f"run {run} has several artifacts: {names}"
        raise SpecError(message, hint="Choose with --report and --artifact.")
    return found[0]


def _table(kept: KeptArtifact, name: str | None) -> Dataset:
    from openreg_airflow.records import Dataset

    told = kept.artifact.metadata
    inputs = told.get("inputs") or {}
    name = name or told.get("table")
    if name not in inputs:
        known = ", ".join(sorted(inputs)) or "none"
        message = f"the artifact of run {kept.run.run_id} was not written from a table {name}"
        raise SpecError(message, hint=f"Its tables are: {known}.")
    return Dataset(columns=(), **inputs[name])


def _print_metadata(kept: KeptArtifact) -> None:
    artifact, told = kept.artifact, kept.artifact.metadata
    rows = {
        "report": kept.run.report_id,
        "business date": kept.run.business_date,
        "run": kept.run.run_id,
        "artifact": f"{artifact.name}, {artifact.format}, version {artifact.version}",
        "numbers": f"{artifact.sequence}: {', '.join(map(str, artifact.numbers))}"
        if artifact.sequence
        else "none",
        "replaces": json.dumps(told["replaces"]) if told.get("replaces") else "nothing",
        "records": f"{artifact.records:,}",
        "schema": artifact.schema_check,
        "rules": json.dumps(told.get("rules")) if told.get("rules") else "none",
        "software": told.get("software", "unknown"),
        "spec": told.get("spec_sha256") or "unknown",
        "recorded": f"{kept.recorded_at:%Y-%m-%d %H:%M:%S}Z",
    }
    for name, value in rows.items():
        typer.echo(_printable(f"{name:14} {value}"))
    for file in artifact.files:
        typer.echo(f"{file.role:14} {_told(file)}")


def _told(file: ArtifactFile) -> str:
    return (
        f"{file.filename}, part {file.part}, {file.records:,} records, {file.bytes:,} bytes, "
        f"SHA-256 {file.sha256}, {file.uri}"
    )


def _printable(text: str) -> str:
    """Without what a terminal would obey: escapes stand in data too."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
