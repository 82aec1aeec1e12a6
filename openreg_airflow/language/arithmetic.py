"""Exact arithmetic and comparisons: which types go together, and the SQL of each operator."""

from __future__ import annotations

from openreg_airflow.language.types import (
    ANY,
    DATE,
    FLOAT,
    INTEGER,
    MAX_DIGITS,
    STRING,
    Type,
    common,
    decimal,
)

#: Digits after the point of a quotient, unless the dividend has more.
QUOTIENT_SCALE = 12
_OPERATORS = {"+": "+", "-": "-", "*": "*", "/": "/", "//": "//", "%": "%"}
_DATED = ("date", "timestamp", "timestamp_utc")


class MismatchError(Exception):
    """The types do not go together; the text says why, ``hint`` what to write."""

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.hint = hint


def combined(sign: str, left: tuple[str, Type], right: tuple[str, Type]) -> tuple[str, Type]:
    """The SQL and the type of ``left sign right``.

    Raises:
        MismatchError: the operator does not know these types, or the result has too many digits.
    """
    (a, one), (b, two) = left, right
    kinds = (one.kind, two.kind)
    if "none" in kinds:
        message = f"{sign} cannot be used with None"
        raise MismatchError(message)
    if sign == "+" and kinds == ("string", "string"):
        return f"({a} || {b})", STRING
    if dated := _dated(sign, left, right):
        return dated
    if "any" in kinds:
        other = two if one.kind == "any" else one
        if other.kind in ("any", "integer", "decimal", "float", "string", *_DATED):
            return f"({a} {_OPERATORS[sign]} {b})", ANY
    if not (one.number and two.number):
        hint = "A date plus a number of days is a date." if set(kinds) & set(_DATED) else None
        message = f"{one} {sign} {two} is not defined"
        raise MismatchError(message, hint)
    if "float" in kinds:
        return _floating(sign, left, right)
    return _exact(sign, left, right)


def _dated(sign: str, left: tuple[str, Type], right: tuple[str, Type]) -> tuple[str, Type] | None:
    (a, one), (b, two) = left, right
    if one == two == DATE and sign == "-":
        return f"CAST({a} - {b} AS BIGINT)", INTEGER
    if one == DATE and two.kind == "integer" and sign in "+-":
        return f"CAST({a} {sign} CAST({b} AS INTEGER) AS DATE)", DATE
    if one.kind == "integer" and two == DATE and sign == "+":
        return f"CAST({b} + CAST({a} AS INTEGER) AS DATE)", DATE
    if one.kind == two.kind and one.kind in _DATED and sign == "-":
        message = f"{one} - {two} is not defined"
        raise MismatchError(message, "Write seconds_between(earlier, later).")
    return None


def _floating(sign: str, left: tuple[str, Type], right: tuple[str, Type]) -> tuple[str, Type]:
    for _, kind in (left, right):
        if kind.kind == "decimal":
            message = f"{left[1]} {sign} {right[1]} would not be exact"
            hint = "Declare the column as decimal, or write float(x) to accept that."
            raise MismatchError(message, hint)
    if sign in ("//", "%"):
        message = f"{sign} is not defined for float"
        raise MismatchError(message)
    return f"(CAST({left[0]} AS DOUBLE) {sign} CAST({right[0]} AS DOUBLE))", FLOAT


def _exact(sign: str, left: tuple[str, Type], right: tuple[str, Type]) -> tuple[str, Type]:
    (a, one), (b, two) = left, right
    whole = (one.digits - one.scale, two.digits - two.scale)
    if sign in ("//", "%"):
        if one.kind != "integer" or two.kind != "integer":
            message = f"{one} {sign} {two} is not defined"
            raise MismatchError(message, f"{sign} is for integers; see floor(x) and round(x, n).")
        name = "openreg_floor_quotient" if sign == "//" else "openreg_floor_remainder"
        return f"{name}(CAST({a} AS HUGEINT), CAST({b} AS HUGEINT))", Type("integer", one.digits)
    if sign == "/":
        return _quotient(left, right)
    if one.kind == two.kind == "integer":
        digits = sum(whole) if sign == "*" else max(whole) + 1
        sql = f"(CAST({a} AS HUGEINT) {sign} CAST({b} AS HUGEINT))"
        return sql, Type("integer", min(digits, MAX_DIGITS))
    if sign == "*":
        scale = one.scale + two.scale
        if scale > MAX_DIGITS:
            message = f"{one} * {two} has {scale} digits after the point; 38 is the most"
            raise MismatchError(message, "Round one of them: round(x, 10).")
        # Wide operands, so that only a result of more than 38 digits overflows.
        return f"({_wide(left)} * {_wide(right)})", decimal(sum(whole), scale)
    result = decimal(max(whole) + 1, max(one.scale, two.scale))
    return f"(CAST({a} AS {result.sql}) {sign} CAST({b} AS {result.sql}))", result


def _quotient(left: tuple[str, Type], right: tuple[str, Type]) -> tuple[str, Type]:
    """Both as whole numbers, the dividend with so many zeros more as the quotient has digits."""
    one, two = left[1], right[1]
    scale = max(QUOTIENT_SCALE, one.scale - two.scale)
    shift = scale + two.scale
    if shift + one.digits - one.scale > MAX_DIGITS + 1:
        # A run fails with an overflow only if a value really has that many digits.
        scale = max(one.scale - two.scale, 2)
        shift = scale + two.scale
    dividend = f"CAST({_wide(left)} * {_power(shift)} AS HUGEINT)"
    divisor = f"CAST({_wide(right)} * {_power(two.scale)} AS HUGEINT)"
    whole = f"CAST(openreg_quotient({dividend}, {divisor}) AS DECIMAL(38,0))"
    unit = "1" if not scale else f"0.{'0' * (scale - 1)}1"
    sql = f"({whole} * CAST({unit} AS DECIMAL({scale + 1},{scale})))"
    return sql, Type("decimal", MAX_DIGITS, scale)


def _power(exponent: int) -> str:
    return f"CAST(1{'0' * exponent} AS DECIMAL({MAX_DIGITS},0))"


def _wide(value: tuple[str, Type]) -> str:
    sql, kind = value
    return f"CAST({sql} AS DECIMAL({MAX_DIGITS},{kind.scale}))"


def as_decimal(value: tuple[str, Type]) -> str:
    """An exact number as a decimal."""
    sql, kind = value
    return sql if kind.kind == "decimal" else f"CAST({sql} AS DECIMAL({kind.digits},0))"


def comparable(one: Type, two: Type) -> str | None:
    """None when values of the types can be compared, otherwise what to write instead."""
    kinds = {one.kind, two.kind}
    if "other" in kinds:
        return "Values of this type cannot be used in a condition."
    if common(one, two) is not None or (one.number and two.number):
        return None
    if "string" in kinds and kinds & {"date"}:
        return 'A date is written date("2026-01-31").'
    if "string" in kinds and kinds & {"timestamp", "timestamp_utc"}:
        return 'An instant is written timestamp_utc("2026-01-31T12:00:00Z").'
    if "date" in kinds and kinds & {"timestamp", "timestamp_utc"}:
        return "date(x) is the day of an instant in UTC."
    if "string" in kinds and (one.number or two.number):
        return "decimal(x, scale) reads a number from text."
    return "Both sides must be of one type."
