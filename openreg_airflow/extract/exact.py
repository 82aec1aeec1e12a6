"""Exact conversion of Arrow arrays: a value arrives unchanged or not at all.

Arrow's own casts are exact for most pairs of types, but not for all: some round, cut off, or read
more spellings than a database writes. Here every pair is either exact or refused.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable

#: The type of an exact number whose precision the database does not say: sums, quotients,
#: NUMERIC without precision. 38 digits is the most that Parquet's readers carry without rounding.
UNBOUNDED_DECIMAL = pa.decimal128(38, 20)

#: A binary float holds 15 decimal digits faithfully; with more, the last ones may be made up.
_FAITHFUL_DIGITS = 15

#: Digits that Arrow's two kinds of decimals hold.
_DIGITS_128, _DIGITS_256 = 38, 76

#: Why a date or timestamp is not carried.
NO_DAY = "it is infinite, or outside the years 1 to 9999"

_EPOCH = date(1970, 1, 1)
_FIRST_DAY = (date(1, 1, 1) - _EPOCH).days
_LAST_DAY = (date(9999, 12, 31) - _EPOCH).days
_DAY_US = 86_400_000_000


class UnfitError(ValueError):
    """At least one value cannot be carried over exactly; its text, if any, says why."""


class NeverFitsError(TypeError):
    """Values of this type are never converted to that one."""


def exactly(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Convert an array without changing a value.

    Text is read as a number, date, time or timestamp only in its ISO spelling. A timestamp
    without a zone, where an instant is asked for, is taken as UTC. A float becomes a decimal by
    its shortest spelling, if that has at most 15 digits.

    Raises:
        UnfitError: a value has no exact counterpart.
        NeverFitsError: the two types have nothing to do with one another.
    """
    if pa.types.is_struct(array.type):
        return _coalesced(array, target)
    convert = _converter(target)
    try:
        if pa.types.is_binary(array.type) and not pa.types.is_binary(target):
            array = pc.cast(array, pa.string())  # refuses what is not UTF-8
        converted = convert(array, target)
    except pa.ArrowInvalid as error:
        raise UnfitError from error
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise NeverFitsError(str(error)) from error
    _check_range(converted)
    return converted


def first_unfit(array: pa.Array, target: pa.DataType) -> int:
    """The index of the first value that :func:`exactly` refuses, found by halving."""
    start, length = 0, len(array)
    while length > 1:
        half = length // 2
        try:
            exactly(array.slice(start, half), target)
        except UnfitError:
            length = half
        else:
            start, length = start + half, length - half
    return start


def _coalesced(array: pa.StructArray, target: pa.DataType) -> pa.Array:
    """A column of mixed types, one child for each: every child is converted, then merged."""
    parts = [exactly(part, target) for part in array.flatten()]
    return pc.coalesce(*parts)


def _converter(target: pa.DataType) -> Callable[[pa.Array, pa.DataType], pa.Array]:
    for matches, converter in _CONVERTERS:
        if matches(target):
            return converter
    message = f"no conversion to {target}"
    raise NeverFitsError(message)


def _characters(array: pa.StringArray) -> bytes:
    """All text of an array in one, which is searched far faster than each value by itself."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return b""
    ends = memoryview(offsets).cast("i")
    start, end = ends[array.offset], ends[array.offset + len(array)]
    found: bytes = data.slice(start, end - start).to_pybytes()
    return found


def _refuse_unless(ok: bool, message: str) -> None:
    if not ok:
        raise UnfitError(message)


def _all(condition: pa.Array) -> bool:
    return pc.all(condition).as_py() is not False


def _to_string(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(array.type):
        # Arrow would spell small decimals with an exponent.
        return pa.array([None if v is None else f"{v:f}" for v in array.to_pylist()], target)
    if pa.types.is_temporal(array.type):
        _check_range(array)  # Arrow spells what is infinite as a value of its own
    return pc.cast(array, target)


def _to_integer(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(array.type):
        message = "a truth value is not a number"
        raise NeverFitsError(message)
    # Arrow reads hexadecimal and spaces too, but of these characters only whole numbers.
    if pa.types.is_string(array.type) and _characters(array).translate(None, b"-0123456789"):
        plain = _all(pc.match_substring_regex(array, r"^[+-]?[0-9]+$"))
        _refuse_unless(plain, "not a whole number")
        array = pc.utf8_ltrim(array, "+")
    return pc.cast(array, target)


def _to_decimal(array: pa.Array, target: pa.DataType) -> pa.Array:
    source = array.type
    if pa.types.is_boolean(source):
        message = "a truth value is not a number"
        raise NeverFitsError(message)
    if pa.types.is_decimal(source):
        return _rescaled(array, target)
    if pa.types.is_floating(source):
        array = _faithful(array)
    elif pa.types.is_integer(source):
        # The direct cast asks for room for any 64-bit number, whatever the values are.
        array = pc.cast(array, pa.string())
    if not pa.types.is_string(array.type):
        message = "not a number"
        raise NeverFitsError(message)
    return pc.cast(_in_reach(_without_exponents(array), target), target)


def _rescaled(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Decimals in another scale; see :func:`_in_reach` for why Arrow is not trusted here."""
    found = pc.min_max(array)
    ends = [end for end in (found["min"].as_py(), found["max"].as_py()) if end is not None]
    room = 10 ** (target.precision - target.scale)
    # Not abs(): it rounds to the 28 digits of Python's decimal context.
    _refuse_unless(all(end.copy_abs() < room for end in ends), "")
    return pc.cast(array, target)


