"""Data quality indicators: how many rows pass each rule, day by day, and where it is heading."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from openreg_airflow.records import Record
from openreg_airflow.validate.pack import shared_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from openreg_airflow.store.history import RuleOutcome
    from openreg_airflow.validate.spec import ValidateSection

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
        checked: rows on the last date; for the report rules.
        error: whether the rule could not be evaluated on the last date.
        at_least: what the rate is to be, in percent.
    """

    name: str
    title: str
    severity: str
    dates: tuple[date, ...]
    rates: tuple[float | None, ...]
    failed: int
    trend: Literal["better", "worse", "steady", "new"]
    change: float
    checked: int
    error: bool = False
    at_least: Decimal | None = None

    @property
    def below(self) -> bool:
        """Whether the last rate is lower than it is to be; compared exactly."""
        if self.at_least is None:
            return False
        if self.error or (self.failed and not self.checked):
            return self.at_least > 0
        passed = self.checked - min(self.failed, self.checked)
        return bool(self.checked) and passed * 100 < self.checked * self.at_least

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


@dataclass(frozen=True)
class Thresholds:
    """What rates are to be, in percent.

    Attributes:
        report: the share of rules that pass.
        rules: the share of rows, by rule.
        others: the same for all other rules.
    """

    report: Decimal | None = None
    rules: Mapping[str, Decimal] = field(default_factory=dict)
    others: Decimal | None = None


def thresholds_of(spec: ValidateSection, folder: Path) -> Thresholds:
    """The thresholds that a report's spec and its packs name.

    Raises:
        PackError: a pack cannot be read.
    """
    shared = {rule_id: rule.spec for rule_id, rule in shared_rules(spec, folder).items()}
    rules = {
        rule_id: rule.quality_at_least
        for rule_id, rule in (shared | spec.rules).items()
        if rule.quality_at_least is not None
    }
    return Thresholds(spec.quality.rules_pass, rules, spec.quality.at_least)


def indicators(
    outcomes: Iterable[RuleOutcome], thresholds: Thresholds = Thresholds()
) -> tuple[Indicator, ...]:
    """The report's indicator, then one for each rule of the last date, in the order of the spec.

    Args:
        outcomes: in the order of their business dates; empty gives nothing.
        thresholds: what the rates are to be.
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
        tuple(by_date),
        [sum(rules) / len(rules) for rules in passed.values()],
        name="",
        title="rules that pass",
        severity="",
        failed=passed[last].count(False),
        checked=len(passed[last]),
        at_least=thresholds.report,
    )
    return (report, *(_of_rule(by_rule[one.rule_id], thresholds) for one in by_date[last]))


def _of_rule(outcomes: Sequence[RuleOutcome], thresholds: Thresholds) -> Indicator:
    last = outcomes[-1]
    return _indicator(
        tuple(one.business_date for one in outcomes),
        [pass_rate(one) for one in outcomes],
        name=last.rule_id,
        title=last.title,
        severity=last.severity,
        failed=last.failed,
        checked=last.checked,
        error=last.error is not None,
        at_least=thresholds.rules.get(last.rule_id, thresholds.others),
    )


def _indicator(dates: tuple[date, ...], rates: Sequence[float | None], **about: Any) -> Indicator:
    trend, change = _trend(rates)
    return Indicator(dates=dates, rates=tuple(rates), trend=trend, change=change, **about)


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
