"""Decimals as SQLite's numbers: an integer of 64 bits, or a binary float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.parameter import LONGEST_INTEGER

if TYPE_CHECKING:
    from decimal import Decimal

#: Decimal digits that any binary float keeps, however it is read from text.
KEPT_DIGITS = 15


def sqlite_number(name: str, value: Decimal, *, as_text: bool = False) -> int | float:
    """The number that SQLite has for a decimal parameter.

    Args:
        name: of the parameter, for the error.
        value: of it.
        as_text: SQLite itself reads the number from text, which is only sure to the last digit of
            those that each float keeps.

    Raises:
        SpecError: SQLite has none that is exactly this one.
    """
    if value == value.to_integral_value():
        number: int | float = int(value)
        exact = -LONGEST_INTEGER <= number < LONGEST_INTEGER
    else:
        number = float(value)
        digits = "".join(map(str, value.as_tuple().digits)).strip("0")
        exact = type(value)(repr(number)) == value
        exact = exact and not (as_text and len(digits) > KEPT_DIGITS)
    if not exact:
        message = f"the parameter :{name} = {value} has more digits than SQLite's numbers"
        hint = f"Use at most {KEPT_DIGITS} digits, or a string parameter."
        raise SpecError(message, hint=hint)
    return number
