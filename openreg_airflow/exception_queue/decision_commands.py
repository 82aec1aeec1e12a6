"""``openreg exceptions amend``, ``reject``, ``release`` and ``undo``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError
from openreg_airflow.exception_queue.options import (
    Filter,
    Numbers,
    Version,
    Why,
    filtered,
    said_progress,
)
from openreg_airflow.store.commands import Url, store_url

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer()


@app.command()
@filtered
def amend(
    why: Why,
    numbers: Numbers = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="COLUMN=VALUE; parties.2.lei=... for an inner row; repeatable."),
    ] = None,
    nulls: Annotated[
        list[str] | None, typer.Option("--null", help="COLUMN that is to be NULL; repeatable.")
    ] = None,
    version: Version = None,
    *,
    items: Filter,
    url: Url = None,
) -> None:
    """Change values of items; they go out with the next resubmission."""
    from openreg_airflow.exception_queue import decisions

    new: dict[str, Any] = dict.fromkeys(nulls or ())
    for text in values or ():
        column, is_there, value = text.partition("=")
        if not is_there or not column:
            message = f"--set {text}: write COLUMN=VALUE"
            raise typer.BadParameter(message)
        new[column] = value

    def act(place: str, seen: dict[int, int | None], who: Any) -> int:
        return decisions.amend(place, dict.fromkeys(seen, new), seen, who, why)

    _decide(url, numbers, version, items, act, "amended")


def _add(name: str, done: str, text: str) -> None:
    """Add a command that says no more about items than why.

    Args:
        name: of the command, and of the decision in
            :mod:`openreg_airflow.exception_queue.decisions`.
        done: what it has done to the items.
        text: for the help page.
    """

    @app.command(name, help=text)
    @filtered
    def command(
        why: Why,
        numbers: Numbers = None,
        version: Version = None,
        *,
        items: Filter,
        url: Url = None,
    ) -> None:
        from openreg_airflow.exception_queue import decisions

        decide = getattr(decisions, name)

        def act(place: str, seen: dict[int, int | None], who: Any) -> int:
            return int(decide(place, seen, who, why))

        _decide(url, numbers, version, items, act, done)


_add("reject", "rejected", "Leave items out of the report.")
_add("release", "released", "Let items go out with the next resubmission as they are.")
_add("undo", "undone", "Take back the last decision about items that were not resubmitted yet.")


def _decide(  # noqa: PLR0917
    url: str | None,
    numbers: list[int] | None,
    version: int | None,
    items: Filter,
    act: Callable[..., int],
    done: str,
) -> None:
    """Decide about the items that are named, or about all that the filters leave."""
    from openreg_airflow.exception_queue.item import DECIDABLE
    from openreg_airflow.exception_queue.listing import versions
    from openreg_airflow.store.actor import Actor

    wanted = items.wanted()
    filters = any((wanted.report_id, wanted.business_date, wanted.rule, wanted.table, wanted.key))
    if bool(numbers) == filters:
        message = "name either items by their numbers, or filters such as --report and --rule"
        raise typer.BadParameter(message)
    if version is not None and len(numbers or ()) != 1:
        message = "--version goes with one item"
        raise typer.BadParameter(message)
    try:
        place = store_url(url)
        if numbers:
            seen: dict[int, int | None] = dict.fromkeys(numbers, version)
        else:
            states = wanted.states or tuple(s for s in DECIDABLE if s != "rejected")
            seen = versions(place, replace(wanted, states=states, unclaimed=True))
        with said_progress():
            rows = act(place, seen, Actor.of_command_line()) if seen else 0
    except OpenRegError as error:
        fail(error)
    typer.echo(f"{rows:,} items {done}")
