"""The Airflow skin of the rules over finished files."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.validate.operator import RulesOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from openreg_airflow.records import Artifact, Dataset, RunKey, Verdict
    from openreg_airflow.validate.finished.form import FileForm

log = logging.getLogger(__name__)


class CheckArtifactsOperator(RulesOperator):
    """Reads finished artifacts back and evaluates rules over them, before anything is delivered.

    Args:
        report_id: the report.
        folder: the report's folder, where the rules' SQL files are.
        spec: the ``validate`` section of its spec.
        forms: how the artifacts that rules need were written, by name.
        artifacts: those artifacts, as dumped records.
        tables: the tables of the stage before, as dumped datasets.
        sources: extracted tables that rules read beside them, likewise.
        mappings: the snapshots of mapping sets that rules may use, by name.
        verdict: of the validation before, whose tables, if it has any, are the ones that were
            written; None when there was none.
        notify: who is told when rules fail; that it fails does not change the result.

    Returns (to XCom):
        The dumped :class:`~openreg_airflow.records.Verdict`.

    Raises:
        BlockingRulesError: a blocking rule failed; the verdict is recorded all the same.
        ArtifactError: a file cannot be read back.
    """

    stage: ClassVar[str] = "check"
    template_fields: Sequence[str] = (
        *RulesOperator.template_fields,
        "artifacts",
        "tables",
        "sources",
        "mappings",
        "verdict",
    )

    def __init__(
        self,
        *,
        forms: Mapping[str, FileForm],
        artifacts: Any,
        tables: Any,
        sources: Any = None,
        verdict: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.forms = dict(forms)
        self.artifacts = artifacts
        self.tables = tables
        self.sources = sources or {}
        self.verdict = verdict

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Evaluate the rules; raise when one that blocks failed."""
        from openreg_airflow.records import Artifact, Verdict
        from openreg_airflow.store import Store
        from openreg_airflow.validate import summary

        started = time.perf_counter()
        artifacts = {name: Artifact.model_validate(one) for name, one in self.artifacts.items()}
        before = None if self.verdict is None else Verdict.model_validate(self.verdict)
        verdict = self.evaluate(run, artifacts, before)
        Store(self.settings.store_url).record_verdict(run, verdict, finished=True)
        for line in summary.lines(verdict):
            log.info("%s", line)
        return self.conclude(verdict, run, context, time.perf_counter() - started)

    def evaluate(
        self, run: RunKey, artifacts: Mapping[str, Artifact], before: Verdict | None
    ) -> Verdict:
        """Read the files back and evaluate the rules in a fenced process."""
        from openreg_airflow.records import Dataset, Verdict
        from openreg_airflow.references.guard import sent_tables
        from openreg_airflow.validate.aside import rules_of_resubmission
        from openreg_airflow.validate.fence import Fence
        from openreg_airflow.validate.finished.read_back import read_back
        from openreg_airflow.validate.finished.resubmitted import of_any_records
        from openreg_airflow.validate.finished.spec import ReadBack
        from openreg_airflow.validate.history import HISTORY, looks_back, write_history
        from openreg_airflow.validate.job import Job
        from openreg_airflow.validate.prepare import (
            limits_within,
            mapping_tables,
            read_rules,
            table_files,
        )

        rules = read_rules(self.spec, self.folder, finished=True, records=None)
        if before is not None and before.resubmission:
            rules = of_any_records(rules)
        written = before.tables if before is not None and before.tables else None
        given: dict[str, Dataset] = written or {
            name: Dataset.model_validate(one) for name, one in self.tables.items()
        }
        # Of a correction the file holds only what differs, and is held against that.
        given = given | {
            name: table for one in artifacts.values() for name, table in sent_tables(one).items()
        }
        resubmission = before is not None and before.resubmission > 0
        if resubmission:
            rules = rules_of_resubmission(rules)
        extracted: dict[str, Dataset] = (
            before.sources
            if before is not None and resubmission
            else {name: Dataset.model_validate(one) for name, one in self.sources.items()}
        )
        with ExitStack() as stack:
            scratch = stack.enter_context(self.workspace.scratch_folder()).absolute()
            into = stack.enter_context(self.workspace.scratch_folder()).absolute()
            fence = stack.enter_context(Fence(scratch))
            tables, sources = (
                table_files(these, self.workspace, stack) for these in (given, extracted)
            )
            for name, artifact in artifacts.items():
                reading = self.spec.read_back.get(name, ReadBack())
                tables |= read_back(
                    artifact, self.forms[name], reading, workspace=self.workspace, into=into
                )
            if looks_back(rules):
                file = into / "history.parquet"
                tables[HISTORY] = write_history(file, run, tables, self.settings.store_url)
            folder = self.workspace.folder(run, self.stage)
            with folder.writing("failing_rows.parquet") as pending:
                results = fence.run(
                    Job(
                        rules=rules,
                        tables=tables,
                        sources=sources,
                        mappings=mapping_tables(self.mappings, self.workspace, stack),
                        business_date=run.business_date,
                        limits=limits_within(self.spec.limits, self.settings),
                        failing_rows=self.spec.failing_rows,
                        failures=pending.path.absolute(),
                        scratch=scratch,
                    )
                )
        return Verdict(results=results, failures=pending.ref)
