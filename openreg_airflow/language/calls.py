"""Calls of functions, and membership: the parts of the language that look names up."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TypeGuard

from openreg_airflow.language.arithmetic import comparable
from openreg_airflow.language.codes import Codes
from openreg_airflow.language.functions import FUNCTIONS, METHODS, NAMESPACES
from openreg_airflow.language.look_up import JOINED, PREFIX
from openreg_airflow.language.scope import nearest
from openreg_airflow.language.signature import ArgumentError, Function, Parameter
from openreg_airflow.language.types import BOOLEAN, DATE, STRING, Type
from openreg_airflow.language.value import Value
from openreg_airflow.sql_quoting import named

MAX_LISTED = 2000


class Calls(Codes):
    """The half of the compiler that knows functions and tables."""

    def column(self, node: ast.AST, name: str) -> Value:
        """A column of the table."""
        raise NotImplementedError

    def visit_call(self, node: ast.Call) -> Value:
        """A function, a method of a text, or ``col("name")``."""
        if isinstance(node.func, ast.Name) and node.func.id == "col":
            return self.column(node, self._written(node, "col"))
        if calls(node, "mapping"):
            return self.mapped(node)
        if calls(node, "table"):
            raise self.fault(node, "table(...) can only stand after `in`")
        name, given = self._called(node.func)
        function = FUNCTIONS.get(name)
        if function is None:
            known = (n for n in FUNCTIONS if n.partition(".")[0] == name.partition(".")[0])
            hint = nearest(name, [*known] or FUNCTIONS, "functions")
            raise self.fault(node.func, f"there is no function {name}", hint)
        arguments = self._arguments(node, function, given)
        if function.once or function.asks:
            arguments = [self.reached(value) for value in arguments]
        try:
            sql, kind = function.apply(tuple(arguments))
        except ArgumentError as error:
            at = arguments[error.number].node if error.number < len(arguments) else node
            raise self.fault(at, f"{function.spelled}: {error}", error.hint) from error
        columns = frozenset[str]().union(*(value.columns for value in arguments))
        if function.once and columns:
            sql = self._once(function, arguments)
        return Value(sql, kind, node, columns=columns)

    def _called(self, node: ast.expr) -> tuple[str, list[ast.expr]]:
        """The function's name, and the text whose method it is."""
        if isinstance(node, ast.Name):
            return node.id, []
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            # A column may be called like a namespace: currency.upper() is its method.
            if node.attr in METHODS and f"{owner}.{node.attr}" not in FUNCTIONS:
                return node.attr, [node.value]
            if owner in NAMESPACES:
                return f"{owner}.{node.attr}", []
            hint = nearest(node.attr, sorted(METHODS), "methods")
            raise self.fault(node, f"there is no method {node.attr}", hint)
        raise self.fault(node, "only functions can be called")

    def _arguments(self, node: ast.Call, function: Function, given: list[ast.expr]) -> list[Value]:
        nodes = [*given, *node.args]
        if starred := next((n for n in nodes if isinstance(n, ast.Starred)), None):
            raise self.fault(starred, "* is not part of the language")
        parameters = function.parameters
        many = parameters[-1].many
        if len(nodes) > len(parameters) and not many:
            raise self.fault(nodes[len(parameters)], f"{function.spelled}: too many arguments")
        keywords = self._keywords(node, function, parameters[: len(nodes)])
        values = [self.visit(argument) for argument in nodes]
        for parameter in parameters[len(nodes) :]:
            if parameter.name in keywords:
                values.append(self.visit(keywords[parameter.name]))
            elif parameter.default is not None:
                values.append(self._default(node, parameter))
            elif not (parameter.many and values):
                raise self.fault(node, f"{function.spelled}: {parameter.name} is missing")
        return values

    def _keywords(
        self, node: ast.Call, function: Function, filled: tuple[Parameter, ...]
    ) -> dict[str, ast.expr]:
        names = {p.name for p in function.parameters} - {p.name for p in filled}
        for keyword in node.keywords:
            if keyword.arg not in names:
                message = f"{function.spelled}: {keyword.arg or '**'} cannot be given"
                raise self.fault(keyword.value, message)
        return {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}

    def _default(self, node: ast.Call, parameter: Parameter) -> Value:
        default = parameter.default or ""
        if default == "$business_date":
            return Value("CAST($business_date AS DATE)", DATE, node)
        if default.startswith("'"):
            return Value(default, STRING, node, literal=default.strip("'"))
        return Value(default, Type("integer", 1), node, literal=int(default))

    def _once(self, function: Function, arguments: list[Value]) -> str:
        """A costly predicate, asked for each distinct combination of its arguments.

        It is asked of an aggregate: a condition on the groups' own columns would be pushed down
        to the rows and be asked of each.
        """
        moving = [value for value in arguments if value.columns]
        names = {id(value): f"a{number}" for number, value in enumerate(moving)}
        asked_of = tuple(
            replace(value, sql=f"any_value({names[id(value)]})") if id(value) in names else value
            for value in arguments
        )
        predicate, _ = function.apply(asked_of)
        listed = ", ".join(f"{value.sql} AS {names[id(value)]}" for value in moving)
        found = any(PREFIX in value.sql for value in moving)
        table = JOINED if found else named(self.scope.table)
        inner = f"SELECT {listed} FROM {table}"  # noqa: S608
        chosen = ", ".join(names.values())
        asked = ", ".join(value.sql for value in moving)
        nulls = " OR ".join(f"{value.sql} IS NULL" for value in arguments)
        left = asked if len(moving) == 1 else f"({asked})"
        subquery = f"SELECT {chosen} FROM ({inner}) GROUP BY {chosen} HAVING {predicate}"  # noqa: S608
        return f"(CASE WHEN {nulls} THEN NULL ELSE {left} IN ({subquery}) END)"

    def contained(self, node: ast.Compare, left: Value, right: ast.expr) -> Value:
        """``x in (...)``, ``x in table("t").column``, ``"a" in text``."""
        if left.type.kind == "none":
            raise self.fault(node, "None is in nothing", "Write `x is None`.")
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            return self._listed(node, left, right)
        if isinstance(right, ast.Attribute) and calls(right.value, "table"):
            name = self._written(right.value, "table")
            return self._looked_up(right, left, name, right.attr)
        text = self.visit(right)
        if text.type.kind not in ("string", "any") or left.type.kind not in ("string", "any"):
            message = f"in is not defined for {left.type} and {text.type}"
            hint = 'Write `x in ("A", "B")`, or `x in table("name").column`.'
            raise self.fault(right, message, hint)
        sql = f"contains({text.sql}, {left.sql})"
        return Value(sql, BOOLEAN, node, columns=left.columns | text.columns)

    def _listed(
        self, node: ast.Compare, left: Value, right: ast.List | ast.Tuple | ast.Set
    ) -> Value:
        if not right.elts:
            raise self.fault(right, "nothing is in an empty list")
        if len(right.elts) > MAX_LISTED:
            message = f"the list has {len(right.elts):,} values; 2,000 are the most"
            raise self.fault(right, message, 'Use a table: `x in table("name").column`.')
        values = [self.visit(element) for element in right.elts]
        for value in values:
            if value.type.kind == "none":
                raise self.fault(value.node, "None is in no list", "Write `or x is None`.")
            if hint := comparable(left.type, value.type):
                message = f"{left.type} cannot be compared with {value.type}"
                raise self.fault(value.node, message, hint)
        sql = f"({left.sql} IN ({', '.join(value.sql for value in values)}))"
        columns = left.columns.union(*(value.columns for value in values))
        return Value(sql, BOOLEAN, node, columns=columns)

    def _looked_up(self, node: ast.AST, left: Value, table: str, column: str) -> Value:
        if table not in self.scope.tables and self.scope.complete:
            hint = nearest(table, self.scope.tables, "tables")
            raise self.fault(node, f"there is no table {table!r} in the report", hint)
        kind = self.scope.column(column, table)
        if kind is None:
            message = f"the table {table} has no column {column!r}"
            raise self.fault(node, message, self.scope.near(column, table))
        if instead := comparable(left.type, kind):
            raise self.fault(node, f"{left.type} cannot be compared with {kind}", instead)
        left = self.reached(left)
        query = (
            f"SELECT DISTINCT {named(column)} FROM {named(table)} "  # noqa: S608 - quoted names
            f"WHERE {named(column)} IS NOT NULL"
        )
        # SQL says that even NULL is not in an empty table.
        sql = f"(CASE WHEN {left.sql} IS NULL THEN NULL ELSE {left.sql} IN ({query}) END)"
        own = {column} if table == self.scope.table else set()
        return Value(sql, BOOLEAN, node, columns=left.columns | own)

    def _written(self, node: ast.Call, name: str) -> str:
        """The only argument of a call, a text that is written down."""
        [argument] = node.args if len(node.args) == 1 and not node.keywords else [None]
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise self.fault(node, f'{name} takes one name in quotes: {name}("name")')
        return argument.value


def calls(node: ast.expr, name: str) -> TypeGuard[ast.Call]:
    """Whether a node calls the function of a name."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
