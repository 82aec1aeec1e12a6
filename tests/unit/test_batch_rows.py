from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.artifacts.writer import batch_rows


@pytest.mark.parametrize(
    ("width", "markup", "low", "high"),
    [(10, 0, 8192, 8192), (100_000, 0, 200, 400), (10, 1_000_000, 30, 34), (10, 10**9, 1, 1)],
)
def test_wide_records_are_rendered_in_small_batches(
    width: int, markup: int, low: int, high: int
) -> None:
    sink = pa.BufferOutputStream()
    texts = [f"{number:0{width}d}" for number in range(50)]
    pq.write_table(pa.table({"a": texts}), sink)
    rows = batch_rows(pq.ParquetFile(sink.getvalue()), markup)
    assert low <= rows <= high


def test_empty_table_has_a_batch_size() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), sink)
    assert batch_rows(pq.ParquetFile(sink.getvalue())) == 8192
