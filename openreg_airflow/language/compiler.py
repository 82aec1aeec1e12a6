"""Conditions become SQL: parsed by :mod:`ast`, and every node checked against a whitelist."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openreg_airflow.language.arithmetic import MismatchError, combined, comparable
from openreg_airflow.language.calls import Calls, calls
from openreg_airflow.language.constants import constant
from openreg_airflow.language.fault import ExpressionError
from openreg_airflow.language.types import (
    ANY,
    BOOLEAN,
    DATE,
    STRING,
    common,
)
from openreg_airflow.language.value import Value
from openreg_airflow.sql_quoting import named

if TYPE_CHECKING:
    from openreg_airflow.language.look_up import LookUp
    from openreg_airflow.language.scope import Scope

MAX_CHARACTERS = 10_000
MAX_DEPTH = 60
MAX_SQL = 500_000
BUSINESS_DATE = "business_date"
_MANUAL = "`openreg rules functions` prints what it has."

_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//",
          ast.Mod: "%"}  # fmt: skip
_COMPARISONS = {ast.Eq: "=", ast.NotEq: "<>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
                ast.GtE: ">="}  # fmt: skip
_BOOLEAN_ONLY = frozenset({"boolean", "any", "none"})


@dataclass(frozen=True)
class Condition:
    """A condition as SQL.

    Attributes:
        sql: a boolean expression over the columns of the table; NULL where it is unknown.
        columns: the columns of the table that it reads, in alphabetical order.
        joined: the same over the table with the columns of ``look_ups`` added.
        look_ups: what is looked up in mapping sets as of a date of the row; one that needs another
            comes after it.
    """

    sql: str
    columns: tuple[str, ...]
    joined: str = ""
    look_ups: tuple[LookUp, ...] = ()


def compile_condition(text: str, scope: Scope) -> Condition:
    """Check a condition and compile it.

    Raises:
        ExpressionError: with the character at which it is wrong.
    """
    compiler = _Compiler(text, scope)
    value = compiler.whole()
    columns = tuple(sorted(value.columns))
    if not compiler.look_ups:
        return Condition(value.sql, columns, value.sql)
    compiler = _Compiler(text, scope, joining=True)
    return Condition(value.sql, columns, compiler.whole().sql, tuple(compiler.look_ups))


class _Compiler(Calls):
    """One walk over one condition."""

    def __init__(self, text: str, scope: Scope, *, joining: bool = False) -> None:
        self.text = text
        self.scope = scope
        self.joining = joining
        self.look_ups = {}
        self.branches = []
        self._lines = text.splitlines()
        self._depth = 0

    def whole(self) -> Value:
        """The condition's SQL."""
        value = self.visit(self._parsed())
        if value.type.kind not in _BOOLEAN_ONLY:
            message = f"a condition is true or false, but this is {value.type}"
            raise self.fault(value.node, message, "Compare it with something.")
        return value

    def _parsed(self) -> ast.expr:
        if len(self.text) > MAX_CHARACTERS:
            message = f"the condition has {len(self.text):,} characters; 10,000 are the most"
            raise self._fault_at(1, 1, message, "Make several rules of it.")
        if not self.text.strip():
            raise self._fault_at(1, 1, "there is no condition")
        try:
            # Brackets let a condition go over several lines, as in a YAML block.
            tree = ast.parse(f"[\n{self.text}\n]", mode="eval")
        except SyntaxError as error:
            line = min(max((error.lineno or 2) - 1, 1), len(self._lines) or 1)
            end = len(self._lines[line - 1]) + 1 if self._lines else 1
            column = min(error.offset or 1, end) if (error.lineno or 2) - 1 == line else end
            said = re.sub(r" on line \d+", "", error.msg)
            message = f"this is not an expression in Python's syntax: {said}"
            raise self._fault_at(line, column, message) from error
        except (RecursionError, MemoryError, ValueError) as error:
            message = f"the condition cannot be read: {error or 'it is nested too deeply'}"
            raise self._fault_at(1, 1, message) from error
        if not (isinstance(tree.body, ast.List) and len(tree.body.elts) == 1):
            message = "a condition is one expression"
            raise self._fault_at(1, 1, message, "Write `and` between two conditions.")
        return tree.body.elts[0]

    def visit(self, node: ast.AST) -> Value:
        """The SQL of one node."""
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                message = f"the condition is nested more than {MAX_DEPTH} deep"
                raise self.fault(node, message, "Make several rules of it.")
            method = getattr(self, f"visit_{type(node).__name__.lower()}", None)
            if method is None:
                name = type(node).__name__
                raise self.fault(node, f"{name} is not part of the language", _MANUAL)
            value: Value = method(node)
            if len(value.sql) > MAX_SQL:
                raise self.fault(node, "the condition becomes too long", "Make it simpler.")
            return value
        finally:
            self._depth -= 1

    def visit_constant(self, node: ast.Constant) -> Value:
        """A number, a text, True, False or None."""
        return constant(node, self.source, self.fault)

    def visit_name(self, node: ast.Name) -> Value:
        """A column, or ``business_date``."""
        kind = self.scope.column(node.id)
        if node.id == BUSINESS_DATE and (kind is None or kind == ANY):
            return Value("CAST($business_date AS DATE)", DATE, node)
        return self.column(node, node.id)

    def column(self, node: ast.AST, name: str) -> Value:
        """A column of the table."""
        kind = self.scope.column(name)
        if kind is None:
            message = f"the table {self.scope.table} has no column {name!r}"
            raise self.fault(node, message, self.scope.near(name))
        return Value(named(name), kind, node, columns=frozenset({name}))

    def visit_boolop(self, node: ast.BoolOp) -> Value:
        """``and`` and ``or``, in SQL's three-valued logic."""
        word = "AND" if isinstance(node.op, ast.And) else "OR"
        values = [self._boolean(part, word.lower()) for part in node.values]
        sql = f"({f' {word} '.join(value.sql for value in values)})"
        return Value(sql, BOOLEAN, node, columns=_columns(*values))

    def visit_unaryop(self, node: ast.UnaryOp) -> Value:
        """``not``, and the sign of a number."""
        if isinstance(node.op, ast.Not):
            value = self._boolean(node.operand, "not")
            return Value(f"(NOT {value.sql})", BOOLEAN, node, columns=value.columns)
        value = self.visit(node.operand)
        if isinstance(node.op, ast.Invert) or not (value.type.number or value.type == ANY):
            raise self.fault(node, f"the sign is not defined for {value.type}")
        minus = isinstance(node.op, ast.USub)
        literal = -value.literal if minus and isinstance(value.literal, int) else value.literal
        sql = f"(-{value.sql})" if minus else value.sql
        return replace(value, sql=sql, node=node, literal=literal)

    def visit_binop(self, node: ast.BinOp) -> Value:
        """Arithmetic."""
        sign = _SIGNS.get(type(node.op))
        if sign is None:
            message = f"{type(node.op).__name__} is not part of the language"
            raise self.fault(node, message, "There are + - * / // and %.")
        left, right = self.visit(node.left), self.visit(node.right)
        try:
            sql, kind = combined(sign, (left.sql, left.type), (right.sql, right.type))
        except MismatchError as error:
            raise self.fault(node, str(error), error.hint) from error
        return Value(sql, kind, node, columns=_columns(left, right))

    def visit_compare(self, node: ast.Compare) -> Value:
        """Comparisons, which may be chained as in ``0 < x <= 10``."""
        parts: list[str] = []
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
            [looked_in] = node.comparators
            if calls(looked_in, "mapping"):
                found = self.in_mapping(node, node.left, looked_in)
                negated = isinstance(node.ops[0], ast.NotIn)
                return replace(found, sql=f"(NOT {found.sql})") if negated else found
        left = self.visit(node.left)
        columns = left.columns
        for sign, operand in zip(node.ops, node.comparators, strict=True):
            if isinstance(sign, ast.In | ast.NotIn):
                part = self.contained(node, left, operand)
                negated = isinstance(sign, ast.NotIn)
                parts.append(f"(NOT {part.sql})" if negated else part.sql)
                columns |= part.columns
                continue
            right = self.visit(operand)
            parts.append(self._compared(sign, left, right))
            columns |= right.columns
            left = right
        sql = parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"
        return Value(sql, BOOLEAN, node, columns=columns)

    def _compared(self, sign: ast.cmpop, left: Value, right: Value) -> str:
        none = "none" in (left.type.kind, right.type.kind)
        if isinstance(sign, ast.Is | ast.IsNot):
            if right.type.kind != "none":
                raise self.fault(right.node, "is compares with None only", "Write ==.")
            word = "IS NULL" if isinstance(sign, ast.Is) else "IS NOT NULL"
            return f"({left.sql} {word})"
        if none:
            at = right.node if right.type.kind == "none" else left.node
            raise self.fault(at, "nothing is equal to None", "Write `x is None`.")
        if hint := comparable(left.type, right.type):
            message = f"{left.type} cannot be compared with {right.type}"
            raise self.fault(right.node, message, hint)
        written = left.is_literal or right.is_literal
        if {left.type.kind, right.type.kind} == {"float", "decimal"} and not written:
            message = f"comparing {left.type} with {right.type} would not be exact"
            raise self.fault(right.node, message, "Write float(x) to accept that.")
        return f"({left.sql} {_COMPARISONS[type(sign)]} {right.sql})"

    def visit_ifexp(self, node: ast.IfExp) -> Value:
        """``a if c else b``; unknown when ``c`` is."""
        test = self._boolean(node.test, "if")
        yes = self._branch(node.body, test.sql)
        no = self._branch(node.orelse, f"NOT {test.sql}")
        kind = common(yes.type, no.type)
        if kind is None:
            message = f"the two results are {yes.type} and {no.type}"
            raise self.fault(node, message, "Both must be of one type.")
        sql = f"(CASE {test.sql} WHEN true THEN {yes.sql} WHEN false THEN {no.sql} END)"
        return Value(sql, kind, node, columns=_columns(test, yes, no))

    def _branch(self, node: ast.expr, condition: str) -> Value:
        self.branches.append(condition)
        value = self.visit(node)
        self.branches.pop()
        return value

    def visit_subscript(self, node: ast.Subscript) -> Value:
        """A part of a text: ``x[0]``, ``x[:2]``, ``x[2:6]``, ``x[-2:]``."""
        value = self.visit(node.value)
        if value.type.kind not in ("string", "any"):
            raise self.fault(node, f"a part of {value.type} cannot be taken")
        if not isinstance(node.slice, ast.Slice):
            at = self._index(node.slice)
            if at is None:
                raise self.fault(node.slice, "the index is missing")
            sql = f"substr({value.sql}, {at + 1 if at >= 0 else at}, 1)"
        else:
            if node.slice.step is not None:
                raise self.fault(node.slice.step, "a slice has no step here")
            sql = self._slice(value.sql, node.slice)
        return Value(sql, STRING, node, columns=value.columns)

    def _slice(self, sql: str, part: ast.Slice) -> str:
        start, stop = self._index(part.lower) or 0, self._index(part.upper)
        length = f"length({sql})"
        begin = str(start) if start >= 0 else f"greatest({length} + ({start}), 0)"
        if stop is None:
            return f"substr({sql}, {begin} + 1)"
        end = str(stop) if stop >= 0 else f"({length} + ({stop}))"
        return f"substr({sql}, {begin} + 1, greatest({end} - {begin}, 0))"

    def _index(self, node: ast.expr | None) -> int | None:
        if node is None:
            return None
        value = self.visit(node)
        if not isinstance(value.literal, int) or value.type.kind != "integer":
            raise self.fault(node, "an index is an integer that is written down")
        return value.literal

    def _boolean(self, node: ast.expr, word: str) -> Value:
        value = self.visit(node)
        if value.type.kind not in _BOOLEAN_ONLY:
            message = f"{word} needs a condition, but this is {value.type}"
            raise self.fault(value.node, message, "Compare it with something.")
        return value

    def source(self, node: ast.AST) -> str:
        """The text of a node as it was written."""
        return ast.get_source_segment(f"[\n{self.text}\n]", node) or ""

    def fault(self, node: ast.AST, message: str, hint: str | None = None) -> ExpressionError:
        """An error that points at a node."""
        line = getattr(node, "lineno", 2) - 1
        before = self._lines[line - 1].encode()[: getattr(node, "col_offset", 0)]
        return self._fault_at(line, len(before.decode(errors="ignore")) + 1, message, hint)

    def _fault_at(
        self, line: int, column: int, message: str, hint: str | None = None
    ) -> ExpressionError:
        return ExpressionError(message, text=self.text, line=line, column=column, hint=hint)


def _columns(*values: Value) -> frozenset[str]:
    return frozenset().union(*(value.columns for value in values))
