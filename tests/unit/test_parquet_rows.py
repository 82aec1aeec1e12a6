from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.parquet_rows import RowFile

if TYPE_CHECKING:
    from pathlib import Path


class Notes(RowFile):
    schema = pa.schema([pa.field("text", pa.string(), nullable=False)])

    def add(self, text: str) -> None:
        self._put({"text": text}, len(text))


@pytest.mark.parametrize(
    ("length", "count", "groups"),
    [(1, 0, []), (1, 10_000, [10_000]), (1, 10_001, [10_000, 1]), (6 << 20, 4, [3, 1])],
)
def test_no_more_is_gathered_than_rows_and_characters_allow(
    tmp_path: Path, length: int, count: int, groups: list[int]
) -> None:
    with Notes(tmp_path / "notes.parquet") as notes:
        for _ in range(count):
            notes.add("x" * length)
    assert notes.written == count
    with pq.ParquetFile(tmp_path / "notes.parquet") as file:
        found = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        assert found == groups
        assert file.schema_arrow == Notes.schema


def test_rows_before_a_failure_are_not_written_as_if_they_were_all(tmp_path: Path) -> None:
    with suppress(RuntimeError), Notes(tmp_path / "notes.parquet") as notes:
        notes.add("half")
        raise RuntimeError
    assert pq.read_table(tmp_path / "notes.parquet").num_rows == 0
