"""Finds the record, element and line of a schema fault, once a file is known to be invalid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from lxml import etree

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 1 << 18
_LONGEST_TAG = 1024
_NAMESPACE = re.compile(r"\{[^}]*\}")
_HINT = "Mend the data, the transform or the layout; the file was not published."


def not_well_formed(error: etree.XMLSyntaxError) -> ArtifactError:
    """The error of a file that is not XML at all."""
    return ArtifactError(
        f"the file is not well-formed XML: {error.msg}", where=f"line {error.lineno}", hint=_HINT
    )


def locate(
    path: Path,
    schema: etree.XMLSchema,
    record: tuple[str, ...],
    window: tuple[int, int],
    reason: str,
) -> ArtifactError:
    """The error that says where in an invalid file the first fault is.

    Args:
        path: the invalid file.
        schema: what it was held against.
        record: the tags from the root down to the element of one record.
        window: first byte, and the one after the last, where the fault was noticed.
        reason: what the streaming check said; used when no single record is at fault.
    """
    for piece in _pieces(path, record, window):
        document = etree.fromstring(piece.document, etree.XMLParser(no_network=True))
        if schema.validate(document):
            continue
        depth = len(record)
        faults: Any = schema.error_log
        for error in faults:
            steps = [step for step in (error.path or "").split("/") if step]
            if len(steps) < depth:
                continue
            found: Any = document.xpath(error.path, namespaces=_prefixes(document))
            element = found[0] if found else None
            line = piece.line + error.line - piece.lines_before
            return ArtifactError(
                f"invalid by the schema: {_readable(error.message)}",
                where=f"record {piece.number}{_name(document, depth)}, "
                f"{_way(element, depth)}line {line}",
                hint=_HINT,
            )
    return ArtifactError(f"invalid by the schema: {_readable(reason)}", where="file", hint=_HINT)


def _prefixes(document: etree._Element) -> dict[str, str]:
    """The namespace prefixes of a document, which libxml2 uses in the paths of its errors."""
    found: dict[str, str] = {}
    for element in document.iter(etree.Element):
        found |= {prefix: uri for prefix, uri in element.nsmap.items() if prefix}
    return found


def _readable(message: str) -> str:
    return _NAMESPACE.sub("", message)


def _name(document: etree._Element, depth: int) -> str:
    """The first text in the record, which is nearly always its identifier."""
    for element in document.iter(etree.Element):
        inside = sum(1 for _ in element.iterancestors()) >= depth
        if inside and element.text and element.text.strip():
            return f" ({_readable(str(element.tag))} {element.text.strip()[:60]})"
    return ""


def _way(element: etree._Element | None, depth: int) -> str:
    if element is None:
        return ""
    above = [str(e.tag) for e in element.iterancestors()][::-1]
    names = [_readable(tag) for tag in (*above, str(element.tag))][depth - 1 :]
    return f"element {'/'.join(names)}, "


@dataclass(frozen=True)
class _Piece:
    """One record in a document of its own: the file's own beginning, the record, closing tags."""

    document: bytes
    number: int
    line: int
    lines_before: int


class _Records:
    """Finds where in a file the records are; names are compared without their namespaces."""

    def __init__(self, record: tuple[str, ...]) -> None:
        self.found: list[tuple[int, int, int]] = []
        self.closing = b""
        self._way = [_NAMESPACE.sub("", tag) for tag in record]
        self._open: list[str] = []
        self._begun = (0, 0)
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def _is_record(self) -> bool:
        return len(self._open) == len(self._way) and self._way == [
            name.rpartition(":")[2] for name in self._open
        ]

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._open.append(name)
        if self._is_record():
            self._begun = self.parser.CurrentByteIndex, self.parser.CurrentLineNumber
            self.closing = "".join(f"</{above}>" for above in self._open[-2::-1]).encode()

    def _end(self, _: str) -> None:
        if self._is_record():
            start, line = self._begun
            self.found.append((start, self.parser.CurrentByteIndex, line))
        self._open.pop()


def _pieces(path: Path, record: tuple[str, ...], window: tuple[int, int]) -> Iterator[_Piece]:
    """The records that touch a window of bytes, one by one."""
    records = _Records(record)
    number = 0
    head: bytes | None = None
    with path.open("rb") as file, path.open("rb") as again:
        while block := file.read(_BLOCK):
            records.parser.Parse(block, False)
            for start, end_tag, line in records.found:
                number += 1
                head = again.read(start) if head is None else head
                if start >= window[1]:
                    return
                # The end tag itself may be what reaches into the window.
                if end_tag + _LONGEST_TAG < window[0]:
                    continue
                again.seek(start)
                data = again.read(end_tag - start + _LONGEST_TAG)
                data = data[: data.index(b">", end_tag - start) + 1]
                document = head + data + records.closing
                yield _Piece(document, number, line, head.count(b"\n") + 1)
            records.found.clear()
