"""Records that were read back, on their way into a Parquet file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

#: Records that are held at a time.
BATCH = 20_000
_OWN = (("file", pa.string()), ("record", pa.int64()))


class RecordWriter:
    """Takes records in batches of texts and writes them with their types.

    Args:
        path: the Parquet file.
        types: declared types by field; a field that is not there is text.
        decimal_mark: between whole number and decimals.
    """

    def __init__(self, path: Path, types: Mapping[str, str], decimal_mark: str = ".") -> None:
        self._path = path
        self._types = {name: arrow_type(kind) for name, kind in types.items()}
        self._mark = decimal_mark
        self._writer: pq.ParquetWriter | None = None
        self.names: tuple[str, ...] | None = None
        self.rows = 0

    @property
    def folder(self) -> Path:
        """Where the file is, for temporary files beside it."""
        return self._path.parent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is None and kind is None:
            self._open(tuple(self.names or self._types))
        if self._writer is not None:
            self._writer.close()

    def of_file(self, file: str, names: Sequence[str]) -> FileRecords:
        """Begin with the records of a file.

        Args:
            file: its name.
            names: the fields of its records.
        """
        self.names = tuple(names)
        return FileRecords(self, file, self.names)

    def texts(
        self, file: str, first: int, names: Sequence[str], columns: Sequence[Sequence[str | None]]
    ) -> None:
        """Take records of one file as texts.

        Args:
            file: its name.
            first: number of the first record, from 1.
            names: the fields.
            columns: the values of each.

        Raises:
            ArtifactError: a value is not of its type; the message names file and record.
        """
        arrays = [
            self._typed(file, first, name, pa.array(values, pa.string()))
            for name, values in zip(names, columns, strict=True)
        ]
        self.table(file, first, pa.table(arrays, names=list(names)))

    def table(self, file: str, first: int, found: pa.Table) -> None:
        """Take records of one file as a table, with the types that it has."""
        own = [
            pa.array([file] * len(found), pa.string()),
            pa.array(range(first, first + len(found)), pa.int64()),
        ]
        table = pa.table(
            [*own, *found.columns], names=[*(name for name, _ in _OWN), *found.column_names]
        )
        if self._writer is None:
            self.names = tuple(found.column_names)
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        if table.schema != self._writer.schema:
            message = f"{file} has other fields than the file before it"
            raise ArtifactError(message)
        self._writer.write_table(table)
        self.rows += len(table)

    def _open(self, names: tuple[str, ...]) -> None:
        """An artifact without records: the columns that are known."""
        fields = [*_OWN, *((name, self._types.get(name, pa.string())) for name in names)]
        self._writer = pq.ParquetWriter(self._path, pa.schema(fields), compression="zstd")

    def _typed(self, file: str, first: int, name: str, values: pa.Array) -> pa.Array:
        kind = self._types.get(name)
        if kind is None:
            return values
        if pa.types.is_decimal(kind) and self._mark != ".":
            values = pc.replace_substring(values, self._mark, ".")
        try:
            return _cast(values, kind)
        except pa.ArrowException:
            row = _first_wrong(values, kind)
            value = f"{values[row].as_py()!r:.200}"
            message = f"{file}, record {first + row}, {name}: {value} is no {kind}"
            raise ArtifactError(message) from None


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind) and kind.tz:
        # Arrow wants a zone in every text; Z is the one that files have.
        return pc.cast(values, pa.timestamp("us", tz="UTC"))
    return pc.cast(values, kind)


def _first_wrong(values: pa.Array, kind: pa.DataType) -> int:
    start, length = 0, len(values)
    while length > 1:
        half = length // 2
        try:
            _cast(values.slice(start, half), kind)
        except pa.ArrowException:
            length = half
        else:
            start, length = start + half, length - half
    return start


class FileRecords:
    """The records of one file, one after another, handed on in batches; of a :class:`RecordWriter`.

    Args:
        into: takes the batches.
        file: the file's name.
        names: the fields of its records.
    """

    def __init__(self, into: RecordWriter, file: str, names: Sequence[str]) -> None:
        self._into = into
        self._file = file
        self._names = names
        self._batch: list[list[str | None]] = []
        self._handed_on = 0

    def add(self, values: list[str | None]) -> None:
        """Take a record.

        Args:
            values: one text a field, in the order of the names.

        Raises:
            ArtifactError: a value is not of its type; the message names file and record.
        """
        self._batch.append(values)
        if len(self._batch) == BATCH:
            self._hand_on()

    def end(self) -> int:
        """Hand on what is left, and give the number of all records.

        Raises:
            ArtifactError: a value is not of its type; the message names file and record.
        """
        if self._batch:
            self._hand_on()
        return self._handed_on

    def _hand_on(self) -> None:
        columns = [list(column) for column in zip(*self._batch, strict=True)]
        self._into.texts(self._file, self._handed_on + 1, self._names, columns)
        self._handed_on += len(self._batch)
        self._batch = []
