"""Which tables a rule sees: those that were extracted, or those that the transform made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openreg_airflow.validate.job import Job
    from openreg_airflow.validate.spec import RuleSpec, ValidateSection


def by_phase(job: Job) -> dict[str, Job]:
    """A job for each phase that has rules.

    Rules of the source phase see the extracted tables. The others see the report's tables, and
    beside them the extracted ones that have another name. To a job of rules of the artifact phase
    the tables that were read back are tables of the report.
    """
    tables = {
        "source": job.sources,
        "transformed": job.sources | job.tables,
        "artifact": job.sources | job.tables,
    }
    phases = dict.fromkeys(rule.spec.phase for rule in job.rules)
    return {
        phase: job.model_copy(
            update={
                "rules": tuple(rule for rule in job.rules if rule.spec.phase == phase),
                "tables": tables[phase],
            }
        )
        for phase in phases
    }


def needed_sources(spec: ValidateSection) -> tuple[str, ...]:
    """The sources that rules read: those that the section lists, and those of its own rules."""
    named = (rule.table for rule in spec.rules.values() if rule.phase == "source")
    return tuple(dict.fromkeys((*spec.sources, *named)))


def of_artifacts(spec: ValidateSection) -> dict[str, RuleSpec]:
    """The rules that speak of finished files; they stand in the report itself."""
    return {rule_id: rule for rule_id, rule in spec.rules.items() if rule.phase == "artifact"}


def read_artifacts(spec: ValidateSection, artifacts: Iterable[str]) -> tuple[str, ...]:
    """The artifacts that rules need read back."""
    tables = {rule.table for rule in of_artifacts(spec).values()}
    return tuple(
        name
        for name in artifacts
        if name in spec.read_back or tables & {f"{name}_records", f"{name}_files"}
    )
