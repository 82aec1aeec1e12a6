"""The tables that a script gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from .batches import Batches, framed

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Inputs(dict[str, Any]):
    """The tables by source; a name that is none is answered with those that there are."""

    def __missing__(self, name: object) -> Any:
        message = f"there is no input {name!r}; there are: {', '.join(self)}"
        raise KeyError(message)


def read_inputs(
    paths: Mapping[str, str], frames: str, batch_rows: int | None = None
) -> dict[str, Any]:
    """Read the sources' Parquet files.

    Args:
        paths: file by source.
        frames: ``pandas`` or ``arrow``; see :func:`~.batches.framed`.
        batch_rows: read nothing yet and give :class:`~.batches.Batches` of so many rows.
    """
    if batch_rows is not None:
        return _Inputs({name: Batches(path, frames, batch_rows) for name, path in paths.items()})
    return _Inputs(
        {name: framed(pq.read_table(path, memory_map=True), frames) for name, path in paths.items()}
    )


def fix_threads(count: int) -> None:
    """Set the number of threads that Arrow computes with."""
    pa.set_cpu_count(count)
