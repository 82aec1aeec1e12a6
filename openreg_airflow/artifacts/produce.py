"""Makes one artifact of a run: the engine behind the operator, which knows no Airflow."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from openreg_airflow.artifacts import filename
from openreg_airflow.artifacts.writer import Job, writer
from openreg_airflow.errors import ArtifactError, BlockingRulesError
from openreg_airflow.records import Artifact, ArtifactFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.spec import ArtifactBase
    from openreg_airflow.records import Dataset, RunKey, Verdict
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)


def refuse_blocked(verdict: Verdict) -> None:
    """Make sure that nothing is written for a run whose blocking rules failed.

    Raises:
        BlockingRulesError: at least one blocking rule failed.
    """
    if failed := verdict.blocking:
        rules = ", ".join(f"{result.rule_id} ({result.failed} rows)" for result in failed)
        message = f"blocking rules failed: {rules}"
        raise BlockingRulesError(message, hint="Mend the data and run the report again.")


def produce(
    *,
    name: str,
    spec: ArtifactBase,
    folder: Path,
    run: RunKey,
    tables: Mapping[str, Dataset],
    workspace: Workspace,
    schema_folders: tuple[Path, ...] = (),
) -> Artifact:
    """Write, check and publish one artifact.

    Args:
        name: the artifact's name in the spec.
        spec: its section.
        folder: the report's folder.
        run: the run that it belongs to.
        tables: all tables of the run.
        workspace: where the tables are and the artifact goes.
        schema_folders: where schema files of authorities are looked for.

    Raises:
        ArtifactError: a table is missing or empty, a value cannot be written, or the finished
            file is invalid. Nothing is published then.
    """
    begun = time.monotonic()
    form: str = spec.format  # type: ignore[attr-defined]
    writes = writer(form)
    with ExitStack() as stack:
        local: dict[str, Path] = {}
        for table in sorted(writes.tables(spec, folder) | {spec.table}):
            local[table] = stack.enter_context(workspace.open_local(_dataset(table, tables, name)))
        rows = {table: tables[table].rows for table in local}
        if rows[spec.table] == 0 and spec.when_empty == "fail":
            message = f"table {spec.table} has no rows, so there is nothing to report"
            hint = "If an empty file is right, set when_empty: write."
            raise ArtifactError(message, where=f"artifact {name}", hint=hint)
        job = Job(
            artifact=name,
            spec=spec,
            filename=filename.render(spec.filename, run, name),
            folder=folder,
            run=run,
            tables=local,
            rows=rows,
            schema_folders=schema_folders,
        )
        log.info("writing %s from %d records of %s", job.filename, rows[spec.table], spec.table)
        part = workspace.folder(run, "artifact", name)
        with part.writing(job.filename) as pending:
            schema_check = writes.write(job, pending.path)
        ref = pending.ref
    log.info(
        "%s: %d records, %d bytes, SHA-256 %s, schema check: %s, %.1f s",
        job.filename,
        rows[spec.table],
        ref.bytes,
        ref.sha256,
        schema_check,
        time.monotonic() - begun,
    )
    file = ArtifactFile(**dict(ref), filename=job.filename, records=rows[spec.table])
    return Artifact(
        name=name,
        format=form,
        records=rows[spec.table],
        schema_check=schema_check,
        files=(file,),
    )


def _dataset(table: str, tables: Mapping[str, Dataset], artifact: str) -> Dataset:
    if table in tables:
        return tables[table]
    message = f"there is no table {table}"
    raise ArtifactError(
        message,
        where=f"artifact {artifact}",
        hint=f"The tables of this run are {', '.join(sorted(tables)) or 'none'}.",
    )
