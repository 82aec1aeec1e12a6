from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.errors import SpecError
from openreg_airflow.mapping_records import MappingSnapshot, TypedColumn
from openreg_airflow.mappings.fill import Filling, entries_of, fill
from openreg_airflow.mappings.spec import MapStep
from openreg_airflow.transform.runner.lookup import Entries

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2026, 3, 31)
ROWS = 600_000


@pytest.fixture
def filling(tmp_path: Path) -> Filling:
    """A step that fills the venue of trades whose book is 0 to 98 of 100."""
    text = TypedColumn(name="book", type="integer"), TypedColumn(name="mic", type="string")
    entries = pa.table(
        {
            "book": pa.array(range(99), pa.int64()),
            "mic": [f"V{number:03}" for number in range(99)],
            "effective_from": pa.nulls(99, pa.date32()),
            "effective_to": pa.nulls(99, pa.date32()),
        }
    )
    file = tmp_path / "venues.parquet"
    pq.write_table(entries, file)
    snapshot = MappingSnapshot(
        uri=str(file),
        bytes=0,
        sha256="",
        name="venues",
        set_id=1,
        version=1,
        known_at=datetime(2026, 3, 31, tzinfo=UTC),
        keys=text[:1],
        values=text[1:],
        rows=99,
    )
    step = MapStep.model_validate(
        {
            "table": "trades",
            "set": "venues",
            "key": ["book"],
            "fill": {"mic": "mic"},
            "unmapped": "none",
        }
    )
    schema = pa.schema([("id", pa.int64()), ("book", pa.int64())])
    return Filling("venue", step, entries_of(snapshot, file), schema, DAY)


def test_rows_of_many_batches_keep_their_order_and_are_counted(
    tmp_path: Path, filling: Filling
) -> None:
    ids = pa.array(range(ROWS), pa.int64())
    books = pa.array([number % 100 for number in range(ROWS)], pa.int64())
    source, into = tmp_path / "trades.parquet", tmp_path / "filled.parquet"
    pq.write_table(pa.table({"id": ids, "book": books}), source, row_group_size=50_000)

    assert fill(source, into, [filling]) == ROWS

    filled = pq.read_table(into)
    assert filled["id"].combine_chunks() == ids
    assert filled["mic"].slice(ROWS - 3).to_pylist() == ["V097", "V098", None]
    assert (filling.tally.unmapped, filled["mic"].null_count) == (ROWS // 100, ROWS // 100)


def test_table_that_breaks_off_is_an_error_and_not_a_shorter_table(
    tmp_path: Path, filling: Filling
) -> None:
    source = tmp_path / "trades.parquet"
    column = pa.array(range(ROWS), pa.int64())
    pq.write_table(
        pa.table({"id": column, "book": column}), source, compression="none", row_group_size=50_000
    )
    whole = source.read_bytes()
    middle = len(whole) // 2
    source.write_bytes(whole[:middle] + b"\xff" * 400_000 + whole[middle + 400_000 :])

    with pytest.raises((OSError, pa.ArrowException)):
        fill(source, tmp_path / "filled.parquet", [filling])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_only_unmapped_keys_have_to_fit_the_filled_column(kind: pa.DataType) -> None:
    table = pa.table(
        {
            "book": ["A", "B"],
            "desk": pa.array([1, None], pa.int64()),
            "effective_from": pa.nulls(2, pa.date32()),
            "effective_to": pa.nulls(2, pa.date32()),
        }
    )
    step = MapStep.model_validate(
        {
            "table": "trades",
            "set": "desks",
            "key": ["book"],
            "fill": {"desk": "desk"},
            "unmapped": "original",
        }
    )
    filling = Filling(
        "desk", step, Entries(table, ["book"], ["desk"]), pa.schema([("book", kind)]), DAY
    )
    books = pa.array(["A", "7", "B", None]).cast(kind)

    filled = filling.apply(pa.RecordBatch.from_arrays([books], ["book"]))

    assert filled.column("desk").to_pylist() == [1, 7, None, None]
    with pytest.raises(SpecError, match="does not fit int64"):
        filling.apply(pa.RecordBatch.from_arrays([pa.array(["Q"]).cast(kind)], ["book"]))
