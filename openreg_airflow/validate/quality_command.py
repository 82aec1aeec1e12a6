"""``openreg quality``: print a report's data quality indicators."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from openreg_airflow.command_line import fail
from openreg_airflow.errors import OpenRegError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openreg_airflow.validate.quality import Indicator, Thresholds

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
            "--at-least",
            min=0,
            max=100,
            help="Exit status 1 when a rule's last rate is below; instead of the spec's.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the indicators as JSON.")] = False,
) -> None:
    """Print the share of rows that passed each rule over time, with its trend.

    Of several runs for a business date the last one counts. Exit status 1: the last rate of a rule,
    or of the report, is below what the spec's quality and quality_at_least demand. 2: there is
    nothing to tell.
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
        thresholds = _thresholds(report, at_least)
        outcomes = rule_outcomes(settings.load().store_url, report, first, last)
        found = indicators(outcomes, thresholds)
    except OpenRegError as error:
        fail(error, 2)
    if as_json:
        dumped = [one.model_dump(mode="json") for one in found]
        typer.echo(json.dumps(dumped, indent=2, ensure_ascii=False))
    else:
        for line in _lines(report, found):
            typer.echo(line)
    if not found:
        raise typer.Exit(2)
    low = [f"{one.name or 'rules that pass'} ({one.at_least:f} %)" for one in found if one.below]
    if low:
        typer.echo(f"Below what is demanded: {', '.join(low)}", err=True)
        raise typer.Exit(1)


def _thresholds(report: str, at_least: float | None) -> Thresholds:
    """What the command line demands, or else the report's spec, if it is still there."""
    from decimal import Decimal

    from dag_factory.load import load
    from openreg_airflow.command_line import find_report
    from openreg_airflow.errors import SpecError
    from openreg_airflow.validate.pack import PackError
    from openreg_airflow.validate.quality import Thresholds, thresholds_of

    if at_least is not None:
        return Thresholds(others=Decimal(str(at_least)))
    try:
        folder = find_report(report)
    except SpecError:
        return Thresholds()
    spec = load(folder)
    try:
        return thresholds_of(spec.validate_, folder) if spec.validate_ else Thresholds()
    except PackError as error:
        raise SpecError(error.message, hint=error.hint) from error


def _lines(report: str, found: Sequence[Indicator]) -> Iterator[str]:
    if not found:
        yield f"No rule of {report} was evaluated in this time; --from and --to choose another."
        return
    whole = found[0]
    yield f"{report}, {whole.dates[0]} to {whole.dates[-1]}: {len(whole.dates)} business dates"
    yield ""
    head = ("rule", "severity", "days", "failed", "pass rate", "at least", "lowest", "trend", "")
    rows = [head, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if 2 <= place <= 6 else cell.ljust(width)
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
        _percent(one.latest) + (" !" if one.below else ""),
        "" if one.at_least is None else f"{one.at_least:f} %",
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
