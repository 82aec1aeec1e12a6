"""The ``openreg`` command."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from openreg_airflow import __version__

if TYPE_CHECKING:
    from openreg_airflow.demo.site import Site

app = typer.Typer(
    name="openreg",
    help="Regulatory reports as Airflow Dags.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
#: Commands that stages bring along, by their name and module.
_STAGE_COMMANDS = {
    "artifact": "openreg_airflow.artifacts.looking.artifact_commands",
    "audit": "openreg_airflow.store.audit_commands",
    "cache": "openreg_airflow.extract.cache_commands",
    "connections": "openreg_airflow.connection_commands",
    "db": "openreg_airflow.store.commands",
    "exceptions": "openreg_airflow.exception_queue.commands",
    "layout": "openreg_airflow.artifacts.commands",
    "mappings": "openreg_airflow.mappings.commands",
    "rules": "openreg_airflow.validate.rules_commands",
    "sandbox": "openreg_airflow.transform.commands",
}
#: Single commands that stages bring along, by their name: module and function.
_STAGE_COMMAND = {
    "acks": ("openreg_airflow.deliver.acknowledgement.commands", "acks"),
    "deliver": ("openreg_airflow.deliver.commands", "deliver"),
    "deliveries": ("openreg_airflow.deliver.commands", "deliveries"),
    "extract": ("openreg_airflow.extract.commands", "extract"),
    "resubmit": ("openreg_airflow.exception_queue.resubmit_command", "resubmit"),
    "quality": ("openreg_airflow.validate.quality_command", "quality"),
    "retention": ("openreg_airflow.retention_command", "retention"),
    "transform": ("openreg_airflow.transform.trial_command", "transform"),
    "validate": ("openreg_airflow.validate.commands", "validate"),
    "verify": ("openreg_airflow.artifacts.publishing.verify_command", "verify"),
}
_console = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)

Folder = Annotated[Path, typer.Option("--folder", help="Folder of the demonstration.")]
_DEMO_FOLDER = Path(".demo")


def _version(wanted: bool) -> None:
    if wanted:
        _console.print(f"openreg {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Regulatory reports as Airflow Dags."""
    del version


@app.command("check")
def check_command(
    path: Annotated[
        Path | None, typer.Argument(help="A report, its report.yaml, or a folder of reports.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Check report specs and the files they name; exit status 1 when there is an error.

    Without PATH the folders of the configuration are checked, or ./report_specs.
    """
    from dag_factory import check

    reports = [folder for root in _spec_roots(path) for folder in _reports(root)]
    findings = [finding for folder in reports for finding in check.check(folder)]
    if as_json:
        typer.echo(json.dumps(check.as_json(reports, findings), indent=2))
        raise typer.Exit(bool(findings))
    for finding in findings:
        place = f"{finding.file}:{finding.line}:{finding.column}"
        _console.print(f"[bold]{place}[/]: ", end="", highlight=False)
        _console.print(finding.message, markup=False, highlight=False)
        if finding.hint:
            _console.print(f"    hint: {finding.hint}", markup=False, highlight=False, style="dim")
    _console.print(_tally(len(reports), len(findings)), highlight=False)
    raise typer.Exit(bool(findings))


@app.command("new")
def new_command(
    report_id: Annotated[str, typer.Argument(help="Lower-case letters, digits, underscores.")],
    into: Annotated[Path, typer.Option("--into", help="Folder of reports.")] = Path("report_specs"),
) -> None:
    """Write a working report to start from."""
    from dag_factory.scaffold import ScaffoldError, scaffold

    try:
        files = scaffold(report_id, into)
    except ScaffoldError as error:
        _fail(str(error))
    for file in files:
        _console.print(f"wrote {file}", highlight=False)
    _console.print(f"next: openreg check {into / report_id}", highlight=False)


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of report.yaml, for editors."""
    from dag_factory.schema import rendered

    typer.echo(rendered(), nl=False)


@app.command("demo")
def demo_command(folder: Folder = _DEMO_FOLDER) -> None:
    """Run the example reports through a fresh Airflow into a regulator's inbox."""
    from openreg_airflow.demo.local_airflow import LocalAirflowError
    from openreg_airflow.demo.run import run_demo

    try:
        proven = run_demo(_site(folder), _console)
    except LocalAirflowError as error:
        _fail(str(error))
    raise typer.Exit(not proven)


@app.command("up")
def up_command(
    folder: Folder = _DEMO_FOLDER,
    port: Annotated[int, typer.Option("--port", help="Port of the UI on 127.0.0.1.")] = 8080,
) -> None:
    """Start Airflow with the example reports on 127.0.0.1."""
    from openreg_airflow.demo.local_airflow import LocalAirflowError
    from openreg_airflow.demo.up import up

    try:
        up(_site(folder), _console, port)
    except LocalAirflowError as error:
        _fail(str(error))


@app.command("down")
def down_command(folder: Folder = _DEMO_FOLDER) -> None:
    """Stop what `openreg up` started."""
    from openreg_airflow.demo.up import down

    down(_site(folder), _console)


def _site(folder: Path) -> Site:
    from openreg_airflow.demo.site import Site

    project = Path.cwd()
    if not (project / "report_specs").is_dir() or not (project / "dags").is_dir():
        _fail("run this in a checkout of OpenReg on Airflow: it needs dags/ and report_specs/")
    return Site(folder, project)


def _spec_roots(path: Path | None) -> list[Path]:
    if path is not None:
        return [path]
    here = Path("report_specs")
    if here.is_dir():
        return [here]
    from openreg_airflow import settings

    return list(settings.load().spec_folders)


def _reports(root: Path) -> list[Path]:
    from dag_factory.check import find_reports

    try:
        return find_reports(root)
    except FileNotFoundError:
        _fail(f"{root} is not a report, a report.yaml or a folder of reports")


def _tally(reports: int, errors: int) -> str:
    style, verdict = ("bold red", "not valid") if errors else ("bold green", "valid")
    nouns = ["report" if reports == 1 else "reports", "error" if errors == 1 else "errors"]
    return f"[{style}]{verdict}[/]: {reports} {nouns[0]}, {errors} {nouns[1]}"


def _fail(message: str) -> NoReturn:
    _errors.print(f"[bold red]error:[/] {message}", highlight=False)
    raise typer.Exit(2)


for _name, _module in _STAGE_COMMANDS.items():
    app.add_typer(importlib.import_module(_module).app, name=_name)
for _name, (_module, _function) in _STAGE_COMMAND.items():
    app.command(_name)(getattr(importlib.import_module(_module), _function))

if __name__ == "__main__":
    app()
