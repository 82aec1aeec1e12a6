from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.transform.runner.reading import read_inputs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("batch_rows", [None, 10])
def test_input_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, batch_rows: int | None
) -> None:
    path = tmp_path / "trades.parquet"
    pq.write_table(pa.table({"id": [1]}), path)
    inputs = read_inputs({"trades": str(path), "fx": str(path)}, "arrow", batch_rows)

    with pytest.raises(KeyError, match="there is no input 'trade'; there are: trades, fx"):
        inputs["trade"]

    assert inputs.get("trade") is None
    assert ("trade" in inputs, list(inputs)) == (False, ["trades", "fx"])
