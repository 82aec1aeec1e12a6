"""``openreg deliver`` and ``openreg deliveries``: send by hand, and see what was sent."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import (
    DoubtfulDeliveryError,
    OpenRegError,
    SpecError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from openreg_airflow.deliver.again import Finding
    from openreg_airflow.deliver.delivery import Delivery
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.settings import Settings
    from openreg_airflow.store.artifact_history import KeptArtifact
    from openreg_airflow.store.deliveries import AttemptOfRun

_RED = typer.colors.RED

Report = Annotated[str | None, typer.Option("--report", help="Only this report.")]
Date = Annotated[
    datetime | None,
    typer.Option(
        "--business-date", "--date", formats=["%Y-%m-%d"], help="Only this business date."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def deliveries(
    report: Report = None,
    business_date: Date = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what did not end well, killed tries included.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="The most that are shown.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List attempts to deliver, the newest first; exit status 1 when one of them did not end well.

    An attempt that says `started` was killed, or still runs.
    """
    from openreg_airflow import settings
    from openreg_airflow.store.deliveries import Deliveries

    try:
        found = Deliveries(settings.load().store_url).list_attempts(
            report_id=report,
            business_date=business_date.date() if business_date else None,
            failed=failed,
            limit=limit,
        )
    except OpenRegError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps([attempt.model_dump(mode="json") for attempt in found], indent=2))
    else:
        _print_attempts(found)
    raise typer.Exit(any(attempt.result in ("failed", "started") for attempt in found))


