from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.artifacts.check import check
from openreg_airflow.errors import ArtifactError
from tests.writer_bench import spec_of, write

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, table: pa.Table, **fields: Any) -> bytes:
    return write(folder, {"rows": table}, format="parquet", **fields)[1].read_bytes()


def read(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data))


rows = st.fixed_dictionaries(
    {
        "t": st.text(max_size=5) | st.none(),
        "n": st.integers(-(2**63), 2**63 - 1) | st.none(),
        "d": st.decimals(-(10**20), 10**20, places=9) | st.none(),
        "b": st.booleans() | st.none(),
        "x": st.binary(max_size=4) | st.none(),
        "at": st.datetimes(timezones=st.just(UTC)) | st.none(),
    }
)
SCHEMA = pa.schema(
    {
        "t": pa.string(),
        "n": pa.int64(),
        "d": pa.decimal128(38, 9),
        "b": pa.bool_(),
        "x": pa.binary(),
        "at": pa.timestamp("us", "UTC"),
    }
)


@settings(deadline=None, max_examples=40)
@given(st.lists(rows, min_size=1, max_size=8), st.sampled_from(["zstd", "snappy", "gzip", "none"]))
def test_rows_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]], compression: str
) -> None:
    table = pa.Table.from_pylist(values, SCHEMA)
    folder = tmp_path_factory.mktemp("parquet")
    assert read(written(folder, table, compression=compression)) == table


def test_columns_have_declared_names_types_and_order(tmp_path: Path) -> None:
    table = pa.table(
        {"a": pa.array([Decimal("1.50000")], pa.decimal128(18, 5)), "b": ["x"], "c": [3]}
    )
    found = read(
        written(
            tmp_path,
            table,
            columns={
                "c": {"title": "Count", "type": "decimal(9,2)", "required": True},
                "a": {"type": "decimal(9,2)"},
            },
        )
    )
    assert found.schema == pa.schema(
        [pa.field("Count", pa.decimal128(9, 2), nullable=False), pa.field("a", pa.decimal128(9, 2))]
    )
    assert found.to_pylist() == [{"Count": Decimal("3.00"), "a": Decimal("1.50")}]


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (pa.array([Decimal("1.00"), Decimal("1.25")]), "decimal(9,1)", "1.25 cannot be held"),
        (pa.array([1, 10**9]), "decimal(5,0)", "1000000000 cannot be held exactly as decimal"),
        (pa.array(["1", "one"]), "integer", "one cannot be held exactly as int64"),
    ],
)
def test_value_that_the_type_cannot_hold_names_record_and_column(
    tmp_path: Path, values: pa.Array, kind: str, message: str
) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        written(tmp_path, pa.table({"a": values}), columns={"a": {"type": kind}})
    assert caught.value.where == "record 2, column a"


def test_null_in_a_required_column_is_refused(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([None if n == 3000 else n for n in range(4000)])})
    with pytest.raises(ArtifactError, match="required") as caught:
        written(tmp_path, table, columns={"a": {"required": True}}, row_group=1000)
    assert caught.value.where == "record 3001, column a"


def test_required_column_without_a_type_may_only_have_no_rows(tmp_path: Path) -> None:
    columns = {"a": {"required": True}}
    with pytest.raises(ArtifactError, match="required") as caught:
        written(tmp_path, pa.table({"a": pa.nulls(2)}), columns=columns)
    assert caught.value.where == "record 1, column a"

    assert read(written(tmp_path, pa.table({"a": pa.nulls(0)}), columns=columns)).num_rows == 0


def test_column_that_cannot_become_the_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the column is bool and cannot become date32"):
        written(tmp_path, pa.table({"a": [True]}), columns={"a": {"type": "date"}})
    with pytest.raises(ArtifactError, match="table rows has no column b"):
        written(tmp_path, pa.table({"a": [True]}), columns={"b": {}})


def test_same_rows_give_the_same_bytes_however_they_were_stored(tmp_path: Path) -> None:
    table = pa.table({"n": range(20_000), "t": [f"t{n % 7}" for n in range(20_000)]})
    first = written(tmp_path, table)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=777)
    before = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        chunked = pq.read_table(tmp_path / "rows.parquet")
        assert written(tmp_path, chunked) == first
    finally:
        pa.set_cpu_count(before)
    assert pq.ParquetFile(pa.BufferReader(first)).metadata.num_row_groups == 1


def test_row_groups_have_the_size_that_the_spec_says(tmp_path: Path) -> None:
    data = written(tmp_path, pa.table({"n": range(2500)}), row_group=1000)
    about = pq.ParquetFile(pa.BufferReader(data)).metadata
    assert [about.row_group(n).num_rows for n in range(about.num_row_groups)] == [1000, 1000, 500]


def test_empty_table_gives_a_file_without_records(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array([], pa.int64())})
    assert read(written(tmp_path, table, when_empty="write")) == table


def test_name_that_stands_twice_is_found_without_data(tmp_path: Path) -> None:
    section = {"a": spec_of(format="parquet", columns={"x": {"title": "y"}, "y": {}})}
    [problem] = check(section, tmp_path)
    assert problem.keys == ("a", "columns", "y")


def test_instants_keep_their_zone(tmp_path: Path) -> None:
    at = datetime(2026, 9, 30, 9, 0, 0, 123456, tzinfo=UTC)
    table = pa.table({"at": pa.array([at], pa.timestamp("us", "UTC"))})
    assert read(written(tmp_path, table)).to_pylist() == [{"at": at}]
