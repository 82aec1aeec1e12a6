"""Templates with placeholders: ``{name}`` and ``{name:format}``, with ``{{`` and ``}}`` as braces.

Nothing is ever evaluated: a placeholder is a name and the text of a format, no attribute, no
index, no expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<inner>[^{}]*)\}|[{}]")
_NAME = re.compile(r"(?:run\.|sum\.)?[A-Za-z_][A-Za-z0-9_]*")

#: Names with this prefix speak of the run instead of a column, e.g. ``{run.business_date}``.
RUN_PREFIX = "run."
#: Names with this prefix are the sum of a column over all records, e.g. ``{sum.amount}``.
SUM_PREFIX = "sum."


@dataclass(frozen=True)
class Placeholder:
    """One ``{name:format}``; ``format`` is empty when none is written."""

    name: str
    format: str = ""

    def __str__(self) -> str:
        return f"{{{self.name}:{self.format}}}" if self.format else f"{{{self.name}}}"

    @property
    def of_run(self) -> bool:
        """Whether it speaks of the run or of all records together, instead of one record."""
        return self.name.startswith((RUN_PREFIX, SUM_PREFIX))


Template = tuple[str | Placeholder, ...]


class TemplateError(ValueError):
    """A template is not well formed; ``offset`` is the 0-based character that is wrong."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def parse(text: str) -> Template:
    """Split a template into literal text and placeholders; neighbouring literals are one part.

    Raises:
        TemplateError: a brace without its partner, or a placeholder whose name is not a name.
    """
    parts: list[str | Placeholder] = []
    literal = ""
    end = 0
    for token in _TOKEN.finditer(text):
        literal += text[end : token.start()]
        end = token.end()
        inner = token["inner"]
        if inner is None:
            if len(token[0]) == 1:
                message = f"{token[0]!r} has no partner; a brace itself is written twice"
                raise TemplateError(message, token.start())
            literal += token[0][0]
            continue
        name, _, spec = inner.partition(":")
        if not _NAME.fullmatch(name):
            message = f"{{{inner}}} is not a placeholder; expected {{column}} or {{column:format}}"
            raise TemplateError(message, token.start())
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(Placeholder(name, spec))
    literal += text[end:]
    if literal:
        parts.append(literal)
    return tuple(parts)
