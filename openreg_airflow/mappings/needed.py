"""Of a set of millions of entries, those that the rows of a table can need.

Whoever looks values up numbers all keys of the set first, and holds each batch of rows against all
of them. Of a large set most are in no row: to leave those out costs one look at the table's key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openreg_airflow.mappings.fill import entries_of
from openreg_airflow.transform.runner.lookup import Entries

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from openreg_airflow.mapping_records import MappingSnapshot
    from openreg_airflow.mappings.spec import MapStep

#: A set of so many entries or more is looked at by itself before its use.
LARGE = 1_000_000
_AT_ONCE = 1 << 20


def entries_for(
    step: MapStep,
    snapshot: MappingSnapshot,
    path: Path,
    source: Path,
    earlier: Iterable[MapStep] = (),
) -> Entries:
    """Entries with which a step finds for the rows of its table what it finds with all.

    Args:
        step: the step.
        snapshot: its set.
        path: the set's file.
        source: the table as Parquet, before any step.
        earlier: the steps of the table before this one.
    """
    wanted = None
    filled = any(step.key[0] in one.fill for one in earlier)
    if snapshot.rows >= LARGE and not filled:
        wanted = _distinct(source, step.key[0], path, snapshot.keys[0].name)
    if wanted is None:
        return entries_of(snapshot, path)
    keys, values = ([one.name for one in some] for some in (snapshot.keys, snapshot.values))
    with pq.ParquetFile(path) as file:
        kept = [
            batch.filter(pc.is_in(batch.column(keys[0]), value_set=wanted))
            for batch in file.iter_batches(batch_size=_AT_ONCE)
        ]
        table = pa.Table.from_batches(kept, file.schema_arrow)
    return Entries(table, keys, values)


def _distinct(source: Path, column: str, path: Path, key: str) -> pa.Array | None:
    """The values of a column; None when it is not of the key's type, or has too many of them."""
    with pq.ParquetFile(source) as file, pq.ParquetFile(path) as entries:
        place = file.schema_arrow.get_field_index(column)
        kind = entries.schema_arrow.field(key).type
        if place < 0 or file.schema_arrow.field(place).type != kind:
            return None
        most = entries.metadata.num_rows
        found: list[pa.Array] = []
        for batch in file.iter_batches(batch_size=_AT_ONCE, columns=[column]):
            found.append(batch.column(0).unique())
            if sum(map(len, found)) > 2 * most:
                found = [pa.chunked_array(found).unique()]
                if len(found[0]) > most:
                    return None
    return pa.chunked_array(found, kind).unique()
