"""The columns of a result, from what an ODBC driver says of them."""

from __future__ import annotations

import pyarrow as pa

from openreg_airflow.extract.reader import SourceColumn

_DIGITS_128 = 38


def column(field: pa.Field) -> SourceColumn:
    """A column of a result."""
    kind = field.type
    word = str(kind).split("[", 1)[0]
    if pa.types.is_decimal(kind):
        scale = max(kind.scale, 0)
        digits = max(kind.precision, scale)
        found: pa.DataType | None = pa.decimal128(min(digits, _DIGITS_128), scale)
        spelled = f"decimal({digits},{scale})"
        if scale == digits:  # "-0." and the digits need more room than drivers are given
            return SourceColumn(field.name, None, f"{spelled}, which ODBC may cut off")
        return SourceColumn(field.name, found, spelled)
    if pa.types.is_integer(kind):
        found = pa.int64()
    elif pa.types.is_floating(kind):
        found = pa.float64()
    elif pa.types.is_fixed_size_binary(kind):
        found = pa.binary()
    elif pa.types.is_timestamp(kind):
        found = pa.timestamp("us", tz=kind.tz)
    elif pa.types.is_time(kind):
        found = pa.time64("us")
    else:
        carried = (pa.types.is_string, pa.types.is_binary, pa.types.is_boolean, pa.types.is_date32)
        found = kind if any(matches(kind) for matches in carried) else None
    return SourceColumn(field.name, found, word)


def transit(kind: pa.DataType, *, dates_as_text: bool) -> pa.DataType:
    """The type in which a column leaves the driver.

    Text where the driver's own number could lose something: decimals, unsigned integers that the
    driver calls signed, timestamps finer than a microsecond, and dates where the product asks.
    """
    if dates_as_text and pa.types.is_date(kind):
        return pa.string()
    finer = pa.types.is_timestamp(kind) and kind.unit == "ns"
    finer = finer or (pa.types.is_time64(kind) and kind.unit == "ns")
    if pa.types.is_decimal(kind) or kind == pa.int64() or finer:
        return pa.string()
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()  # the length that the driver says is the longest, not each one's
    return pa.float64() if pa.types.is_floating(kind) else kind
