"""An Airflow connection as the engine takes it: read once, when the task runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.reader import SourceConnection

if TYPE_CHECKING:
    from collections.abc import Mapping


def use_metadata_database() -> None:
    """Let this process find connections in Airflow's metadata database, as its own commands do.

    For commands; a task asks its supervisor instead.
    """
    # Airflow's command line does the same: otherwise only the environment and secrets backends
    # are asked.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def source_connection(conn_id: str) -> SourceConnection:
    """The connection with this id, from wherever Airflow keeps it.

    Raises:
        SpecError: there is no such connection.
    """
    try:
        connection = Connection.get(conn_id)
    except AirflowNotFoundException as error:
        message = f"there is no Airflow connection {conn_id!r}"
        hint = "Create it (Admin, Connections; or a secrets backend), or correct `connection:`."
        raise SpecError(message, hint=hint) from error
    extra: dict[str, Any] = dict(connection.extra_dejson)
    fields: dict[str, Any] = {
        "host": connection.host,
        "port": connection.port,
        "login": connection.login,
        "password": connection.password,
        "database": connection.schema,
    }
    if connection.conn_type == "postgres":
        fields, extra = _postgres(connection, fields, extra)
    elif connection.conn_type == "mysql" and extra.get("iam"):
        fields, extra = _mysql_with_token(connection, fields, extra)
    elif connection.conn_type == "odbc":
        extra = _odbc(connection, extra)
    return SourceConnection(
        conn_id=conn_id, conn_type=str(connection.conn_type), extra=extra, **fields
    )


def _postgres(
    connection: Connection, fields: dict[str, Any], extra: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What PostgresHook does with a connection: tokens of a cloud's IAM, options of its own."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    if extra.get("iam"):
        hook = PostgresHook(postgres_conn_id=connection.conn_id)
        login, password, port = hook.get_iam_token(connection)
        fields = fields | {"login": login, "password": password, "port": port}
    options = {k: v for k, v in extra.items() if k not in PostgresHook.ignored_extra_options}
    return fields, options


def _mysql_with_token(
    connection: Connection, fields: dict[str, Any], extra: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What MySqlHook does with a connection that logs in with a token of a cloud's IAM."""
    from airflow.providers.mysql.hooks.mysql import MySqlHook

    password, port = MySqlHook(mysql_conn_id=connection.conn_id).get_iam_token(connection)
    # Such a token is sent as it is, so only over TLS; the group is the driver's leave to do so.
    return (
        fields | {"password": password, "port": port},
        {**extra, "read_default_group": "enable-cleartext-plugin"},
    )


def _odbc(connection: Connection, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What OdbcHook does with a connection: a driver in its extra needs an admin's leave.

    Who may edit connections could otherwise have any library loaded.
    """
    from airflow.providers.odbc.hooks.odbc import OdbcHook

    named = {key for key in extra if key.lower() == "driver"}
    if not named:
        return dict(extra)
    driver = OdbcHook(odbc_conn_id=connection.conn_id).driver
    if driver is None:
        message = f"connection {connection.conn_id} names an ODBC driver, which is not allowed"
        hint = "Set `allow_driver_in_extra = True` in section [providers.odbc], or use a `dsn`."
        raise SpecError(message, hint=hint)
    return {key: value for key, value in extra.items() if key not in named} | {"driver": driver}