def deliver(  # noqa: PLR0917 - what the command line takes
    run: Annotated[str, typer.Argument(help="Id of the run whose artifacts are meant.")],
    to: Annotated[str | None, typer.Option("--to", help="Only this route.")] = None,
    artifact: Annotated[str | None, typer.Option("--artifact", help="Only this artifact.")] = None,
    report: Report = None,
    business_date: Date = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go where, log in, send nothing.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why it is sent again; kept for good.")
    ] = None,
    already_there: Annotated[
        bool,
        typer.Option("--already-there", help="Send nothing: note that the receiver has the files."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send a run's artifacts once more, or say what delivering them would do.

    Sending wants a route and a reason: who sent what again and why goes to the audit trail. A file
    that still lies at the destination is recognised and not sent twice. Exit status 1 when a
    delivery fails or would be refused, 2 when there is nothing to deliver.
    """
    from openreg_airflow import settings
    from openreg_airflow.command_line import use_metadata_database

    here = settings.load()
    use_metadata_database()
    try:
        wanted, routes = _wanted(
            here, run, to=to, artifact=artifact, report=report, business_date=business_date
        )
        if dry_run:
            refused = _show(wanted, routes, here, as_json=as_json)
            raise typer.Exit(refused)
        if to is None or not (reason or "").strip():
            message = "sending again wants a route and a reason"
            raise SpecError(message, hint="Add --to ROUTE --reason '...', or --dry-run.")
        try:
            _send(wanted, here, str(reason).strip(), already_there=already_there)
        except StoreUnavailableError as error:
            fail(error, 1)  # perhaps after something was sent
    except OpenRegError as error:
        fail(error)


def _wanted(
    here: Settings,
    run: str,
    *,
    to: str | None,
    artifact: str | None,
    report: str | None,
    business_date: datetime | None,
) -> tuple[list[Delivery], dict[str, RouteSpec]]:
    """The deliveries that the command line speaks of, and all routes of the report."""
    from dag_factory.load import load
    from openreg_airflow.command_line import find_report
    from openreg_airflow.deliver.delivery import Delivery
    from openreg_airflow.store.artifact_history import ArtifactHistory

    kept = ArtifactHistory(here.store_url).find(
        runs=[run],
        report=report,
        business_date=business_date.date() if business_date else None,
        artifact=artifact,
    )
    _one_run(kept, run)
    spec = load(find_report(kept[0].run.report_id))
    routes = spec.deliver.routes if spec.deliver else {}
    if to is not None and to not in routes:
        message = f"report {spec.id} has no route {to!r}"
        raise SpecError(message, hint=f"It has: {', '.join(routes) or 'none'}.")
    found = [
        Delivery(run=each.run, route=name, spec=route, artifact=each.artifact)
        for each in kept
        for name, route in routes.items()
        if (to is None or name == to)
        and (route.artifacts is None or each.artifact.name in route.artifacts)
    ]
    if not found:
        message = f"no artifact of run {run} goes over that route"
        raise SpecError(message, hint="Look at the report's deliver section.")
    return found, routes


def _one_run(kept: tuple[KeptArtifact, ...], run: str) -> None:
    if not kept:
        message = f"no finished artifact of run {run} is on record"
        raise SpecError(message, hint="openreg deliveries and the Airflow UI show the runs' ids.")
    if len({each.run for each in kept}) > 1:
        runs = ", ".join(sorted({f"{e.run.report_id} {e.run.business_date}" for e in kept}))
        message = f"several runs have the id {run}: {runs}"
        raise SpecError(message, hint="Add --report and --business-date.")
    gone = [each for each in kept if each.removed_at is not None]
    if gone:
        message = f"the files of run {run} were removed by the retention policy"
        hint = "Run the report for that business date again, and name the new run here."
        raise SpecError(message, hint=hint)


def _show(
    wanted: list[Delivery], routes: dict[str, RouteSpec], here: Settings, *, as_json: bool
) -> bool:
    from dataclasses import asdict

    from openreg_airflow.deliver.again import dry_run
    from openreg_airflow.deliver.operator import airflow_connection
    from openreg_airflow.stage import open_workspace
    from openreg_airflow.store.deliveries import Deliveries

    found = list(
        dry_run(
            wanted,
            connect=airflow_connection,
            workspace=open_workspace(here),
            store=Deliveries(here.store_url),
            routes=routes,
        )
    )
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _print_findings(found)
    return any(each.refused for each in found)


def _send(wanted: list[Delivery], here: Settings, reason: str, *, already_there: bool) -> None:
    from openreg_airflow.deliver.again import note_delivered, send_again
    from openreg_airflow.deliver.operator import airflow_connection
    from openreg_airflow.stage import open_workspace
    from openreg_airflow.store.actor import Actor
    from openreg_airflow.store.deliveries import Deliveries

    store, actor = Deliveries(here.store_url), Actor.of_command_line()
    for delivery in wanted:
        if already_there:
            files = note_delivered(
                delivery, connect=airflow_connection, store=store, actor=actor, reason=reason
            )
            typer.echo(f"noted: the receiver has {files} files of {delivery.artifact.name}")
            continue
        receipts = send_again(
            delivery,
            connect=airflow_connection,
            workspace=open_workspace(here),
            store=store,
            actor=actor,
            reason=reason,
        )
        for receipt in receipts:
            how = "is there already" if receipt.already_there else "sent"
            typer.echo(f"{how}: {receipt.destination}, {receipt.bytes} bytes")
        if delivery.spec.acknowledgement and not all(each.already_there for each in receipts):
            typer.echo("Clear the task that waits for the answer: earlier answers count no more.")


def _print_findings(found: list[Finding]) -> None:
    lines = []
    for each in found:
        said = f"{each.said}\n{each.hint}".strip() if each.refused else each.said
        lines.append((f"route {each.route}, artifact {each.artifact}: {each.filename}", "bold"))
        lines.append((f"    to {each.destination}", ""))
        lines.append((_indented(said), "bold red" if each.refused else ""))
    _print_lines(lines)


def _print_attempts(found: tuple[AttemptOfRun, ...]) -> None:
    if not found:
        typer.echo("no attempt to deliver is on record")
        return
    lines = []
    for attempt in found:
        lines.append(
            (
                f"{attempt.started_at:%Y-%m-%d %H:%M:%S} UTC  {attempt.result:13}  "
                f"{attempt.report_id} {attempt.business_date}, route {attempt.route}, "
                f"try {attempt.attempt}",
                "red" if attempt.result in ("failed", "started") else "green",
            )
        )
        sent = f"{attempt.bytes:,} bytes sent, {attempt.seconds:.1f} s"
        lines.append((f"    {attempt.filename}: {sent}", ""))
        lines.append((f"    SHA-256 {attempt.sha256}, to {attempt.destination}", ""))
        lines.append((f"    run {attempt.run_id}", ""))
        if attempt.error:
            lines.append((_indented(attempt.error), "red"))
    _print_lines(lines)
    for attempt in _doubtful(found):
        command = f"openreg deliver {shlex.quote(attempt.run_id)} --to {attempt.route}"
        command += f" --artifact {attempt.artifact} --report {attempt.report_id}"
        command += f" --business-date {attempt.business_date}"
        typer.echo(
            f"\nNobody knows whether {attempt.filename} was sent over route {attempt.route}. "
            "Ask the receiver.\n"
            f"  It has the file:     {command} --already-there --reason '...'\n"
            f"  It has not:          {command} --reason '...'\n"
            "Then clear the task."
        )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _print_lines(lines: list[tuple[str, str]]) -> None:
    """Print texts in their styles; what steers a terminal is left out of them."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for text, style in lines:
        console.print(Text(text, style), soft_wrap=True)


def _doubtful(found: tuple[AttemptOfRun, ...]) -> list[AttemptOfRun]:
    """The newest attempt of each file, where it waits for a person."""
    newest: dict[tuple[object, ...], AttemptOfRun] = {}
    for attempt in found:
        place = (attempt.report_id, attempt.business_date, attempt.destination)
        newest.setdefault(place, attempt)
    return [a for a in newest.values() if a.error_class == DoubtfulDeliveryError.__name__]
