"""Whether a CSV file may hold text behind a closing quote, found without reading its fields.

Arrow takes ``"x"y`` for ``xy``, which would change a value without a word. Stretches of whole lines
are judged by their quotes alone, which is far faster than to parse them: without the doubled ones
every quote opens or closes, in turn. What is then in doubt is for a parser that knows.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from openreg_airflow.extract.file_spec import FileSpec

_BLOCK = 4 << 20


def doubtful(file: IO[bytes], spec: FileSpec) -> bool:
    """Whether text may follow a closing quote somewhere; False is certain.

    Args:
        file: the unpacked bytes.
        spec: delimiter, quote and encoding.
    """
    quote, delimiter = spec.quote.encode(), spec.delimiter.encode()
    if spec.encoding.startswith(("utf-16", "utf-32")):
        return True
    judge = _Judge(quote, delimiter)
    left = b""
    while block := file.read(_BLOCK):
        lines, end, left = (left + block).rpartition(b"\n")
        if judge.doubts(lines + end) or len(left) > _BLOCK:
            return True
    return judge.doubts(left + b"\n")


class _Judge:
    """Judges stretches of whole lines."""

    def __init__(self, quote: bytes, delimiter: bytes) -> None:
        self._quote = quote
        q, d = re.escape(quote), re.escape(delimiter)
        begin = rb"%b(?<![^\r\n%b]%b)" % (q, d, q)
        self._value = re.compile(rb"%b[^%b]*%b(?=[\r\n%b])" % (begin, q, q, d))
        # An even number of quotes where a value may begin, and then text.
        self._text_behind = re.compile(rb"%b%b(?:%b%b)*(?=[^\r\n%b%b])" % (begin, q, q, q, d, q))

    def doubts(self, stretch: bytes) -> bool:
        if self._quote not in stretch:
            return False
        doubled = self._quote * 2
        if doubled in stretch:
            if self._text_behind.search(stretch):
                return True
            stretch = stretch.replace(doubled, b"")
        return self._quote in self._value.sub(b"", stretch)
