"""PostgreSQL's binary NUMERIC into Arrow decimals, a whole column at once.

A value is a sequence of 16-bit words in network order: the count of digits, the weight of the
first digit, the sign, the scale for display, and the digits themselves, each 0 to 9999; the
value is the sum of digit * 10000 ** (weight - index). See ``numeric_send`` in
src/backend/utils/adt/numeric.c of PostgreSQL.

Values of one length and weight are computed together, so the cost is a few machine instructions a
digit instead of a parsed string a value.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint16]

#: More digits than this may leave 64 bits.
MOST_DIGITS = 18

_HEADER = 4
_NEGATIVE = 0x4000
_POWERS = np.array([10**exponent for exponent in range(MOST_DIGITS + 1)], np.int64)
_SPECIAL = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
#: Counts and weights of values of so few digits are far smaller.
_MOST_WORDS = 32


def decimals(array: pa.BinaryArray, precision: int, scale: int) -> pa.Array:
    """Read a column of binary NUMERIC values.

    Args:
        array: the values as PostgreSQL sends them; null where there is none.
        precision: digits of the column, at most :data:`MOST_DIGITS`.
        scale: how many of them are behind the point.

    Returns:
        Decimals of that precision and scale. If one value is none (NaN, infinity) or has more
        digits, all values as text instead, exactly: whoever converts them on finds it.
    """
    found = _unscaled(array, scale)
    if found is None or (np.abs(found) >= _POWERS[precision]).any():
        return pa.array([None if v is None else text(v) for v in array.to_pylist()], pa.string())
    both = np.empty((len(array), 2), np.int64)
    both[:, 0] = found
    both[:, 1] = found >> 63  # the upper half of the 128 bits carries on the sign
    validity = array.is_valid().buffers()[1] if array.null_count else None
    return pa.Array.from_buffers(
        pa.decimal128(precision, scale), len(array), [validity, pa.py_buffer(both)]
    )


def _unscaled(array: pa.BinaryArray, scale: int) -> Numbers | None:
    """The values times 10 ** scale; None if one of them is not a whole number then."""
    out = np.zeros(len(array), np.int64)
    present = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))
    if not len(present):
        return out
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[array.offset :]
    words = np.frombuffer(data, ">u2").astype(np.uint16)
    starts = offsets[present].astype(np.int64) >> 1
    counts, signs = words[starts].astype(np.int64), words[starts + 2]
    weights = words[starts + 1].astype(np.int16).astype(np.int64)
    if (signs & ~np.uint16(_NEGATIVE)).any():
        return None
    if (counts >= _MOST_WORDS).any() or (np.abs(weights) >= _MOST_WORDS).any():
        return None
    values = np.zeros(len(present), np.int64)
    kinds = counts * (2 * _MOST_WORDS) + weights + _MOST_WORDS
    for kind in np.flatnonzero(np.bincount(kinds)):
        count, weight = divmod(int(kind), 2 * _MOST_WORDS)
        rows = np.flatnonzero(kinds == kind)
        summed = _sum(words, starts[rows] + _HEADER, count, weight - _MOST_WORDS, scale)
        if summed is None:
            return None
        values[rows] = summed
    np.negative(values, out=values, where=signs == _NEGATIVE)
    out[present] = values
    return out


def _sum(words: Words, digits: Numbers, count: int, weight: int, scale: int) -> Numbers | None:
    """Sum the digits of values that have the same count and weight."""
    total: Numbers = np.zeros(len(digits), np.int64)
    for index in range(count):
        exponent = (weight - index) * 4 + scale
        digit = words[digits + index].astype(np.int64)
        if exponent > MOST_DIGITS - 4:
            if exponent > MOST_DIGITS or (digit >= _POWERS[MOST_DIGITS - exponent]).any():
                return None
            total += digit * _POWERS[exponent]
        elif exponent >= 0:
            total += digit * _POWERS[exponent]
        else:
            whole, rest = np.divmod(digit, _POWERS[min(-exponent, 4)])
            if rest.any():
                return None
            total += whole
    return total


def text(value: bytes) -> str:
    """One binary NUMERIC as PostgreSQL spells it."""
    words = np.frombuffer(value, ">u2")
    count, sign, places = int(words[0]), int(words[2]), int(words[3])
    weight = int(words[1].astype(np.int16))
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    digits = [int(word) for word in words[_HEADER : _HEADER + count]]
    before = [digits[i] if i < count else 0 for i in range(weight + 1)]
    whole = "".join(f"{digit:04d}" for digit in before).lstrip("0") or "0"
    groups = range(weight + 1, weight + 1 + (places + 3) // 4)
    behind = "".join(f"{digits[i] if 0 <= i < count else 0:04d}" for i in groups)[:places]
    return f"{'-' if sign == _NEGATIVE else ''}{whole}{'.' if behind else ''}{behind}"
