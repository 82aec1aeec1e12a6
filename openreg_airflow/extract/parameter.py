"""A typed value of a query: a parameter that a spec declares, and how each type is written."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictInt, StrictStr, model_validator

from openreg_airflow.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable

#: A parameter's value, or one of the values of a list.
Value = date | Decimal | int | str

#: The integers of databases have at most 64 bits.
LONGEST_INTEGER = 2**63


def _no_float(value: Any) -> Any:
    """Keep a YAML number with a point out: it went through binary floating point already."""
    if isinstance(value, float):
        message = f"{value!r} is a binary number and not exact: put it in quotes"
        raise ValueError(message)
    if isinstance(value, bool) or not isinstance(value, str | int | date):
        message = f"{value!r} is not a value: write a date, a number or text"
        raise ValueError(message)
    return value


Scalar = Annotated[StrictInt | StrictStr | date, BeforeValidator(_no_float)]


class ParameterSpec(Section):
    """A typed value for a query, bound by the database's driver and never put into the text."""

    type: Literal["date", "decimal", "integer", "string"] = Field(
        description="The type under which the value is bound."
    )
    value: Scalar | None = Field(
        default=None, description="One value. A decimal is written in quotes: '1000.50'."
    )
    values: tuple[Scalar, ...] | None = Field(
        default=None, min_length=1, description="Several values, used as IN (:name)."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.value is None) == (self.values is None):
            message = "a parameter has either value or values"
            raise ValueError(message)
        self.bound()
        return self

    def bound(self) -> Value | tuple[Value, ...]:
        """The value, or the values of a list, in the declared type.

        Raises:
            ValueError: a value is not of the declared type.
        """
        if self.values is not None:
            return tuple(typed(self.type, value) for value in self.values)
        return typed(self.type, self.value)


def type_of(value: Value) -> Literal["date", "decimal", "integer", "string"]:
    """The declared type that a bound value has."""
    if isinstance(value, str):
        return "string"
    if isinstance(value, Decimal):
        return "decimal"
    return "integer" if isinstance(value, int) else "date"


def typed(kind: str, value: Any) -> Value:
    """A value as it is written in a spec, in a declared type.

    Raises:
        ValueError: it is not of that type.
    """
    try:
        return _CONVERSIONS[kind](value)
    except (ValueError, ArithmeticError) as error:
        message = f"{value!r} is not {_EXPECTED[kind]}"
        raise ValueError(message) from error


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        raise ValueError(value)
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _decimal(value: Any) -> Decimal:
    number = Decimal(str(value).strip())
    if not number.is_finite():
        raise ValueError(value)
    return number


def _integer(value: Any) -> int:
    number = int(str(value))
    if not -LONGEST_INTEGER <= number < LONGEST_INTEGER:
        raise ValueError(value)
    return number


def _string(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(value)
    return value


_CONVERSIONS: dict[str, Callable[[Any], Value]] = {
    "date": _date,
    "decimal": _decimal,
    "integer": _integer,
    "string": _string,
}
_EXPECTED = {
    "date": "a date; write it as YYYY-MM-DD",
    "decimal": "an exact number; write it in quotes, like '1000.50'",
    "integer": "a whole number of at most 64 bits",
    "string": "text; put it in quotes",
}
