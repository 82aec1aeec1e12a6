"""The chunked form: batches in, pieces out, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from openreg_airflow.errors import SandboxLimitError, TransformError
from tests.transform_bench import TRADES, Bench, Way, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.docker_engine import DockerEngine

ROWS = 2_000_000
#: Bytes of each row's text: the rows take about 1 GiB of memory and little on the disk.
WIDTH = 512


@pytest.fixture
def contained(tmp_path: Path, docker_engine: DockerEngine, sandbox_image: str) -> Bench:
    return Bench(tmp_path, "container", docker_engine.client, sandbox_image)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    way: Way = "subprocess"
    bench = Bench(tmp_path, way)
    bench.source("trades", TRADES)
    return bench


def large(path: Path) -> Path:
    """A table of more than a GiB in memory."""
    texts = pa.array([f"{number:03}" + "x" * WIDTH for number in range(100)])
    rows = pa.array(range(ROWS // 20), pa.int64())
    piece = pa.table({"n": rows, "text": texts.take(pc.bit_wise_and(rows, 63))})
    with pq.ParquetWriter(path, piece.schema) as writer:
        for _ in range(20):
            writer.write_table(piece)
    return path


def test_data_larger_than_the_memory_limit_go_through_in_batches(contained: Bench) -> None:
    contained.inputs["rows"] = large(contained.folder / "rows.parquet")

    with pytest.raises(SandboxLimitError, match="memory limit of 320 MiB"):
        contained.run(
            "def transform(inputs, context): return inputs['rows']", limits={"memory_mb": 320}
        )
    tables = contained.run(
        """
        import pandas as pd

        def transform(inputs, context):
            rows, done = inputs["rows"], 0
            for batch in rows:
                done += len(batch)
                context.progress(done, rows.rows)
                batch["first"] = batch["text"].str.slice(0, 3)
                sums = pd.DataFrame({"n": [batch["n"].sum()]})
                yield {"copy": batch[["first", "text"]], "sums": sums}
        """,
        limits={"memory_mb": 320},
        batch_rows=50_000,
    )

    assert tables["copy"].rows == ROWS
    assert sum(read(tables, "sums")["n"].to_pylist()) == 20 * sum(range(ROWS // 20))


def test_pieces_of_several_tables_come_in_any_order(bench: Bench) -> None:
    tables = bench.run(
        """
        def transform(inputs, context):
            trades = inputs["trades"]
            yield {"a": trades.head(1)}
            yield {"b": trades.head(2), "a": trades.tail(1)}
            yield {"b": trades}
        """,
        tables={"b": {}, "a": {}},
    )

    assert read(tables, "a")["trade_id"].to_pylist() == ["T1", "T3"]
    assert read(tables, "b")["trade_id"].to_pylist() == ["T1", "T2", "T1", "T2", "T3"]


@pytest.mark.parametrize("how", ["yield", "return"])
def test_large_tables_do_not_run_into_each_other(bench: Bench, how: str) -> None:
    tables = bench.run(
        f"""
        import numpy as np
        import pyarrow as pa

        def transform(inputs, context):
            noise = np.random.default_rng(1).integers(0, 1 << 60, 400_000)
            for _ in range(2):
                {how} {{"a": pa.table({{"n": noise}}), "b": pa.table({{"n": noise[::-1]}})}}
        """
    )

    forth, back = read(tables, "a")["n"].to_numpy(), read(tables, "b")["n"].to_numpy()
    assert len(forth) == (800_000 if how == "yield" else 400_000)
    assert (forth == back[::-1]).all()


def test_batches_may_be_read_again_or_as_a_whole(bench: Bench) -> None:
    tables = bench.run(
        """
        import pyarrow as pa

        def transform(inputs, context):
            trades = inputs["trades"]
            sizes = [len(batch) for batch in trades] + [len(batch) for batch in trades]
            whole = trades.read()
            return pa.table({"n": sizes + [trades.rows, len(whole), len(trades.columns)]})
        """,
        batch_rows=2,
        frames="arrow",
    )

    assert read(tables, "trades")["n"].to_pylist() == [2, 1, 2, 1, 3, 3, 4]


def test_same_rows_in_other_pieces_give_the_same_bytes(bench: Bench) -> None:
    script = """
        import pandas as pd

        def transform(inputs, context):
            step = context.parameters["step"]
            for start in range(0, 300_000, step):
                yield pd.DataFrame({"n": range(start, min(start + step, 300_000))})
        """

    made = {bench.run(script, parameters={"step": n})["trades"].sha256 for n in (999, 300_000)}

    assert len(made) == 1


def test_declared_table_of_which_nothing_is_yielded_is_empty(bench: Bench) -> None:
    columns = {"id": "string", "value": "decimal(18,5)"}
    tables = bench.run(
        "def transform(inputs, context): yield from ()", tables={"out": {"columns": columns}}
    )

    assert tables["out"].rows == 0
    assert [(c.name, c.type) for c in tables["out"].columns] == [
        ("id", "string"),
        ("value", "decimal128(18, 5)"),
    ]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (
            "[{'n': [1]}, {'n': ['a']}]",
            "column n is .*string; in the first piece's columns .*int64",
        ),
        ("[{'n': [1]}, {'m': [1]}]", "lacks the first piece's columns: n"),
        ("[{'n': [1]}, {'n': [1], 'm': [1]}]", "has columns beside the first piece's: m"),
    ],
)
def test_pieces_must_be_alike(bench: Bench, pieces: str, expected: str) -> None:
    with pytest.raises(TransformError, match=expected):
        bench.run(
            f"""
            import pandas as pd

            def transform(inputs, context):
                for piece in {pieces}:
                    yield pd.DataFrame(piece)
            """
        )

    assert bench.stored == []


def test_value_of_a_later_piece_is_named_with_its_row(bench: Bench) -> None:
    with pytest.raises(TransformError, match=r"column n, row 3: 1\.5 does not fit int64"):
        bench.run(
            """
            import pandas as pd

            def transform(inputs, context):
                yield pd.DataFrame({"n": [1, 2]})
                yield pd.DataFrame({"n": [3.0, 1.5]})
            """,
            tables={"out": {"columns": {"n": "integer"}}},
        )


def test_error_between_pieces_has_its_line_and_stores_nothing(bench: Bench) -> None:
    with pytest.raises(TransformError, match="ZeroDivisionError") as caught:
        bench.run(
            """
            def transform(inputs, context):
                yield inputs["trades"]
                yield 1 / 0
            """
        )

    assert caught.value.where == "transform.py line 3"
    assert bench.stored == []


def test_table_without_rows_or_declared_columns_is_refused(bench: Bench) -> None:
    with pytest.raises(TransformError, match="nothing came for table b"):
        bench.run(
            "def transform(inputs, context): yield {'a': inputs['trades']}",
            tables={"a": {}, "b": {}},
        )
