"""Text as XML carries it: escaped, and refused when XML 1.0 cannot carry it at all."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.values.value_text import ByteSearch, UnwritableValueError

# XML 1.0, production 2 (Char): everything but these may stand in a document.
_FORBIDDEN = "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
# A carriage return would be read back as a line feed, and in an attribute any of the three as a
# space (XML 1.0, sections 2.11 and 3.3.3).
_TEXT = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"))
_ATTRIBUTE = (*_TEXT, ('"', "&quot;"), ("\t", "&#9;"), ("\n", "&#10;"))


_CONTROL = "".join(map(chr, range(32))).replace("\t", "").replace("\n", "") + "\ufffe\uffff"
_SEARCH = {
    False: ByteSearch(_CONTROL + "".join(character for character, _ in _TEXT)),
    True: ByteSearch(_CONTROL + "".join(character for character, _ in _ATTRIBUTE)),
}


def escaped(text: str, *, attribute: bool = False) -> str:
    """One text, escaped."""
    for character, reference in _ATTRIBUTE if attribute else _TEXT:
        text = text.replace(character, reference)
    return text


def escaped_column(texts: pa.StringArray, *, attribute: bool = False) -> pa.StringArray:
    """A column of texts, escaped; empty texts become NULL because XML has no way to tell them.

    Raises:
        UnwritableValueError: a text holds a control character that XML cannot carry.
    """
    texts = _without_empty(texts)
    if not _SEARCH[attribute].finds(texts):
        return texts
    forbidden = pc.fill_null(pc.match_substring_regex(texts, _FORBIDDEN), False)
    if (row := pc.index(forbidden, pa.scalar(True)).as_py()) >= 0:
        message = f"XML cannot carry a control character that is in {texts[row].as_py()!r}"
        raise UnwritableValueError(message, row)
    for character, reference in _ATTRIBUTE if attribute else _TEXT:
        texts = pc.replace_substring(texts, character, reference)
    return texts


def _without_empty(texts: pa.StringArray) -> pa.StringArray:
    empty = pc.equal(pc.binary_length(texts), 0)
    if not pc.any(empty).as_py():
        return texts
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts)
