"""Parquet: read in small batches, so that a small file that unfolds into a large one stays small.

A dictionary-encoded column says one long value a million times in a few bytes. Such columns stay
encoded until a slice of rows is known to fit.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.files.table import check_names
from openreg_airflow.extract.reader import BATCH_BYTES, SourceColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.extract.file_spec import FileSpec

_ROWS = 8192
#: The most that one column of one row group may unfold to: it is held in memory.
_CHUNK_BYTES = 512 << 20
#: The nonce and the tag of a footer's signature.
_SIGNATURE_BYTES = 12 + 16


class ParquetTable:
    """One Parquet file; see :class:`openreg_airflow.extract.files.table.FileTable`."""

    def __init__(self, file: pq.ParquetFile, name: str, declared: Mapping[str, str]) -> None:
        self._file = file
        self._name = name
        schema = file.schema_arrow
        check_names(schema.names, declared, where=name)
        self.columns = tuple(
            SourceColumn(f.name, _carried(f.type), str(f.type), cast="") for f in schema
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows."""
        try:
            for batch in self._file.iter_batches(batch_size=_ROWS, use_threads=False):
                yield from _unfolded(batch)
        except (pa.ArrowException, OSError) as error:
            raise _broken(self._name, error) from error

    def place(self, row: int) -> str:
        """The number of a row."""
        return f"row {row + 1}"


def _unfolded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch with its dictionaries resolved, in parts that fit."""
    rows = batch.num_rows
    if rows > 1 and sum(map(_plain_bytes, batch.columns)) > BATCH_BYTES:
        half = rows // 2
        yield from _unfolded(batch.slice(0, half))
        yield from _unfolded(batch.slice(half))
        return
    arrays = [_plain(array) for array in batch.columns]
    yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _plain_bytes(array: pa.Array) -> int:
    if not pa.types.is_dictionary(array.type):
        size: int = array.nbytes
        return size
    lengths = pc.binary_length(array.dictionary)
    return pc.sum(pc.take(lengths, array.indices)).as_py() or 0


def _plain(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_null(kind):
        return pc.cast(array, pa.string())
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pc.cast(array, pa.decimal128(kind.precision, kind.scale))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.cast(array, pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pc.cast(array, pa.binary())
    return array


def _carried(kind: pa.DataType) -> pa.DataType | None:
    """The type that a column has without a declared one; None when it is not carried."""
    is_ = pa.types
    if is_.is_dictionary(kind):
        kind = kind.value_type
    if is_.is_integer(kind):
        return pa.decimal128(20, 0) if kind == pa.uint64() else pa.int64()
    if is_.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if is_.is_decimal(kind):
        wide = kind.precision > 38
        return (pa.decimal256 if wide else pa.decimal128)(kind.precision, kind.scale)
    for matches, carried in (
        (is_.is_null, pa.string()),  # nothing was ever in it; any type may be declared
        (is_.is_boolean, pa.bool_()),
        (is_.is_floating, pa.float64()),
        (is_.is_date, pa.date32()),
        (is_.is_time, pa.time64("us")),
        (is_.is_string, pa.string()),
        (is_.is_large_string, pa.string()),
        (is_.is_string_view, pa.string()),
        (is_.is_binary, pa.binary()),
        (is_.is_large_binary, pa.binary()),
        (is_.is_fixed_size_binary, pa.binary()),
    ):
        if matches(kind):
            return carried
    return None


def _refuse_encrypted(path: Path, metadata: pq.FileMetaData, name: str) -> None:
    """Refuse a file whose footer is plain and whose columns are not.

    To ask Arrow about such a column ends the process. The footer is signed then, and the signature
    is behind it: see the plaintext footer mode in the format's Encryption.md.
    """
    with path.open("rb") as file:
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
    if length - metadata.serialized_size == _SIGNATURE_BYTES:
        message = f"{name} has encrypted columns"
        raise SourceError(message, where=name, hint="Ask for the file without encryption.")


def _check_size(metadata: pq.FileMetaData, name: str) -> None:
    for group in range(metadata.num_row_groups):
        part = metadata.row_group(group)
        for index in range(part.num_columns):
            column = part.column(index)
            if column.total_uncompressed_size > _CHUNK_BYTES:
                message = (
                    f"column {column.path_in_schema} of row group {group + 1} unfolds to "
                    f"{column.total_uncompressed_size >> 20} MiB, allowed are {_CHUNK_BYTES >> 20}"
                )
                raise SourceError(message, where=name, hint="Write smaller row groups.")


def _encoded(metadata: pq.FileMetaData, schema: pa.Schema) -> list[str]:
    """The columns of text or bytes that are encoded by a dictionary somewhere."""
    texts = {f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_binary(f.type)}
    found = set()
    for group in range(metadata.num_row_groups):
        part = metadata.row_group(group)
        for index in range(part.num_columns):
            column = part.column(index)
            if column.path_in_schema in texts and column.has_dictionary_page:
                found.add(column.path_in_schema)
    return sorted(found)


def _broken(name: str, error: Exception) -> SourceError:
    message = f"{name} cannot be read as Parquet: {str(error).splitlines()[0]}"
    return SourceError(message, where=name, hint="Ask for the file again.")


@contextmanager
def open_parquet(
    path: Path,
    name: str,
    spec: FileSpec,  # noqa: ARG001
    declared: Mapping[str, str],
) -> Iterator[ParquetTable]:
    """Open a Parquet file."""
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
        _refuse_encrypted(path, metadata, name)
        _check_size(metadata, name)
        encoded = _encoded(metadata, schema)
        file = pq.ParquetFile(
            path, read_dictionary=encoded, pre_buffer=False, page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as error:
        raise _broken(name, error) from error
    with file:
        yield ParquetTable(file, name, declared)
