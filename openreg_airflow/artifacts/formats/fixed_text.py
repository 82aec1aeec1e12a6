"""Columns of values as columns of text of one width: aligned, padded, with implied decimals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.values import value_format
from openreg_airflow.artifacts.values.value_format import Fixed
from openreg_airflow.artifacts.values.value_text import (
    UnwritableValueError,
    is_number,
    is_text,
    text_of,
)

if TYPE_CHECKING:
    from openreg_airflow.artifacts.formats.fixed_spec import FixedFieldBase

#: The last digit with the sign in it, as COBOL's zoned decimals are printed.
_POSITIVE, _NEGATIVE = "{ABCDEFGHI", "}JKLMNOPQR"
_CONTROL = "[\x00-\x1f\x7f-\x9f]"


def set_into_place(field: FixedFieldBase, values: pa.Array) -> pa.StringArray:
    """The text of each value, exactly as wide as the field; NULL stays NULL.

    Raises:
        UnwritableValueError: a value is too long, is negative where there is no place for a sign,
            or does not fit its format.
    """
    if pa.types.is_null(values.type):  # a column of only NULLs has no other type
        return pa.nulls(len(values), pa.string())
    if is_number(values.type):
        return _number(field, values)
    if field.decimals is not None or field.sign != "none":
        message = f"decimals and sign are for numbers, the column holds {values.type}"
        raise UnwritableValueError(message)
    text = text_of(values, value_format.parse(field.format))
    if is_text(values.type):
        _refuse_control(text)
        if field.truncate:
            text = pc.utf8_slice_codeunits(text, 0, field.width)
    _refuse_longer(text, field.width, text)
    fill = pc.utf8_lpad if field.align == "right" else pc.utf8_rpad
    return fill(text, field.width, field.pad or " ")


def _number(field: FixedFieldBase, values: pa.Array) -> pa.StringArray:
    _refuse_false_digits(field)
    decimals = field.decimals
    form = value_format.parse(field.format) if decimals is None else Fixed(decimals)
    text = text_of(values, form)
    if decimals is None and not field.format and not field.decimal_mark:
        _refuse_decimals(text)
    negative = pc.starts_with(text, "-")
    digits = pc.ascii_ltrim(text, "-")
    if field.decimal_mark != ".":
        digits = pc.replace_substring(digits, ".", field.decimal_mark)
    if field.sign == "none" and (row := pc.index(negative, True).as_py()) >= 0:
        message = f"{text[row]} is negative, and the field has no place for a sign"
        raise UnwritableValueError(message, row)
    signed = field.sign in ("leading", "trailing")
    # A plus that is nothing leaves its place to the digits.
    room = field.width - (1 if signed and field.plus else 0)
    _refuse_longer(digits, room, text)
    if signed and not field.plus:
        _refuse_longer(pc.if_else(negative, text, digits), field.width, text)
    if field.sign == "overpunch":
        digits = _overpunched(digits, negative)
    return _signed(field, digits, negative, room)


def _refuse_false_digits(field: FixedFieldBase) -> None:
    """Make sure that what fills the field is not read as a part of the number.

    Raises:
        UnwritableValueError: it is: only zeros before a number leave it as it is.
    """
    pad = field.pad or ""
    if pad.isdigit() and (pad != "0" or field.align == "left"):
        side = "behind" if field.align == "left" else "before"
        message = f"pad {pad!r} {side} a number would make another number of it"
        raise UnwritableValueError(message)


def _signed(
    field: FixedFieldBase, digits: pa.StringArray, negative: pa.BooleanArray, room: int
) -> pa.StringArray:
    right = field.align != "left"
    pad = field.pad or ("0" if right else " ")
    fill = pc.utf8_lpad if right else pc.utf8_rpad
    if field.sign not in ("leading", "trailing"):
        return fill(digits, field.width, pad)
    signs = pc.if_else(negative, "-", field.plus)
    leading = field.sign == "leading"
    if pad == "0":
        # Zeros stand between a leading sign and the digits; without a plus they take its place.
        wide = fill(digits, room, pad)
        if not field.plus:
            wide = pc.if_else(negative, fill(digits, room - 1, pad), wide)
        parts = (signs, wide) if leading else (wide, signs)
        return pc.binary_join_element_wise(*parts, "")
    parts = (signs, digits) if leading else (digits, signs)
    return fill(pc.binary_join_element_wise(*parts, ""), field.width, pad)


def _overpunched(digits: pa.StringArray, negative: pa.BooleanArray) -> pa.StringArray:
    last = pc.utf8_slice_codeunits(digits, -1, None)
    place = pc.cast(last, pa.int8())
    plus, minus = (pc.take(pa.array(list(letters)), place) for letters in (_POSITIVE, _NEGATIVE))
    signs = pc.if_else(negative, minus, plus)
    return pc.binary_join_element_wise(pc.utf8_slice_codeunits(digits, 0, -1), signs, "")


def _refuse_longer(text: pa.StringArray, width: int, shown: pa.StringArray) -> None:
    longer = pc.greater(pc.utf8_length(text), width)
    if (row := pc.index(longer, True).as_py()) >= 0:
        message = f"{shown[row].as_py()!r} is longer than the {width} characters of its field"
        raise UnwritableValueError(message, row)


def _refuse_decimals(text: pa.StringArray) -> None:
    if (row := pc.index(pc.match_substring(text, "."), True).as_py()) >= 0:
        message = f"{text[row]} has decimals, and the field has none: set decimals"
        raise UnwritableValueError(message, row)


def _refuse_control(text: pa.StringArray) -> None:
    control = pc.match_substring_regex(text, _CONTROL)
    if (row := pc.index(control, True).as_py()) >= 0:
        message = f"{text[row].as_py()!r} holds a control character, which would break the record"
        raise UnwritableValueError(message, row)
