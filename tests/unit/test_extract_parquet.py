"""The Parquet file of a source: how its columns are kept, and that other readers get them back."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.extract.parquet import ParquetSink

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {
    "price": pa.array([Decimal("9999999999999.99999"), Decimal("-0.00001")], pa.decimal128(18, 5)),
    "rate": pa.array([Decimal("-999999999"), Decimal(1)], pa.decimal128(9, 0)),
    "long": pa.array([Decimal("9" * 18 + ".9"), Decimal("-0.1")], pa.decimal128(19, 1)),
    "longest": pa.array([Decimal("9" * 38), Decimal(-1)], pa.decimal128(38, 0)),
    "id": pa.array([2**63 - 1, -(2**63)], pa.int64()),
    "day": pa.array([date(1, 1, 1), date(9999, 12, 31)], pa.date32()),
    "at": pa.array([datetime.min, datetime.max], pa.timestamp("us")),  # noqa: DTZ901
    "instant": pa.array(
        [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)],
        pa.timestamp("us", tz="UTC"),
    ),
    "clock": pa.array([time.min, time.max], pa.time64("us")),
    "a.b": pa.array([1, -1], pa.int64()),
    "flag": pa.array([True, False], pa.bool_()),
    "ratio": pa.array([0.1, -1e308], pa.float64()),
    "note": pa.array(["", "\u00e9"], pa.string()),
    "raw": pa.array([b"", b"\0"], pa.binary()),
}


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, pa.Table]:
    nulls = {name: pa.nulls(2, column.type) for name, column in COLUMNS.items()}
    schema = pa.table(COLUMNS).schema
    table = pa.concat_tables([pa.table(COLUMNS), pa.table(nulls, schema), pa.table(COLUMNS)])
    path = tmp_path / "t.parquet"
    with ParquetSink(path, schema) as sink:
        for batch in table.to_batches():
            sink.write(batch)
    return path, table


def test_values_at_the_limits_come_back_by_every_reader(written: tuple[Path, pa.Table]) -> None:
    path, table = written

    assert pq.read_table(path).equals(table)
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        found = database.sql("SELECT * FROM read_parquet(?)", params=[str(path)]).to_arrow_table()
    assert found.cast(table.schema).equals(table)


def test_numbers_and_times_are_kept_as_differences(written: tuple[Path, pa.Table]) -> None:
    group = pq.ParquetFile(written[0]).metadata.row_group(0)
    kept = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}

    for name in ("price", "rate", "id", "day", "at", "instant", "clock", "a.b"):
        assert "DELTA_BINARY_PACKED" in kept[name].encodings
    assert [kept[n].physical_type for n in ("price", "rate")] == ["INT64", "INT32"]
    assert [kept[n].physical_type for n in ("long", "longest")] == ["FIXED_LEN_BYTE_ARRAY"] * 2
    assert "RLE_DICTIONARY" in kept["note"].encodings
