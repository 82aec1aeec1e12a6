"""``openreg connections``: whether what the reports name can be reached."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.errors import OpenRegError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.connection_probe import Probe
    from openreg_airflow.pools import ReportPool

app = typer.Typer(help="The connections that reports name.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The connections that reports name."""


@app.command("test")
def check_connections(
    reports: Annotated[
        list[str] | None, typer.Argument(help="Ids or folders of reports; all when left out.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, max=600, help="Seconds for each connection.")
    ] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Log in to every source and destination of the reports; exit status 1 when one fails.

    Nothing is read or sent. Connections are taken from wherever Airflow has them.
    """
    from dag_factory.load import load
    from openreg_airflow.command_line import fail, use_metadata_database
    from openreg_airflow.connection_probe import probe, wanted

    try:
        specs = [load(folder) for folder in _folders(reports or [])]
        use_metadata_database()
        # Hooks log to the standard output, where they would be in the midst of the JSON.
        with redirect_stdout(sys.stderr):
            probes = probe(wanted(specs), timeout_seconds=timeout)
    except (OpenRegError, OSError) as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps([found.as_json() for found in probes], indent=2))
    else:
        _print(probes)
    raise typer.Exit(any(found.error for found in probes))


@app.command("pools")
def pools_command(
    reports: Annotated[
        list[str] | None, typer.Argument(help="Ids or folders of reports; all when left out.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the pools that are missing.")
    ] = False,
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Slots of a new pool; what [openreg] configures, or 4."),
    ] = None,
) -> None:
    """Show the Airflow pools that bound how many tasks use each source and destination.

    A task whose pool is missing, or has fewer slots than the task takes, never starts: exit
    status 1 when there is one. A pool that is there keeps its slots, which an admin may have
    changed.
    """
    from dag_factory.load import load
    from openreg_airflow import pools, settings
    from openreg_airflow.command_line import fail

    try:
        configured = settings.load().pool_slots
        specs = [load(folder) for folder in _folders(reports or [])]
    except (OpenRegError, OSError) as error:
        fail(error)
    needed = pools.needed(specs, configured)
    there = pools.slots_of(pool.name for pool in needed)
    missing = [pool for pool in needed if pool.name not in there]
    if create and missing:
        pools.create(missing, slots)
        there = pools.slots_of(pool.name for pool in needed)
    _print_pools(needed, there)
    raise typer.Exit(any(there.get(pool.name, 0) < pool.at_least for pool in needed))


def _print_pools(needed: list[ReportPool], there: dict[str, int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not needed:
        console.print("no report names a pool, and [openreg] configures none")
        return
    table = Table(header_style="bold")
    for title in ("pool", "slots", "connections", "by"):
        table.add_column(title, overflow="fold")
    for pool in needed:
        slots = there.get(pool.name)
        shown = Text("missing", "bold red") if slots is None else Text(str(slots))
        if slots is not None and slots < pool.at_least:
            shown = Text(f"{slots}, needs {pool.at_least}", "bold red")
        table.add_row(
            Text(pool.name),
            shown,
            "\n".join(pool.connections),
            "\n".join(pool.reports),
        )
    console.print(table)
    if len(there) < len(needed):
        console.print("make them: openreg connections pools --create")


def _folders(reports: list[str]) -> Iterator[Path]:
    from dag_factory.check import find_reports
    from openreg_airflow import settings
    from openreg_airflow.command_line import find_report

    if reports:
        yield from map(find_report, reports)
        return
    here = Path("report_specs")
    for root in [here] if here.is_dir() else settings.load().spec_folders:
        yield from (folder.resolve() for folder in find_reports(root))


def _print(probes: list[Probe]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for title in ("connection", "used as", "by", "outcome", "seconds"):
        table.add_column(title, overflow="fold")
    for found in probes:
        outcome = Text("failed", "bold red") if found.error else Text(found.said, "green")
        table.add_row(
            Text(found.connection),
            found.kind,
            "\n".join(found.reports),
            outcome,
            f"{found.seconds:.1f}",
        )
    console = Console()
    console.print(table)
    failed = [found for found in probes if found.error]
    for found in failed:
        line = Text.assemble(f"{found.kind} ", (found.connection, "bold"), f": {found.error}")
        console.print(line, soft_wrap=True)
        if found.hint:
            console.print(Text(f"    hint: {found.hint}", "dim"), soft_wrap=True)
    for found in probes:
        if found.advice:
            line = Text.assemble(f"{found.kind} ", (found.connection, "bold"), f": {found.advice}")
            console.print(line, soft_wrap=True)
    console.print(f"{len(probes)} connections, {len(failed)} failed", highlight=False)
