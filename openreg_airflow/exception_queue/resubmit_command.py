"""``openreg resubmit``: start a run that reports what was amended or released."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError
from openreg_airflow.exception_queue.operator_names import RESUBMIT
from openreg_airflow.store.commands import Url, store_url


def resubmit(
    report: Annotated[str, typer.Argument(help="The report's id.")],
    business_date: Annotated[
        datetime, typer.Option("--business-date", formats=["%Y-%m-%d"], help="The reported day.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go out; start nothing.")
    ] = False,
    url: Url = None,
) -> None:
    """Start a run of a report that takes the amended and released records from the queue.

    Exit status 0: it was started, or with --dry-run could be. 1: Airflow refused. 2: there is
    nothing to resubmit.
    """
    from openreg_airflow.exception_queue.item import READY
    from openreg_airflow.exception_queue.listing import Wanted, count

    day = business_date.date()
    try:
        wanted = Wanted(report_id=report, business_date=day, states=READY, unclaimed=True)
        ready = count(store_url(url), wanted)
    except OpenRegError as error:
        fail(error)
    typer.echo(f"{ready:,} records of {report} on {day} are amended or released")
    if not ready:
        raise typer.Exit(2)
    if dry_run:
        return
    run = f"resubmit__{day}__{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    settings = json.dumps({"business_date": day.isoformat(), RESUBMIT: True})
    # Airflow's own command knows how to reach its metadata database, and checks the parameters.
    command = [sys.executable, "-m", "airflow", "dags", "trigger", "--run-id", run]
    command += ["--conf", settings, report]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        typer.secho(done.stderr.strip()[-2000:], err=True, fg=typer.colors.RED)
        raise typer.Exit(1)
    typer.echo(f"started run {run}")
