"""Writers on a real file system that fills up half way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from openreg_airflow.artifacts import filename
from openreg_airflow.artifacts.produce import produce
from openreg_airflow.artifacts.writer import Job, writer
from openreg_airflow.errors import StorageError
from openreg_airflow.workspace import Workspace
from tests.artifact_files import dataset
from tests.writer_bench import RUN, spec_of
from tests.writer_formats import FORMATS, folder_of, rows

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", FORMATS)
def test_disk_that_fills_up_half_way_leaves_nothing(
    tmp_path: Path, small_disk: Path, name: str
) -> None:
    folder = folder_of(tmp_path, name)
    # Enough for every format to need more than one MiB, and to begin with less.
    count = 400_000
    pq.write_table(rows(count), folder / "rows.parquet")
    spec = spec_of(format=name, **FORMATS[name])
    job = Job(
        artifact="out",
        spec=spec,
        filename=filename.render(spec.filename, RUN, "out"),
        folder=folder,
        run=RUN,
        tables={"rows": folder / "rows.parquet"},
        rows={"rows": count},
    )
    part = Workspace(small_disk).folder(RUN, "artifact", "out")
    with (
        pytest.raises(StorageError, match="No space left") as caught,
        part.writing(job.filename) as pending,
    ):
        writer(name).write(job, pending.path)
    assert "Free space" in str(caught.value.hint)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"split": {"bytes": 2_000_000}, "filename": "out_{part}.csv"},
        {"split": {"records": 300_000}, "filename": "out_{part}.csv"},
        {"package": {"compress": "zip"}},
    ],
)
def test_full_disk_of_temporary_files_leaves_nothing(
    tmp_path: Path, small_disk: Path, fields: dict[str, Any]
) -> None:
    root = tmp_path / "workspace"
    with pytest.raises(StorageError, match="No space left") as caught:
        produce(
            name="out",
            spec=spec_of(format="csv", **FORMATS["csv"] | fields),
            folder=tmp_path,
            run=RUN,
            tables={"rows": dataset(rows(400_000), tmp_path / "in" / "rows.parquet")},
            workspace=Workspace(root, scratch=small_disk),
        )
    assert "Free space" in str(caught.value.hint)
    for folder in (root, small_disk):
        assert [path for path in folder.rglob("*") if path.is_file()] == []
