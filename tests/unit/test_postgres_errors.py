"""Which failed logins to PostgreSQL are worth another try."""

from __future__ import annotations

import adbc_driver_manager
import pytest

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract.readers.postgres_errors import connection_error


def _error(text: str) -> adbc_driver_manager.Error:
    return adbc_driver_manager.OperationalError(
        text, status_code=adbc_driver_manager.AdbcStatusCode.IO
    )


@pytest.mark.parametrize(
    "text",
    [
        "FATAL:  terminating connection due to administrator command\n"
        "server closed the connection unexpectedly",
        "FATAL:  terminating connection because of crash of another server process",
        "server closed the connection unexpectedly",
    ],
)
def test_session_that_is_ended_while_the_driver_asks_for_types_is_worth_another_try(
    text: str,
) -> None:
    error = _error(f"IO: [libpq] Failed to execute query 'SELECT oid FROM pg_type': {text}")

    assert isinstance(connection_error(error, "trades"), SourceUnavailableError)


def test_login_that_is_refused_is_final() -> None:
    error = _error('IO: [libpq] Failed to connect: FATAL:  password authentication failed for "a"')

    assert isinstance(connection_error(error, "trades"), SourceError)
