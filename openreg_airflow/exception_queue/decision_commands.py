"""``openreg exceptions amend``, ``reject``, ``release`` and ``undo``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreg_airflow.errors import OpenRegError
from openreg_airflow.exception_queue.options import (
    Day,
    Key,
    Numbers,
    Report,
    Rule,
    States,
    Table,
    Version,
    Why,
    say_progress,
    wanted_of,
)
from openreg_airflow.store.commands import Url, fail, store_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from openreg_airflow.exception_queue.listing import Wanted

app = typer.Typer()


@app.command()
def amend(  # noqa: PLR0917 - what the command line takes
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
    report: Report = None,
    business_date: Day = None,
    rule: Rule = None,
    state: States = None,
    table: Table = None,
    key: Key = None,
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

    wanted = wanted_of(report, business_date, rule, state, table, key)
    _decide(url, numbers, version, wanted, act, "amended")


@app.command()
def reject(  # noqa: PLR0917 - what the command line takes
    why: Why,
    numbers: Numbers = None,
    version: Version = None,
    report: Report = None,
    business_date: Day = None,
    rule: Rule = None,
    state: States = None,
    table: Table = None,
    key: Key = None,
    url: Url = None,
) -> None:
    """Leave items out of the report."""
    from openreg_airflow.exception_queue import decisions

    wanted = wanted_of(report, business_date, rule, state, table, key)
    _decide(url, numbers, version, wanted, _simple(decisions.reject, why), "rejected")


@app.command()
def release(  # noqa: PLR0917 - what the command line takes
    why: Why,
    numbers: Numbers = None,
    version: Version = None,
    report: Report = None,
    business_date: Day = None,
    rule: Rule = None,
    state: States = None,
    table: Table = None,
    key: Key = None,
    url: Url = None,
) -> None:
    """Let items go out with the next resubmission as they are."""
    from openreg_airflow.exception_queue import decisions

    wanted = wanted_of(report, business_date, rule, state, table, key)
    _decide(url, numbers, version, wanted, _simple(decisions.release, why), "released")


@app.command()
def undo(  # noqa: PLR0917 - what the command line takes
    why: Why,
    numbers: Numbers = None,
    version: Version = None,
    report: Report = None,
    business_date: Day = None,
    rule: Rule = None,
    state: States = None,
    table: Table = None,
    key: Key = None,
    url: Url = None,
) -> None:
    """Take back the last decision about items that were not resubmitted yet."""
    from openreg_airflow.exception_queue import decisions

    wanted = wanted_of(report, business_date, rule, state, table, key)
    _decide(url, numbers, version, wanted, _simple(decisions.undo, why), "undone")


def _simple(decide: Callable[..., int], why: str) -> Callable[..., int]:
    return lambda place, seen, who: decide(place, seen, who, why)


def _decide(  # noqa: PLR0917
    url: str | None,
    numbers: list[int] | None,
    version: int | None,
    wanted: Wanted,
    act: Callable[..., int],
    done: str,
) -> None:
    """Decide about the items that are named, or about all that the filters leave."""
    from openreg_airflow.exception_queue.item import DECIDABLE
    from openreg_airflow.exception_queue.listing import versions
    from openreg_airflow.store.actor import Actor

    filters = any((wanted.report_id, wanted.business_date, wanted.rule, wanted.table, wanted.key))
    if bool(numbers) == filters:
        message = "name either items by their numbers, or filters such as --report and --rule"
        raise typer.BadParameter(message)
    if version is not None and len(numbers or ()) != 1:
        message = "--version goes with one item"
        raise typer.BadParameter(message)
    say_progress()
    try:
        place = store_url(url)
        if numbers:
            seen: dict[int, int | None] = dict.fromkeys(numbers, version)
        else:
            states = wanted.states or tuple(s for s in DECIDABLE if s != "rejected")
            seen = versions(place, replace(wanted, states=states, unclaimed=True))
        rows = act(place, seen, Actor.of_command_line()) if seen else 0
    except OpenRegError as error:
        fail(error)
    typer.echo(f"{rows:,} items {done}")
