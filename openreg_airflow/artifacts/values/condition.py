"""Conditions of a layout (``r:when``): a small part of SQL, read once, never evaluated as code.

.. code-block:: text

    condition := all ("or" all)*
    all       := term ("and" term)*
    term      := COLUMN "is" ["not"] "null"
               | COLUMN ("=" | "!=") VALUE
               | COLUMN ["not"] "in" "(" VALUE ("," VALUE)* ")"
               | ["not"] COLUMN                              a boolean column
    VALUE     := 'text' | number | true | false

As in SQL, comparing with NULL is neither true nor false: the element is then left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    import pyarrow as pa

Value = str | Decimal | bool

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<sign>!=|[=(),]))",
    re.ASCII,
)
_WORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})


class ConditionError(ValueError):
    """A condition is not well formed; ``offset`` is the 0-based character that is wrong."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True)
class Term:
    """One comparison of a column; with ``negated`` its opposite, which NULL does not satisfy."""

    column: str
    test: Literal["null", "in"]
    values: tuple[Value, ...] = ()
    negated: bool = False

    def holds(self, values: pa.Array) -> pa.BooleanArray:
        """For each value, whether the term is true of it; never NULL.

        Raises:
            ValueError: the column's type cannot be compared with the term's values.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_string_view(values.type):
            values = pc.cast(values, pa.string())
        if self.test == "null":
            return pc.is_valid(values) if self.negated else pc.is_null(values)
        found = pa.repeat(pa.scalar(False), len(values))
        for value in self.values:
            try:
                same = pc.equal(values, _scalar(value, values.type))
            except (pa.ArrowException, TypeError, ValueError) as error:
                message = f"column {self.column} is {values.type} and cannot be {value!r}"
                raise ValueError(message) from error
            found = pc.or_(found, pc.fill_null(same, False))
        return pc.and_(pc.is_valid(values), pc.invert(found)) if self.negated else found


@dataclass(frozen=True)
class Condition:
    """Alternatives, of which one must hold; each is a series of terms that must all hold."""

    text: str
    alternatives: tuple[tuple[Term, ...], ...]

    @property
    def columns(self) -> frozenset[str]:
        """The columns that the condition speaks of."""
        return frozenset(term.column for terms in self.alternatives for term in terms)

    def holds(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """For each row, whether the condition is true of it; never NULL."""
        import pyarrow.compute as pc

        either = None
        for terms in self.alternatives:
            every = None
            for term in terms:
                one = term.holds(batch.column(term.column))
                every = one if every is None else pc.and_(every, one)
            either = every if either is None else pc.or_(either, every)
        return either


def _scalar(value: Value, kind: pa.DataType) -> Any:
    import pyarrow as pa

    if isinstance(value, bool) != pa.types.is_boolean(kind):
        raise TypeError
    if isinstance(value, Decimal):
        if pa.types.is_integer(kind):
            return pa.scalar(int(value) if value == int(value) else None, kind)
        return pa.scalar(float(value), kind) if pa.types.is_floating(kind) else pa.scalar(value)
    return pa.scalar(value)


def parse(text: str) -> Condition:
    """Read a condition.

    Raises:
        ConditionError: ``text`` is not a condition; the message says what was expected.
    """
    return _Reader(text).condition()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        position = 0
        end = len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                message = f"{text[position:].strip()[:20]!r} is not understood in a condition"
                raise ConditionError(message, position)
            kind = str(match.lastgroup)
            token = match[kind]
            if kind == "name" and token.lower() in _WORDS:
                kind, token = "word", token.lower()
            self._tokens.append((kind, token, match.start(str(match.lastgroup))))
            position = match.end()
        self._tokens.append(("end", "the end", end))
        self._at = 0

    def condition(self) -> Condition:
        alternatives = [self._all()]
        while self._skip("or"):
            alternatives.append(self._all())
        if self._tokens[self._at][0] != "end":
            self._fail("and, or, or the end")
        return Condition(self._text.strip(), tuple(alternatives))

    def _all(self) -> tuple[Term, ...]:
        terms = [self._term()]
        while self._skip("and"):
            terms.append(self._term())
        return tuple(terms)

    def _term(self) -> Term:
        negated = self._skip("not")
        column = self._take("name", "a column")
        if negated:
            return Term(column, "in", (False,))
        if self._skip("is"):
            negated = self._skip("not")
            self._need("null")
            return Term(column, "null", negated=negated)
        for sign in ("=", "!="):
            if self._skip(sign):
                return Term(column, "in", (self._value(),), negated=sign == "!=")
        negated = self._skip("not")
        if not self._skip("in"):
            if negated:
                self._fail("in")
            return Term(column, "in", (True,))
        self._need("(")
        values = [self._value()]
        while self._skip(","):
            values.append(self._value())
        self._need(")")
        return Term(column, "in", tuple(values), negated)

    def _value(self) -> Value:
        kind, written, _ = self._tokens[self._at]
        if kind == "text":
            self._at += 1
            return written[1:-1].replace("''", "'")
        if kind == "number":
            self._at += 1
            return Decimal(written)
        if kind != "word" or written not in ("true", "false"):
            self._fail("a value: 'text', a number, true or false")
        self._at += 1
        return written == "true"

    def _skip(self, token: str) -> bool:
        kind, found, _ = self._tokens[self._at]
        if kind in ("word", "sign") and found == token:
            self._at += 1
            return True
        return False

    def _need(self, token: str) -> None:
        if not self._skip(token):
            self._fail(token)

    def _take(self, kind: str, what: str) -> str:
        found, token, _ = self._tokens[self._at]
        if found != kind:
            self._fail(what)
        self._at += 1
        return token

    def _fail(self, expected: str) -> NoReturn:
        _, found, offset = self._tokens[self._at]
        message = f"expected {expected}, found {found}"
        raise ConditionError(message, offset)
