"""Message templates of rules: ``{column}`` stands for a value of the failing row.

That is all a template can do. ``{{`` and ``}}`` are the braces themselves; there are no format
specifications, no attributes and no indexes: a value is formatted by the rule's own SQL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])")
_NOT_IN_NAMES = re.compile(r"[:!\[\]]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

#: Most characters of one value inside a message or a sample.
SHOWN = 200


class MessageTemplate:
    """A parsed message template.

    Args:
        text: the template as it stands in the spec.

    Raises:
        ValueError: a brace or a placeholder is wrong; the message says at which character.
    """

    def __init__(self, text: str) -> None:
        self._parts: list[tuple[str, bool]] = []
        position = 0
        for token in _TOKEN.finditer(text):
            self._parts.append((text[position : token.start()], False))
            position = token.end()
            if token["stray"]:
                message = (
                    f"character {token.start() + 1}: a single {token['stray']}; "
                    "write {column}, or {{ and }} for braces"
                )
                raise ValueError(message)
            if token["name"] is None:
                self._parts.append((token[0][0], False))
            else:
                self._parts.append((_name(token["name"], token.start() + 1), True))
        self._parts.append((text[position:], False))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the template shows, in order, each once."""
        return tuple(dict.fromkeys(text for text, is_name in self._parts if is_name))

    def unknown(self, columns: Iterable[str]) -> tuple[str, ...]:
        """The placeholders that are none of the columns; upper and lower case are alike."""
        known = {column.casefold() for column in columns}
        return tuple(name for name in self.names if name.casefold() not in known)

    def format(self, values: Mapping[str, str | None]) -> str:
        """The message of one row.

        Args:
            values: the row's values as text, by column; every placeholder must be there.

        Returns:
            One line: control characters are escaped, long values are cut, NULL is ``NULL``.
        """
        texts = {column.casefold(): value for column, value in values.items()}
        return "".join(
            ("NULL" if (value := texts[text.casefold()]) is None else shown(value))
            if is_name
            else text
            for text, is_name in self._parts
        )


def shown(value: str) -> str:
    """A value on one line and of bounded length, fit for a log."""
    cut = value if len(value) <= SHOWN else f"{value[:SHOWN]}… ({len(value):,} characters)"
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], cut)


def _name(name: str, place: int) -> str:
    if not name.strip():
        message = f"character {place}: the placeholder {{{name}}} names no column"
        raise ValueError(message)
    if name != name.strip() or _NOT_IN_NAMES.search(name):
        message = (
            f"character {place}: the placeholder {{{name}}} must be a column's name and nothing "
            "else; format the value in the rule's SQL under a name of its own"
        )
        raise ValueError(message)
    return name
