"""Runs one writer on small tables, as the artifact stage would."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from pydantic import TypeAdapter

from openreg_airflow.artifacts import filename
from openreg_airflow.artifacts.spec import ArtifactSpec
from openreg_airflow.artifacts.writer import Job, writer
from openreg_airflow.records import RunKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from openreg_airflow.artifacts.writer import Writer

RUN = RunKey(report_id="daily", business_date=date(2026, 9, 30), run_id="manual__1")
_SPEC: TypeAdapter[Any] = TypeAdapter(ArtifactSpec)


def spec_of(**fields: Any) -> Any:
    """An artifact's section, with the fields that every one needs."""
    return _SPEC.validate_python({"table": "rows", "filename": "out.txt"} | fields)


def write(
    folder: Path,
    tables: Mapping[str, pa.Table],
    /,
    *,
    schema_folders: tuple[Path, ...] = (),
    **fields: Any,
) -> tuple[str, Path]:
    """Write an artifact of the given spec; give what became of the schema check, and the file."""
    spec = spec_of(**fields)
    inputs = {}
    for name, table in tables.items():
        inputs[name] = folder / f"{name}.parquet"
        pq.write_table(table, inputs[name])
    job = Job(
        artifact="out",
        spec=spec,
        filename=filename.render(spec.filename, RUN, "out"),
        folder=folder,
        run=RUN,
        tables=inputs,
        rows={name: table.num_rows for name, table in tables.items()},
        schema_folders=schema_folders,
    )
    target = folder / "written"
    writes: Writer = writer(spec.format)
    return writes.write(job, target), target
