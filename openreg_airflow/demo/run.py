"""``openreg demo``: the example reports from an empty Airflow to the regulator's inbox."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from openreg_airflow.demo.client import FINAL, AirflowClient
from openreg_airflow.demo.local_airflow import free_port
from openreg_airflow.demo.outcome import Outcome, gather
from openreg_airflow.demo.sandbox import choose_sandbox
from openreg_airflow.demo.site import BUSINESS_DATE, REPORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from openreg_airflow.demo.site import Site
    from openreg_airflow.records import Verdict

_RUN_SECONDS = 300.0
_STATE_STYLE = {"success": "green", "failed": "bold red", "up_for_retry": "yellow"}


def run_demo(site: Site, console: Console) -> bool:
    """Run the example reports and show what became of them.

    Args:
        site: where to play; what an earlier run left there is removed first.
        console: where progress and summary are shown.

    Returns:
        Whether every artifact lies in the inbox, byte for byte.
    """
    began = time.monotonic()
    earlier = _earlier_hashes(site)
    sandbox = choose_sandbox(console)
    site.airflow(0, sandbox).stop()
    site.clear()
    _step(console, "Sample data", f"{site.make_source():,} trades in {site.source}")
    site.make_store()
    airflow = site.airflow(free_port(), sandbox, scheduled=False)
    inbox = site.start_inbox()
    try:
        _step(console, "Regulator's inbox", f"SFTP on {inbox.host}:{inbox.port}, host key pinned")
        _step(console, "Airflow", "creating its tables, roles and connections")
        airflow.prepare(site.connections(inbox))
        _step(console, "Airflow", f"starting on {airflow.url}")
        airflow.start(("api-server", "scheduler", "dag-processor"))
        airflow.wait_until_healthy()
        with AirflowClient(airflow.url, "admin", airflow.password) as client:
            outcomes = _run_reports(client, site, console)
    finally:
        airflow.stop()
        inbox.stop()
    for outcome in outcomes:
        _summary(outcome, earlier, console)
    _keep_hashes(site, outcomes)
    proven = all(outcome.proven for outcome in outcomes)
    _closing(site, outcomes, console, time.monotonic() - began)
    return proven


def _run_reports(client: AirflowClient, site: Site, console: Console) -> list[Outcome]:
    client.wait_for_dags(set(REPORTS))
    runs = {report: client.trigger(report, BUSINESS_DATE) for report in REPORTS}
    for report in REPORTS:
        _step(console, "Started", f"{report} for business date {BUSINESS_DATE}")
    _watch(client, runs, console)
    for report in runs:
        client.pause(report)
    return [
        gather(client, report, run, client.tasks(report, run), site.inbox)
        for report, run in runs.items()
    ]


def _watch(client: AirflowClient, runs: dict[str, str], console: Console) -> None:
    """Show each change of a task's state until all runs have ended."""
    shown: dict[tuple[str, str], str | None] = {}
    end = time.monotonic() + _RUN_SECONDS
    open_runs = set(runs)
    with console.status("running"):
        while open_runs and time.monotonic() < end:
            for report in sorted(open_runs):
                if client.run_state(report, runs[report]) in FINAL:
                    open_runs.discard(report)
                for task in client.tasks(report, runs[report]):
                    key = (report, task.task_id)
                    if task.state in (None, "scheduled", "queued") or shown.get(key) == task.state:
                        continue
                    shown[key] = task.state
                    took = f"  {task.seconds:.1f} s" if task.seconds is not None else ""
                    style = _STATE_STYLE.get(str(task.state), "dim")
                    console.print(
                        f"  {report:<20} {task.task_id:<24} [{style}]{task.state}[/]{took}"
                    )
            time.sleep(0.4)


def _summary(outcome: Outcome, earlier: dict[str, str], console: Console) -> None:
    console.print(f"\n[bold]{outcome.report_id}[/], business date {BUSINESS_DATE}")
    for name, source in outcome.sources.items():
        _line(console, "read", f"{source.rows:,} rows from {name}")
    for name, made in outcome.tables.items():
        _line(console, "transformed", f"{made.rows:,} rows in {name}")
    for name, made in outcome.mapped.items():
        _line(console, "mapped", f"{made.rows:,} rows of {name}, by mapping sets")
    if outcome.verdict is not None:
        for label, text in _rules(outcome.verdict):
            _line(console, label, text)
    for artifact in outcome.artifacts:
        for file in artifact.files:
            same = _compared(earlier.get(file.filename), file.sha256)
            _line(console, "artifact", file.uri.removeprefix("file://"))
            _line(console, "", f"{file.records:,} records, {file.bytes:,} bytes")
            _line(console, "SHA-256", file.sha256 + same)
        _line(console, "schema", artifact.schema_check)
    for receipt, same_bytes in outcome.delivered:
        proof = "[green]byte for byte the artifact[/]"
        proof = proof if same_bytes else "[bold red]NOT the artifact[/]"
        _line(console, "delivered", f"{receipt.destination}: {proof}")
    for failure in outcome.failures:
        _line(console, "[bold red]failed[/]", failure.task_id)
        for text in failure.log:
            console.print(f"    {text}", markup=False, highlight=False)


def _line(console: Console, label: str, text: str) -> None:
    console.print(f"  {label:<12} {text}", highlight=False)


def _rules(verdict: Verdict) -> Iterator[tuple[str, str]]:
    passed = sum(result.passed for result in verdict.results)
    yield "validated", f"{passed} of {len(verdict.results)} rules passed"
    for rule in verdict.blocking:
        yield "", f"[bold red]blocking[/] {rule.rule_id}: {rule.failed:,} rows, {rule.title}"
    for rule in verdict.warnings:
        yield "", f"[yellow]warning[/] {rule.rule_id}: {rule.failed:,} rows, not so: {rule.title}"


def _compared(earlier: str | None, now: str) -> str:
    if earlier is None:
        return ""
    return " (the same as last time)" if earlier == now else " [yellow](not as last time)[/]"


def _closing(site: Site, outcomes: list[Outcome], console: Console, seconds: float) -> None:
    console.print()
    if all(outcome.proven for outcome in outcomes):
        console.print(f"[bold green]Done in {seconds:.0f} s:[/] every report was delivered.")
    else:
        console.print("[bold red]Not every report was delivered.[/] See the failed tasks above.")
    console.print(f"  what the regulator holds: {site.inbox}")
    console.print(f"  all files of the runs:    {site.workspace}")
    console.print(f"  logs of Airflow:          {site.airflow_home / 'logs'}")
    console.print("  the same in Airflow's UI: make up")


def _earlier_hashes(site: Site) -> dict[str, str]:
    file = site.folder / "hashes.json"
    if not file.exists():
        return {}
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _keep_hashes(site: Site, outcomes: list[Outcome]) -> None:
    artifacts = (artifact for outcome in outcomes for artifact in outcome.artifacts)
    hashes = {file.filename: file.sha256 for artifact in artifacts for file in artifact.files}
    (site.folder / "hashes.json").write_text(json.dumps(hashes, indent=2))


def _step(console: Console, name: str, text: str) -> None:
    console.print(f"[bold]{name:<18}[/] {text}")
