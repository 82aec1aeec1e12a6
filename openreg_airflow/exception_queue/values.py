"""Values of rows as JSON and back, exact; and the check of a value that somebody typed.

==========================  =======================================================
column                      in JSON
==========================  =======================================================
text                        text
integer                     number; text beyond 2^53, where readers of JSON lose digits
decimal                     text, never in scientific notation
float                       number; ``NaN``, ``Infinity`` and ``-Infinity`` as text
boolean                     true or false
date, time, timestamp       text as in ISO 8601; an instant with its offset
binary                      text in base64
list, struct                array, object
==========================  =======================================================

NULL is null always.
"""

from __future__ import annotations

import base64
import binascii
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

import pyarrow as pa

_SAFE = 1 << 53
#: Most characters of a value that somebody may type.
MOST_CHARACTERS = 1_000_000
_SHOWN = 60
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class ValueRefusedError(ValueError):
    """A value does not fit its column; the text says why."""


def encode(value: Any) -> Any:
    """A value of Arrow's ``to_pylist`` as JSON."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if -_SAFE < value < _SAFE else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_FINITE[repr(value)]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, list | tuple):
        return [encode(one) for one in value]
    if isinstance(value, dict):
        return {name: encode(one) for name, one in value.items()}
    message = f"a value of the type {type(value).__name__} cannot be kept"
    raise ValueRefusedError(message)


def decode(value: Any, kind: pa.DataType) -> Any:
    """What :func:`encode` made, or what somebody typed, as a value of a column's type.

    Raises:
        ValueRefusedError: it is no value of that type; nothing is rounded or cut.
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if value is None:
        return None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [decode(one, kind.value_type) for one in _of(value, list, kind)]
    if pa.types.is_struct(kind):
        given = _of(value, dict, kind)
        return {field.name: decode(given.get(field.name), field.type) for field in kind}
    try:
        return _plain(value, kind)
    except (ValueError, TypeError, InvalidOperation, binascii.Error, OverflowError) as error:
        if isinstance(error, ValueRefusedError):
            raise
        raise _refused(value, kind) from error


def checked(value: Any, kind: pa.DataType) -> Any:
    """A typed value in the one way in which it is kept.

    Raises:
        ValueRefusedError: it does not fit the column, or is too long.
    """
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        message = f"it has {len(value):,} characters; {MOST_CHARACTERS:,} are the most"
        raise ValueRefusedError(message)
    found = decode(value, kind)
    try:
        pa.array([found], kind)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise _refused(value, kind) from error
    return encode(found)


def type_name(kind: pa.DataType) -> str:
    """A column's type in a word that people know."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    names = {"bool": "boolean", "int64": "integer", "double": "float", "date32[day]": "date"}
    return names.get(str(kind), str(kind))


def _plain(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _of(value, str, kind)
    if pa.types.is_boolean(kind):
        return value if isinstance(value, bool) else {"true": True, "false": False}[_text(value)]
    if isinstance(value, bool):
        raise _refused(value, kind)
    if pa.types.is_integer(kind):
        return value if isinstance(value, int) else _integer(value, kind)
    if pa.types.is_decimal(kind):
        return _decimal(value, kind)
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_date(kind):
        return date.fromisoformat(value)
    if pa.types.is_time(kind):
        return time.fromisoformat(value)
    if pa.types.is_timestamp(kind):
        return _instant(value, kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return base64.b64decode(value, validate=True)
    if pa.types.is_null(kind):
        raise _refused(value, kind)
    message = f"a column of the type {kind} cannot be changed here"
    raise ValueRefusedError(message)


def _text(value: Any) -> str:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower()
    message = "expected true or false"
    raise ValueRefusedError(message)


def _integer(value: Any, kind: pa.DataType) -> int:
    text = value.strip() if isinstance(value, str) else ""
    if not text.removeprefix("-").removeprefix("+").isdecimal():
        raise _refused(value, kind)
    return int(text)


def _decimal(value: Any, kind: pa.DataType) -> Decimal:
    if isinstance(value, float):
        message = "a decimal is given as text, so that it stays exact"
        raise ValueRefusedError(message)
    number = Decimal(value.strip() if isinstance(value, str) else value)
    if not number.is_finite():
        raise _refused(value, kind)
    with localcontext() as context:
        context.prec = 100
        fitting = number.quantize(Decimal(1).scaleb(-kind.scale))
    if fitting != number or len(fitting.as_tuple().digits) > kind.precision:
        raise _refused(value, kind)
    return fitting


def _instant(value: Any, kind: pa.DataType) -> datetime:
    found = datetime.fromisoformat(value)
    if kind.tz is None and found.tzinfo is not None:
        message = f"{_shown(value)} has a time zone, and the column has none"
        raise ValueRefusedError(message)
    if kind.tz is None:
        return found
    if found.tzinfo is None:
        message = f"{_shown(value)} has no time zone; write it with Z or an offset"
        raise ValueRefusedError(message)
    return found.astimezone(UTC)


def _of(value: Any, expected: type, kind: pa.DataType) -> Any:
    if isinstance(value, expected):
        return value
    raise _refused(value, kind)


def _refused(value: Any, kind: pa.DataType) -> ValueRefusedError:
    return ValueRefusedError(f"{_shown(value)} is no {type_name(kind)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
