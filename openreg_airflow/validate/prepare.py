"""Makes a spec's rules ready to run: SQL read and checked, limits within the installation's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SpecError
from openreg_airflow.validate.check import check, read_sql
from openreg_airflow.validate.job import MappingTable, Rule, TableFile
from openreg_airflow.validate.pack import shared_rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import Dataset
    from openreg_airflow.settings import Settings
    from openreg_airflow.validate.spec import ValidateLimits, ValidateSection
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)


def read_rules(
    spec: ValidateSection,
    folder: Path,
    records: Mapping[str, RecordTable] | None = None,
    *,
    finished: bool = False,
) -> tuple[Rule, ...]:
    """The rules with their SQL.

    Args:
        spec: the section.
        folder: the report's folder.
        records: the report's tables of records.
        finished: give the rules of the phase ``artifact``, and otherwise all others.

    Raises:
        SpecError: a file is missing or a statement is refused; nothing has run then.
    """
    problems = list(check(spec, folder, examples=False, records=records))
    if problems:
        first = problems[0]
        message = first.message
        if len(problems) > 1:
            message += f" (and {len(problems) - 1} faults more)"
        where = None
        if first.file is not None:
            where = f"{first.file}, line {first.line or 1}, column {first.column or 1}"
        raise SpecError(message, hint=first.hint, where=where)
    shared = {rule_id: rule.spec for rule_id, rule in shared_rules(spec, folder).items()}
    return tuple(
        Rule(rule_id=rule_id, spec=rule, sql=read_sql(rule, folder))
        for rule_id, rule in (shared | spec.rules).items()
        if (rule.phase == "artifact") == finished
    )


def limits_within(limits: ValidateLimits, settings: Settings) -> ValidateLimits:
    """The spec's limits, lowered to the installation's maxima; the log says what was lowered."""
    maxima = {
        "memory_mb": settings.max_memory_mb,
        "threads": max(1, int(settings.max_cpus)),
        "seconds": settings.max_seconds,
    }
    lowered = {name: most for name, most in maxima.items() if getattr(limits, name) > most}
    for name, most in lowered.items():
        log.warning(
            "validate.limits.%s is %s; the installation's maximum of %s holds.",
            name,
            getattr(limits, name),
            most,
        )
    return limits.model_copy(update=lowered)


def table_files(
    tables: Mapping[str, Dataset], workspace: Workspace, files: ExitStack
) -> dict[str, TableFile]:
    """Tables of a run as local files.

    Args:
        tables: by name.
        workspace: where they are.
        files: keeps the files until it is closed.
    """
    return {
        name: TableFile(
            path=files.enter_context(workspace.open_local(table)).absolute(), rows=table.rows
        )
        for name, table in tables.items()
    }


def mapping_tables(
    snapshots: Mapping[str, Any], workspace: Workspace, files: ExitStack
) -> dict[str, MappingTable]:
    """The mapping sets of a run as local files.

    Args:
        snapshots: dumped :class:`~openreg_airflow.mapping_records.MappingSnapshot` records by name.
        workspace: where their files are.
        files: keeps the files until it is closed.
    """
    from openreg_airflow.mapping_records import MappingSnapshot

    found = {name: MappingSnapshot.model_validate(one) for name, one in snapshots.items()}
    return {
        name: MappingTable(
            path=files.enter_context(workspace.open_local(one)).absolute(),
            keys=one.keys,
            values=one.values,
        )
        for name, one in found.items()
    }
