"""The commands of entries: show, add, change, end, delete, history, diff."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreg_airflow.mappings.command_line import (
    DAYS,
    INSTANTS,
    AsJson,
    Name,
    Tenant,
    assigned,
    echo_json,
    echo_table,
    instant,
    place,
    told,
    who,
)
from openreg_airflow.store.commands import Url  # noqa: TC001 - typer reads it

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openreg_airflow.mappings.history import Difference
    from openreg_airflow.mappings.model import MappingEntry, MappingSet

_KINDS = ("added", "changed", "removed")

Key = Annotated[list[str], typer.Option(help="Key column, as code=FFM.")]
Value = Annotated[list[str] | None, typer.Option(help="Value column, as mic=XETR.")]
Seen = Annotated[int, typer.Argument(help="The entry's id, as `show` tells it.")]
From = Annotated[datetime | None, typer.Option("--from", formats=DAYS, help="First day.")]
To = Annotated[
    datetime | None, typer.Option("--to", formats=DAYS, help="First day no longer; open if not.")
]


def show_command(
    *,
    name: Name,
    prefix: Annotated[str | None, typer.Option(help="The first key begins so.")] = None,
    text: Annotated[str | None, typer.Option(help="A key or value holds this.")] = None,
    on: Annotated[datetime | None, typer.Option(formats=DAYS, help="True on that day.")] = None,
    known_at: Annotated[
        datetime | None, typer.Option(formats=INSTANTS, help="As it was known then, UTC.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=INSTANTS, help="Changed since then, UTC.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Changed by this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Entries of a page.")] = 50,
    after: Annotated[str | None, typer.Option(help="The page after this place.")] = None,
    as_json: AsJson = False,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Show a set and a page of its entries."""
    from openreg_airflow.mappings.search import EntryFilter, search
    from openreg_airflow.mappings.sets import Sets

    wanted = EntryFilter(
        prefix=prefix,
        text=text,
        business_date=on.date() if on else None,
        recorded_at=instant(known_at),
        changed_since=instant(since),
        actor=by,
    )
    with told():
        found = Sets(place(url), who(), tenant).get(name)
        page = search(place(url), name, wanted, tenant=tenant, limit=limit, after=after)
    if as_json:
        echo_json({"set": found.model_dump(mode="json"), **page.model_dump(mode="json")})
        return
    typer.echo(f"{found.name}: {found.description}".rstrip(": "))
    if found.read_only:
        typer.echo(f"read-only, from {found.source} of {found.source_date}")
    typer.echo(f"owner {found.owner or 'nobody'}, revision {page.revision}")
    echo_table(("id", *_head(found)), ((entry.id, *_cells(entry)) for entry in page.entries))
    if page.next:
        typer.echo(f"next page: --after {page.next}")


