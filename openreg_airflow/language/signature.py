"""What a function of the language is: its parameters, its result, its SQL, its page in the docs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.language.types import ANY, Type, common

if TYPE_CHECKING:
    from collections.abc import Callable

    from openreg_airflow.language.value import Value

Result = tuple[str, Type]


class ArgumentError(Exception):
    """An argument is refused; ``number`` is its place, from 0."""

    def __init__(self, text: str, number: int, hint: str | None = None) -> None:
        super().__init__(text)
        self.number = number
        self.hint = hint


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function.

    Attributes:
        kinds: the kinds of types that it takes; empty for any.
        default: the SQL that stands for it when it is left out; None when it must be given.
        default_shown: how the manual shows the default.
        literal: whether it must be written down, not computed.
        choices: the texts that it can be, when it is one of a few.
        many: whether any number of further arguments follow.
    """

    name: str
    kinds: tuple[str, ...] = ()
    default: str | None = None
    default_shown: str = ""
    literal: bool = False
    choices: tuple[str, ...] = ()
    many: bool = False

    def check(self, value: Value, number: int) -> None:
        """Refuse an argument that does not fit.

        Raises:
            ArgumentError: with the reason.
        """
        kind = value.type.kind
        if self.literal and not value.is_literal:
            message = f"{self.name} must be written down, not computed"
            raise ArgumentError(message, number)
        if self.choices and value.literal not in self.choices:
            listed = ", ".join(map(repr, self.choices))
            message = f"{value.literal!r} is none of {listed}"
            raise ArgumentError(message, number)
        if self.kinds and kind not in (*self.kinds, "any", "none"):
            message = f"{self.name} must be {' or '.join(self.kinds)}, not {value.type}"
            raise ArgumentError(message, number)
        if kind == "other":
            message = "values of this type cannot be used in a condition"
            raise ArgumentError(message, number)


@dataclass(frozen=True)
class Function:
    """A function of the language.

    Attributes:
        name: with its namespace, as in ``lei.valid``.
        parameters: what it takes.
        about: what it gives, in a sentence or two, for the manual.
        examples: expressions and their values, for the manual and its test.
        sql: SQL with ``{0}``, ``{1}`` ... for the arguments.
        returns: the type of the result; None for the common type of the arguments.
        build: makes SQL and type where a template is not enough.
        once: whether it is costly and asked once for each distinct value of its arguments.
        asks: whether its SQL is a macro that looks its arguments up in a table.
        method: whether it can also be written ``x.name()``.
        group: the heading in the manual.
    """

    name: str
    parameters: tuple[Parameter, ...]
    about: str
    examples: tuple[tuple[str, object], ...]
    group: str
    sql: str = ""
    returns: Type | None = None
    build: Callable[[tuple[Value, ...]], Result] | None = None
    once: bool = False
    asks: bool = False
    method: bool = False

    @property
    def spelled(self) -> str:
        """The function with its parameters, as the manual shows it."""
        shown = []
        for parameter in self.parameters:
            name = f"*{parameter.name}" if parameter.many else parameter.name
            given = f"={parameter.default_shown}" if parameter.default is not None else ""
            shown.append(f"{name}{given}")
        return f"{self.name}({', '.join(shown)})"

    def apply(self, arguments: tuple[Value, ...]) -> Result:
        """The SQL and the type of a call.

        Raises:
            ArgumentError: an argument does not fit.
        """
        for number, value in enumerate(arguments):
            at = min(number, len(self.parameters) - 1)
            self.parameters[at].check(value, number)
        if self.build is not None:
            return self.build(arguments)
        result = self.returns or common_type(arguments)
        return self.sql.format(*(value.sql for value in arguments)), result


def common_type(values: tuple[Value, ...]) -> Type:
    """The type that holds all the values.

    Raises:
        ArgumentError: there is none.
    """
    result = ANY
    for number, value in enumerate(values):
        joined = common(result, value.type)
        if joined is None:
            message = f"{value.type} does not go with {result}"
            raise ArgumentError(message, number)
        result = joined
    return result
