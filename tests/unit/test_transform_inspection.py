from __future__ import annotations

import os
import signal
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.errors import SandboxLimitError, TransformError
from openreg_airflow.records import Column
from openreg_airflow.transform import inspector
from openreg_airflow.transform.inspection import Inspection

if TYPE_CHECKING:
    from pathlib import Path

TRADES = pa.table({"id": ["T1", None], "price": pa.array([Decimal("1.5"), None])})


def inspected(path: Path, declared: pa.Schema | None = None) -> Any:
    with Inspection() as inspection:
        inspection.begin({"out": path}, {"out": declared})
        return inspection.tables()["out"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "out.parquet"
    pq.write_table(TRADES, path)
    return path


def test_rows_and_columns_are_told(path: Path) -> None:
    columns = (Column(name="id", type="string"), Column(name="price", type="decimal128(2, 1)"))

    assert inspected(path) == (2, columns)
    assert inspected(path, TRADES.schema) == (2, columns)


def test_other_columns_than_declared_are_refused(path: Path) -> None:
    with pytest.raises(TransformError, match="table out came back with other columns"):
        inspected(path, TRADES.schema.remove(0))


def test_damaged_page_is_found(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[4:40] = bytes(36)
    path.write_bytes(raw)

    with pytest.raises(TransformError, match="table out did not come back as Parquet"):
        inspected(path)


def test_text_that_is_not_utf_8_is_found(path: Path) -> None:
    binary = pa.array([b"\xff\xfe"])
    text = pa.Array.from_buffers(pa.string(), 1, binary.buffers())
    pq.write_table(pa.table({"a": text}), path)

    with pytest.raises(TransformError, match="UTF8"):
        inspected(path)


def test_rows_that_unfold_beyond_memory_are_refused(path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000), ["x" * (1 << 20)])
    pq.write_table(pa.table({"a": texts}), path, store_schema=False)
    assert path.stat().st_size < 1 << 20

    with pytest.raises(SandboxLimitError, match="table out needs more than 1024 MiB of memory"):
        inspected(path)


@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        ("MAX_ROWS", 1, "has 2 rows and 2 columns"),
        ("MAX_COLUMNS", 1, "has 2 rows and 2 columns"),
        ("MAX_DECODED", 3, "unfolds to more than 3 bytes"),
    ],
)
def test_table_has_a_size(
    path: Path, limit: str, value: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, limit, value)

    with pytest.raises(inspector.RefusedError, match=expected) as caught:
        inspector.inspect(str(path), None)

    assert caught.value.limit


def test_decoder_that_dies_says_nothing_good_of_the_table(path: Path) -> None:
    with Inspection() as inspection:
        os.kill(inspection._process.pid, signal.SIGSEGV)
        inspection.begin({"out": path}, {})
        with pytest.raises(TransformError, match="decoder ended with status -11"):
            inspection.tables()


def test_decoding_that_takes_too_long_is_stopped(path: Path) -> None:
    with Inspection(seconds=0) as inspection:
        os.kill(inspection._process.pid, signal.SIGSTOP)
        inspection.begin({"out": path}, {})
        with pytest.raises(SandboxLimitError, match="not decoded within 0 s"):
            inspection.tables()
