"""The columns of a result, from what an ODBC driver says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.reader import SourceColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from openreg_airflow.extract.readers.odbc_products import Product

_DIGITS_128 = 38
#: More than any number or time is spelled with.
_PLAIN_BYTES = 64


def column(field: pa.Field, cast: str) -> SourceColumn:
    """A column of a result; ``cast`` is the product's way to make text of one."""
    kind = field.type
    word = str(kind).split("[", 1)[0]
    if pa.types.is_decimal(kind):
        scale = max(kind.scale, 0)
        digits = max(kind.precision, scale)
        found: pa.DataType | None = pa.decimal128(min(digits, _DIGITS_128), scale)
        spelled = f"decimal({digits},{scale})"
        if scale == digits:  # "-0." and the digits need more room than drivers are given
            return SourceColumn(field.name, None, f"{spelled}, which ODBC may cut off", cast)
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
    return SourceColumn(field.name, found, word, cast)


def refuse_bits_as_numbers(
    columns: Iterable[pa.Field], declared: Mapping[str, pa.DataType], file: str
) -> None:
    """Refuse to read bytes of a fixed length as the digits of a number or time.

    MariaDB's and MySQL's drivers give BIT(n) as the bytes of its bits, and say that it is a BINARY:
    the byte of the number 53 is also the digit 5.

    Raises:
        SourceError: a column of such bytes is declared as something else than bytes or text.
    """
    for field in columns:
        wanted = declared.get(field.name)
        if wanted is None or not pa.types.is_fixed_size_binary(field.type):
            continue
        if not (pa.types.is_binary(wanted) or pa.types.is_string(wanted)):
            message = f"column {field.name} comes as bytes, not as digits"
            hint = (
                f"If it is a BIT, write {field.name} + 0 in the query; if the bytes are text, cast "
                "them to a type of text."
            )
            raise SourceError(message, where=f"{file}, column {field.name}", hint=hint)


def transit(kind: pa.DataType, product: Product) -> pa.DataType:
    """The type in which a column leaves the driver.

    Text or bytes where the driver's own value could be another one: decimals, integers (drivers
    take those without a sign, and what SQLite keeps in a column, for smaller ones), timestamps
    finer than a microsecond, and what the product asks for. Timestamps that its database does not
    spell are text of the driver, in which the years after 9999 are not today but none.
    """
    if product.bits_as_numbers and pa.types.is_boolean(kind):
        return pa.int64()
    plain = pa.types.is_integer(kind) or pa.types.is_temporal(kind) or pa.types.is_boolean(kind)
    if product.plain_as_bytes and plain:
        return pa.binary()
    finer = pa.types.is_timestamp(kind) and kind.unit == "ns"
    finer = finer or (pa.types.is_time64(kind) and kind.unit == "ns")
    finer = finer or (pa.types.is_timestamp(kind) and product.spells_times is not None)
    as_text = pa.types.is_decimal(kind) or pa.types.is_integer(kind) or finer
    if as_text or (product.dates_as_text and pa.types.is_date(kind)):
        return pa.string()
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()  # the length that the driver says is the longest, not each one's
    if pa.types.is_floating(kind):
        return kind if product.short_floats else pa.float64()
    return kind


def room_for_bytes(columns: Iterable[pa.Field], widest: int) -> int:
    """Bytes that a value needs which leaves the driver as bytes.

    Args:
        columns: as the driver describes them.
        widest: bytes that a binary value may have.
    """
    binary = any(
        pa.types.is_binary(f.type) or pa.types.is_fixed_size_binary(f.type) for f in columns
    )
    return widest if binary else min(widest, _PLAIN_BYTES)
