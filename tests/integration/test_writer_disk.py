"""Writers on a real file system that fills up half way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from openreg_airflow.artifacts import filename
from openreg_airflow.artifacts.writer import Job, writer
from openreg_airflow.errors import StorageError
from openreg_airflow.workspace import Workspace
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
