"""Oracle's types in Arrow, from what the driver says of a column.

NUMBER leaves the driver as text: its Arrow interface makes a binary float of a NUMBER without a
precision, which is what every sum and quotient is.
See https://python-oracledb.readthedocs.io/en/latest/user_guide/sql_execution.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import oracledb
import pyarrow as pa

from openreg_airflow.extract.exact import UNBOUNDED_DECIMAL
from openreg_airflow.extract.reader import SourceColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_DIGITS = 38
_INTEGER_DIGITS = 18
_FINEST = 6
#: The scale of a NUMBER without one, and of FLOAT.
_FLOATING = -127
#: Bytes that a value of unknown length counts for when the rows of a fetch are chosen.
_LONG_BYTES = 32_768
_PLAIN_BYTES = 22

_PLAIN: dict[Any, pa.DataType] = {
    oracledb.DB_TYPE_BINARY_DOUBLE: pa.float64(),
    oracledb.DB_TYPE_BINARY_FLOAT: pa.float64(),
    oracledb.DB_TYPE_BINARY_INTEGER: pa.int64(),
    oracledb.DB_TYPE_BOOLEAN: pa.bool_(),
    oracledb.DB_TYPE_CHAR: pa.string(),
    oracledb.DB_TYPE_NCHAR: pa.string(),
    oracledb.DB_TYPE_VARCHAR: pa.string(),
    oracledb.DB_TYPE_NVARCHAR: pa.string(),
    oracledb.DB_TYPE_ROWID: pa.string(),
    oracledb.DB_TYPE_UROWID: pa.string(),
    oracledb.DB_TYPE_RAW: pa.binary(),
    oracledb.DB_TYPE_CLOB: pa.string(),
    oracledb.DB_TYPE_NCLOB: pa.string(),
    oracledb.DB_TYPE_LONG: pa.string(),
    oracledb.DB_TYPE_LONG_NVARCHAR: pa.string(),
    oracledb.DB_TYPE_BLOB: pa.binary(),
    oracledb.DB_TYPE_LONG_RAW: pa.binary(),
    oracledb.DB_TYPE_DATE: pa.timestamp("us"),  # it has a time of day
}
#: How the driver is asked for values that it would give as objects or as binary floats.
FETCHED_AS: dict[Any, Any] = {
    oracledb.DB_TYPE_NUMBER: oracledb.DB_TYPE_VARCHAR,
    oracledb.DB_TYPE_CLOB: oracledb.DB_TYPE_LONG,
    oracledb.DB_TYPE_NCLOB: oracledb.DB_TYPE_LONG_NVARCHAR,
    oracledb.DB_TYPE_BLOB: oracledb.DB_TYPE_LONG_RAW,
}
_LONG = (
    oracledb.DB_TYPE_CLOB,
    oracledb.DB_TYPE_NCLOB,
    oracledb.DB_TYPE_BLOB,
    oracledb.DB_TYPE_LONG,
    oracledb.DB_TYPE_LONG_NVARCHAR,
    oracledb.DB_TYPE_LONG_RAW,
)
_ZONED = (oracledb.DB_TYPE_TIMESTAMP_TZ, oracledb.DB_TYPE_TIMESTAMP_LTZ)


def column(described: Any) -> SourceColumn:
    """A column of a result, from the driver's ``FetchInfo``."""
    code = described.type_code
    word = str(code.name).removeprefix("DB_TYPE_").lower()
    kind = _PLAIN.get(code)
    if code == oracledb.DB_TYPE_NUMBER:
        kind, word = _number(described.precision or 0, described.scale)
    elif code == oracledb.DB_TYPE_TIMESTAMP:
        # The driver cuts off what is finer than a microsecond.
        finer = (described.scale or 0) > _FINEST
        kind = None if finer else pa.timestamp("us")
        word = f"timestamp({described.scale}): CAST it AS timestamp(6)" if finer else word
    elif code in _ZONED:
        # The driver drops the zone.
        word = f"{word.replace('_', ' ')}: select SYS_EXTRACT_UTC of it"
    return SourceColumn(described.name, kind, word, "TO_CHAR({name})")


def _number(precision: int, scale: int | None) -> tuple[pa.DataType, str]:
    if not precision or scale is None or scale == _FLOATING:
        return UNBOUNDED_DECIMAL, "number"
    word = f"number({precision},{scale})"
    if scale == 0 and precision <= _INTEGER_DIGITS:
        return pa.int64(), word
    digits = max(precision - min(scale, 0), scale)
    if digits > _MOST_DIGITS:
        return UNBOUNDED_DECIMAL, word
    return pa.decimal128(digits, max(scale, 0)), word


def array(values: Sequence[Any], found: SourceColumn) -> pa.Array:
    """One column of a batch; a number is text as the driver spelled it."""
    if found.source_type.startswith("number"):
        return pa.array(values, pa.string())
    return pa.array(values, found.type)


def width(described: Any) -> int:
    """About how many bytes a value of the column takes, at most; long ones are guessed."""
    if described.type_code in _LONG:
        return _LONG_BYTES
    return int(described.internal_size or described.display_size or _PLAIN_BYTES)
