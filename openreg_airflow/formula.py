"""Text that a spreadsheet would execute, written so that it does not.

A cell that begins like a formula gets an apostrophe in front, which spreadsheets take as "text
follows". Text that begins with apostrophes before such a sign gets one more, so that taking one
away gives the text back, whatever it was.
"""

from __future__ import annotations

import re

#: The signs with which formulas begin, also in their full width, and blanks that are skipped.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
#: A number is no formula, with or without a sign.
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")


def guarded(text: str) -> str:
    """The text as a cell of a CSV file or sheet that no spreadsheet executes."""
    return f"'{text}" if _begins_formula(text) else text


def unguarded(text: str) -> str:
    """The text of a cell that :func:`guarded` wrote; other text stays as it is."""
    return text[1:] if text.startswith("'") and _begins_formula(text[1:]) else text


def _begins_formula(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)
