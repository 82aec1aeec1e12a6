"""Writes small artifacts for the tests of the writers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from openreg_airflow.artifacts.produce import produce
from openreg_airflow.records import Artifact, Column, Dataset
from openreg_airflow.workspace import Workspace, describe
from tests.writer_bench import RUN, spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

__all__ = ["RUN", "dataset", "made", "spec_of"]


def dataset(table: pa.Table, path: Path) -> Dataset:
    """Store a table as a stage would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    columns = tuple(Column(name=f.name, type=str(f.type)) for f in table.schema)
    return Dataset(**describe(path).model_dump(), rows=table.num_rows, columns=columns)


def made(
    folder: Path,
    spec: Any,
    tables: Mapping[str, pa.Table],
    *,
    layout: str | None = None,
    schema_folders: tuple[Path, ...] = (),
) -> tuple[Artifact, bytes]:
    """Write an artifact of the tables; give its record and its bytes."""
    if layout is not None:
        (folder / "layout.xml").write_text(layout, encoding="utf-8")
    artifact = produce(
        name="out",
        spec=spec,
        folder=folder,
        run=RUN,
        tables={n: dataset(t, folder / "in" / f"{n}.parquet") for n, t in tables.items()},
        workspace=Workspace(folder / "workspace"),
        schema_folders=schema_folders,
    )
    return artifact, Path(artifact.files[0].uri).read_bytes()
