"""Which tables a rule sees: those that were extracted, or those that the transform made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openreg_airflow.validate.job import Job
    from openreg_airflow.validate.spec import ValidateSection


def by_phase(job: Job) -> dict[str, Job]:
    """A job for each phase that has rules.

    Rules of the source phase see the extracted tables. The others see the report's tables, and
    beside them the extracted ones that have another name.
    """
    tables = {"source": job.sources, "transformed": job.sources | job.tables}
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
