"""Evaluates the rules of a stage over Parquet files, phase by phase and no longer than allowed.

:mod:`openreg_airflow.validate.evaluation` evaluates one rule after the other;
:mod:`openreg_airflow.validate.fence` runs all of it in a process of its own with hard limits.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import duckdb

from openreg_airflow.errors import RuleLimitError
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.validate.evaluation import Evaluation
from openreg_airflow.validate.failures import FailureWriter
from openreg_airflow.validate.gather import Gatherer
from openreg_airflow.validate.phases import by_phase
from openreg_airflow.validate.written import written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from openreg_airflow.records import RuleResult
    from openreg_airflow.validate.job import Job, Rule


def run_rules(
    job: Job, starting: Callable[[str], object] = lambda _: None
) -> tuple[RuleResult, ...]:
    """Evaluate the rules and write their failing rows to ``job.failures``.

    A rule that cannot be evaluated (an unknown column, a division by zero, too little memory) has
    its ``error`` set and counts as failed; the other rules run all the same.

    Args:
        job: rules, tables and limits.
        starting: called with the id of each rule before it runs.

    Returns:
        One result a rule, in the order of the job.

    Raises:
        RuleLimitError: the time limit of the stage was reached.
        StorageError: a file cannot be read, or a temporary file cannot be written.
    """
    deadline = time.monotonic() + job.limits.seconds
    results: dict[str, Iterator[RuleResult]] = {}
    with FailureWriter(job.failures) as failures, _reasons(job) as reasons:
        for phase, part in by_phase(job).items():
            results[phase] = iter(
                _run_phase(written(part), (failures, reasons), deadline, starting)
            )
    return tuple(next(results[rule.spec.phase]) for rule in job.rules)


def _run_phase(
    job: Job,
    into: tuple[FailureWriter, ReasonWriter | None],
    deadline: float,
    starting: Callable[[str], object],
) -> list[RuleResult]:
    """Evaluate the rules that see the same tables."""
    failures, reasons = into
    run = Evaluation(job, Gatherer(failures, job.failing_rows, job.business_date), reasons)
    results: list[RuleResult] = []
    try:
        with _interrupting(run.interrupt, deadline):
            for rule in job.rules:
                starting(rule.rule_id)
                if time.monotonic() >= deadline:
                    raise _too_late(job, rule)
                try:
                    results.append(run.result(rule))
                except duckdb.InterruptException as error:
                    raise _too_late(job, rule, run.beside) from error
    finally:
        run.close()
    return results


def _reasons(job: Job) -> AbstractContextManager[ReasonWriter | None]:
    """Where correctable rules say which rows they set aside; nowhere when nobody asked."""
    return nullcontext() if job.reasons is None else ReasonWriter(job.reasons)


def _too_late(job: Job, rule: Rule, beside: int = 0) -> RuleLimitError:
    ids = [other.rule_id for other in job.rules]
    left = len(ids) - ids.index(rule.rule_id)
    others = f" and {beside} others that are evaluated with it" if beside else ""
    message = (
        f"the rules were stopped after {job.limits.seconds} s at rule {rule.rule_id}{others}; "
        f"{left} of {len(ids)} rules were not evaluated"
    )
    return RuleLimitError(message, hint="Make the rule cheaper, or raise validate.limits.seconds.")


@contextmanager
def _interrupting(interrupt: Callable[[], None], deadline: float) -> Iterator[None]:
    """Interrupt whatever runs inside the block from the deadline on.

    An interrupt that comes between two statements is lost, so it is repeated until the block ends.
    """
    done = threading.Event()

    def watch() -> None:
        wait = deadline - time.monotonic()
        while not done.wait(max(wait, 0.05)):
            interrupt()
            wait = 0

    watcher = threading.Thread(target=watch, name="rules-deadline", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
