"""The commands of files: import and export."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import datetime  # noqa: TC003 - typer reads it
from enum import Enum
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.mappings.command_line import (
    DAYS,
    INSTANTS,
    AsJson,
    Name,
    Tenant,
    echo_json,
    echo_table,
    instant,
    place,
    told,
    who,
)
from openreg_airflow.store.commands import Url  # noqa: TC001 - typer reads it

if TYPE_CHECKING:
    from openreg_airflow.mappings.outcomes import ImportOutcome, LineOutcome

#: Lines that are shown; a report has all.
_SHOWN = 20


class Mode(Enum):
    """What happens to entries that the file does not have."""

    merge = "merge"
    replace = "replace"


def import_command(
    *,
    name: Name,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, or Excel with .xlsx.")
    ],
    mode: Annotated[
        Mode, typer.Option(help="merge keeps entries that the file does not have, replace not.")
    ] = Mode.merge,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would happen to each line.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="CSV file for the outcome of every line.")
    ] = None,
    expected: Annotated[
        int | None,
        typer.Option("--if-revision", help="Only if the set is still at this revision."),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Such as cp1252; found out.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Found out from the header.")] = None,
    date_format: Annotated[str | None, typer.Option(help="Such as DD.MM.YYYY; found out.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of the workbook; the first.")] = None,
    as_json: AsJson = False,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Import entries: all lines or none; exit status 1 when a line was refused.

    A line whose key and beginning are there changes that entry; an entry that begins earlier and
    reaches into a line is ended where the line begins.
    """
    from openreg_airflow.mappings.importing import import_file
    from openreg_airflow.mappings.outcomes import ImportOptions

    options = ImportOptions(
        mode="replace" if mode is Mode.replace else "merge",
        dry_run=dry_run,
        expected=expected,
        encoding=encoding,
        delimiter={"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter),
        date_format=date_format,
        sheet=sheet,
    )
    shown: list[LineOutcome] = []
    with told(), ExitStack() as stack:
        write = _Report(stack, report) if report else None

        def tell(line: LineOutcome) -> None:
            if len(shown) < _SHOWN and (dry_run or line.outcome == "refused"):
                shown.append(line)
            if write:
                write.line(line)

        done = import_file(place(url), name, file, who(), tenant=tenant, options=options, told=tell)
    if as_json:
        echo_json(done.model_dump(mode="json"))
    else:
        _show(done, shown)
    if done.refused:
        raise typer.Exit(1)


def export_command(
    *,
    name: Name,
    file: Annotated[
        Path | None, typer.Argument(help="CSV, or Excel with .xlsx; standard output.")
    ] = None,
    on: Annotated[
        datetime | None, typer.Option(formats=DAYS, help="Only what is true on that day.")
    ] = None,
    known_at: Annotated[
        datetime | None, typer.Option(formats=INSTANTS, help="As it was known then, UTC.")
    ] = None,
    tenant: Tenant = "",
    url: Url = None,
) -> None:
    """Write the entries of a set, such that they can be imported again unchanged."""
    from openreg_airflow.mappings.exporting import export_file, export_text

    day, at = on.date() if on else None, instant(known_at)
    with told():
        if file is None:
            export_text(
                place(url), name, sys.stdout, tenant=tenant, business_date=day, recorded_at=at
            )
            return
        try:
            count = export_file(
                place(url), name, file, tenant=tenant, business_date=day, recorded_at=at
            )
        except OSError as error:
            fail(f"{file} cannot be written: {error.strerror}")
    typer.echo(f"wrote {count} entries to {file}")


class _Report:
    """A CSV file with the outcome of every line."""

    def __init__(self, stack: ExitStack, path: Path) -> None:
        import csv

        try:
            file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise typer.BadParameter(message) from error
        self._writer = csv.writer(file, lineterminator="\r\n")
        self._writer.writerow(("line", *_HEAD))

    def line(self, line: LineOutcome) -> None:
        from openreg_airflow.formula import guarded

        self._writer.writerow(guarded(cell) for cell in (str(line.line or ""), *_cells(line)))


_HEAD = ("outcome", "reason", "key", "value", "from", "to", "value before", "to before")


def _cells(line: LineOutcome) -> tuple[str, ...]:
    def text(cells: tuple[str | None, ...] | None) -> str:
        return " | ".join(cell or "" for cell in cells or ())

    return (
        line.outcome,
        line.reason or "",
        text(line.key),
        text(line.value),
        str(line.effective_from or ""),
        str(line.effective_to or ""),
        text(line.old_value),
        str(line.old_to or "") if line.old_value is not None else "",
    )


def _show(done: ImportOutcome, shown: list[LineOutcome]) -> None:
    counts = ("added", "changed", "ended", "removed", "unchanged", "refused")
    if shown:
        echo_table(("line", *_HEAD), ((line.line, *_cells(line)) for line in shown))
    told_of = sum(getattr(done, kind) for kind in counts if kind != "unchanged")
    if shown and told_of > len(shown):
        typer.echo("... --report FILE has all lines")
    typer.echo(f"{done.lines} lines ({done.form}) in {done.seconds} s")
    typer.echo(", ".join(f"{getattr(done, kind)} {kind}" for kind in counts))
    if done.dry_run:
        typer.echo(f"dry run: nothing was written; the set is at revision {done.revision}")
    elif done.refused:
        typer.echo("nothing was written, since lines were refused", err=True)
    elif not done.applied:
        typer.echo(f"nothing to write; the set stays at revision {done.revision}")
    else:
        typer.echo(f"{done.set} is at revision {done.revision}")
