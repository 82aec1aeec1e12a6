"""What the commands of all rooms share.

Their exit statuses are the same. 0: it was done, and nothing is wrong. 1: something was found
wrong, failed or was refused. 2: it could not be begun or told, since the command, what it names,
the configuration, the store or the sandbox is wrong or not there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import typer

from openreg_airflow.errors import (
    NoSuchItemError,
    NoSuchMappingError,
    OpenRegError,
    SandboxUnavailableError,
    SpecError,
    StoreNotReadyError,
    StoreUnavailableError,
)

#: Nothing was done: what was asked for, or where, is wrong or not there.
_WRONG_USE = (
    SpecError,
    NoSuchItemError,
    NoSuchMappingError,
    SandboxUnavailableError,
    StoreNotReadyError,
    StoreUnavailableError,
)


def find_report(report: str) -> Path:
    """The folder of a report that is named by its id or its folder.

    Raises:
        SpecError: there is none.
    """
    from dag_factory.load import FILE_NAME
    from openreg_airflow import settings

    for root in (Path(), Path("report_specs"), *settings.load().spec_folders):
        if (root / report / FILE_NAME).is_file():
            return (root / report).resolve()
    message = f"there is no report {report!r}"
    raise SpecError(message, hint="Give its folder, or set [openreg] spec_folders.")


def fail(error: OpenRegError | OSError | str, status: int | None = None) -> NoReturn:
    """Say what went wrong and end with an exit status.

    Args:
        error: what went wrong.
        status: by default what the kind of the error says; 2 in commands that look something up,
            where 1 means that they found something wrong.
    """
    typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
    if status is None:
        status = 1 if isinstance(error, OpenRegError) and not isinstance(error, _WRONG_USE) else 2
    raise typer.Exit(status) from (error if isinstance(error, Exception) else None)


def use_metadata_database() -> None:
    """Let this process find connections in Airflow's metadata database, as its own commands do.

    For commands; a task asks its supervisor instead.
    """
    # Airflow's command line does the same: otherwise only the environment and secrets backends
    # are asked.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
