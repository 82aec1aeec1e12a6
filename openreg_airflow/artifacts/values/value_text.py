"""Columns of values as columns of text, a whole batch at a time.

Nothing is rounded and nothing is lost silently: a value that its format cannot hold is an error.
"""

from __future__ import annotations

from decimal import Decimal
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.values.value_format import Fixed, Flags, Format, Pattern, Plain

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGITS_128, _DIGITS_256 = 38, 76
_TEXT_LENGTH = {"s": 19, "ms": 23, "us": 26, "ns": 29}
_SLICES = {"Y": (0, 4), "m": (5, 7), "d": (8, 10), "H": (11, 13), "M": (14, 16), "S": (17, 19)}
_FRACTIONS = {"3f": 3, "f": 6}


class UnwritableValueError(ValueError):
    """A value that cannot be written; ``row`` is its place in the batch, None for the column."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


def text_of(values: pa.Array, form: Format) -> pa.StringArray:
    """The text of each value; NULL stays NULL.

    Raises:
        UnwritableValueError: a value that the format cannot hold exactly, or a format that is
            not for values of this type.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
        kind = values.type
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.string())
    return _spell(form, values, kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text already."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type are numbers."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def joined_bytes(texts: pa.StringArray) -> memoryview:
    """All the texts one after the other in UTF-8, without a copy: Arrow keeps them that way."""
    _, offsets, values = texts.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)
    begin, end = bounds[texts.offset], bounds[texts.offset + len(texts)]
    return memoryview(values or b"")[begin:end]


class ByteSearch:
    """Tells fast whether any text of a column may hold one of some characters.

    Only the first byte of each character is looked for, so that a find may be a false alarm.
    """

    def __init__(self, characters: str) -> None:
        self._wanted = np.zeros(256, dtype=np.bool_)
        self._wanted[[character.encode()[0] for character in characters]] = True

    def finds(self, texts: pa.StringArray) -> bool:
        """Whether a character may be in one of the texts."""
        return bool(self._wanted[np.frombuffer(joined_bytes(texts), dtype=np.uint8)].any())


@singledispatch
def _spell(form: Format, values: pa.Array, kind: pa.DataType) -> pa.StringArray:
    raise NotImplementedError


@_spell.register
def _(form: Plain, values: pa.Array, kind: pa.DataType) -> pa.StringArray:  # noqa: ARG001
    if pa.types.is_string(kind):
        return values
    if is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pc.cast(values, pa.string())
    if pa.types.is_decimal(kind):
        return _trimmed(_decimal_text(values))
    if pa.types.is_floating(kind):
        return _float_text(values)
    if pa.types.is_date(kind):
        return _four_digit_years(pc.cast(pc.cast(values, pa.date32()), pa.string()), 10, values)
    if pa.types.is_time(kind):
        return pc.cast(values, pa.string())
    if pa.types.is_timestamp(kind):
        text = pc.binary_replace_slice(_instant_text(values), 10, 11, "T")
        return text if kind.tz is None else pc.binary_join_element_wise(text, "Z", "")
    message = f"{kind} has no text form"
    raise UnwritableValueError(message)


@_spell.register
def _(form: Fixed, values: pa.Array, kind: pa.DataType) -> pa.StringArray:
    if not is_number(kind):
        message = f"format .{form.decimals}f is for numbers, the column holds {kind}"
        raise UnwritableValueError(message)
    if pa.types.is_floating(kind):
        return _by_distinct(values, lambda value: _fixed(_float_digits(value), form.decimals))
    if pa.types.is_integer(kind):
        values = pc.cast(values, pa.decimal128(20, 0))
    kind = values.type
    digits = max(kind.precision - kind.scale, 1) + form.decimals
    # The new type has room for every value of the old one: Arrow rescales without looking whether
    # a number leaves its bits. What would be cut off behind the point, it refuses.
    if digits <= _DIGITS_256:
        wide = pa.decimal128 if digits <= _DIGITS_128 else pa.decimal256
        try:
            return _decimal_text(pc.cast(values, wide(digits, form.decimals)))
        except pa.ArrowInvalid:
            pass  # the value that does not fit is found below
    return _by_distinct(values, lambda value: _fixed(value, form.decimals))


@_spell.register
def _(form: Flags, values: pa.Array, kind: pa.DataType) -> pa.StringArray:
    if not pa.types.is_boolean(kind):
        message = f"format {form.true}/{form.false} is for booleans, the column holds {kind}"
        raise UnwritableValueError(message)
    return pc.if_else(values, form.true, form.false)


