"""Which rules over finished files hold for a resubmission, whose file has only a few records."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openreg_airflow.validate.history import looks_back

if TYPE_CHECKING:
    from openreg_airflow.validate.job import Rule

log = logging.getLogger(__name__)


def of_any_records(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules without those that expect the records of a whole business date."""
    kept = tuple(rule for rule in rules if not _of_whole_day(rule))
    for rule in rules:
        if rule not in kept:
            log.info("Rule %s is about a whole business date and left out here.", rule.rule_id)
    return kept


def _of_whole_day(rule: Rule) -> bool:
    """Whether it compares with a fixed number, or with other days, and not with the report."""
    spec = rule.spec
    if spec.control_total is not None and spec.control_total.equals is not None:
        return True
    count = spec.row_count
    if count is not None and (count.min is not None or count.max is not None):
        return True
    return spec.complete_days is not None or looks_back((rule,))
