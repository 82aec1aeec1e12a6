"""What the commands of mappings share: options, tables, how errors are told."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.commands import store_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from openreg_airflow.mappings.model import MappingSet

Name = Annotated[str, typer.Argument(help="The set's name.")]
Tenant = Annotated[str, typer.Option(help="Whose set it is, where several share the store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
#: Instants are in UTC, as the audit trail shows them.
INSTANTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"]
DAYS = ["%Y-%m-%d"]


@contextmanager
def told() -> Iterator[None]:
    """Tell an error of ours and end with its exit status; show progress of long work on stderr."""
    logger = logging.getLogger("openreg_airflow.mappings")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    level, logger.level = logger.level, logging.INFO
    # Airflow's configuration of logging would show each line once more.
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    except OpenRegError as error:
        fail(error)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def who() -> Actor:
    """The operating-system user."""
    return Actor.of_command_line()


def place(url: str | None) -> str:
    """The store's URL."""
    return store_url(url)


def instant(given: datetime | None) -> datetime | None:
    """An instant that was typed, in UTC."""
    return given.replace(tzinfo=UTC) if given else None


def echo_json(value: Any) -> None:
    """Print JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def echo_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; None is left empty."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=box.SIMPLE_HEAD, header_style="bold")
    for row in rows:
        table.add_row(*("" if cell is None else Text(str(cell)) for cell in row))
    console = Console()
    # Piped into a file or another program, no cell is broken.
    (console if console.is_terminal else Console(width=400)).print(table)


def assigned(pairs: Iterable[str], what: str) -> dict[str, str]:
    """``NAME=TEXT`` options as a dictionary."""
    found = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign:
            message = f"--{what} {pair!r} is not NAME=TEXT"
            raise typer.BadParameter(message)
        found[name] = text
    return found


def described(found: MappingSet) -> dict[str, Any]:
    """A set as JSON shows it."""
    return found.model_dump(mode="json", exclude={"id"})
