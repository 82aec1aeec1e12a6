"""Tables as Parquet, written straight into the reply."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as kinds

from .casting import cast_exactly, check_castable
from .faults import ScriptError

if TYPE_CHECKING:
    from .wire import Reply

#: Rows of a row group: bounds what a reader has to hold, and the memory of a cast.
ROW_GROUP = 1 << 17
#: Bytes of a dictionary before a column goes on without one. With Arrow's own limit of 1 MiB
#: columns of many values would try it in vain in every row group, at twice the time of writing.
_DICTIONARY = 1 << 17
#: Bytes of yielded pieces that are held back until they fill a row group.
_HELD_BYTES = 32 << 20


class _ReplySink(io.RawIOBase):
    def __init__(self, reply: Reply, name: str) -> None:
        self._reply = reply
        self._name = name

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._reply.data(self._name, view)
        return view.nbytes


class TableSender:
    """Sends one table, which may come in pieces.

    Args:
        name: the table's name.
        declared: the columns that the spec demands, if it does; otherwise those of the first
            piece count for all.
        reply: where the bytes go.
    """

    def __init__(self, name: str, declared: pa.Schema | None, reply: Reply) -> None:
        self._name = name
        self._declared = declared
        self._reply = reply
        self._sink = io.BufferedWriter(_ReplySink(reply, name), 1 << 20)
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []
        self._held_rows = self._held_bytes = 0
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """Take the next rows.

        Raises:
            ScriptError: the columns are not the declared ones, or a value cannot be stored.
        """
        fitting = self._fit(table)
        for start in range(0, len(fitting), ROW_GROUP):
            piece = self._cast(fitting.slice(start, ROW_GROUP))
            self._held.append(piece)
            self._rows += len(piece)
            self._held_rows += len(piece)
            self._held_bytes += piece.nbytes
            if self._held_rows >= ROW_GROUP:
                self._write(ROW_GROUP)
            elif self._held_bytes > _HELD_BYTES:
                self._write(self._held_rows)

    def close(self) -> None:
        """Send what is left; a declared table of which nothing came is empty.

        Raises:
            ScriptError: nothing came, and nothing says which columns the table has.
        """
        if self._schema is None:
            if self._declared is None:
                message = f"nothing came for table {self._name}, and its columns are not declared"
                hint = f"Declare them, in transform.tables.{self._name}.columns."
                raise ScriptError(message, hint=hint)
            self._open(self._declared)
        if self._held_rows:
            self._write(self._held_rows)
        assert self._writer is not None  # noqa: S101  # for the type checker
        self._writer.close()
        self._sink.flush()
        self._reply.event("end", name=self._name, rows=self._rows)

    def _fit(self, table: pa.Table) -> pa.Table:
        if self._schema is None:
            if self._declared:
                _check_columns(self._name, table, self._declared, "declared")
            self._open(self._declared or _plain_schema(self._name, table))
        elif self._declared:
            _check_columns(self._name, table, self._declared, "declared")
        else:
            _check_columns(self._name, table, self._schema, "first piece's")
        assert self._schema is not None  # noqa: S101  # for the type checker
        return table.select(self._schema.names)

    def _open(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._reply.table(self._name)
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            compression_level=1,
            dictionary_pagesize_limit=_DICTIONARY,
        )

    def _write(self, rows: int) -> None:
        """Write the first rows of what is held as one row group."""
        assert self._writer is not None  # noqa: S101  # for the type checker
        held = pa.concat_tables(self._held) if len(self._held) > 1 else self._held[0]
        rest = held.slice(rows)
        self._held = [rest] if len(rest) else []
        self._held_rows, self._held_bytes = len(rest), rest.nbytes
        self._writer.write_table(held.slice(0, rows).combine_chunks(), row_group_size=ROW_GROUP)

    def _cast(self, piece: pa.Table) -> pa.Table:
        assert self._schema is not None  # noqa: S101  # for the type checker
        columns = [
            cast_exactly(self._name, f.name, piece.column(f.name), f.type, self._rows)
            for f in self._schema
        ]
        return pa.Table.from_arrays(columns, schema=self._schema)


def _check_columns(name: str, table: pa.Table, wanted: pa.Schema, whose: str) -> None:
    for what, rest, hint in (
        (
            f"lacks the {whose} columns",
            [n for n in wanted.names if n not in table.schema.names],
            "Return them, or take them out of transform.tables.",
        ),
        (
            "has columns that are not declared"
            if whose == "declared"
            else f"has columns beside the {whose}",
            [n for n in table.schema.names if n not in wanted.names],
            "Drop them, or declare them in transform.tables.",
        ),
    ):
        if rest:
            message = f"table {name} {what}: {', '.join(rest)}"
            raise ScriptError(message, hint=hint, kind="column")
    for field in wanted:
        check_castable(name, field.name, table.schema.field(field.name).type, field.type, whose)


def _plain_schema(name: str, table: pa.Table) -> pa.Schema:
    return pa.schema([pa.field(f.name, _plain(name, f), f.nullable) for f in table.schema])


def _plain(name: str, field: pa.Field) -> pa.DataType:
    """The type that a column is stored with: the same values in one spelling.

    Text is text however pandas kept it, and a column without any value is text too.
    """
    type_: Any = field.type
    if kinds.is_dictionary(type_):
        return _plain(name, pa.field(field.name, type_.value_type))
    if kinds.is_null(type_) or kinds.is_large_string(type_) or kinds.is_string_view(type_):
        return pa.string()
    if kinds.is_large_binary(type_):
        return pa.binary()
    if kinds.is_duration(type_) or kinds.is_interval(type_):
        message = f"table {name}, column {field.name} holds time spans, which cannot be stored"
        raise ScriptError(message, hint="Store their number of seconds instead.", kind="column")
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        pc.cast(pa.array([], type_), type_)
    except pa.ArrowException as error:
        message = f"table {name}, column {field.name} is {type_}, which cannot be stored"
        raise ScriptError(message, kind="column") from error
    return type_
