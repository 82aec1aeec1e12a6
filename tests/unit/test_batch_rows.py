from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.artifacts import writer
from openreg_airflow.artifacts.writer import batch_rows, batches


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


def test_some_long_records_decide_for_all() -> None:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, pa.schema([("a", pa.string())]), use_dictionary=False) as file:
        file.write_table(pa.table({"a": ["short"] * 10_000}))
        file.write_table(pa.table({"a": ["x" * 1_000_000] * 40}))
    assert 30 <= batch_rows(pq.ParquetFile(sink.getvalue())) <= 34


def test_long_records_among_short_ones_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_BATCH_BYTES", 10_000)
    texts = ["short"] * 3000 + ["x" * 9000] * 20 + ["x" * 90_000]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": texts, "b": range(len(texts))}), sink)
    found = list(batches(pq.ParquetFile(sink.getvalue()), ["a"]))
    assert [text for batch in found for text in batch.column(0).to_pylist()] == texts
    assert {batch.num_columns for batch in found} == {1}
    assert max(batch.nbytes for batch in found if batch.num_rows > 1) <= 20_000
