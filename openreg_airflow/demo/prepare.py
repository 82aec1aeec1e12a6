"""Fill an empty Airflow home in one process: tables, roles, an admin and connections.

Airflow's own commands do the same one by one, at ten seconds a command. Run as
``python -m openreg_airflow.demo.prepare`` with AIRFLOW_HOME set; what to create is read as JSON
from standard input, so that no password is ever on a command line.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def prepare(wanted: dict[str, Any]) -> None:
    """Create what is missing; running it again changes nothing.

    Args:
        wanted: ``admin`` with ``username`` and ``password``, and ``connections``: a mapping of
            connection ids to Airflow's JSON form of a connection.
    """
    from airflow.utils.db import initdb

    initdb()
    _connections(wanted["connections"])
    _admin(wanted["admin"])


def _connections(connections: dict[str, dict[str, Any]]) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        for conn_id, fields in connections.items():
            old = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
            if old is not None:
                session.delete(old)
                session.flush()
            session.add(Connection.from_json(json.dumps(fields), conn_id=conn_id))


def _admin(admin: dict[str, str]) -> None:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        builder.add_permissions(update_perms=True)  # type: ignore[no-untyped-call]
        builder.sm.sync_roles()
        role = builder.sm.find_role("Admin")
        user = builder.sm.find_user(admin["username"])
        if user is None:
            user = builder.sm.add_user(
                admin["username"],
                "OpenReg",
                "Admin",
                f"{admin['username']}@localhost.localdomain",
                role,
                admin["password"],
            )
            if not user:
                message = "Airflow did not create the admin"
                raise RuntimeError(message)
        else:
            builder.sm.reset_password(user.id, admin["password"])


if __name__ == "__main__":
    prepare(json.load(sys.stdin))
