"""``openreg audit``: list the audit trail and hold its chain together."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError
from openreg_airflow.store.commands import Url, store_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.store.audit_trail import AuditRecord

app = typer.Typer(help="Who did what to what, when and from where.", no_args_is_help=True)

_DAYS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


class Form(StrEnum):
    """How the trail is written."""

    text = "text"
    csv = "csv"
    json = "json"


@app.command("list")
def list_command(
    *,
    actor: Annotated[str | None, typer.Option(help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, such as `change`.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only on such, as `mapping set`.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only on this one; `venues*` for all that begin so.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(formats=_DAYS, help="From then, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=_DAYS, help="Before, UTC.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
    form: Annotated[Form, typer.Option("--format", help="text, csv or json.")] = Form.text,
    url: Url = None,
) -> None:
    """List the entries of the trail, the newest last; csv and json have all fields and hashes.

    As text the newest 50 are shown when no limit is given.
    """
    from openreg_airflow.store.audit_trail import AuditFilter, read

    wanted = AuditFilter(
        actor=actor,
        action=action,
        kind=kind,
        subject=subject,
        since=since.replace(tzinfo=UTC) if since else None,
        until=until.replace(tzinfo=UTC) if until else None,
        limit=limit or (50 if form is Form.text else None),
    )
    try:
        found = read(store_url(url), wanted)
        {Form.text: _as_text, Form.csv: _as_csv, Form.json: _as_json}[form](found)
    except OpenRegError as error:
        fail(error)


@app.command("verify")
def verify_command(
    anchor: Annotated[
        Path | None,
        typer.Option(
            help="File outside the database in which the end of the trail is noted after each "
            "verification, and held against the trail at the next."
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Find entries that were changed, removed or inserted; exit status 1 when there are any."""
    from openreg_airflow.store.audit_trail import read_anchors, verify, write_anchor

    try:
        anchors = read_anchors(anchor) if anchor else ()
        found = verify(store_url(url), anchors)
    except (OpenRegError, OSError) as error:
        fail(error, 2)
    for line in found.breaks:
        typer.secho(line, err=True, fg=typer.colors.RED)
    if found.broken > len(found.breaks):
        typer.echo(f"... and {found.broken - len(found.breaks)} more", err=True)
    head = found.head
    typer.echo(f"{found.entries} entries, {found.broken} breaks")
    typer.echo(f"end of the trail: {head.sequence} {head.sha256}")
    if found.broken:
        raise typer.Exit(1)
    if anchor and head.sequence > max((mark.sequence for mark in anchors), default=-1):
        try:
            write_anchor(anchor, head)
        except OSError as error:
            fail(f"the anchor cannot be written: {error}")


def _as_text(found: Iterator[AuditRecord]) -> None:
    for entry in found:
        at = entry.recorded_at.strftime("%Y-%m-%d %H:%M:%S")
        typer.echo(f"{entry.sequence}  {at}  {entry.actor} ({entry.origin})")
        typer.echo(f"    {entry.action} {entry.kind} {entry.subject}")
        for sign, value in (("-", entry.before), ("+", entry.after)):
            if value is not None:
                typer.echo(f"    {sign} {value}")


def _as_csv(found: Iterator[AuditRecord]) -> None:
    from openreg_airflow.formula import guarded
    from openreg_airflow.store.audit_trail import AuditRecord

    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(AuditRecord.model_fields)
    for entry in found:
        fields = entry.model_dump(mode="json").values()
        writer.writerow("" if value is None else guarded(str(value)) for value in fields)


def _as_json(found: Iterator[AuditRecord]) -> None:
    """One object a line: the trail may be longer than memory."""
    for entry in found:
        typer.echo(json.dumps(entry.model_dump(mode="json"), ensure_ascii=False))
