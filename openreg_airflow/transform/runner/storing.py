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


class _ReplySink(io.RawIOBase):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._reply.data(view)
        return view.nbytes


def send_table(name: str, table: pa.Table, declared: pa.Schema | None, reply: Reply) -> None:
    """Send one table.

    Args:
        name: the table's name.
        table: its values.
        declared: the columns that the spec demands, if it does.
        reply: where the bytes go.

    Raises:
        ScriptError: the columns are not the declared ones, or a value cannot be stored.
    """
    schema = _declared_schema(name, table, declared) if declared else _plain_schema(name, table)
    reply.event("table", name=name)
    sink = io.BufferedWriter(_ReplySink(reply), 1 << 20)
    with pq.ParquetWriter(sink, schema, compression="zstd", compression_level=1) as writer:
        for start in range(0, len(table), ROW_GROUP):
            piece = table.select(schema.names).slice(start, ROW_GROUP)
            writer.write_table(_fit(name, piece, schema, start), row_group_size=ROW_GROUP)
    sink.flush()
    reply.event("end", name=name, rows=len(table))


def _fit(name: str, piece: pa.Table, schema: pa.Schema, first_row: int) -> pa.Table:
    columns = [
        cast_exactly(name, field.name, piece.column(field.name), field.type, first_row)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _declared_schema(name: str, table: pa.Table, declared: pa.Schema) -> pa.Schema:
    for label, rest, verb in (
        (
            "lacks the declared columns",
            [n for n in declared.names if n not in table.schema.names],
            "Return them, or take them out of transform.tables.",
        ),
        (
            "has columns that are not declared",
            [n for n in table.schema.names if n not in declared.names],
            "Drop them, or declare them in transform.tables.",
        ),
    ):
        if rest:
            message = f"table {name} {label}: {', '.join(rest)}"
            raise ScriptError(message, hint=verb, kind="column")
    for field in declared:
        check_castable(name, field.name, table.schema.field(field.name).type, field.type)
    return declared


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
