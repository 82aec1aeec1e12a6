"""``openreg retention``: remove files of artifacts that were delivered long ago.

Snapshots of mapping sets go after them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError

if TYPE_CHECKING:
    from datetime import datetime

    from openreg_airflow.store.acknowledgements import Acknowledgements
    from openreg_airflow.store.artifact_history import KeptArtifact
    from openreg_airflow.workspace import Workspace


def retention(
    days: Annotated[
        int | None,
        typer.Option(min=1, help="Keep files that are younger; [openreg] retention_days."),
    ] = None,
    report: Annotated[str | None, typer.Option(help="Only this report.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
) -> None:
    """Remove files of artifacts that are old enough and were delivered over all their routes.

    What is not delivered, or not acknowledged where an acknowledgement is awaited, stays however
    old it is. Snapshots of mapping sets go, unless --report is given, when every run that saw them
    is old and no file of its artifacts is left. Records in the store and sidecars stay for good.
    """
    from datetime import UTC, datetime, timedelta
    from functools import partial

    from openreg_airflow import settings
    from openreg_airflow.artifacts.publishing.retention import decide, remove
    from openreg_airflow.stage import open_workspace
    from openreg_airflow.store.acknowledgements import Acknowledgements
    from openreg_airflow.store.actor import Actor
    from openreg_airflow.store.artifact_history import ArtifactHistory

    removed = stayed = freed = 0
    try:
        here = settings.load()
        age = days or here.retention_days
        if not age:
            typer.echo("Nothing is removed: [openreg] retention_days is 0, which keeps all files.")
            return
        workspace = open_workspace(here)
        history = ArtifactHistory(here.store_url)
        before = datetime.now(UTC) - timedelta(days=age)
        answers = Acknowledgements(here.store_url)
        for decision in decide(
            history, before, report, taken=_taken, acknowledged=partial(_acknowledged, answers)
        ):
            kept = decision.kept
            run = f"{kept.run.report_id} {kept.run.business_date} {kept.run.run_id}"
            name = f"{run}: {kept.artifact.name}"
            if decision.reason is not None:
                stayed += 1
                typer.echo(f"stays    {name}: {decision.reason}")
                continue
            if not dry_run:
                remove(history, workspace, kept, Actor.of_command_line())
            removed += 1
            freed += kept.artifact.bytes
            files = len(kept.artifact.files)
            verb = "would go" if dry_run else "removed "
            typer.echo(f"{verb} {name}: {files} files, {kept.artifact.bytes} bytes")
        verb = "would be removed" if dry_run else "removed"
        typer.echo(f"{removed} artifacts {verb}, {freed} bytes; {stayed} old ones stay")
        if report is None:
            _snapshots(here.store_url, workspace, before, dry_run=dry_run)
    except OpenRegError as error:
        fail(error)


def _snapshots(url: str, workspace: Workspace, before: datetime, *, dry_run: bool) -> None:
    """Remove the snapshots of mapping sets that no run needs any more."""
    from openreg_airflow.store.actor import Actor
    from openreg_airflow.store.mapping_runs import MappingRuns

    runs, actor = MappingRuns(url), Actor.of_command_line()
    for one in runs.unused(before):
        if not workspace.has(one.uri):
            continue
        if dry_run or runs.remove_unused(one, before, actor, workspace.remove):
            verb = "would go" if dry_run else "removed "
            typer.echo(f"{verb} snapshot of mapping set {one.name}: {one.uri}, {one.bytes} bytes")


def _acknowledged(answers: Acknowledgements, route: str, kept: KeptArtifact) -> bool:
    """Whether the authority has accepted every report file, and nothing more is to come."""
    accepted = {
        one.filename
        for one in answers.of_run(kept.run, route, kept.artifact.name)
        if one.settled and one.state in ("accepted", "partly accepted")
    }
    return all(file.filename in accepted for file in kept.artifact.reports)


def _taken(condition: str, kept: KeptArtifact) -> bool:
    """Whether a route is taken; one of which that cannot be said counts as taken."""
    from openreg_airflow.deliver.routing import facts_of, holds

    try:
        return holds(condition, facts_of(kept.run, kept.artifact))
    except OpenRegError as error:
        typer.echo(f"cannot tell whether {condition} holds: {error.message}", err=True)
        return True
