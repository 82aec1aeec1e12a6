"""A real Airflow with the example reports, started once for all end-to-end tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from openreg_airflow.demo.client import AirflowClient
from openreg_airflow.demo.local_airflow import free_port
from openreg_airflow.demo.site import Site
from openreg_airflow.demo.up import down, up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.demo.local_airflow import LocalAirflow

PROJECT = Path(__file__).resolve().parents[2]


class Stack:
    """A running demonstration: its site, its Airflow and a session with its API."""

    def __init__(self, site: Site, airflow: LocalAirflow, client: AirflowClient) -> None:
        self.site = site
        self.airflow = airflow
        self.client = client

    def add_report(self, folder: Path) -> None:
        """Put one more report beside the examples."""
        shutil.copytree(folder, self.site.project / "report_specs" / folder.name)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "dags", project / "dags")
    shutil.copytree(PROJECT / "report_specs", project / "report_specs")
    site = Site(project / ".demo", project)
    port = free_port()
    console = Console(force_terminal=False)
    up(site, console, port)
    try:
        airflow = site.airflow(port, "docker")
        with AirflowClient(airflow.url, "admin", airflow.password) as client:
            yield Stack(site, airflow, client)
    finally:
        down(site, console)
