"""Sources that are read piece by piece, for data that memory does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator


class Batches:
    """One source of a report with ``transform.batch_rows``.

    Going through it gives its rows in order, in tables of at most that many rows, each read when
    it is asked for. It may be gone through any number of times.

    Args:
        path: the source's Parquet file.
        frames: ``pandas`` or ``arrow``, as for whole tables.
        most: rows of a batch.
    """

    def __init__(self, path: str, frames: str, most: int) -> None:
        self._path = path
        self._frames = frames
        self._most = most
        with pq.ParquetFile(path) as file:
            #: How many rows there are in all.
            self.rows: int = file.metadata.num_rows
            self._schema = file.schema_arrow.remove_metadata()

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._schema.names)

    def __iter__(self) -> Iterator[Any]:
        # A reader that fetches ahead would hold a whole row group.
        with pq.ParquetFile(self._path, pre_buffer=False, buffer_size=1 << 20) as file:
            for batch in file.iter_batches(batch_size=self._most, use_threads=False):
                yield framed(pa.Table.from_batches([batch], self._schema), self._frames)

    def read(self) -> Any:
        """The whole table at once, for a source that is small."""
        return framed(pq.read_table(self._path), self._frames)


def framed(table: pa.Table, frames: str) -> Any:
    """A table as scripts get it.

    Args:
        table: the values; it must not be used afterwards.
        frames: ``pandas`` for a DataFrame whose columns are Arrow's own, so that decimals,
            timestamps and missing values stay exact; ``arrow`` for the Table.
    """
    if frames == "arrow":
        return table
    import pandas as pd

    return table.to_pandas(types_mapper=pd.ArrowDtype, split_blocks=True, self_destruct=True)
