"""A part of an expression on its way to SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast

    from openreg_airflow.language.types import Type


@dataclass(frozen=True)
class Value:
    """SQL with its type.

    Attributes:
        sql: an SQL expression that can stand anywhere without more parentheses.
        type: the type of its values.
        node: where it stands in the condition.
        literal: the constant, when it is one that was written down.
        columns: the columns that it reads.
    """

    sql: str
    type: Type
    node: ast.AST
    literal: str | int | None = None
    columns: frozenset[str] = field(default=frozenset())

    @property
    def is_literal(self) -> bool:
        """Whether the value was written down."""
        return self.literal is not None
