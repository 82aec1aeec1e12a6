"""The column types that a spec may declare, and their Arrow counterparts.

========================  =====================================================
in a spec                 in Parquet
========================  =====================================================
``string``                UTF-8 text
``integer``               64-bit signed integer
``decimal(P,S)``          exact decimal, up to 76 digits
``float``                 64-bit binary floating point
``boolean``               true or false
``date``                  calendar date
``time``                  time of day, microseconds
``timestamp``             date and time without a zone, microseconds
``timestamp_utc``         an instant: UTC, microseconds
``binary``                bytes
========================  =====================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    import pyarrow as pa

_DECIMAL = re.compile(r"^decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)$")
_MAX_DIGITS_128 = 38
_MAX_DIGITS = 76
_PLAIN = (
    "string",
    "integer",
    "float",
    "boolean",
    "date",
    "time",
    "timestamp",
    "timestamp_utc",
    "binary",
)


def _check(text: str) -> str:
    if text in _PLAIN:
        return text
    match = _DECIMAL.fullmatch(text)
    if not match:
        message = f"{text!r} is not a column type; known are {', '.join(_PLAIN)}, decimal(P,S)"
        if text.startswith("decimal(") and "," not in text:
            message += '; between { and } it needs quotes, like "decimal(18,5)"'
        raise ValueError(message)
    digits, scale = int(match[1]), int(match[2])
    if not 1 <= digits <= _MAX_DIGITS or scale > digits:
        message = f"{text!r}: precision is 1 to {_MAX_DIGITS} and scale at most the precision"
        raise ValueError(message)
    return f"decimal({digits},{scale})"


#: A declared column type, checked and in its normal spelling.
ColumnType = Annotated[str, AfterValidator(_check)]


def sql_type(declared: str) -> str:
    """DuckDB's name of a declared column type; decimals of more than 38 digits have none there.

    Raises:
        ValueError: ``declared`` is not one of the known spellings.
    """
    normal = _check(declared)
    names = {
        "string": "VARCHAR",
        "integer": "BIGINT",
        "float": "DOUBLE",
        "timestamp_utc": "TIMESTAMPTZ",
        "binary": "BLOB",
    }
    return names.get(normal, normal.upper())


def arrow_type(declared: str) -> pa.DataType:
    """The Arrow type of a declared column type.

    Raises:
        ValueError: ``declared`` is not one of the known spellings.
    """
    import pyarrow as pa

    normal = _check(declared)
    if match := _DECIMAL.match(normal):
        digits, scale = int(match[1]), int(match[2])
        wide = digits > _MAX_DIGITS_128
        return pa.decimal256(digits, scale) if wide else pa.decimal128(digits, scale)
    plain: dict[str, pa.DataType] = {
        "string": pa.string(),
        "integer": pa.int64(),
        "float": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamp_utc": pa.timestamp("us", tz="UTC"),
        "binary": pa.binary(),
    }
    return plain[normal]
