from __future__ import annotations

import pyarrow as pa

from openreg_airflow.extract.readers import odbc_process


def test_small_batches_are_sent_together_but_the_first_goes_at_once() -> None:
    taken: list[int] = []

    def small() -> object:
        for number in range(700):
            taken.append(number)
            yield pa.record_batch({"n": [number] * 50})

    batches = odbc_process._gathered(small())  # type: ignore[arg-type]

    assert next(batches).num_rows == 50
    assert taken == [0]
    rest = list(batches)
    assert [batch.num_rows for batch in rest] == [10_000, 10_000, 10_000, 4_950]
    assert [row for batch in rest for row in batch.column("n").to_pylist()][-1] == 699


def test_wide_batches_are_not_gathered_beyond_their_size() -> None:
    wide = [pa.record_batch({"t": ["x" * 600_000]}) for _ in range(5)]

    assert [batch.num_rows for batch in odbc_process._gathered(wide)] == [1, 2, 2]
