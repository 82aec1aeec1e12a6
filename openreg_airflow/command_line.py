"""What the commands of all rooms share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from openreg_airflow.errors import OpenRegError


def find_report(report: str) -> Path:
    """The folder of a report that is named by its id or its folder.

    Raises:
        SpecError: there is none.
    """
    from dag_factory.load import FILE_NAME
    from openreg_airflow import settings
    from openreg_airflow.errors import SpecError

    for root in (Path(), Path("report_specs"), *settings.load().spec_folders):
        if (root / report / FILE_NAME).is_file():
            return (root / report).resolve()
    message = f"there is no report {report!r}"
    raise SpecError(message, hint="Give its folder, or set [openreg] spec_folders.")


def fail(error: OpenRegError | OSError | str, status: int = 2) -> NoReturn:
    """Say what went wrong and end with an exit status.

    Args:
        error: what went wrong.
        status: 2 where the command has a meaning for 1.
    """
    typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
    raise typer.Exit(status) from (error if isinstance(error, Exception) else None)


def use_metadata_database() -> None:
    """Let this process find connections in Airflow's metadata database, as its own commands do.

    For commands; a task asks its supervisor instead.
    """
    # Airflow's command line does the same: otherwise only the environment and secrets backends
    # are asked.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
