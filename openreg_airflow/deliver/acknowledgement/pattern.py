"""Names of feedback files, seen from the file that was sent."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

_FIELDS = ("filename", "stem", "stem0", "business_date")
#: Numbers in the name of the answer itself, and what stands for them while globs are translated.
_PAGES = {"page": "\ue000", "pages": "\ue001"}
_PLACEHOLDER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_GLOB = re.compile(r"[*?\[]")


def check_pattern(text: str, *, pages: bool = False) -> str:
    """Refuse a pattern with unknown placeholders or a path.

    Args:
        text: the pattern.
        pages: it may have ``{page}`` and ``{pages}``, each once.

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
    known = (*_FIELDS, *_PAGES) if pages else _FIELDS
    found = _PLACEHOLDER.findall(text)
    for name, form in found:
        if name not in known:
            message = f"{{{name}}} is unknown; known are {', '.join(known)}"
            raise ValueError(message)
        if form and name != "business_date":
            message = f"{{{name}}} takes no format"
            raise ValueError(message)
    names = [name for name, _ in found]
    for name in _PAGES:
        if names.count(name) > 1:
            message = f"{{{name}}} stands in it twice"
            raise ValueError(message)
    if "pages" in names and "page" not in names:
        message = "{pages} goes with {page}"
        raise ValueError(message)
    return text


def check_answer_pattern(text: str) -> str:
    """The same for the name of an answer, which may have the numbers of pages.

    Raises:
        ValueError: with what is wrong.
    """
    return check_pattern(text, pages=True)


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
        if name in _PAGES:
            return _PAGES[name]
        found = values.get(name) or business_date.strftime(form or "%Y-%m-%d")
        return _GLOB.sub(r"[\g<0>]", found) if literal else found

    return _PLACEHOLDER.sub(value, text)


def matches(name: str, pattern: str, filename: str, business_date: date) -> bool:
    """Whether a file of that name answers the file that was sent.

    Letters with marks may be told as one sign or several: places differ in that.
    """
    return _match(name, pattern, filename, business_date) is not None


def page_of(
    name: str, pattern: str, filename: str, business_date: date
) -> tuple[int | None, int | None]:
    """The number of a page and how many there are, as the name of an answer says."""
    found = _match(name, pattern, filename, business_date)
    said = found.groupdict() if found else {}
    return tuple(int(said[each]) if said.get(each) else None for each in _PAGES)  # type: ignore[return-value]


def _match(name: str, pattern: str, filename: str, business_date: date) -> re.Match[str] | None:
    return _compiled(pattern, filename, business_date).match(unicodedata.normalize("NFC", name))


@lru_cache(maxsize=10_000)
def _compiled(pattern: str, filename: str, business_date: date) -> re.Pattern[str]:
    filled = fill(pattern, filename, business_date, literal=True)
    form = fnmatch.translate(unicodedata.normalize("NFC", filled))
    for each, mark in _PAGES.items():
        form = form.replace(mark, f"(?P<{each}>[0-9]{{1,9}})")
    return re.compile(form)
