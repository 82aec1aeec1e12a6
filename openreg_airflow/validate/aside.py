"""How a run goes on after its rules: without the records that correctable rules set aside."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openreg_airflow.exception_queue import claims, resubmission
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.set_aside import set_aside
from openreg_airflow.store.actor import Actor
from openreg_airflow.validate.history import looks_back

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import Dataset, RunKey, Verdict
    from openreg_airflow.validate.job import Rule
    from openreg_airflow.workspace import Workspace

STAGE = "validate"

log = logging.getLogger(__name__)


def without_set_aside(
    verdict: Verdict,
    run: RunKey,
    *,
    records: Mapping[str, RecordTable],
    tables: Mapping[str, Dataset],
    sources: Mapping[str, Dataset],
    reasons: Path,
    workspace: Workspace,
    store_url: str,
) -> Verdict:
    """Set the records aside that correctable rules found, unless a rule blocks.

    In a resubmission they go back to the queue; when a rule blocks it, all its records do.

    Args:
        verdict: of the rules; ``resubmission`` says which kind of run it is.
        run: the run.
        records: the report's section ``records``.
        tables: the tables that the rules saw.
        sources: extracted tables that rules read beside them.
        reasons: what the rules said of the rows; it may be missing when there are no rules.
        workspace: where the tables are.
        store_url: the product's own database.

    Returns:
        The verdict with the tables that artifacts are made of.
    """
    if verdict.blocking:
        if verdict.resubmission:
            actor = Actor.of_task(run.report_id, run.run_id)
            back = claims.give_back(store_url, run, actor, "a blocking rule failed")
            log.warning("%d records went back to the exception queue.", back)
        return verdict
    if not reasons.exists():
        with ReasonWriter(reasons):
            pass
    if verdict.resubmission:
        done = resubmission.go_on(
            run=run,
            stage=STAGE,
            records=records,
            tables=tables,
            reasons=reasons,
            workspace=workspace,
            store_url=store_url,
        )
    else:
        done = set_aside(
            run=run,
            stage=STAGE,
            origin="rule",
            records=records,
            tables=tables,
            sources=sources,
            reasons=reasons,
            workspace=workspace,
            store_url=store_url,
        )
    sources_too = dict(sources) if verdict.resubmission else {}
    return verdict.model_copy(
        update={"tables": done.tables, "sources": sources_too, "set_aside": done.counts}
    )


def rules_of_resubmission(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules that hold for a few records, which are no whole table.

    A control total is not theirs, nor what the days before had, and a share of a handful of rows
    says nothing.
    """
    kept = []
    for rule in rules:
        if rule.spec.of_whole_table or looks_back((rule,)):
            log.info("Rule %s is about the whole table and left out here.", rule.rule_id)
        elif rule.spec.severity == "correctable":
            spec = rule.spec.model_copy(update={"at_most": None})
            kept.append(rule.model_copy(update={"spec": spec}))
        else:
            kept.append(rule)
    return tuple(kept)