@_spell.register
def _(form: Pattern, values: pa.Array, kind: pa.DataType) -> pa.StringArray:
    known: set[str] = set()
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        known |= {"Y", "m", "d"}
    if pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        known |= {"H", "M", "S", "f", "3f"}
    if unknown := sorted(form.directives - known):
        message = f"a column of {kind} cannot be written with %{unknown[0]}"
        raise UnwritableValueError(message)
    shift = 0
    if pa.types.is_time(kind):
        text, shift = pc.cast(values, pa.string()), 11
    elif pa.types.is_date(kind):
        text = _spell(Plain(), values, kind)
    else:
        text = _instant_text(values)
    # Beyond the digits of the column's resolution there are only zeros.
    padded = pc.binary_join_element_wise(text, "" if "." in _first(text) else ".", "0" * 6, "")
    parts: list[pa.Array | str] = []
    for part in form.parts:
        if isinstance(part, str):
            parts.append(part)
        elif digits := _FRACTIONS.get(part[1]):
            parts.append(pc.utf8_slice_codeunits(padded, 20 - shift, 20 - shift + digits))
        else:
            start, stop = _SLICES[part[1]]
            parts.append(pc.utf8_slice_codeunits(text, start - shift, stop - shift))
    return pc.binary_join_element_wise(*parts, "")


def _first(text: pa.StringArray) -> str:
    valid = text.drop_null()
    return valid[0].as_py() if len(valid) else ""


def _instant_text(values: pa.Array) -> pa.StringArray:
    """``2026-01-05 09:00:00.123456``, in UTC when the values have a zone."""
    unit = values.type.unit
    # Without a zone the cast is ten times faster, and the count since 1970 is the same.
    naive = pc.cast(values, pa.int64()).cast(pa.timestamp(unit)) if values.type.tz else values
    return _four_digit_years(pc.cast(naive, pa.string()), _TEXT_LENGTH[unit], values)


def _four_digit_years(text: pa.StringArray, length: int, values: pa.Array) -> pa.StringArray:
    odd = pc.fill_null(pc.not_equal(pc.binary_length(text), length), False)
    row = pc.index(odd, pa.scalar(True)).as_py()
    if row < 0:
        return text
    message = f"{text[row].as_py()} is outside the years 0001 to 9999 ({values.type})"
    raise UnwritableValueError(message, row)


def _decimal_text(values: pa.Array) -> pa.StringArray:
    if values.type.scale < 0:
        values = pc.cast(values, pa.decimal256(76, 0))
    text = pc.cast(values, pa.string())
    # Arrow spells small numbers, and zero with seven decimals or more, with an exponent.
    exponent = pc.match_substring(text, "E")
    if not pc.any(exponent).as_py():
        return text
    plain = _by_distinct(values.filter(exponent), lambda value: format(value, "f"))
    return pc.replace_with_mask(text, exponent, plain)


def _trimmed(text: pa.StringArray) -> pa.StringArray:
    if "." not in _first(text):
        return text
    return pc.ascii_rtrim(pc.ascii_rtrim(text, characters="0"), characters=".")


def _float_text(values: pa.Array) -> pa.StringArray:
    text = pc.cast(values, pa.string())
    if not pc.any(pc.match_substring_regex(text, "[a-z]|^-0$")).as_py():
        return text
    return _by_distinct(values, lambda value: _plain(_float_digits(value)))


def _float_digits(value: float) -> Decimal:
    """The shortest decimal that reads back as the same binary number."""
    digits = Decimal(repr(value))
    if not digits.is_finite():
        message = f"{value} is not a number that can be reported"
        raise UnwritableValueError(message)
    return digits if digits else Decimal(0)


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _fixed(value: Decimal, decimals: int) -> str:
    whole, _, fraction = _plain(value).partition(".")
    if len(fraction) > decimals:
        message = f"{_plain(value)} has more than {decimals} decimals and is not rounded"
        raise UnwritableValueError(message)
    return f"{whole}.{fraction.ljust(decimals, '0')}" if decimals else whole


def _by_distinct(values: pa.Array, spell: Callable[[Any], str]) -> pa.StringArray:
    """Spell each different value once in Python; the error of a value says its row."""
    encoded = values.dictionary_encode()
    texts: list[str] = []
    for code, value in enumerate(encoded.dictionary.to_pylist()):
        try:
            texts.append(spell(value))
        except UnwritableValueError as error:
            error.row = pc.index(encoded.indices, pa.scalar(code, pa.int32())).as_py()
            raise
    return pa.DictionaryArray.from_arrays(
        encoded.indices, pa.array(texts, pa.string())
    ).dictionary_decode()
