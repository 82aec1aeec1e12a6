"""PostgreSQL's types in Arrow: what the driver gives for each, and what it becomes.

A type that is not listed here is refused; the query can cast it to text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.extract.exact import UNBOUNDED_DECIMAL
from openreg_airflow.extract.reader import SourceColumn
from openreg_airflow.extract.readers.postgres_numeric import MOST_DIGITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN = {
    "int2": pa.int64(),
    "int4": pa.int64(),
    "int8": pa.int64(),
    "float4": pa.float64(),
    "float8": pa.float64(),
    "bool": pa.bool_(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "uuid": pa.string(),
    "json": pa.string(),
    "jsonb": pa.string(),
    "xml": pa.string(),
    "citext": pa.string(),
}
_MOST_DIGITS = 38
#: The server's own name of the type "char": one byte.
_BYTE = "char"


def column(field: pa.Field) -> SourceColumn:
    """A column of a result, from what the driver says of it."""
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    name = metadata.get("POSTGRESQL:type", "unknown")
    if name == "numeric":
        kind, spelled = _numeric(int(metadata.get("POSTGRESQL:typmod", "-1")))
        return SourceColumn(field.name, kind, spelled)
    kind = _PLAIN.get(name)
    if kind is None and pa.types.is_string(field.type):
        kind = pa.string()  # text, varchar, char, name and every enum
    return SourceColumn(field.name, kind, name)


def _numeric(typmod: int) -> tuple[pa.DataType, str]:
    """The type of a NUMERIC from its modifier: ((precision << 16) | scale) + 4, or -1.

    The scale has eleven bits with a sign, since PostgreSQL 15 allows it to be negative.
    """
    if typmod < 0:
        return UNBOUNDED_DECIMAL, "numeric"
    precision = (typmod - 4) >> 16 & 0xFFFF
    scale = ((typmod - 4) & 0x7FF ^ 0x400) - 0x400
    digits = max(precision - min(scale, 0), scale, 1)
    spelled = f"numeric({precision},{scale})"
    if digits > _MOST_DIGITS:
        return pa.decimal128(_MOST_DIGITS, min(max(scale, 0), _MOST_DIGITS)), spelled
    return pa.decimal128(digits, max(scale, 0)), spelled


def is_sent(found: SourceColumn, declared: pa.DataType | None) -> bool:
    """Whether a column is read as binary NUMERIC: exact in 64 bits, and to stay a number."""
    return (
        found.source_type.startswith("numeric(")
        and found.type is not None
        and found.type.precision <= MOST_DIGITS
        and (declared is None or pa.types.is_decimal(declared))
    )


def sending(text: str, columns: Sequence[SourceColumn], sent: Mapping[int, pa.DataType]) -> str:
    """The query with the columns in ``sent`` in NUMERIC's binary form, and its bytes as text.

    The driver would spell each of them as text, at a third of the whole cost. A byte (``"char"``)
    it would give as it is, which need not be a letter. A subquery keeps the order that it asks for,
    since nothing above it sorts.
    """
    names = [f"c{index}" for index in range(len(columns))]
    chosen = list(names)
    for index, (name, found) in enumerate(zip(names, columns, strict=True)):
        if index in sent:
            chosen[index] = f"numeric_send({name})"
        elif found.source_type == _BYTE:
            chosen[index] = f"CAST({name} AS text)"
    if chosen == names:
        return text
    return f"SELECT {', '.join(chosen)} FROM (\n{text}) AS openreg({', '.join(names)})"  # noqa: S608


def plain(array: pa.Array) -> pa.Array:
    """An array without its extension type: what is behind it is exact already."""
    kind = array.type
    if isinstance(kind, pa.UuidType):
        return _uuid_text(array.storage)
    if isinstance(kind, pa.BaseExtensionType):
        return array.storage
    return array


_DASHES = (8, 13, 18, 23)
_LENGTH = 36
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def _uuid_text(array: pa.FixedSizeBinaryArray) -> pa.Array:
    """UUIDs in lower case with dashes; all at once, since a million of them are not rare."""
    count = len(array)
    if not count:
        return pa.array([], pa.string())
    filled = array.fill_null(bytes(16)) if array.null_count else array
    raw = np.frombuffer(filled.buffers()[1], np.uint8)
    raw = raw[filled.offset * 16 : (filled.offset + count) * 16].reshape(count, 16)
    digits = np.empty((count, 32), np.uint8)
    digits[:, 0::2] = _HEX[raw >> 4]
    digits[:, 1::2] = _HEX[raw & 15]
    text = np.full((count, _LENGTH), ord("-"), np.uint8)
    text[:, [i for i in range(_LENGTH) if i not in _DASHES]] = digits
    offsets = np.arange(0, (count + 1) * _LENGTH, _LENGTH, dtype=np.int32)
    strings = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
    if not array.null_count:
        return strings
    return pc.if_else(array.is_valid(), strings, None)
