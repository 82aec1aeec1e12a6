"""Mapping sets in conditions: ``x in mapping("set")`` and the value, ``mapping("set", x)``.

A look-up becomes a subquery. One as of a date of the row can be made a column instead, for a
statement that joins the sets to the table: DuckDB would first make every pair of key and date
distinct for a subquery, which takes several times as long.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from openreg_airflow.language.arithmetic import comparable
from openreg_airflow.language.look_up import LookUp
from openreg_airflow.language.scope import CodeSet, Scope, holding, nearest, no_set
from openreg_airflow.language.types import ANY, BOOLEAN
from openreg_airflow.language.value import Value
from openreg_airflow.sql_quoting import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openreg_airflow.language.fault import ExpressionError

_FORM = 'It is mapping("set", key), with as_of=column and value="name" where they are needed.'


class Codes:
    """The part of the compiler that knows mapping sets."""

    scope: Scope
    #: Whether look-ups as of a date of the row are columns of the table, which is joined.
    joining: bool
    #: Those that were met, in the order in which one may need another.
    look_ups: dict[LookUp, None]
    #: The conditions of the branches that are being compiled, the outermost first.
    branches: list[str]

    def visit(self, node: ast.AST) -> Value:
        """The SQL of one node."""
        raise NotImplementedError

    def fault(self, node: ast.AST, message: str, hint: str | None = None) -> ExpressionError:
        """An error that points at a node."""
        raise NotImplementedError

    def in_mapping(self, node: ast.Compare, left: ast.expr, call: ast.Call) -> Value:
        """``x in mapping("set")``; ``(a, b) in mapping("set")`` for a set of two keys."""
        codes = self._set(call)
        if len(call.args) > 1:
            raise self.fault(call.args[1], "after `in` only the set is named", _FORM)
        parts = left.elts if isinstance(left, ast.Tuple) else [left]
        values = [self.reached(self.visit(one)) for one in parts]
        as_of = self._options(call, {"as_of"}).get("as_of")
        keys = self._keys(node, codes, values)
        looked = [*values, *([as_of] if as_of else [])]
        blank = " OR ".join(f"{value.sql} IS NULL" for value in looked)
        if as_of is not None:
            found = self._dated(codes, keys, values, as_of)
        else:
            listed = ", ".join(named(key) for key in keys)
            given = ", ".join(value.sql for value in values)
            left_sql = f"({given})" if len(values) > 1 else given
            found = f"{left_sql} IN (SELECT DISTINCT {listed} FROM {named(codes.view)})"  # noqa: S608
        sql = f"(CASE WHEN {blank} THEN NULL ELSE {found} END)"
        return Value(sql, BOOLEAN, node, columns=_columns(looked))

    def mapped(self, call: ast.Call) -> Value:
        """``mapping("set", x)``: the value of a key; None when the set has no entry for it."""
        codes = self._set(call)
        if len(call.args) == 1:
            message = 'mapping("set") alone can only stand after `in`'
            raise self.fault(call, message, _FORM)
        values = [self.reached(self.visit(one)) for one in call.args[1:]]
        given = self._options(call, {"as_of", "value"})
        keys = self._keys(call, codes, values)
        as_of = given.get("as_of")
        name = self._value(call, codes, given.get("value"))
        kind = ANY if codes.values is None else codes.values[name]
        if as_of is not None:
            sql = self._dated(codes, keys, values, as_of, name)
        else:
            sql = _entry_of(codes, keys, values, None, name)
        return Value(sql, kind, call, columns=_columns([*values, *([as_of] if as_of else [])]))

    def reached(self, value: Value) -> Value:
        """A value for a subquery, which SQL asks for every row: NULL in a branch not taken."""
        if not value.columns or value.sql in map(named, value.columns):
            return value
        sql = value.sql
        for branch in reversed(self.branches):
            sql = f"(CASE WHEN {branch} THEN {sql} END)"
        return replace(value, sql=sql)

    def _dated(
        self,
        codes: CodeSet,
        keys: Sequence[str],
        values: Sequence[Value],
        as_of: Value,
        name: str | None = None,
    ) -> str:
        """What the set has on the row's date: a value, or else whether there is an entry."""
        given = tuple(value.sql for value in values)
        one = LookUp(codes.dated_view, tuple(keys), given, as_of.sql, name)
        self.look_ups[one] = None
        if self.joining:
            return one.column if name is not None else f"({one.column} IS TRUE)"
        if name is None:
            return f"EXISTS (SELECT 1 FROM {_where(codes, keys, values, as_of)})"  # noqa: S608
        return _entry_of(codes, keys, values, as_of, name)

    def _set(self, call: ast.Call) -> CodeSet:
        first = call.args[0] if call.args else None
        if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
            raise self.fault(call, 'mapping takes the name of a set in quotes: mapping("set")')
        codes = self.scope.codes(first.value)
        if codes is None:
            raise self.fault(call, no_set(first.value), self.scope.near_sets(first.value))
        return codes

    def _keys(self, node: ast.AST, codes: CodeSet, values: Sequence[Value]) -> list[str]:
        if codes.keys is None:
            return [f"key{number}" for number in range(len(values))]
        if len(values) != len(codes.keys):
            listed = ", ".join(codes.keys)
            message = f"set {codes.name} has {len(codes.keys)} keys ({listed}), not {len(values)}"
            raise self.fault(node, message)
        for value, (key, kind) in zip(values, codes.keys.items(), strict=True):
            if value.type.kind == "none":
                raise self.fault(value.node, "None is no key", "Write `x is None`.")
            if comparable(value.type, kind):
                message = f"key {key} of set {codes.name} is {kind}, not {value.type}"
                raise self.fault(value.node, message)
        return list(codes.keys)

    def _options(self, call: ast.Call, known: set[str]) -> dict[str, Value]:
        given = {}
        for keyword in call.keywords:
            if keyword.arg not in known:
                message = f"mapping takes no {keyword.arg or '**'} here"
                raise self.fault(keyword.value, message, _FORM)
            given[keyword.arg] = self.reached(self.visit(keyword.value))
        as_of = given.get("as_of")
        if as_of and as_of.type.kind not in ("date", "timestamp", "timestamp_utc", "any"):
            raise self.fault(as_of.node, f"as_of is a date, not {as_of.type}")
        return given

    def _value(self, call: ast.Call, codes: CodeSet, given: Value | None) -> str:
        if given is not None and not isinstance(given.literal, str):
            raise self.fault(given.node, "value is a name in quotes", _FORM)
        wanted = None if given is None else str(given.literal)
        if codes.values is None:
            return wanted or "value"
        if wanted is None and len(codes.values) == 1:
            return next(iter(codes.values))
        if wanted is None or wanted not in codes.values:
            what = "has several values" if wanted is None else f"has no value {wanted!r}"
            message = f"set {codes.name} {what}"
            at = given.node if given is not None else call
            raise self.fault(at, message, nearest(wanted or "", codes.values, "values"))
        return wanted