def add_command(
    *,
    name: Name,
    key: Key,
    value: Value = None,
    begin: From = None,
    end: To = None,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Add an entry for a period in which its key has none."""
    from openreg_airflow.mappings.entries import Entries

    keys, values = assigned(key, "key"), assigned(value or (), "value")
    with told():
        made = Entries(place(url), name, who(), tenant).add(
            keys, values, effective_from=_day(begin), effective_to=_day(end)
        )
    typer.echo(f"added entry {made.id}")


def change_command(
    *,
    name: Name,
    entry: Seen,
    value: Value = None,
    begin: From = None,
    end: To = None,
    always: Annotated[bool, typer.Option("--from-always", help="It always was true.")] = False,
    open_end: Annotated[bool, typer.Option("--to-open", help="It has no end.")] = False,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Correct an entry; what was known until now stays on record.

    Value columns that are not named stay as they are.
    """
    from openreg_airflow.mappings.entries import UNCHANGED, Entries

    given = assigned(value or (), "value")
    with told():
        entries = Entries(place(url), name, who(), tenant)
        made = entries.change(
            entry,
            value=entries.value_of(entry) | given if given else UNCHANGED,
            effective_from=None if always else _day(begin) or UNCHANGED,
            effective_to=None if open_end else _day(end) or UNCHANGED,
        )
    if made.id == entry:
        typer.echo(f"nothing to change; it stays entry {entry}")
    else:
        typer.echo(f"changed; it is entry {made.id} now")


def end_command(
    *,
    name: Name,
    entry: Seen,
    on: Annotated[datetime, typer.Option(formats=DAYS, help="First day no longer true.")],
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """End an entry: from that day on it is no longer true."""
    from openreg_airflow.mappings.entries import Entries

    with told():
        made = Entries(place(url), name, who(), tenant).end(entry, on.date())
    typer.echo(f"ended; it is entry {made.id} now")


def delete_command(*, name: Name, entry: Seen, tenant: Tenant = "", url: Url = None) -> None:
    """Delete an entry that was never true; what was known until now stays on record."""
    from openreg_airflow.mappings.entries import Entries

    with told():
        Entries(place(url), name, who(), tenant).delete(entry)
    typer.echo(f"deleted entry {entry}")


def history_command(
    *, name: Name, key: Key, as_json: AsJson = False, tenant: Tenant = "", url: Url = None
) -> None:
    """Show all that was ever recorded of a key; exit status 2 when nothing was."""
    from openreg_airflow.mappings.history import history
    from openreg_airflow.mappings.sets import Sets

    keys = assigned(key, "key")
    with told():
        found = Sets(place(url), who(), tenant).get(name)
        records = history(place(url), name, keys, tenant=tenant)
    if as_json:
        echo_json([one.model_dump(mode="json") for one in records])
    else:
        echo_table(
            ("recorded", "by", "how", *_head(found), "until", "by", "how"),
            (
                (_short(one.recorded_at), one.actor, one.action, *_cells(one.entry),
                 _short(one.replaced_at), one.replaced_by, one.replaced_how)
                for one in records
            ),
        )  # fmt: skip
    if not records:
        typer.echo("nothing was recorded of this key", err=True)
        raise typer.Exit(2)


def diff_command(
    *,
    name: Name,
    first: Annotated[datetime, typer.Argument(formats=INSTANTS, help="Date or instant.")],
    second: Annotated[datetime, typer.Argument(formats=INSTANTS, help="Date or instant.")],
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Instants (UTC) at which it was known.")
    ] = False,
    as_json: AsJson = False,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Show what differs between two dates, or what was recorded between two instants."""
    from openreg_airflow.mappings.history import difference_of_dates, difference_of_records
    from openreg_airflow.mappings.sets import Sets

    with told():
        found = Sets(place(url), who(), tenant).get(name)
        differences: Iterable[Difference]
        if recorded:
            ends = instant(first) or first, instant(second) or second
            differences = difference_of_records(place(url), name, *ends, tenant=tenant)
        else:
            days = first.date(), second.date()
            differences = difference_of_dates(place(url), name, *days, tenant=tenant)
        shown = list(differences)
    if as_json:
        echo_json([one.model_dump(mode="json") for one in shown])
        return
    rows: list[tuple[Any, ...]] = []
    for one in shown:
        for sign, entry in (("-", one.before), ("+", one.after)):
            if entry:
                rows.append((sign, *_cells(entry)))
    echo_table(("", *_head(found)), rows)
    counts = [f"{sum(one.outcome == kind for one in shown)} {kind}" for kind in _KINDS]
    typer.echo(", ".join(counts))


def _head(found: MappingSet) -> tuple[str, ...]:
    return (*(column.name for column in found.keys + found.values), "from", "to")


def _cells(entry: MappingEntry) -> tuple[Any, ...]:
    begin, end = entry.effective_from, entry.effective_to
    return (*entry.key.values(), *entry.value.values(), begin or "always", end or "open")


def _day(given: datetime | None) -> date | None:
    return given.date() if given else None


def _short(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else None