def _in_reach(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Numbers as text, with no more digits than Arrow reads rightly.

    Arrow multiplies into the new scale without looking, so what has left its 128 or 256 bits may
    pass for another number; and it drops digits further behind the point than it can divide by.
    """
    longest = pc.max(pc.binary_length(array)).as_py() or 0
    if longest + target.scale <= (_DIGITS_128 if target.bit_width == 128 else _DIGITS_256):
        return array
    parts = pc.extract_regex(array, r"^(?P<sign>[+-]?)0*(?P<whole>[0-9]*)\.?(?P<part>[0-9]*?)0*$")
    _refuse_unless(parts.null_count == array.null_count, "")
    sign, whole, part = parts.flatten()
    _refuse_unless(
        _all(pc.less_equal(pc.utf8_length(whole), target.precision - target.scale))
        and _all(pc.less_equal(pc.utf8_length(part), target.scale)),
        "",
    )
    # The zero stands in for an empty whole part, as in .5; it changes no number.
    return pc.binary_join_element_wise(
        sign, pc.binary_join_element_wise("0", whole, ""), ".", part, ""
    )


def _without_exponents(array: pa.Array) -> pa.Array:
    characters = _characters(array)
    if b"e" not in characters and b"E" not in characters:
        return array
    return pa.array([_plainly(text) for text in array.to_pylist()], pa.string())


def _plainly(text: str | None) -> str | None:
    if text is None or "e" not in text.lower():
        return text
    try:
        number = Decimal(text)
    except ArithmeticError:
        return text
    return f"{number:f}" if abs(number.adjusted()) <= _DIGITS_256 else text


def _faithful(array: pa.Array) -> pa.Array:
    """Floats as text, if their shortest spelling can be trusted as a decimal."""
    text = pc.cast(array, pa.string())
    digits = pc.replace_substring_regex(text, r"e.*$", "")
    digits = pc.replace_substring(digits, ".", "")
    digits = pc.utf8_rtrim(pc.replace_substring_regex(digits, r"^-?0*", ""), "0")
    few = _all(pc.less_equal(pc.utf8_length(digits), _FAITHFUL_DIGITS))
    _refuse_unless(few, "a binary float with more than 15 digits is not exact")
    return text


def _to_float(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(array.type):
        message = "a truth value is not a number"
        raise NeverFitsError(message)
    if pa.types.is_decimal(array.type):
        array = _to_string(array, pa.string())
    if pa.types.is_float32(array.type) and not pa.types.is_float32(target):
        # By its shortest digits, as databases print it: 0.1, not 0.10000000149011612.
        return pc.cast(pc.cast(array, pa.string()), target)
    converted = pc.cast(array, target)
    if pa.types.is_string(array.type):
        spelled = pc.match_substring_regex(array, r"^[+-]?(?i:inf|infinity)$")
        _refuse_unless(_all(pc.equal(pc.is_inf(converted), spelled)), "too large for a float")
    return converted


def _to_boolean(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_integer(array.type):
        ok = _all(pc.is_in(array, value_set=pa.array([0, 1, None], array.type)))
        _refuse_unless(ok, "neither 0 nor 1")
    elif not (pa.types.is_boolean(array.type) or pa.types.is_string(array.type)):
        message = "not a truth value"
        raise NeverFitsError(message)
    return pc.cast(array, target)


def _to_date(array: pa.Array, target: pa.DataType) -> pa.Array:
    _refuse_numbers(array)
    converted = pc.cast(array, target)
    if pa.types.is_timestamp(array.type):
        midnight = pc.equal(pc.cast(converted, array.type), array)
        _refuse_unless(_all(midnight), "it has a time of day")
    return converted


def _to_time(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_string(array.type):
        array = _to_microseconds(array, "23:59:59.999999")
        array = pc.cast(pc.binary_join_element_wise("1970-01-01", array, " "), pa.timestamp("us"))
    elif not pa.types.is_time(array.type):
        message = "not a time of day"
        raise NeverFitsError(message)
    return pc.cast(array, target)


def _to_timestamp(array: pa.Array, target: pa.TimestampType) -> pa.Array:
    _refuse_numbers(array)
    if pa.types.is_string(array.type):
        array = _to_microseconds(array, "9999-12-31 23:59:59.999999")
        if target.tz is not None:
            return _to_instants(array, target)
    if pa.types.is_timestamp(array.type) and array.type.tz is not None and target.tz is None:
        message = "an instant is not a timestamp without a zone"
        raise NeverFitsError(message)
    return pc.cast(array, target)


def _to_microseconds(array: pa.Array, longest: str) -> pa.Array:
    """Times as text without zeros behind the sixth digit.

    Some databases count to 100 nanoseconds and spell it; what is not zero there does not fit.
    ``longest`` is a text of microseconds: shorter ones need no look.
    """
    if (pc.max(pc.utf8_length(array)).as_py() or 0) <= len(longest):
        return array
    return pc.replace_substring_regex(array, r"(\.[0-9]{6})0+", r"\1")


def _to_instants(array: pa.Array, target: pa.TimestampType) -> pa.Array:
    if any(pc.any(pc.match_substring(array, spaced)).as_py() for spaced in (" +", " -")):
        array = pc.replace_substring_regex(array, r"([0-9]) ([+-][0-9]{2}:[0-9]{2})$", r"\1\2")
    zoned = pc.match_substring_regex(array, r"[0-9](Z|[+-][0-9]{2}(:?[0-9]{2})?)$")
    # A date alone ends like an offset: 2026-01-05.
    zoned = pc.and_(zoned, pc.match_substring(array, ":"))
    with_zone = pc.cast(pc.if_else(zoned, array, None), target)
    without = pc.cast(pc.if_else(zoned, None, array), pa.timestamp(target.unit))
    return pc.coalesce(with_zone, pc.cast(without, target))


def _refuse_numbers(array: pa.Array) -> None:
    if pa.types.is_primitive(array.type) and not pa.types.is_temporal(array.type):
        message = "a number is not a date"
        raise NeverFitsError(message)


def _to_binary(array: pa.Array, target: pa.DataType) -> pa.Array:
    return pc.cast(array, target)


def _check_range(array: pa.Array) -> None:
    """Keep out dates beyond the years 1 to 9999: also how infinity arrives from a database."""
    kind = array.type
    if pa.types.is_timestamp(kind):
        low, high, numbers = _FIRST_DAY * _DAY_US, (_LAST_DAY + 1) * _DAY_US - 1, pa.int64()
    elif pa.types.is_date32(kind):
        low, high, numbers = _FIRST_DAY, _LAST_DAY, pa.int32()
    elif pa.types.is_time64(kind):
        low, high, numbers = 0, _DAY_US - 1, pa.int64()
    else:
        return
    found = pc.min_max(array.view(numbers))
    least, most = found["min"].as_py(), found["max"].as_py()
    if least is not None and not (low <= least and most <= high):
        raise UnfitError("24:00 is not a time of day" if pa.types.is_time64(kind) else NO_DAY)


_CONVERTERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[..., pa.Array]], ...] = (
    (pa.types.is_string, _to_string),
    (pa.types.is_integer, _to_integer),
    (pa.types.is_decimal, _to_decimal),
    (pa.types.is_floating, _to_float),
    (pa.types.is_boolean, _to_boolean),
    (pa.types.is_date, _to_date),
    (pa.types.is_time, _to_time),
    (pa.types.is_timestamp, _to_timestamp),
    (pa.types.is_binary, _to_binary),
)
