"""The beginning of a finished file, laid out for people; only as much is read as is shown."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zipfile
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

_READ = 1 << 14
#: The longest line that is shown; a file without line ends must not fill the screen.
_WIDTH = 2000
#: The longest line that is held to be laid out.
_LONGEST = _READ * 4
_TABULAR = 60


def lines(file: BinaryIO, spec: dict[str, Any]) -> Iterator[str]:
    """The file line by line, until the caller has seen enough.

    XML and JSON are indented, delimited values are a table, archives are looked into. What cannot
    be read without a key says so.

    Args:
        file: the open file, from its beginning.
        spec: the artifact's section, as its metadata tells it.
    """
    package = spec.get("package") or {}
    if package.get("encrypt") is not None:
        yield "The file is encrypted; only the receiver can read it."
        return
    compress = package.get("compress")
    if compress == "gzip":
        with gzip.GzipFile(fileobj=file) as inner:
            yield from _plain(inner, spec)  # type: ignore[arg-type]
    elif compress == "zip":
        with zipfile.ZipFile(file) as archive, archive.open(archive.infolist()[0]) as inner:
            yield from _plain(inner, spec)  # type: ignore[arg-type]
    else:
        yield from _plain(file, spec)


def _plain(file: BinaryIO, spec: dict[str, Any]) -> Iterator[str]:
    form = spec.get("format")
    begin = _Peeked(file)
    if form == "xml":
        yield from _xml(begin)
    elif form == "json":
        yield from _json(_text(begin, "utf-8"))
    elif form == "csv" and spec.get("quoting") != "none":
        yield from _table(begin, spec)
    elif begin.start.startswith(b"PK\x03\x04"):
        yield "The file is a zip archive, with:"
        with zipfile.ZipFile(io.BytesIO(begin.all())) as archive:
            yield from (
                f"  {entry.filename}, {entry.file_size} bytes" for entry in archive.infolist()
            )
    elif begin.start.startswith(b"PAR1"):
        yield from _parquet(begin.all())
    else:
        encoding = str(spec.get("encoding") or "utf-8")
        for line in _text_lines(_text(begin, encoding)):
            if form == "jsonl":
                yield from _record(line)
            else:
                yield line


class _Peeked:
    """A file whose beginning was looked at."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.start = file.read(_READ)

    def chunks(self) -> Iterator[bytes]:
        data = self.start
        while data:
            yield data
            data = self._file.read(_READ)

    def all(self) -> bytes:
        return b"".join(self.chunks())


def _text(file: _Peeked, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for data in file.chunks():
        yield decoder.decode(data)


def _text_lines(texts: Iterable[str], width: int = _WIDTH, end: str = "") -> Iterator[str]:
    waiting = ""
    for text in texts:
        *whole, waiting = (waiting + text).split("\n")
        yield from (line.rstrip("\r")[:width] + end for line in whole)
        waiting = waiting[:_LONGEST]
    if waiting:
        yield waiting[:width]


def _record(line: str) -> Iterator[str]:
    try:
        yield from json.dumps(json.loads(line), indent=2, ensure_ascii=False).split("\n")
    except (ValueError, RecursionError):  # a line that was cut, or none of JSON: as it is
        yield line


def _json(texts: Iterable[str]) -> Iterator[str]:
    """Indent JSON without holding it: what matters of it are brackets, commas and texts."""
    depth, line, quoted, escaped = 0, "", False, False
    for text in texts:
        for character in text:
            if quoted:
                line += character
                quoted = escaped or character != '"'
                escaped = not escaped and character == "\\"
                continue
            if character in "}]":
                if line.strip():
                    yield line
                depth -= 1
                line = "  " * depth + character
            elif character in "{[,":
                yield line + character
                depth += character != ","
                line = "  " * depth
            elif character == '"':
                line, quoted = line + character, True
            elif character == ":":
                line += ": "
            elif not character.isspace():
                line += character
    if line.strip():
        yield line


def _xml(file: _Peeked) -> Iterator[str]:
    """Indent XML as it is read; what is declared in it is never looked up."""
    out: list[str] = []
    tree = _Tree(out)
    for data in file.chunks():
        try:
            tree.feed(data)
        except expat.ExpatError as error:
            yield from out
            yield f"(not XML from here on: {error})"
            return
        yield from out
        out.clear()
    yield from out


class _Tree:
    def __init__(self, out: list[str]) -> None:
        self._out = out
        self._depth = 0
        self._open = ""
        self._text = ""
        parser = expat.ParserCreate()
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.ordered_attributes = True
        self._parser = parser

    def feed(self, data: bytes) -> None:
        self._parser.Parse(data, False)

    def _start(self, name: str, attributes: list[str]) -> None:
        self._flush()
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        self._open = name + "".join(f' {key}="{_escaped(value)}"' for key, value in pairs)
        self._depth += 1

    def _end(self, name: str) -> None:
        self._depth -= 1
        indent = "  " * self._depth
        text = _escaped(self._text.strip())
        if self._open:
            self._out.append(f"{indent}<{self._open}>{text}</{name}>")
        else:
            self._out.append(f"{indent}</{name}>")
        self._open = self._text = ""

    def _characters(self, text: str) -> None:
        self._text = (self._text + text)[:_WIDTH]

    def _flush(self) -> None:
        if self._open:
            self._out.append(f"{'  ' * (self._depth - 1)}<{self._open}>")
        self._open = self._text = ""


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _table(file: _Peeked, spec: dict[str, Any]) -> Iterator[str]:
    """Delimited values in columns that are as wide as the first records need."""
    texts = _text(file, str(spec.get("encoding") or "utf-8"))
    # A line that is cut would lose the end of a quoted value, and all that follows with it.
    reader = csv.reader(
        _text_lines(texts, _LONGEST, "\n"),
        delimiter=spec.get("delimiter") or ",",
        quotechar=spec.get("quote") or '"',
    )
    first: list[list[str]] = []
    failed: csv.Error | None = None
    try:
        first += islice(reader, _TABULAR)
    except csv.Error as error:
        failed = error
    widths: list[int] = []
    for row in first:
        for place, value in enumerate(row):
            widths[place : place + 1] = [max([*widths[place : place + 1], min(len(value), 40)])]

    def laid_out(row: list[str]) -> str:
        cells = (
            value.replace("\n", "\\n").ljust(widths[place] if place < len(widths) else 0)
            for place, value in enumerate(row)
        )
        return "  ".join(cells).rstrip()[:_WIDTH]

    yield from map(laid_out, first)
    try:
        if failed is not None:
            raise failed
        yield from map(laid_out, reader)
    except csv.Error as error:
        yield f"(cannot be laid out from here on: {error})"


def _parquet(data: bytes) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with closing(pq.ParquetFile(pa.BufferReader(data))) as table:
        yield from (f"{field.name}: {field.type}" for field in table.schema_arrow)
        for batch in table.iter_batches(100):
            for row in batch.to_pylist():
                yield json.dumps(row, default=str, ensure_ascii=False)
