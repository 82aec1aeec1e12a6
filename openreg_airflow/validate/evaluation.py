"""One rule after the other in one locked DuckDB connection: counted, shown, and set aside.

Rules that only filter a table are evaluated together (:mod:`openreg_airflow.validate.passes`). Any
other rule is first counted, which reads only the columns that its condition needs; only a rule
that failed is asked for its rows.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import duckdb

from openreg_airflow.language.compiler import Condition
from openreg_airflow.records import RuleResult
from openreg_airflow.validate.errant import erring_row
from openreg_airflow.validate.gather import SAMPLES, Gatherer
from openreg_airflow.validate.message import MessageTemplate
from openreg_airflow.validate.passes import Passes
from openreg_airflow.validate.query import FailingRows, RuleFailedError
from openreg_airflow.validate.session import mapping_views, open_session
from openreg_airflow.validate.statement import BUSINESS_DATE, RuleSqlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.exception_queue.reasons import ReasonWriter
    from openreg_airflow.validate.job import Job, Rule
    from openreg_airflow.validate.statement import Statement
    from openreg_airflow.validate.sweep import Sweep

    #: How many rows fail, and the first of them as text by column.
    _Found = tuple[int, Iterator[dict[str, str | None]]]

log = logging.getLogger(__name__)

#: The temporary table of the rows of a rule that groups.
_GROUPS = "openreg_groups"


class Evaluation:
    """One evaluation of a job's rules: its connection, and where their failing rows go.

    Args:
        job: rules, tables and limits.
        gatherer: is given the failing rows of a rule, as many as the job keeps.
        reasons: is told of every row that a correctable rule sets aside; None when nobody asked.
    """

    def __init__(self, job: Job, gatherer: Gatherer, reasons: ReasonWriter | None) -> None:
        self._job = job
        self._gatherer = gatherer
        self._reasons = reasons
        self._tables = frozenset((*job.tables, *mapping_views(job.mappings, job.business_date)))
        self._most = max(job.failing_rows, SAMPLES)
        self._connection = self._open()
        self._passes = Passes(job, self._most)

    def interrupt(self) -> None:
        """Stop the statement that runs now; called by another thread."""
        with suppress(duckdb.ConnectionException):
            self._connection.interrupt()

    @property
    def beside(self) -> int:
        """How many other rules are evaluated in the same pass right now."""
        return self._passes.beside

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def result(self, rule: Rule) -> RuleResult:
        """Evaluate one rule; one that cannot be evaluated has its ``error`` set.

        Raises:
            duckdb.InterruptException: :meth:`interrupt` was called meanwhile.
        """
        started = time.perf_counter()
        try:
            outcome = self._evaluate(rule)
        except RuleSqlError as error:
            place = f" ({error.where})" if error.where else ""
            outcome = _unevaluated(f"{error.message}{place}")
        except RuleFailedError as error:
            outcome = _unevaluated(str(error) + self._erring(rule, error))
            if error.fatal:
                self._reopen()
        shared = self._passes.done(rule.rule_id)
        table = self._job.tables.get(rule.spec.table)
        return RuleResult(
            rule_id=rule.rule_id,
            title=rule.spec.title,
            severity=rule.spec.severity,
            table=rule.spec.table,
            checked=table.rows if table else 0,
            seconds=round(time.perf_counter() - started + shared, 6),
            fields=rule.spec.fields,
            reference=rule.spec.reference,
            phase=rule.spec.phase,
            **_tolerance(rule, outcome, table.rows if table else 0),
            **outcome,
        )

    def _open(self) -> duckdb.DuckDBPyConnection:
        tables = {name: table.path for name, table in self._job.tables.items()}
        day = self._job.business_date
        views = mapping_views(self._job.mappings, day)
        asked = "\n".join(f"{rule.sql}\n{rule.demand or ''}" for rule in self._job.rules)
        return open_session(tables, self._job.limits, self._job.scratch, views, asked)

    def _reopen(self) -> None:
        """Begin again after an error that made the connection useless."""
        self._connection.close()
        self._passes.abandon()
        self._connection = self._open()

    def _evaluate(self, rule: Rule) -> dict[str, Any]:
        """Count a rule's failing rows, and gather the first of them when there are any."""
        if rule.spec.table not in self._tables:
            listed = ", ".join(sorted(self._tables)) or "none"
            message = f"there is no table {rule.spec.table!r} in this run; its tables: {listed}"
            raise RuleFailedError(message)
        if rule.fault is not None:
            raise RuleFailedError(rule.fault)
        statement = self._passes.statement(rule)
        statement.require_tables(self._tables)
        sweep = self._sweep(rule.rule_id)
        query = self._query(statement)
        columns = sweep.shown(rule.rule_id) if sweep is not None else None
        columns = columns or query.columns()
        template = MessageTemplate(rule.spec.message)
        if unknown := template.unknown((*columns, BUSINESS_DATE)):
            message = (
                f"the message shows {', '.join(unknown)}, but the rule returns {', '.join(columns)}"
            )
            raise RuleFailedError(message)
        if sweep is not None:
            if sweep.shown(rule.rule_id) is not None:
                found = sweep.failing(rule.rule_id)
                statement = replace(statement, sql=found, dated=False, ordered=True)
            failed, rows = self._swept(rule.rule_id, sweep, columns, statement)
        else:
            failed, rows = self._alone(query, columns, statement)
        if not failed:
            return {"failed": 0, "message": ""}
        try:
            outcome = self._gatherer.gather(rule, rows, columns, template)
            if rule.spec.severity == "correctable":
                self._set_aside(rule, statement, columns, template)
        except RuleFailedError as error:
            if error.fatal:
                raise
            outcome = _unevaluated(f"its failing rows cannot be shown: {error}")
        return outcome | {"failed": failed}

    def _query(self, statement: Statement) -> FailingRows:
        return FailingRows(self._connection, statement, self._job.business_date)

    def _swept(
        self,
        rule_id: str,
        sweep: Sweep,
        columns: tuple[str, ...],
        statement: Statement,
    ) -> _Found:
        """What a pass with other rules found; the statement gives all failing rows."""
        query = self._query(statement)
        failed = sweep.counts[rule_id]
        if not failed or not sweep.fetched:
            return failed, query.first(columns, self._most)
        if sweep.shown(rule_id) is not None:
            listed = replace(statement, sql=sweep.texts(rule_id), dated=False)
            return failed, self._query(listed).lists(columns)
        try:
            fetched = replace(
                statement,
                sql=sweep.rows(rule_id),
                dated=sweep.shows_date(rule_id),
                ordered=True,
            )
            rows = self._query(fetched).first(columns, self._most)
            first = list(islice(rows, 1))
        except (RuleFailedError, RecursionError) as error:
            if getattr(error, "fatal", False):
                raise
            # What is wrong is told of the SQL as its author wrote it, if it is wrong there too.
            return failed, query.first(columns, self._most)
        return failed, chain(first, rows)

    def _alone(self, query: FailingRows, columns: tuple[str, ...], statement: Statement) -> _Found:
        """What a query of its own finds."""
        if statement.grouped and (once := query.once(columns, _GROUPS)):
            failed, query = once
            return failed, query.first(columns, self._most)
        return query.count(), query.first(columns, self._most)

    def _set_aside(
        self,
        rule: Rule,
        statement: Statement,
        columns: tuple[str, ...],
        template: MessageTemplate,
    ) -> None:
        """Say of every failing row which record it belongs to, and why it is set aside."""
        if self._reasons is None:
            return
        table = self._job.records.get(rule.spec.table)
        if table is None:
            message = f"records: does not say what names a record of {rule.spec.table}"
            raise RuleFailedError(message)
        known = {column.casefold() for column in columns}
        if missing := [name for name in table.naming if name.casefold() not in known]:
            message = f"it returns no column {missing[0]}, which names the record"
            raise RuleFailedError(message)
        dated: dict[str, str | None] = {BUSINESS_DATE: self._job.business_date.isoformat()}
        shows = tuple(name for name in template.names if name.casefold() in known)
        query = FailingRows(self._connection, statement, self._job.business_date)
        for key, values in query.records(table.naming, shows):
            self._reasons.add(
                rule.spec.table,
                rule.rule_id,
                template.format(dated | values),
                key=key,
                reference=rule.spec.reference,
            )

    def _erring(self, rule: Rule, error: RuleFailedError) -> str:
        """At which row a condition failed, as far as that can be told."""
        if error.fatal or rule.demand is None:
            return ""
        dated = self._passes.statement(rule).dated
        try:
            place = erring_row(
                self._connection,
                Condition(rule.demand, rule.reads),
                rule.spec.table,
                self._job.tables[rule.spec.table].rows,
                {BUSINESS_DATE: self._job.business_date} if dated else {},
            )
        except duckdb.InterruptException:
            raise
        except duckdb.Error as failure:
            log.warning("Where rule %s failed is not known: %s", rule.rule_id, failure)
            if isinstance(failure, duckdb.FatalException | duckdb.InternalException):
                self._reopen()
            return ""
        return f"; first at {place}" if place else ""

    def _sweep(self, rule_id: str) -> Sweep | None:
        """The pass that the rule shares with others, if it does."""
        try:
            return self._passes.sweep(rule_id, self._connection)
        except (duckdb.FatalException, duckdb.InternalException):
            self._reopen()
            return None


def _tolerance(rule: Rule, outcome: dict[str, Any], checked: int) -> dict[str, Any]:
    """What the rule puts up with; rows that could not be shown are not put up with."""
    threshold = rule.spec.at_most
    if threshold is None:
        return {}
    failed = outcome["failed"]
    tolerated = failed > 0 and not outcome.get("error") and threshold.allows(failed, checked)
    return {"at_most": str(threshold), "tolerated": tolerated}


def _unevaluated(text: str) -> dict[str, Any]:
    return {"failed": 0, "message": text, "error": text}
