"""``openreg up`` and ``openreg down``: the demonstration's Airflow, running for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.demo.sandbox import choose_sandbox

if TYPE_CHECKING:
    from rich.console import Console

    from openreg_airflow.demo.site import Site


def up(site: Site, console: Console, port: int) -> None:
    """Start API server, scheduler, Dag processor, triggerer and the regulator's inbox.

    What a demonstration left (its runs, its data) is kept and shown; an empty folder is filled.

    Args:
        site: where to play.
        console: where the address and the password are shown.
        port: TCP port of the UI on 127.0.0.1.

    Raises:
        openreg_airflow.demo.local_airflow.LocalAirflowError: it runs already, the port is taken
            or a process died.
    """
    sandbox = choose_sandbox(console)
    airflow = site.airflow(port, sandbox)
    airflow.check_startable()
    if not site.source.exists():
        console.print(f"sample data: {site.make_source():,} trades in {site.source}")
    site.make_store()
    inbox = site.start_inbox()
    try:
        console.print("Airflow: creating what is missing of tables, roles and connections")
        airflow.prepare(site.connections(inbox))
        airflow.start()
        airflow.adopt("inbox", inbox.pid)
        console.print(f"Airflow: starting on {airflow.url}")
        airflow.wait_until_healthy()
    except BaseException:
        airflow.stop()
        inbox.stop()
        raise
    console.print(f"\n[bold green]Airflow is up:[/] {airflow.url}")
    console.print(f"  user admin, password {airflow.password}", highlight=False)
    console.print(f"  the regulator's inbox: {site.inbox}")
    console.print(f"  logs: {site.airflow_home / 'logs'}")
    settings = airflow.note_environment()
    console.print(f"  openreg's commands on it, in a shell: . {settings}", soft_wrap=True)
    console.print("  stop it with: make down")


def down(site: Site, console: Console) -> None:
    """Stop exactly what :func:`up` started."""
    stopped = site.airflow(0, "docker").stop()
    console.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
