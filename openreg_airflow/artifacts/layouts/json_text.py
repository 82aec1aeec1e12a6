"""Text as JSON carries it between quotes (RFC 8259, section 7)."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.values.value_text import ByteSearch

_CONTROL = tuple(map(chr, range(0x20)))
_SEARCH = ByteSearch('"\\' + "".join(_CONTROL))


def json_escaped(texts: pa.StringArray) -> pa.StringArray:
    """A column of texts with quotes, backslashes and control characters escaped."""
    if not _SEARCH.finds(texts):
        return texts
    texts = pc.replace_substring(texts, "\\", "\\\\")
    texts = pc.replace_substring(texts, '"', '\\"')
    for character in _CONTROL:
        if ByteSearch(character).finds(texts):
            texts = pc.replace_substring(texts, character, json.dumps(character)[1:-1])
    return texts
