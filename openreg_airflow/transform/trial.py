"""One run of a report's script on a sample of real input, outside Airflow's scheduling."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import SpecError, StorageError
from openreg_airflow.records import RunKey
from openreg_airflow.transform.execution import execute
from openreg_airflow.transform.job import Job, MappingFile, read_script
from openreg_airflow.transform.limits import check_bounds
from openreg_airflow.transform.packages import check_allowed
from openreg_airflow.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from dag_factory.report import ReportSpec
    from openreg_airflow.mapping_records import MappingSnapshot
    from openreg_airflow.records import Dataset
    from openreg_airflow.settings import Settings
    from openreg_airflow.transform.spec import TransformSection

log = logging.getLogger(__name__)

RUN_ID = "trial"
_BATCH = 10_000


@dataclass(frozen=True)
class Trial:
    """What came of a trial.

    Attributes:
        tables: what the script made, by name.
        seconds: wall time of the sandbox, from its start to checked tables.
    """

    tables: dict[str, Dataset]
    seconds: float


def script_of(spec: ReportSpec, folder: Path, settings: Settings) -> tuple[TransformSection, str]:
    """The section and the script of a report, before anything is read for them.

    Raises:
        SpecError: the report has no script, or asks for more than it may.
    """
    if spec.transform is None:
        message = f"report {spec.id} has no transform section"
        raise SpecError(message, hint="Its sources go on as they are; there is nothing to try.")
    check_bounds(spec.transform.limits, settings)
    check_allowed(spec.transform.packages, settings.sandbox_packages)
    return spec.transform, read_script(spec.transform, folder)


def extract(spec: ReportSpec, folder: Path, business_date: date, into: Path) -> dict[str, Path]:
    """Extract every source of a report anew, through its Airflow connection.

    Args:
        spec: the report.
        folder: its folder.
        business_date: the day.
        into: where the Parquet files go.

    Raises:
        OpenRegError: a source cannot be extracted.
    """
    from openreg_airflow import settings
    from openreg_airflow.extract.sources import extraction

    folders = settings.load().source_folders
    paths = {}
    for name, source in spec.extract.sources.items():
        paths[name] = into / f"{name}.parquet"
        extraction(source, folder, business_date, source_folders=folders).run(paths[name])
    return paths


def sampled(paths: Mapping[str, Path], rows: int, into: Path) -> dict[str, Path]:
    """Copy the first rows of each table.

    Args:
        paths: Parquet files by source.
        rows: how many rows of each; all when 0.
        into: where the copies go.

    Raises:
        StorageError: a file is not what was extracted, or a copy cannot be written.
    """
    if not rows:
        return dict(paths)
    samples = {}
    for name, path in paths.items():
        samples[name] = into / f"{name}.parquet"
        try:
            _copy(path, samples[name], rows)
        except (pa.ArrowException, OSError) as error:
            message = f"no sample of {name} can be taken: {error}"
            hint = "With --extract the source is read anew."
            raise StorageError(message, where=str(path), hint=hint) from error
    return samples


def _copy(path: Path, sample: Path, rows: int) -> None:
    with pq.ParquetFile(path) as file, pq.ParquetWriter(sample, file.schema_arrow) as writer:
        for batch in file.iter_batches(batch_size=min(rows, _BATCH)):
            writer.write_batch(batch.slice(0, rows))
            rows -= min(rows, len(batch))
            if not rows:
                break


def try_out(
    spec: ReportSpec,
    folder: Path,
    business_date: date,
    inputs: Mapping[str, Path],
    *,
    settings: Settings,
    into: Path,
    mappings: Mapping[str, MappingSnapshot] | None = None,
) -> Trial:
    """Run a report's script where its tasks run it.

    Args:
        spec: the report.
        folder: its folder.
        business_date: the day.
        inputs: Parquet files by source.
        settings: the installation's.
        into: root of the workspace for what the script makes.
        mappings: snapshots of the mapping sets that the script may use, in local files.

    Raises:
        SpecError: the report has no script, or asks for more than it may.
        OpenRegError: as the task would fail.
    """
    section, source = script_of(spec, folder, settings)
    run = RunKey(report_id=spec.id, business_date=business_date, run_id=RUN_ID)
    job = Job(
        run=run,
        key=f"{RUN_ID}-{into.name}",
        spec=section,
        source=source,
        inputs=inputs,
        imports=settings.sandbox_imports,
        mappings={name: MappingFile(one, Path(one.uri)) for name, one in (mappings or {}).items()},
    )
    output = Workspace(into).folder(run, "transform")
    started = monotonic()
    if settings.sandbox == "unsafe-subprocess":
        from openreg_airflow.transform.unfenced import UnfencedProcess

        return Trial(execute(UnfencedProcess(job), job, output), monotonic() - started)
    if settings.sandbox == "kubernetes":
        from openreg_airflow.transform.kubernetes.operator import KubernetesTransformOperator

        operator = KubernetesTransformOperator(
            task_id=RUN_ID, report_id=spec.id, folder=folder, spec=section, inputs={}
        )
        tables = operator.run_job(job, output, None)
        return Trial(tables, monotonic() - started)
    from openreg_airflow.transform.container import run_in_container
    from openreg_airflow.transform.engine import connect
    from openreg_airflow.transform.operator import engine_address

    address = engine_address(settings.docker_conn_id)
    client = connect(address)
    started = monotonic()
    tables = run_in_container(client, settings.sandbox_image, job, output, local=address.local)
    return Trial(tables, monotonic() - started)


def first_rows(dataset: Dataset, count: int) -> pa.Table:
    """The first rows of a table that a trial made."""
    with pq.ParquetFile(dataset.uri) as file:
        batches = islice(file.iter_batches(batch_size=max(count, 1)), 1)
        return pa.Table.from_batches(batches, file.schema_arrow).slice(0, count)
