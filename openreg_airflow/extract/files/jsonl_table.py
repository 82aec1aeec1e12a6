"""JSON lines: one object a line, numbers by their digits and never through a float."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import SourceError
from openreg_airflow.extract.files.content import BROKEN, damaged, lines, unpacked
from openreg_airflow.extract.files.table import need_columns
from openreg_airflow.extract.reader import SourceColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.extract.file_spec import FileSpec

_BATCH_ROWS = 20_000
_BATCH_BYTES = 4 << 20
_SHOWN = 60


class _Number(str):
    """The digits of a number as the file has them."""

    __slots__ = ()


class JsonLinesTable:
    """One file of JSON lines; see :class:`openreg_airflow.extract.files.table.FileTable`."""

    def __init__(self, path: Path, name: str, spec: FileSpec, declared: Mapping[str, str]) -> None:
        need_columns(declared, "JSON lines")
        self._path = path
        self._name = name
        self._spec = spec
        self._declared = dict(declared)
        self._before = 0
        self._numbers: list[int] = []
        self.columns = tuple(
            SourceColumn(column, arrow_type(kind), "JSON value")
            for column, kind in declared.items()
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, every value as text."""
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        size = 0
        try:
            with unpacked(self._path, self._spec) as file:
                for number, line in lines(file, self._name):
                    if not line.strip():
                        continue
                    rows.append(self._row(number, line))
                    numbers.append(number)
                    size += len(line)
                    if len(rows) >= _BATCH_ROWS or size >= _BATCH_BYTES:
                        yield self._batch(rows, numbers)
                        rows, numbers, size = [], [], 0
            if rows:
                yield self._batch(rows, numbers)
        except BROKEN as error:
            raise damaged(self._name, error) from error

    def place(self, row: int) -> str:
        """The line of a row."""
        return f"line {self._numbers[row - self._before]}"

    def _batch(self, rows: list[list[str | None]], numbers: list[int]) -> pa.RecordBatch:
        self._before += len(self._numbers)
        self._numbers = numbers
        try:
            arrays = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        except UnicodeEncodeError as error:
            raise self._half_letter(rows) from error
        return pa.RecordBatch.from_arrays(arrays, names=list(self._declared))

    def _row(self, number: int, line: bytes) -> list[str | None]:
        try:
            found = json.loads(
                line.decode("utf-8-sig" if number == 1 else "utf-8"),
                parse_float=_Number,
                parse_int=_Number,
                parse_constant=_refused_constant,
                object_pairs_hook=_object,
            )
        except UnicodeDecodeError as error:
            raise self._wrong(number, f"it is not UTF-8: {error.reason}") from error
        except (ValueError, RecursionError) as error:
            raise self._wrong(number, f"it is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise self._wrong(number, "it is not an object")
        if unknown := [name for name in found if name not in self._declared]:
            shown = unknown[0].encode(errors="backslashreplace").decode()
            raise self._wrong(number, f"the column {shown} is not declared")
        return [
            self._text(number, column, kind, found.get(column))
            for column, kind in self._declared.items()
        ]

    def _text(self, number: int, column: str, kind: str, value: Any) -> str | None:
        if value is None:
            return None
        numeric = kind in ("integer", "float") or kind.startswith("decimal")
        if isinstance(value, bool):
            if kind == "boolean":
                return "true" if value else "false"
        elif isinstance(value, _Number):
            if numeric:
                return str(value)
        elif isinstance(value, str) and (kind != "boolean" or column in self._spec.formats):
            return value
        shown = json.dumps(value)[:_SHOWN]
        message = f"the value {shown} is not {kind}"
        where = f"{self._name}, column {column}, line {number}"
        hint = "Correct the data, or declare another type under `columns:`."
        raise SourceError(message, where=where, hint=hint)

    def _half_letter(self, rows: list[list[str | None]]) -> SourceError:
        """The error for the first text with one half of what UTF-16 spells by two numbers."""
        for number, row in zip(self._numbers, rows, strict=True):
            for column, text in zip(self._declared, row, strict=True):
                try:
                    (text or "").encode()
                except UnicodeEncodeError as error:
                    half = (text or "")[error.start].encode(errors="backslashreplace").decode()
                    message = f"{half} is one half of a letter, without the other"
                    where = f"{self._name}, column {column}, line {number}"
                    return SourceError(message, where=where, hint="Correct the data.")
        raise AssertionError

    def _wrong(self, number: int, message: str) -> SourceError:
        hint = "Each line holds one object, with the declared columns."
        return SourceError(message, where=f"{self._name}, line {number}", hint=hint)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        message = f"{twice} is there twice"
        raise ValueError(message)
    return found


def _refused_constant(text: str) -> None:
    message = f"{text} is not a number of JSON"
    raise ValueError(message)


@contextmanager
def open_jsonl(
    path: Path, name: str, spec: FileSpec, declared: Mapping[str, str]
) -> Iterator[JsonLinesTable]:
    """Open a file of JSON lines."""
    yield JsonLinesTable(path, name, spec, declared)
