"""An Airflow connection as the engine takes it: read once, when the task runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.files.place import FileConnection
from openreg_airflow.extract.reader import SourceConnection

if TYPE_CHECKING:
    from collections.abc import Mapping


def source_connection(conn_id: str) -> SourceConnection:
    """The connection with this id, from wherever Airflow keeps it.

    Raises:
        SpecError: there is no such connection.
    """
    connection = _get(conn_id)
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


def file_connection(conn_id: str) -> FileConnection:
    """The connection with this id, as places of files take it.

    Raises:
        SpecError: there is no such connection.
    """
    connection = _get(conn_id)
    client = None
    if connection.conn_type == "aws":
        client = partial(_s3_client, conn_id)
    return FileConnection(
        id=conn_id,
        type=str(connection.conn_type),
        host=connection.host,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=dict(connection.extra_dejson),
        s3=client,
    )


def _s3_client(conn_id: str) -> Any:
    """A boto3 client as S3Hook makes it: roles, endpoints, regions and proxies included."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.config import Config

    config = Config(connect_timeout=20, read_timeout=60, retries={"mode": "standard"})
    return S3Hook(aws_conn_id=conn_id, config=config).get_conn()


def _get(conn_id: str) -> Connection:
    try:
        found: Connection = Connection.get(conn_id)
    except AirflowNotFoundException as error:
        message = f"there is no Airflow connection {conn_id!r}"
        hint = "Create it (Admin, Connections; or a secrets backend), or correct `connection:`."
        raise SpecError(message, hint=hint) from error
    return found


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
