"""How a value is spelled in a file: the formats that a spec or a layout may name.

===========================  ==============================================================
format                       meaning
===========================  ==============================================================
(none)                       numbers exact, without exponent and without trailing zeros;
                             dates ``2026-01-05``; UTC instants ``2026-01-05T09:00:00.123456Z``
                             with the digits of their resolution; booleans ``true``, ``false``
``.5f``                      a number with exactly that many decimals; never rounded
``%Y%m%d``, ``%H:%M:%S.%f``  a date, time or instant: ``%Y %m %d %H %M %S``, ``%3f``
                             milliseconds, ``%f`` microseconds, ``%%``
``Y/N``                      a boolean: the text for true, a slash, the text for false
===========================  ==============================================================

This module only reads formats; :mod:`openreg_airflow.artifacts.values.value_text` applies them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

_FIXED = re.compile(r"\.(\d{1,2})f")
_FLAGS = re.compile(r"([^/%]+)/([^/%]+)")
_DIRECTIVE = re.compile(r"%(3f|.?)")
_DIRECTIVES = frozenset({"Y", "m", "d", "H", "M", "S", "f", "3f", "%"})
_MAX_DECIMALS = 38


@dataclass(frozen=True)
class Plain:
    """No format: the usual spelling of the value's type."""


@dataclass(frozen=True)
class Fixed:
    """A number with exactly ``decimals`` decimals."""

    decimals: int


@dataclass(frozen=True)
class Pattern:
    """A date, time or instant; literal texts alternate with directives as ``("%", name)``."""

    parts: tuple[str | tuple[str, str], ...]

    @property
    def directives(self) -> frozenset[str]:
        """The names of the directives in the pattern."""
        return frozenset(part[1] for part in self.parts if isinstance(part, tuple))


@dataclass(frozen=True)
class Flags:
    """A boolean as one of two texts."""

    true: str
    false: str


Format = Plain | Fixed | Pattern | Flags


def parse(text: str) -> Format:
    """Read a format.

    Raises:
        ValueError: ``text`` is none of the known formats.
    """
    if not text:
        return Plain()
    if match := _FIXED.fullmatch(text):
        decimals = int(match[1])
        if decimals > _MAX_DECIMALS:
            message = f"format {text!r} asks for more than {_MAX_DECIMALS} decimals"
            raise ValueError(message)
        return Fixed(decimals)
    if "%" in text:
        return _pattern(text)
    if match := _FLAGS.fullmatch(text):
        return Flags(match[1], match[2])
    message = (
        f"{text!r} is not a format; known are .2f for numbers, %Y%m%d for dates and times, "
        "Y/N for booleans"
    )
    raise ValueError(message)


def _pattern(text: str) -> Pattern:
    parts: list[str | tuple[str, str]] = []
    literal = ""
    end = 0
    for match in _DIRECTIVE.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if match[1] not in _DIRECTIVES:
            known = "%Y %m %d %H %M %S %3f %f %%"
            message = f"{match[0]!r} in format {text!r} is unknown; known are {known}"
            raise ValueError(message)
        if match[1] == "%":
            literal += "%"
            continue
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(("%", match[1]))
    literal += text[end:]
    if literal:
        parts.append(literal)
    return Pattern(tuple(parts))


def _check(text: str) -> str:
    parse(text)
    return text


#: A format in a spec, checked when the spec is read.
ValueFormat = Annotated[str, AfterValidator(_check)]
