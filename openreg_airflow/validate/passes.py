"""Which rules of a job share a pass, and the passes as they are needed."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb

from openreg_airflow.validate.joined import DatedSets
from openreg_airflow.validate.row_filter import Filter, as_filter
from openreg_airflow.validate.statement import BUSINESS_DATE, RuleSqlError, parse
from openreg_airflow.validate.sweep import Sweep, groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openreg_airflow.validate.job import Job, Rule
    from openreg_airflow.validate.statement import Statement

log = logging.getLogger(__name__)


class Passes:
    """The shared passes of a job: each is made when the first of its rules is evaluated.

    Args:
        job: the rules and tables.
        most: most failing rows that will be asked of one rule.
    """

    def __init__(self, job: Job, most: int) -> None:
        self._job = job
        self._most = most
        self._statements = dict(_statements(job))
        self._groups = {
            rule_id: group
            for group in groups(dict(_filters(job, self._statements)))
            for rule_id in group
        }
        self._sets = DatedSets()
        self._sweeps: dict[str, Sweep] = {}
        self._seconds: dict[str, float] = {}
        self._waited = 0.0
        self._made = 0
        #: Rules beside the asked one in the pass that runs now.
        self.beside = 0

    def statement(self, rule: Rule) -> Statement:
        """The rule's SQL, parsed once.

        Raises:
            RuleSqlError: it is refused.
        """
        return self._statements.get(rule.rule_id) or parse(rule.sql)

    def sweep(self, rule_id: str, connection: duckdb.DuckDBPyConnection) -> Sweep | None:
        """What the pass with this rule found; None when the rule must be evaluated alone.

        Raises:
            duckdb.InterruptException: the connection was interrupted; ``beside`` is kept then.
            duckdb.FatalException, duckdb.InternalException: the connection is of no use any more.
        """
        group = self._groups.get(rule_id)
        if group is not None:
            started = time.perf_counter()
            self._make(group, connection)
            self._waited = time.perf_counter() - started
            self.beside = 0
        return self._sweeps.get(rule_id)

    def done(self, rule_id: str) -> float:
        """Say that a rule needs its pass no more.

        Returns:
            The rule's share of its pass in seconds, less what it waited for the pass itself.
        """
        sweep = self._sweeps.pop(rule_id, None)
        if sweep is not None and not any(sweep is other for other in self._sweeps.values()):
            sweep.close()
        waited, self._waited = self._waited, 0.0
        return self._seconds.pop(rule_id, 0.0) - waited

    def abandon(self) -> None:
        """Forget all passes: their connection is gone. Rules are evaluated alone from now on."""
        self._groups.clear()
        self._sweeps.clear()
        self._seconds.clear()

    def _make(self, group: Mapping[str, Filter], connection: duckdb.DuckDBPyConnection) -> None:
        """Sweep a group; when that fails, its halves, until the rule that fails is alone."""
        for rule_id in group:
            self._groups.pop(rule_id, None)
        self._made += 1
        self.beside = len(group) - 1
        first = next(iter(group.values()))
        started = time.perf_counter()
        try:
            sweep = Sweep(
                connection,
                self._made,
                file=self._job.tables[first.table].path,
                filters=group,
                parameters={BUSINESS_DATE: self._job.business_date},
                most=self._most,
                sets=self._sets,
            )
        except (duckdb.InterruptException, duckdb.FatalException, duckdb.InternalException):
            raise
        except (duckdb.Error, MemoryError) as error:
            log.debug("A pass over %d rules failed: %s", len(group), error)
            if len(group) > 1:
                rules = list(group.items())
                middle = len(rules) // 2
                self._make(dict(rules[:middle]), connection)
                self._make(dict(rules[middle:]), connection)
            return
        share = (time.perf_counter() - started) / len(group)
        for rule_id in group:
            self._sweeps[rule_id] = sweep
            self._seconds[rule_id] = share


def _statements(job: Job) -> Iterator[tuple[str, Statement]]:
    """The statements that can be parsed; the others are told of when their turn comes."""
    for rule in job.rules:
        with suppress(RuleSqlError):
            yield rule.rule_id, parse(rule.sql)


def _filters(job: Job, statements: Mapping[str, Statement]) -> Iterator[tuple[str, Filter]]:
    """The rules that only filter a table of the job."""
    looking = {rule.rule_id: rule for rule in job.rules if rule.look_ups}
    for rule_id, statement in statements.items():
        one, rule = None, looking.get(rule_id)
        # What could just be read may be nested too deeply to be put together again.
        with suppress(RecursionError, RuleSqlError):
            tree = parse(rule.joined).tree if rule is not None else statement.tree
            one = as_filter(tree) if statement.tables else None
        if one is None or one.table not in job.tables:
            continue
        if rule is not None:
            one = replace(one, look_ups=rule.look_ups, dated=statement.dated)
        yield rule_id, one
