"""The types of MySQL and MariaDB in Arrow, from what the protocol says of a column.

See the column definition in the protocol's text result set,
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from MySQLdb.constants import FIELD_TYPE, FLAG

from openreg_airflow.extract.reader import SourceColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_DIGITS = 38
_WORDS = {
    FIELD_TYPE.TINY: "tinyint",
    FIELD_TYPE.SHORT: "smallint",
    FIELD_TYPE.INT24: "mediumint",
    FIELD_TYPE.LONG: "int",
    FIELD_TYPE.LONGLONG: "bigint",
    FIELD_TYPE.YEAR: "year",
    FIELD_TYPE.DOUBLE: "double",
    FIELD_TYPE.DATE: "date",
    FIELD_TYPE.TIME: "time",
    FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.TIMESTAMP: "timestamp",
    FIELD_TYPE.JSON: "json",
    FIELD_TYPE.ENUM: "enum",
    FIELD_TYPE.SET: "set",
    FIELD_TYPE.NULL: "null",
}
_PLAIN = {
    "tinyint": pa.int64(),
    "smallint": pa.int64(),
    "mediumint": pa.int64(),
    "int": pa.int64(),
    "bigint": pa.int64(),
    "bigint unsigned": pa.decimal128(20, 0),
    "year": pa.int64(),
    "double": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "json": pa.string(),
    "enum": pa.string(),
    "set": pa.string(),
    "null": pa.string(),
}
#: What keeps the value of a column that is not carried.
_CASTS = {FIELD_TYPE.FLOAT: "CAST({name} AS double)", FIELD_TYPE.GEOMETRY: "ST_AsText({name})"}
_TEXTS = frozenset(
    {
        FIELD_TYPE.VARCHAR,
        FIELD_TYPE.VAR_STRING,
        FIELD_TYPE.STRING,
        FIELD_TYPE.TINY_BLOB,
        FIELD_TYPE.MEDIUM_BLOB,
        FIELD_TYPE.LONG_BLOB,
        FIELD_TYPE.BLOB,
    }
)

#: Given to the driver as conversions: it picks by the column's character set, and what it picked
#: says whether a column holds text or bytes. Both leave the value as it is.
CONVERSIONS: dict[int, list[tuple[int | None, type | None]]] = {
    kind: [(FLAG.BINARY, bytes), (None, None)] for kind in _TEXTS
}


def column(described: Sequence[Any], flags: int, conversion: type | None) -> SourceColumn:
    """A column of a result.

    Args:
        described: name, type, and at 3 and 5 the length and the digits behind the point.
        flags: of the column definition.
        conversion: what the driver picked of :data:`CONVERSIONS`.
    """
    name, code, length, scale = described[0], described[1], described[3], described[5]
    kind, source_type = _type(code, length, scale, flags, binary=conversion is bytes)
    return SourceColumn(name, kind, source_type, _CASTS.get(code, "CAST({name} AS char)"))


def _type(
    code: int, length: int, scale: int, flags: int, *, binary: bool
) -> tuple[pa.DataType | None, str]:
    unsigned = bool(flags & FLAG.UNSIGNED)
    if code in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
        # The length counts the point and the sign, where there may be one.
        digits = max(length - (scale > 0) - (not unsigned), scale, 1)
        kind = pa.decimal128(min(digits, _MOST_DIGITS), scale)
        return kind, f"decimal({digits},{scale})"
    if code == FIELD_TYPE.BIT:
        kind = pa.int64() if length < 64 else pa.decimal128(20, 0)
        return pa.bool_() if length == 1 else kind, f"bit({length})"
    if code == FIELD_TYPE.FLOAT:
        return None, "float, of which the server sends six digits only"
    if code in _TEXTS:
        if flags & FLAG.ENUM or flags & FLAG.SET:
            return pa.string(), "enum" if flags & FLAG.ENUM else "set"
        return (pa.binary(), "binary") if binary else (pa.string(), "text")
    word = _WORDS.get(code)
    if word is None:
        return None, f"of code {code}" if code != FIELD_TYPE.GEOMETRY else "geometry"
    if word == "bigint" and unsigned:
        word = "bigint unsigned"
    return _PLAIN[word], word


def array(values: Sequence[bytes | None], found: SourceColumn) -> pa.Array:
    """One column of a batch, as the server spelled it; BIT, which it does not spell, in digits."""
    if found.source_type.startswith("bit("):
        return pa.array([_digits(value) for value in values], pa.string())
    return pa.array(values, pa.binary())


def _digits(value: bytes | None) -> str | None:
    return None if value is None else str(int.from_bytes(value, "big"))
