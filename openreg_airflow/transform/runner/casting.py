"""Casts that lose nothing: a declared column type is a promise about every value."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from .faults import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable

_HINTS = {
    "decimal": "Round floating-point values first, or compute with decimals.",
    "string": "Convert it with .astype('string') if that is what the column shall hold.",
    "timestamp": "Say what the values mean: .dt.tz_localize(...) or .dt.tz_convert(...).",
    "date": "A date comes from dates, or from timestamps without a zone at midnight.",
}
#: What may become what, as far as each single value fits.
_SOURCES = {
    "string": ("string",),
    "integer": ("integer", "decimal", "float"),
    "decimal": ("decimal", "integer", "float"),
    "float": ("float", "integer"),
    "boolean": ("boolean",),
    "date": ("date", "timestamp"),
    "time": ("time",),
    "timestamp": ("timestamp",),
    "instant": ("instant",),
    "binary": ("binary",),
}


def check_castable(
    table: str, column: str, have: pa.DataType, want: pa.DataType, whose: str = "declared"
) -> None:
    """Refuse a column whose kind of value is not the declared one.

    Raises:
        ScriptError: values of ``have`` never become ``want`` without a guess or a loss.
    """
    source, target = kind_of(have), kind_of(want)
    if source == "null" or source in _SOURCES.get(target, ()):
        return
    message = f"table {table}, column {column} is {have}; declared is {want}"
    hint = _HINTS.get("timestamp" if target == "instant" else target)
    if whose != "declared":
        message = f"table {table}, column {column} is {have}; in the {whose} columns it is {want}"
        hint = f"Declare the columns, in transform.tables.{table}.columns."
    raise ScriptError(message, hint=hint, kind="column")


def cast_exactly(
    table: str, column: str, values: pa.ChunkedArray, want: pa.DataType, first_row: int
) -> pa.ChunkedArray:
    """Cast a stretch of a column; its kind has been checked.

    Args:
        table: name for messages.
        column: name for messages.
        values: the stretch.
        want: the declared type.
        first_row: number of its first row in the table, counted from 0.

    Raises:
        ScriptError: a value does not fit; the message names the first one and its row.
    """
    if values.type == want:
        return values
    cast = _caster(values.type, want)
    try:
        return cast(values)
    except pa.ArrowException as error:
        row = _first_failing(values, cast)
        message = (
            f"table {table}, column {column}, row {first_row + row}: "
            f"{values[row].as_py()} does not fit {want}"
        )
        raise ScriptError(message, hint=_HINTS.get(kind_of(want)), kind="column") from error


def kind_of(type_: pa.DataType) -> str:
    """The family of values that a type belongs to."""
    if kinds.is_dictionary(type_):
        return kind_of(type_.value_type)
    if kinds.is_timestamp(type_):
        return "instant" if type_.tz else "timestamp"
    tests: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
        "null": (kinds.is_null,),
        "string": (kinds.is_string, kinds.is_large_string, kinds.is_string_view),
        "integer": (kinds.is_integer,),
        "decimal": (kinds.is_decimal,),
        "float": (kinds.is_floating,),
        "boolean": (kinds.is_boolean,),
        "date": (kinds.is_date,),
        "time": (kinds.is_time,),
        "binary": (kinds.is_binary, kinds.is_large_binary, kinds.is_fixed_size_binary),
    }
    return next((kind for kind, any_of in tests.items() if any(t(type_) for t in any_of)), "other")


def _caster(have: pa.DataType, want: pa.DataType) -> Callable[[pa.ChunkedArray], pa.ChunkedArray]:
    source, target = kind_of(have), kind_of(want)
    steps: list[pa.DataType] = [have.value_type] if kinds.is_dictionary(have) else []
    if (source, target) == ("float", "decimal"):
        # The shortest text that reads back as the same number is what its author sees; a cast
        # of the number itself would round without a word.
        steps += [pa.float64(), pa.string()]
    elif (source, target) == ("integer", "decimal"):
        # Arrow asks for room for any 64-bit number, not for the numbers that are there.
        steps += [pa.decimal128(20, 0)]

    def cast(values: pa.ChunkedArray) -> pa.ChunkedArray:
        if target == "decimal":
            _check_room(values, want)
        result = values
        for step in (*steps, want):
            result = pc.cast(result, step, safe=True)
        _check_nothing_lost(values, result, source, target)
        return result

    return cast


def _check_room(values: pa.ChunkedArray, want: pa.Decimal128Type) -> None:
    """Refuse numbers with more digits before the point than a decimal type has.

    Arrow multiplies into the new scale without looking: what leaves its 128 or 256 bits comes back
    as another number that fits.

    Raises:
        pa.ArrowInvalid: a number is too large.
    """
    plain = pc.cast(values, values.type.value_type) if kinds.is_dictionary(values.type) else values
    room = Decimal(10) ** (want.precision - want.scale)
    found = pc.min_max(plain)
    for end in (found["min"].as_py(), found["max"].as_py()):
        # Not abs(): it rounds to the 28 digits of Python's decimal context.
        if end is not None and math.isfinite(end) and Decimal(end).copy_abs() >= room:
            message = "the value has too many digits"
            raise pa.ArrowInvalid(message)


def _check_nothing_lost(
    values: pa.ChunkedArray, result: pa.ChunkedArray, source: str, target: str
) -> None:
    """Find the losses that Arrow's safe casts let through.

    Raises:
        pa.ArrowInvalid: a time of day was cut off, or a tiny number became zero.
    """
    if (source, target) == ("timestamp", "date"):
        lost = pc.not_equal(pc.cast(result, values.type), values)
    elif target == "decimal" and source in ("decimal", "float"):
        lost = pc.and_(
            pc.equal(result, _zero(result.type)), pc.not_equal(values, _zero(values.type))
        )
    else:
        return
    if pc.any(lost).as_py():
        message = "the value changes"
        raise pa.ArrowInvalid(message)


def _first_failing(
    values: pa.ChunkedArray, cast: Callable[[pa.ChunkedArray], pa.ChunkedArray]
) -> int:
    start, length = 0, len(values)
    while length > 1:
        half = length // 2
        try:
            cast(values.slice(start, half))
        except pa.ArrowException:
            length = half
        else:
            start, length = start + half, length - half
    return start


def _zero(type_: pa.DataType) -> pa.Scalar:
    return pa.scalar(Decimal(0) if kinds.is_decimal(type_) else 0.0, type_)
