"""The tables that a script gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_inputs(paths: Mapping[str, str], frames: str) -> dict[str, Any]:
    """Read the sources' Parquet files.

    Args:
        paths: file by source.
        frames: ``pandas`` for DataFrames whose columns are Arrow's own, so that decimals,
            timestamps and missing values stay exact; ``arrow`` for Tables.
    """
    return {name: _read(path, frames) for name, path in paths.items()}


def _read(path: str, frames: str) -> Any:
    table = pq.read_table(path, memory_map=True)
    if frames == "arrow":
        return table
    import pandas as pd

    return table.to_pandas(types_mapper=pd.ArrowDtype, split_blocks=True, self_destruct=True)


def fix_threads(count: int) -> None:
    """Set the number of threads that Arrow computes with."""
    pa.set_cpu_count(count)
