"""Constants of the language as SQL."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from openreg_airflow.language.types import (
    BOOLEAN,
    MAX_DIGITS,
    NONE,
    STRING,
    Type,
)
from openreg_airflow.language.value import Value
from openreg_airflow.sql_quoting import quoted

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from openreg_airflow.language.fault import ExpressionError


def constant(
    node: ast.Constant, source: Callable[[ast.AST], str], fault: Callable[..., ExpressionError]
) -> Value:
    """The SQL of a constant; a number with a point is a decimal, taken as it is written.

    Raises:
        ExpressionError: a kind of constant that the language does not have, or too many digits.
    """
    value = node.value
    if value is None:
        return Value("NULL", NONE, node)
    if isinstance(value, bool):
        return Value("true" if value else "false", BOOLEAN, node)
    if isinstance(value, str):
        if "\x00" in value:
            raise fault(node, "a text cannot hold the character NUL")
        return Value(quoted(value), STRING, node, literal=value)
    if isinstance(value, int):
        digits = len(str(abs(value))) if abs(value) < 10 ** (MAX_DIGITS + 1) else MAX_DIGITS + 1
        if digits > MAX_DIGITS:
            raise fault(node, f"a number has at most {MAX_DIGITS} digits")
        return Value(str(value), Type("integer", digits), node, literal=value)
    if isinstance(value, float):
        return _decimal(node, source(node), fault)
    kind = type(value).__name__
    raise fault(node, f"{kind} is not part of the language")


def _decimal(node: ast.Constant, source: str, fault: Callable[..., ExpressionError]) -> Value:
    try:
        exact = Decimal(source.replace("_", ""))
        _, digits, exponent = exact.as_tuple()
    except InvalidOperation as error:
        raise fault(node, f"{source} is not a number") from error
    scale = max(0, -int(exponent))
    width = max(len(digits) + max(0, int(exponent)), scale, 1)
    if width > MAX_DIGITS:
        raise fault(node, f"a number has at most {MAX_DIGITS} digits")
    sql = f"CAST({exact:f} AS DECIMAL({width},{scale}))"
    return Value(sql, Type("decimal", width, scale), node, literal=source)
