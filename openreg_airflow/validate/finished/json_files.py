"""JSON documents, read back record by record.

A document is walked along the way to its records; whatever lies beside it is read a value at a
time. So of a document of any size only one value, or one element of an array, is held at once.
"""

from __future__ import annotations

import io
import json
import re
from typing import IO, TYPE_CHECKING, Any, NoReturn

from openreg_airflow.errors import ArtifactError
from openreg_airflow.validate.finished.text_files import member, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.validate.finished.records import RecordWriter
    from openreg_airflow.validate.finished.spec import ReadBack

#: Characters that are read at a time, and the most that one value may have.
_PIECE = 1 << 18
_LONGEST = 1 << 26
#: No word or escape of JSON is longer.
_NEAR_END = 16
_IN_NUMBERS = ("", ".", "e", "E")
_BLANK = re.compile(r"[ \t\r\n]*")

Path = tuple[str, ...]


def read_json(
    stream: IO[bytes], name: str, reading: ReadBack, into: RecordWriter
) -> tuple[int, dict[str, str | None]]:
    """Read a document. Numbers keep their digits as text.

    Args:
        stream: its bytes, in UTF-8.
        name: of the file.
        reading: where records and fields are.
        into: takes the records.

    Returns:
        The number of records, and the values of the document itself.

    Raises:
        ArtifactError: it is not JSON, a record is no object, or nothing is where the records
            should be.
    """
    fields = {field: path.split("/") for field, path in reading.fields.items()}
    records = into.of_file(name, list(fields))
    document = _Document(stream, name, reading)
    for record in document.records():
        records.add([text_of(member(record, path)) for path in fields.values()])
    return records.end(), document.values


class _Document:
    """Walks a document; of :attr:`values` the last one counts, as to most readers of JSON."""

    def __init__(self, stream: IO[bytes], name: str, reading: ReadBack) -> None:
        self._text = _Text(stream, name)
        self._name = name
        self._way = _path(reading.record or "")
        self._wanted: dict[Path, list[str]] = {}
        for field, path in reading.document.items():
            self._wanted.setdefault(_path(path), []).append(field)
        ways = (self._way, *self._wanted)
        self._inner = {way[:depth] for way in ways for depth in range(len(way))}
        self._met = False
        self._count = 0
        self.values: dict[str, str | None] = dict.fromkeys(reading.document)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records in their order."""
        try:
            yield from self._value(())
        except RecursionError:
            self._text.fail("it is nested too deeply")
        if self._text.next():
            self._text.fail("something follows the document")
        if not self._met:
            message = f"{self._name} has nothing at {'/'.join(self._way)}, where its records are"
            raise ArtifactError(message)

    def _value(self, path: Path) -> Iterator[dict[str, Any]]:
        mark = self._text.next()
        if mark == "[" and path not in self._wanted:
            self._met |= path == self._way[: len(path)]
            for _ in self._text.parts("[", "]"):
                yield from self._value(path)
        elif mark == "{" and path in self._inner and path != self._way:
            for _ in self._text.parts("{", "}"):
                name = self._text.value()
                if not isinstance(name, str):
                    self._text.fail("the name of a member is no text")
                self._text.take(":")
                yield from self._value((*path, name))
        else:
            value = self._text.value()
            for field in self._wanted.get(path, ()):
                self.values[field] = text_of(value)
            if path == self._way:
                self._met = True
                self._count += 1
                if not isinstance(value, dict):
                    message = f"{self._name}, record {self._count} is no object"
                    raise ArtifactError(message)
                yield value


class _Text:
    """The characters of a document, of which a part is held."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        self._name = name
        self._held = ""
        self._at = 0
        self._before = 0
        self._ended = False
        self._decode = json.JSONDecoder(
            parse_float=str, parse_int=str, parse_constant=_refuse
        ).raw_decode

    def next(self) -> str:
        """The next character that is no blank, which is not taken; empty at the end."""
        while True:
            self._at = _BLANK.match(self._held, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return ""

    def take(self, mark: str) -> None:
        """Take one character."""
        if self.next() != mark:
            self.fail(f"{mark!r} is missing")
        self._at += 1

    def parts(self, begin: str, end: str) -> Iterator[None]:
        """Go through the parts of an array or object; each must be taken before the next."""
        self.take(begin)
        if self.next() == end:
            self._at += 1
            return
        while True:
            yield
            if self.next() == end:
                self._at += 1
                return
            self.take(",")

    def value(self) -> Any:
        """Take one value."""
        if not self.next():
            self.fail("it ends too early")
        while True:
            try:
                value, end = self._decode(self._held, self._at)
            except RecursionError:
                self.fail("it is nested too deeply")
            except json.JSONDecodeError as error:
                behind = error.pos - self._at
                if self._may_go_on(error) and self._more():
                    continue
                self._at += behind
                self.fail(error.msg)
            except ValueError as error:
                self.fail(str(error))
            # A number may go on behind the point that it seems to end at, or behind what is held.
            left = self._held[end : end + _NEAR_END]
            if left[:1] in _IN_NUMBERS and len(left) < _NEAR_END and self._more():
                continue
            self._at = end
            return value

    def fail(self, what: str) -> NoReturn:
        """Refuse the document at this place."""
        place = self._before + self._at + 1
        message = f"{self._name} is not JSON: {what}, at character {place:,}"
        raise ArtifactError(message)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether a value is wrong only because its end is not held yet."""
        return error.msg.startswith("Unterminated") or error.pos > len(self._held) - _NEAR_END

    def _more(self) -> bool:
        """Hold more; as much again as is left, so that a long value is not read many times."""
        if self._ended:
            return False
        left = len(self._held) - self._at
        if left > _LONGEST:
            message = f"a value of {self._name} is longer than {_LONGEST:,} characters"
            raise ArtifactError(message)
        piece = self._stream.read(max(_PIECE, left))
        self._ended = not piece
        self._before += self._at
        self._held, self._at = self._held[self._at :] + piece, 0
        return bool(piece)


def _path(text: str) -> Path:
    """Names of members; ``.`` is the document itself."""
    return () if text == "." else tuple(text.split("/"))


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is no value of JSON"
    raise ValueError(message)
