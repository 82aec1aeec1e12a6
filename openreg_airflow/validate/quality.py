"""Data quality indicators: how many rows pass each rule, day by day, and where it is heading."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Literal

from openreg_airflow.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from openreg_airflow.store.history import RuleOutcome

#: A difference of less than this, as a share of rows, is no trend.
STEADY = 0.00005
_BARS = "▁▂▃▄▅▆▇█"
#: A day on which a rule could not be evaluated.
_NO_BAR = "×"


class Indicator(Record):
    """One rule, or the report as a whole, over some business dates.

    Attributes:
        name: the rule's id; empty for the report.
        title: of the rule.
        severity: of the rule on the last date.
        dates: the business dates on which there was a verdict.
        rates: the share of rows that passed on each, from 0 to 1; for the report the share of
            rules. None when the rule could not be evaluated.
        failed: failing rows on the last date; for the report failing rules.
        trend: the last date against the mean of those before it.
        change: the difference behind the trend, as a share.
    """

    name: str
    title: str
    severity: str
    dates: tuple[date, ...]
    rates: tuple[float | None, ...]
    failed: int
    trend: Literal["better", "worse", "steady", "new"]
    change: float

    @property
    def latest(self) -> float | None:
        """The rate of the last date."""
        return self.rates[-1]

    @property
    def lowest(self) -> float | None:
        """The lowest rate."""
        return min((rate for rate in self.rates if rate is not None), default=None)

    def line(self) -> str:
        """The rates as one character a day, from the lowest to all."""
        low = self.lowest
        if low is None:
            return _NO_BAR * len(self.rates)
        span = 1 - low
        return "".join(
            _NO_BAR
            if rate is None
            else _BARS[-1 if not span else round((rate - low) / span * (len(_BARS) - 1))]
            for rate in self.rates
        )


def pass_rate(outcome: RuleOutcome) -> float | None:
    """The share of rows that passed; a rule about a whole table fails once or not at all."""
    if outcome.error is not None:
        return None
    if not outcome.failed:
        return 1.0
    return max(0.0, 1 - outcome.failed / outcome.checked) if outcome.checked else 0.0


def indicators(outcomes: Iterable[RuleOutcome]) -> tuple[Indicator, ...]:
    """The report's indicator, then one for each rule of the last date, in the order of the spec.

    Args:
        outcomes: in the order of their business dates; empty gives nothing.
    """
    by_rule: dict[str, list[RuleOutcome]] = {}
    by_date: dict[date, list[RuleOutcome]] = {}
    for outcome in outcomes:
        by_rule.setdefault(outcome.rule_id, []).append(outcome)
        by_date.setdefault(outcome.business_date, []).append(outcome)
    if not by_date:
        return ()
    last = max(by_date)
    passed = {day: [pass_rate(one) == 1 for one in day_s] for day, day_s in by_date.items()}
    report = _indicator(
        "",
        "rules that pass",
        "",
        tuple(by_date),
        [sum(rules) / len(rules) for rules in passed.values()],
        passed[last].count(False),
    )
    return (report, *(_of_rule(by_rule[one.rule_id]) for one in by_date[last]))


def _of_rule(outcomes: Sequence[RuleOutcome]) -> Indicator:
    last = outcomes[-1]
    dates = tuple(one.business_date for one in outcomes)
    rates = [pass_rate(one) for one in outcomes]
    return _indicator(last.rule_id, last.title, last.severity, dates, rates, last.failed)


def _indicator(  # noqa: PLR0917 - the fields of one
    name: str,
    title: str,
    severity: str,
    dates: tuple[date, ...],
    rates: Sequence[float | None],
    failed: int,
) -> Indicator:
    trend, change = _trend(rates)
    return Indicator(
        name=name,
        title=title,
        severity=severity,
        dates=dates,
        rates=tuple(rates),
        failed=failed,
        trend=trend,
        change=change,
    )


def _trend(
    rates: Sequence[float | None],
) -> tuple[Literal["better", "worse", "steady", "new"], float]:
    """A rule that could not be evaluated let no row pass."""
    known = [rate or 0.0 for rate in rates]
    if len(known) < 2:
        return "new", 0.0
    change = known[-1] - sum(known[:-1]) / (len(known) - 1)
    if abs(change) < STEADY:
        return "steady", change
    return ("better" if change > 0 else "worse"), change
