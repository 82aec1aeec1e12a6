"""Validation outside Airflow: the tables that a run left in the workspace, or files given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import SpecError
from openreg_airflow.exception_queue.aside_rows import AsideRows
from openreg_airflow.exception_queue.parting import Parting
from openreg_airflow.records import RunKey, Verdict
from openreg_airflow.validate.fence import run_fenced
from openreg_airflow.validate.history import HISTORY, looks_back, write_history
from openreg_airflow.validate.job import Job, MappingTable, TableFile
from openreg_airflow.validate.prepare import limits_within, read_rules
from openreg_airflow.workspace import describe, run_slug

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.mapping_records import MappingSnapshot
    from openreg_airflow.settings import Settings
    from openreg_airflow.validate.spec import ValidateSection

#: Where a stage leaves its tables below the folder of a run.
_TABLES = {"extract": "extract/*/*.parquet", "transform": "transform/*.parquet"}


def find_run(
    workspace: Path, report_id: str, business_date: date, stage: str, run: str | None = None
) -> Path:
    """The folder of a run that has tables.

    Args:
        workspace: root of the workspace.
        report_id: the report.
        business_date: the reported day.
        stage: ``extract`` or ``transform``, whichever makes the tables of the report's rules.
        run: a run id, or the name of its folder; the run with the newest tables when None.

    Raises:
        SpecError: there is no such run.
    """
    day = workspace / report_id / business_date.isoformat()
    runs = {}
    for folder in day.iterdir() if day.is_dir() else ():
        if tables := [file.stat().st_mtime_ns for file in folder.glob(_TABLES[stage])]:
            runs[folder.name] = max(tables)
    if run is None and runs:
        return day / max(runs, key=lambda name: (runs[name], name))
    for name in (run, run_slug(run)) if run is not None else ():
        if name in runs:
            return day / name
    what = f"run {run!r} of {report_id}" if run else f"run of {report_id}"
    message = f"there is no {what} on {business_date} with tables of its {stage} stage in {day}"
    known = f"There are: {', '.join(sorted(runs))}." if runs else "Give the tables with --table."
    raise SpecError(message, hint=known)


def tables_of(run: Path, stage: str) -> dict[str, Path]:
    """The tables that a stage of a run left, by name."""
    return {file.stem: file for file in sorted(run.glob(_TABLES[stage]))}


def mapped_tables(run: Path, stage: str) -> dict[str, Path]:
    """The tables that a stage of a run left, as the map steps after it have filled them."""
    tables = tables_of(run, stage)
    filled = ["map/map/*.parquet", "map/*.parquet"]
    for pattern in filled if stage == "transform" else ["map/map_sources/*.parquet", *filled]:
        tables |= {file.stem: file for file in sorted(run.glob(pattern))}
    return tables


def validate(
    spec: ValidateSection,
    folder: Path,
    tables: Mapping[str, Path],
    business_date: date,
    *,
    settings: Settings,
    scratch: Path,
    failures: Path,
    sources: Mapping[str, Path] | None = None,
    records: Mapping[str, RecordTable] | None = None,
    mappings: Mapping[str, MappingSnapshot] | None = None,
) -> Verdict:
    """Evaluate a report's rules over Parquet files; nothing is recorded.

    Args:
        spec: the report's ``validate`` section.
        folder: the report's folder.
        tables: Parquet files by table name.
        business_date: the value of ``$business_date``.
        settings: for the installation's upper bounds.
        scratch: a private folder for temporary files.
        failures: where the failing rows are written as Parquet.
        sources: Parquet files of extracted tables that rules read, by name.
        mappings: snapshots of the mapping sets that rules read, in local files.
        records: the report's tables of records; the verdict says how many would be set aside.

    Raises:
        SpecError: a rule, or a file that a rule names, is wrong, or a table is not Parquet.
        RuleLimitError: the time limit was reached.
        RuleEngineError: the process that evaluates the rules died.
    """
    rules = read_rules(spec, folder, records)
    if not rules:
        return Verdict(results=())
    given = {name: _table(name, file) for name, file in tables.items()}
    if looks_back(rules):
        run = RunKey(report_id=folder.resolve().name, business_date=business_date, run_id="")
        file = scratch.absolute() / "history.parquet"
        given[HISTORY] = write_history(file, run, given, settings.store_url)
    results = run_fenced(
        Job(
            rules=rules,
            tables=given,
            sources={name: _table(name, file) for name, file in (sources or {}).items()},
            mappings={
                name: MappingTable(path=Path(one.uri).absolute(), keys=one.keys, values=one.values)
                for name, one in (mappings or {}).items()
            },
            business_date=business_date,
            limits=limits_within(spec.limits, settings),
            failing_rows=spec.failing_rows,
            failures=failures.absolute(),
            scratch=scratch.absolute(),
            records=records or {},
            reasons=scratch.absolute() / "reasons.parquet" if records else None,
        )
    )
    verdict = Verdict(results=results, failures=describe(failures))
    if not records or verdict.blocking:
        return verdict
    reasons = scratch.absolute() / "reasons.parquet"
    with Parting(AsideRows(records, tables, reasons, scratch.absolute())) as parting:
        aside = {name: parting.aside(name) for name in parting.roots if parting.aside(name)}
    return verdict.model_copy(update={"set_aside": aside})


def _table(name: str, file: Path) -> TableFile:
    try:
        rows = pq.read_metadata(file).num_rows
    except (OSError, pa.ArrowException) as error:
        message = f"table {name} cannot be read: {error}"
        raise SpecError(message, hint="A table is a Parquet file.") from error
    return TableFile(path=file.absolute(), rows=rows)
