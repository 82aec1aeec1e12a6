"""A fault of an expression, with the character at which it stands."""

from __future__ import annotations

from openreg_airflow.errors import SpecError

_SHOWN = 100


class ExpressionError(SpecError):
    """An expression is refused.

    Args:
        message: what is wrong, without the place.
        text: the whole expression.
        line: 1-based line in the expression.
        column: 1-based character in that line.
        hint: what to write instead.
    """

    def __init__(
        self, message: str, *, text: str, line: int, column: int, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, where=f"line {line}, column {column}")
        self.line = line
        self.column = column
        self._text = text

    def pointed(self) -> str:
        """The faulty line of the expression, and a caret under the character."""
        lines = self._text.splitlines() or [""]
        line = lines[min(self.line, len(lines)) - 1]
        start = max(0, self.column - 1 - _SHOWN // 2)
        return f"{line[start : start + _SHOWN]}\n{' ' * (self.column - 1 - start)}^"
