"""The commands of sets themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from openreg_airflow.mappings.command_line import (
    AsJson,
    Name,
    Tenant,
    described,
    echo_json,
    echo_table,
    place,
    told,
    who,
)
from openreg_airflow.store.commands import Url  # noqa: TC001 - typer reads it

Edition = Annotated[
    int | None, typer.Option(help="Only if it still has this edition; `list --json` shows it.")
]


def list_command(
    *,
    archived: Annotated[bool, typer.Option("--archived", help="Archived sets too.")] = False,
    as_json: AsJson = False,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """List the sets."""
    from openreg_airflow.mappings.sets import Sets

    with told():
        found = Sets(place(url), who(), tenant).list(archived=archived)
    if as_json:
        echo_json([described(one) for one in found])
        return
    echo_table(
        ("set", "keys", "values", "revision", "owner", "description"),
        (
            (
                one.name + (" (archived)" if one.archived_at else ""),
                ", ".join(column.name for column in one.keys),
                ", ".join(column.name for column in one.values),
                one.revision,
                f"{one.source} of {one.source_date}" if one.read_only else one.owner,
                one.description,
            )
            for one in found
        ),
    )


def create_command(
    *,
    name: Name,
    key: Annotated[list[str], typer.Option(help="Key column, as code or book:integer.")],
    value: Annotated[list[str], typer.Option(help="Value column, likewise.")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    owner: Annotated[str, typer.Option(help="Who maintains it.")] = "",
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Make a set; types are string, integer, decimal(P,S), boolean and date."""
    from openreg_airflow.mappings.sets import Sets

    def column(text: str) -> tuple[str, str]:
        called, _, kind = text.partition(":")
        return called, kind or "string"

    with told():
        Sets(place(url), who(), tenant).create(
            name,
            keys=map(column, key),
            values=map(column, value),
            description=description,
            owner=owner,
        )
    typer.echo(f"made {name}")


def describe_command(
    *,
    name: Name,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who maintains it.")] = None,
    edition: Edition = None,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Change the description or the owner of a set."""
    from openreg_airflow.mappings.sets import Sets

    with told():
        Sets(place(url), who(), tenant).describe(
            name, description=description, owner=owner, edition=edition
        )
    typer.echo(f"described {name}")


def rename_command(
    *,
    name: Name,
    new_name: Annotated[str, typer.Argument(help="The new name.")],
    edition: Edition = None,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Give a set another name; specs that use the old one no longer find it."""
    from openreg_airflow.mappings.sets import Sets

    with told():
        Sets(place(url), who(), tenant).rename(name, new_name, edition=edition)
    typer.echo(f"renamed {name} to {new_name}")


def archive_command(
    *, name: Name, edition: Edition = None, tenant: Tenant = "", url: Url = None
) -> None:
    """Put a set away: nobody can change it, reports still read it."""
    from openreg_airflow.mappings.sets import Sets

    with told():
        Sets(place(url), who(), tenant).archive(name, edition=edition)
    typer.echo(f"archived {name}")


def restore_command(
    *, name: Name, edition: Edition = None, tenant: Tenant = "", url: Url = None
) -> None:
    """Take an archived set back into use."""
    from openreg_airflow.mappings.sets import Sets

    with told():
        Sets(place(url), who(), tenant).restore(name, edition=edition)
    typer.echo(f"restored {name}")


def reference_command(*, tenant: Tenant = "", url: Url = None) -> None:
    """Make the read-only sets of reference data, or bring them to this version's state."""
    from openreg_airflow.mappings.reference_sets import update
    from openreg_airflow.mappings.sets import Sets

    with told():
        outcomes = update(place(url), who(), tenant)
        found = {one.name: one for one in Sets(place(url), who(), tenant).list(archived=True)}
    echo_table(
        ("set", "entries", "added", "changed", "ended", "removed", "revision", "source"),
        (
            (
                done.set,
                done.lines,
                done.added,
                done.changed,
                done.ended,
                done.removed,
                done.revision,
                f"{found[done.set].source} of {found[done.set].source_date}",
            )
            for done in outcomes
        ),
    )


def verify_command(
    name: Annotated[str | None, typer.Argument(help="One set; all when left out.")] = None,
    url: Url = None,
) -> None:
    """Hold the entries against the audit trail; exit status 1 when they are other ones.

    `openreg audit verify` proves the trail itself.
    """
    from openreg_airflow.mappings.proof import verify_revisions

    with told():
        count, breaks = verify_revisions(place(url), name)
    for line in breaks:
        typer.secho(line, err=True, fg=typer.colors.RED)
    typer.echo(f"{count} changes, {len(breaks)} breaks")
    raise typer.Exit(bool(breaks))
