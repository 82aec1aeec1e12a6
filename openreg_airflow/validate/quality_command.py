"""``openreg quality``: print a report's data quality indicators."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.errors import OpenRegError
from openreg_airflow.validate.commands import fail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openreg_airflow.validate.quality import Indicator

#: Days of the line that is printed; JSON has all.
_DRAWN = 40


def quality(
    report: Annotated[str, typer.Argument(help="The report's id.")],
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First business date; 30 days ago."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last business date.")
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option(
            "--at-least", min=0, max=100, help="Exit status 1 when a rule's last rate is below."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the indicators as JSON.")] = False,
) -> None:
    """Print the share of rows that passed each rule over time, with its trend.

    Of several runs for a business date the last one counts.
    """
    from datetime import timedelta

    from openreg_airflow import settings
    from openreg_airflow.store.history import rule_outcomes
    from openreg_airflow.validate.quality import indicators

    last = until.date() if until else None
    first = since.date() if since else (until or datetime.now().astimezone()).date()
    if since is None:
        first -= timedelta(days=30)
    try:
        found = indicators(rule_outcomes(settings.load().store_url, report, first, last))
    except OpenRegError as error:
        fail(error)
    if as_json:
        dumped = [one.model_dump(mode="json") for one in found]
        typer.echo(json.dumps(dumped, indent=2, ensure_ascii=False))
    else:
        for line in _lines(report, found):
            typer.echo(line)
    if not found:
        raise typer.Exit(2)
    low = [one.name for one in found[1:] if at_least and (one.latest or 0) * 100 < at_least]
    if low:
        typer.echo(f"Below {at_least:g} %: {', '.join(low)}", err=True)
        raise typer.Exit(1)


def _lines(report: str, found: Sequence[Indicator]) -> Iterator[str]:
    if not found:
        yield f"No rule of {report} was evaluated in this time."
        return
    whole = found[0]
    yield f"{report}, {whole.dates[0]} to {whole.dates[-1]}: {len(whole.dates)} business dates"
    yield ""
    head = ("rule", "severity", "days", "failed", "pass rate", "lowest", "trend", "")
    rows = [head, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if 2 <= place <= 5 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _row(one: Indicator) -> tuple[str, ...]:
    trend: str = one.trend
    if trend in ("better", "worse"):
        trend = f"{one.change * 100:+.2f} points"
    return (
        one.name or "(rules that pass)",
        one.severity,
        f"{len(one.dates):,}",
        f"{one.failed:,}",
        _percent(one.latest),
        _percent(one.lowest),
        trend,
        one.line()[-_DRAWN:],
    )


def _percent(rate: float | None) -> str:
    """A rate that is not all is never rounded up to all."""
    if rate is None:
        return "error"
    if rate == 1:
        return "100 %"
    return f"{min(int(rate * 1_000_000), 999_999) / 10_000:.4f} %"
