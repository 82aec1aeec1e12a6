"""Holds JSON against a JSON Schema, streaming, with exact numbers and without a network.

A line of JSON lines is a document of its own. A long document is held against its schema with some
of its records at a time, where nothing in the schema speaks of records together; where something
does, it is read as a whole.
"""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import jsonschema_rs

from openreg_airflow.artifacts.writer import Progress
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.artifacts.layouts.document import Frame

log = logging.getLogger(__name__)

_MOST_RECORDS = 2000
#: How much of an identifier messages show.
_LONGEST = 60
#: With more than this, a document that is read as a whole is said to be in the log.
_LARGE = 64 << 20
#: What a schema can ask of all items of an array together, or of an item by its place.
_TOGETHER = frozenset(
    {
        "additionalItems",
        "contains",
        "maxItems",
        "minContains",
        "prefixItems",
        "unevaluatedItems",
        "uniqueItems",
    }
)
#: Where a schema may ask more of an array than what its plain description says.
_ELSEWHERE = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "allOf",
        "anyOf",
        "const",
        "dependencies",
        "dependentSchemas",
        "enum",
        "if",
        "not",
        "oneOf",
        "patternProperties",
    }
)
_ANNOTATIONS = frozenset({"$ref", "$comment", "description", "title"})


class Schema:
    """A compiled JSON Schema.

    Args:
        path: the file; those that it refers to are looked for beside it.

    Raises:
        ArtifactError: it is not a JSON Schema, or refers to one that is not on this machine.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = content = self._read(path)
        try:
            self._validator = jsonschema_rs.validator_for(
                content,
                validate_formats=True,
                base_uri=path.resolve().as_uri() if _needs_base(content) else None,
                retriever=self._retrieve,
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            reason = getattr(error, "message", None) or str(error)
            message = f"schema {path.name} cannot be used: {reason}"
            raise ArtifactError(
                message,
                where=str(path),
                hint="Put the original file there, with the schemas that it refers to beside it.",
            ) from error

    def lines(self, file: Path) -> int:
        """Hold each line of a file against the schema.

        Args:
            file: JSON lines.

        Returns:
            The number of lines, all of them valid.

        Raises:
            ArtifactError: a line is invalid; the message says the reason, ``where`` record and
                place.
        """
        progress = Progress("schema check", file.stat().st_size, "bytes")
        number = read = 0
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                value = _exact(line)
                if not self._validator.is_valid(value):
                    raise self._fault(value, f"record {number}{_named(value)}", ())
                read += len(line)
                progress.at(read)
        return number

    def document(self, file: Path, frame: Frame | None, records: tuple[str | int, ...]) -> None:
        """Hold a document against the schema.

        Args:
            file: the document, in which each record is a line.
            frame: where its records are, when they are all of one table.
            records: the way to the array of the records.

        Raises:
            ArtifactError: it is invalid; the message says the reason, ``where`` record and place.
        """
        if frame is None or not separable(self._content, records):
            if file.stat().st_size > _LARGE:
                log.warning(
                    "schema %s speaks of records together: %s is read as a whole",
                    self._path.name,
                    file.name,
                )
            self._whole(_exact(file.read_bytes()), records, 0)
            return
        progress = Progress("schema check", file.stat().st_size, "bytes")
        done = read = 0
        for piece, count in _pieces(file, frame):
            value = _exact(piece)
            if not self._validator.is_valid(value):
                self._whole(value, records, done)
            done += count
            read += len(piece)
            progress.at(read)

    def _whole(self, value: Any, records: tuple[str | int, ...], done: int) -> None:
        if not self._validator.is_valid(value):
            raise self._fault(value, "", records, done)

    def _fault(
        self, value: Any, where: str, records: tuple[str | int, ...], done: int = 0
    ) -> ArtifactError:
        error = next(iter(self._validator.iter_errors(value)))
        way = list(error.instance_path)
        depth = len(records)
        if depth and tuple(way[:depth]) == records and len(way) > depth:
            record = reduce(getitem, way[: depth + 1], value)
            where = f"record {done + int(way[depth]) + 1}{_named(record)}"
            way = way[depth + 1 :]
        place = "/".join(str(step) for step in way)
        places = [part for part in (where, place, f"schema {self._path.name}") if part]
        return ArtifactError(
            f"the file is invalid: {error.message}",
            where=", ".join(places),
            hint="Mend the data, the transform or the template.",
        )

    def _retrieve(self, uri: str) -> Any:
        """A schema that this one refers to: the file of that name beside it, and no other."""
        name = Path(unquote(urlsplit(uri).path)).name
        other = self._path.resolve().parent / name
        if not name or not other.is_file():
            message = f"{name} is not in {other.parent}"
            raise ValueError(message)
        return self._read(other)

    def _read(self, path: Path) -> Any:
        try:
            content = json.loads(path.read_bytes(), parse_float=Decimal)
        except ValueError as error:
            message = f"schema {path.name} is not JSON: {error}"
            raise ArtifactError(
                message, where=str(path), hint="Put the original file there."
            ) from error
        return content


def _needs_base(content: Any) -> bool:
    return not (isinstance(content, dict) and str(content.get("$id", "")).startswith("http"))


def separable(schema: Any, records: tuple[str | int, ...]) -> bool:
    """Whether a document is valid when it is with some of its records at a time.

    Args:
        schema: the content of the schema.
        records: the way to the array of the records.
    """
    node = schema
    for step in records:
        node = _described(schema, node)
        if node is None or not isinstance(step, str) or _ELSEWHERE & set(node):
            return False
        node = node.get("properties", {}).get(step)
    node = _described(schema, node)
    if node is None or (_ELSEWHERE | _TOGETHER) & set(node) or isinstance(node.get("items"), list):
        return False
    return bool(node.get("minItems", 0) <= 1)


def _described(schema: Any, node: Any) -> dict[str, Any] | None:
    """A part of a schema, or what it refers to; None where that is not plain."""
    for _ in range(10):
        if not isinstance(node, dict):
            return None
        if "$ref" not in node:
            return node
        if set(node) - _ANNOTATIONS or not str(node["$ref"]).startswith("#/"):
            return None
        steps = str(node["$ref"])[2:].split("/")
        node = schema
        for step in steps:
            if not isinstance(node, dict):
                return None
            node = node.get(step.replace("~1", "/").replace("~0", "~"))
    return None


def _exact(data: bytes) -> Any:
    return json.loads(data, parse_float=Decimal)


def _named(record: Any) -> str:
    """How messages name a record: by its first member, which is its identifier as a rule."""
    if isinstance(record, dict):
        for name, value in record.items():
            return f" ({name} {str(value)[:_LONGEST]})" if isinstance(value, str | int) else ""
    return ""


def _pieces(file: Path, frame: Frame) -> Iterator[tuple[bytes, int]]:
    """Documents of some of the records each, with their number."""
    size = file.stat().st_size
    with file.open("rb") as content:
        head = content.read(frame.head)
        content.seek(size - frame.tail)
        tail = content.read()
        content.seek(frame.head + 1)
        left = size - frame.tail - frame.head - 1
        held: list[bytes] = []
        while left > 0:
            line = content.readline(left)
            left -= len(line)
            held.append(line)
            if len(held) == _MOST_RECORDS:
                yield _joined(head, held, tail), len(held)
                held = []
        if held:
            yield _joined(head, held, tail), len(held)


def _joined(head: bytes, records: list[bytes], tail: bytes) -> bytes:
    return head + b"".join(records).rstrip().removesuffix(b",") + tail
