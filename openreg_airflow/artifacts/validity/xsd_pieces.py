"""Holds a long file against its schema piece by piece, on several threads.

A piece is some records between the file's own beginning and end, so that it is a document by
itself. That proves the whole file only where nothing in the schema speaks of records together:
:func:`separable` says whether, and :func:`all_valid` never says more than that all pieces are
valid. Where a fault is, the check of the whole file says
(:mod:`openreg_airflow.artifacts.validity.xsd`).
"""

from __future__ import annotations

import os
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lxml import etree

from openreg_airflow.artifacts.validity.xsd_schema import SAFE
from openreg_airflow.artifacts.writer import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from openreg_airflow.artifacts.validity.xsd_model import Schema

_PIECE = 2 << 20
#: What stands before the first record and after the last one is checked with every piece.
_LONGEST_FRAME = 256 << 10
_MOST_THREADS = 4


def separable(schema: Schema, record: tuple[str, ...]) -> bool:
    """Whether a file is valid when each of its records is, in the file's own frame.

    That is so when the record's element may be repeated without limit, by itself, and the schema
    asks for nothing that holds between records: no unique values, keys or ids.

    Args:
        schema: the schema's model.
        record: the tags from the root down to the element of one record.
    """
    if schema.compares_values:
        return False
    place = next((n for n, tag in enumerate(record) if schema.element(tag)), None)
    if place is None or place == len(record) - 1:
        return False
    declared = schema.element(record[place])
    for tag in record[place + 1 :]:
        content = schema.kind(declared).content if declared else None
        named = [d for d in content.declarations() if d.tag == tag] if content else []
        if len(named) != 1:
            return False
        declared = named[0]
    return declared is not None and declared.maximum is None


def all_valid(path: Path, schema: etree.XMLSchema, name: str) -> int | None:
    """Hold a file against a schema piece by piece.

    Args:
        path: a file in which each record ends its line, and no line ends inside one but in texts.
        schema: the compiled schema.
        name: the record's element as it is written, with its prefix.

    Returns:
        The number of records, all of them valid; None when that cannot be said.
    """
    end = f"</{name}>\n".encode()
    boundary = re.compile(re.escape(end) + rb"(?=<" + re.escape(name.encode()) + rb"[ >])")
    frame = _frame(path, name, end)
    if frame is None or b"<!DOCTYPE" in frame[0]:
        return None
    head, tail, size = frame
    progress = Progress("schema check", size, "bytes")
    records = read = 0
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, "schema-check") as pool:
        waiting: deque[tuple[int, Future[bool]]] = deque()
        for piece in _pieces(path, len(head), size - len(tail), boundary):
            records += len(boundary.findall(piece)) + 1
            document = b"".join((head, piece, tail))
            waiting.append((len(piece), pool.submit(_valid, document, schema)))
            if len(waiting) > threads:
                done, outcome = waiting.popleft()
                read += done
                progress.at(read)
                if not outcome.result():
                    return None
        if not all(outcome.result() for _, outcome in waiting):
            return None
    return records


def _valid(document: bytes, schema: etree.XMLSchema) -> bool:
    try:
        return bool(schema.validate(etree.fromstring(document, etree.XMLParser(**SAFE))))
    except etree.XMLSyntaxError:
        return False


def _frame(path: Path, name: str, end: bytes) -> tuple[bytes, bytes, int] | None:
    """What stands before the first record and after the last one, and the file's size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_LONGEST_FRAME)
        file.seek(max(0, size - _LONGEST_FRAME))
        last = file.read()
    begin = re.search(rb"\n<" + re.escape(name.encode()) + rb"[ >]", first)
    close = last.rfind(end)
    if begin is None or close < 0:
        return None
    return first[: begin.start() + 1], last[close + len(end) :], size


def _pieces(path: Path, start: int, stop: int, boundary: re.Pattern[bytes]) -> Iterator[bytes]:
    """The bytes between two places, cut between records."""
    with path.open("rb") as file:
        file.seek(start)
        held = b""
        while block := file.read(min(_PIECE, stop - file.tell())):
            held += block
            if cuts := [match.end() for match in boundary.finditer(held)]:
                yield held[: cuts[-1]]
                held = held[cuts[-1] :]
        if held:
            yield held