def _entry_of(
    codes: CodeSet, keys: Sequence[str], values: Sequence[Value], as_of: Value | None, name: str
) -> str:
    # A key has one entry at most; the aggregate spares the database from proving it.
    source = _where(codes, keys, values, as_of, name)
    return f"(SELECT any_value(codes.openreg_value) FROM {source})"  # noqa: S608


def _where(
    codes: CodeSet,
    keys: Sequence[str],
    values: Sequence[Value],
    as_of: Value | None = None,
    value: str | None = None,
) -> str:
    """The entries of some keys, as what follows FROM.

    Their columns get names that no column of the report's table hides or takes for its own.
    """
    columns = [f"{named(key)} AS openreg_key{number}" for number, key in enumerate(keys)]
    if value is not None:
        columns.append(f"{named(value)} AS openreg_value")
    same = [f"codes.openreg_key{number} = {one.sql}" for number, one in enumerate(values)]
    view = codes.view
    if as_of is not None:
        view = codes.dated_view
        columns += ["effective_from AS openreg_from", "effective_to AS openreg_to"]
        held = holding("codes", f"CAST({as_of.sql} AS DATE)")
        same.append(held.replace(".effective_", ".openreg_"))
    return f"(SELECT {', '.join(columns)} FROM {named(view)}) AS codes WHERE {' AND '.join(same)}"  # noqa: S608


def _columns(values: Sequence[Value]) -> frozenset[str]:
    return frozenset[str]().union(*(value.columns for value in values))
