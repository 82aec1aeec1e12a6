"""The Airflow skin of validation."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow.sdk import Context

    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.notify.spec import NotifySection
    from openreg_airflow.records import Dataset, RunKey, Verdict
    from openreg_airflow.validate.spec import ValidateSection

log = logging.getLogger(__name__)


class RulesOperator(StageOperator):
    """What all tasks have that evaluate rules, in whichever phase.

    Args:
        report_id: the report.
        folder: the report's folder, where the rules' SQL files are.
        spec: the ``validate`` section of its spec.
        mappings: the snapshots of mapping sets by name, as dumped records.
        notify: who is told when rules fail; that it fails does not change the result.
    """

    def __init__(
        self,
        *,
        folder: Path,
        spec: ValidateSection,
        mappings: Any = None,
        notify: NotifySection | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.spec = spec
        self.mappings = mappings or {}
        self.notify = notify

    def conclude(
        self, verdict: Verdict, run: RunKey, context: Context, seconds: float
    ) -> dict[str, Any]:
        """Say how the rules ended, to the log and to who is notified.

        Args:
            verdict: is in the store by now.
            run: the run.
            context: of the task.
            seconds: how long it took.

        Returns:
            The dumped verdict.

        Raises:
            BlockingRulesError: a blocking rule failed.
        """
        from openreg_airflow.validate import summary

        wrong = verdict.blocking or verdict.warnings
        level = logging.WARNING if wrong else logging.INFO
        log.log(level, "%s in %.1f s.", summary.count(verdict), seconds)
        if standing := self.standing(run):
            log.info("The run is %s.", standing)
        if self.notify is not None:
            from openreg_airflow.notify.send import tell

            tell(self.notify, run, verdict, context, standing)
        if verdict.blocking:
            raise summary.blocking_error(verdict)
        return verdict.model_dump(mode="json")


class ValidateOperator(RulesOperator):
    """Evaluates a report's rules over its tables and records the verdict in the store.

    Args:
        report_id: the report.
        folder: the report's folder, where the rules' SQL files are.
        spec: the ``validate`` section of its spec.
        tables: the tables of the stage before, by name, as dumped datasets.
        sources: extracted tables that rules read beside them, likewise.
        mappings: the snapshots of mapping sets by name, likewise.
        records: the report's tables of records, for correctable rules.
        resubmission: what a resubmission begins with; nothing in a run that reads the source.
        notify: who is told when rules fail; that it fails does not change the result.

    Returns (to XCom):
        The dumped :class:`~openreg_airflow.records.Verdict`.

    Raises:
        BlockingRulesError: a blocking rule failed; the verdict is recorded all the same.
    """

    stage: ClassVar[str] = "validate"
    template_fields: Sequence[str] = (
        *StageOperator.template_fields,
        "tables",
        "sources",
        "mappings",
        "resubmission",
    )

    def __init__(
        self,
        *,
        tables: Any,
        sources: Any = None,
        records: Mapping[str, RecordTable] | None = None,
        resubmission: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tables = tables
        self.sources = sources or {}
        self.records = dict(records or {})
        self.resubmission = resubmission

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Evaluate the rules; raise when one that blocks failed."""
        from openreg_airflow.records import Dataset
        from openreg_airflow.store import Store
        from openreg_airflow.validate import summary
        from openreg_airflow.validate.aside import without_set_aside

        started = time.perf_counter()
        given = self.resubmission or {"tables": self.tables, "sources": self.sources, "number": 0}
        tables, sources = (
            {name: Dataset.model_validate(table) for name, table in given[kind].items()}
            for kind in ("tables", "sources")
        )
        with self.workspace.scratch_folder() as folder:
            reasons = folder.absolute() / "reasons.parquet"
            verdict = self.verdict(run, tables, sources, reasons)
            Store(self.settings.store_url).record_verdict(run, verdict)
            if self.records:
                verdict = without_set_aside(
                    verdict,
                    run,
                    records=self.records,
                    tables=tables,
                    sources=sources,
                    reasons=reasons,
                    workspace=self.workspace,
                    store_url=self.settings.store_url,
                )
        for line in summary.lines(verdict):
            log.info("%s", line)
        for line in self.counts(run):
            log.info("%s", line)
        return self.conclude(verdict, run, context, time.perf_counter() - started)

    def counts(self, run: RunKey) -> tuple[str, ...]:
        """How the records of the date reconcile at this moment, a line a table."""
        from openreg_airflow.exception_queue.balance import balances

        if not self.records:
            return ()
        found = balances(self.settings.store_url, run.report_id, run.business_date)
        return tuple(balance.line() for balance in found)

    def verdict(
        self,
        run: RunKey,
        tables: Mapping[str, Dataset],
        sources: Mapping[str, Dataset],
        reasons: Path,
    ) -> Verdict:
        """Evaluate the rules in a fenced process, with the failing rows in the workspace."""
        from openreg_airflow.records import Verdict
        from openreg_airflow.validate.aside import rules_of_resubmission
        from openreg_airflow.validate.fence import Fence
        from openreg_airflow.validate.history import HISTORY, looks_back, write_history
        from openreg_airflow.validate.job import Job
        from openreg_airflow.validate.prepare import (
            limits_within,
            mapping_tables,
            read_rules,
            table_files,
        )

        number = int(self.resubmission["number"]) if self.resubmission else 0
        folder = self.workspace.folder(run, self.stage)
        with ExitStack() as stack:
            scratch = stack.enter_context(self.workspace.scratch_folder()).absolute()
            fence = stack.enter_context(Fence(scratch))
            rules = read_rules(self.spec, self.folder, self.records)
            if number:
                rules = rules_of_resubmission(rules)
            if not rules:
                return Verdict(results=(), resubmission=number)
            opened, extracted = (
                table_files(these, self.workspace, stack) for these in (tables, sources)
            )
            if looks_back(rules):
                file = scratch / "history.parquet"
                opened[HISTORY] = write_history(file, run, opened, self.settings.store_url)
            with folder.writing("failing_rows.parquet") as pending:
                results = fence.run(
                    Job(
                        rules=rules,
                        tables=opened,
                        sources=extracted,
                        mappings=mapping_tables(self.mappings, self.workspace, stack),
                        business_date=run.business_date,
                        limits=limits_within(self.spec.limits, self.settings),
                        failing_rows=self.spec.failing_rows,
                        failures=pending.path.absolute(),
                        scratch=scratch,
                        records=self.records,
                        reasons=reasons if self.records else None,
                    )
                )
        return Verdict(results=results, failures=pending.ref, resubmission=number)
