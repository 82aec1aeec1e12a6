"""Names of feedback files, seen from the file that was sent."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

_FIELDS = ("filename", "stem", "stem0", "business_date")
_PLACEHOLDER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_GLOB = re.compile(r"[*?\[]")


def check_pattern(text: str) -> str:
    """Refuse a pattern with unknown placeholders or a path.

    Raises:
        ValueError: with what is wrong.
    """
    if "/" in text or "\\" in text:
        message = f"{text!r} is the name of a file, without a folder"
        raise ValueError(message)
    rest = _PLACEHOLDER.sub("", text)
    if "{" in rest or "}" in rest:
        message = f"{text!r} has a brace without its other half"
        raise ValueError(message)
    for name, form in _PLACEHOLDER.findall(text):
        if name not in _FIELDS:
            message = f"{{{name}}} is unknown; known are {', '.join(_FIELDS)}"
            raise ValueError(message)
        if form and name != "business_date":
            message = f"{{{name}}} takes no format"
            raise ValueError(message)
    return text


def fill(text: str, filename: str, business_date: date, *, literal: bool = False) -> str:
    """Fill the placeholders in.

    Args:
        text: a pattern that :func:`check_pattern` let pass.
        filename: of the file that was sent.
        business_date: its business date.
        literal: what is filled in stands for itself among ``*`` and ``?``.
    """
    stem = filename.rpartition(".")[0] or filename
    values = {"filename": filename, "stem": stem, "stem0": filename.partition(".")[0] or filename}

    def value(match: re.Match[str]) -> str:
        name, form = match.group(1), match.group(2)
        found = values.get(name) or business_date.strftime(form or "%Y-%m-%d")
        return _GLOB.sub(r"[\g<0>]", found) if literal else found

    return _PLACEHOLDER.sub(value, text)


def matches(name: str, pattern: str, filename: str, business_date: date) -> bool:
    """Whether a file of that name answers the file that was sent."""
    return fnmatch.fnmatchcase(name, fill(pattern, filename, business_date, literal=True))
