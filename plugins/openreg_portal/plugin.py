"""The Airflow plugin through which the portal's views reach Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from dag_factory.deadline import BusinessDateDeadline
from openreg_portal import missing_pools


class OpenRegPlugin(AirflowPlugin):
    """Registers OpenReg with Airflow; listed under Admin, Plugins."""

    name = "openreg"
    deadline_references = [BusinessDateDeadline]  # noqa: RUF012 - as Airflow declares it
    listeners = [missing_pools]  # noqa: RUF012
