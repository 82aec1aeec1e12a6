"""Columns of values as cells of an Excel sheet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.values import field_error, value_format
from openreg_airflow.artifacts.values.value_format import Fixed
from openreg_airflow.artifacts.values.value_text import UnwritableValueError, is_number, text_of

if TYPE_CHECKING:
    from openreg_airflow.artifacts.formats.excel_spec import ExcelColumn

Kind = Literal["number", "text", "boolean", "date"]

_MOST_DIGITS = 15
_MOST_CHARACTERS = 32_767
#: Before it, Excel counts a day that never was: 29 February 1900.
_FIRST_DAY = date(1900, 3, 1)
_CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
_EPOCH = date(1899, 12, 30)


@dataclass(frozen=True)
class Cells:
    """The cells of a column of a batch; None stays empty."""

    kind: Kind
    values: list[Any]


def kind_of(column: ExcelColumn, kind: pa.DataType) -> Kind:
    """What the cells of a column are."""
    if is_number(kind):
        return "text" if column.as_text else "number"
    if pa.types.is_boolean(kind) and not column.format:
        return "boolean"
    if pa.types.is_date(kind) and not column.format:
        return "date"
    return "text"


def number_format(column: ExcelColumn, kind: pa.DataType) -> str:
    """Excel's format of the cells of a column; empty for the usual one."""
    form = value_format.parse(column.format)
    if kind_of(column, kind) == "number" and isinstance(form, Fixed):
        return "0." + "0" * form.decimals if form.decimals else "0"
    return "yyyy-mm-dd" if kind_of(column, kind) == "date" else ""


def of(column: ExcelColumn, values: pa.Array) -> Cells:
    """The cells of a column.

    Raises:
        UnwritableValueError: a value that Excel, or the column's format, cannot carry.
    """
    if column.required:
        field_error.refuse_null(values)
    kind = kind_of(column, values.type)
    if kind == "boolean":
        return Cells(kind, values.to_pylist())
    if kind == "date":
        return Cells(kind, _days(values))
    texts = text_of(values, value_format.parse(column.format))
    if kind == "number":
        _refuse_long_numbers(texts)
        return Cells(kind, [None if text is None else float(text) for text in texts.to_pylist()])
    _refuse(
        texts,
        pc.greater(pc.utf8_length(texts), _MOST_CHARACTERS),
        f"is longer than the {_MOST_CHARACTERS} characters of a cell",
    )
    _refuse(
        texts,
        pc.match_substring_regex(texts, _CONTROL),
        "holds a control character, which Excel cannot carry",
    )
    return Cells(kind, texts.to_pylist())


def _days(values: pa.Array) -> list[int | None]:
    days = values.to_pylist()
    for row, day in enumerate(days):
        if day is not None and day < _FIRST_DAY:
            message = f"{day} is before {_FIRST_DAY}, where Excel's calendar begins to be right"
            raise UnwritableValueError(message, row)
    return [None if day is None else (day - _EPOCH).days for day in days]


def _refuse_long_numbers(texts: pa.StringArray) -> None:
    digits = pc.replace_substring(pc.ascii_ltrim(texts, "-"), ".", "")
    # Only numbers that are long as they are written can have too many digits that count.
    for row in pc.indices_nonzero(pc.greater(pc.utf8_length(digits), _MOST_DIGITS)).to_pylist():
        significant = "".join(map(str, Decimal(texts[row].as_py()).normalize().as_tuple().digits))
        if len(significant) > _MOST_DIGITS:
            message = (
                f"{texts[row]} has more than the {_MOST_DIGITS} digits that Excel holds; "
                "write it as_text"
            )
            raise UnwritableValueError(message, row)


def _refuse(texts: pa.StringArray, where: pa.BooleanArray, why: str) -> None:
    if (row := pc.index(where, True).as_py()) >= 0:
        shown = texts[row].as_py()
        shown = shown if len(shown) < 40 else shown[:40] + "..."
        message = f"{shown!r} {why}"
        raise UnwritableValueError(message, row)
