"""The columns of a result: which type each gets, and every batch brought into that shape."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import SourceError
from openreg_airflow.extract.exact import (
    NO_DAY,
    UNBOUNDED_DECIMAL,
    NeverFitsError,
    UnfitError,
    exactly,
    first_unfit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from openreg_airflow.extract.reader import SourceColumn

_LONGEST_VALUE = 60
_NOT_FINITE = "infinity and NaN are not reported as numbers"


class Shape:
    """The shape of a source's table, fixed before its first row.

    Args:
        columns: what the reader found.
        declared: the types that the spec enforces, by column, in the spec's spelling.
        file: the SQL file, for errors.
        place: where a value stands, by its column and the number of its row from 0; in the SQL
            file's result when not given.

    Raises:
        SourceError: the result has no columns, two of one name, or one that cannot be carried;
            or a declared column is not in the result.
    """

    def __init__(
        self,
        columns: Sequence[SourceColumn],
        declared: Mapping[str, str],
        *,
        file: str,
        place: Callable[[str, int], str] | None = None,
    ) -> None:
        self._columns = tuple(columns)
        self._declared = declared
        self._file = file
        self._place = place or self._in_result
        self._check_names()
        self.schema = pa.schema([pa.field(c.name, self._type(c)) for c in self._columns])

    def _check_names(self) -> None:
        if not self._columns:
            message = "the query returns no columns"
            raise SourceError(message, where=self._file, hint="Select at least one column.")
        spellings = defaultdict(list)
        for column in self._columns:
            spellings[column.name.casefold()].append(column.name)
        twice = [names for names in spellings.values() if len(names) > 1]
        if twice:
            listed = "; ".join(", ".join(names) for names in twice)
            message = f"the query returns several columns of the same name: {listed}"
            hint = "Give each an alias of its own (AS); upper and lower case are the same."
            raise SourceError(message, where=self._file, hint=hint)
        missing = [name for name in self._declared if name not in self.names]
        if missing:
            message = f"the query does not return the declared columns {', '.join(missing)}"
            hint = f"It returns {', '.join(self.names)}. Correct `columns:` or the query."
            raise SourceError(message, where=self._file, hint=hint)

    @property
    def names(self) -> list[str]:
        """The columns' names in the query's order."""
        return [column.name for column in self._columns]

    def _type(self, column: SourceColumn) -> pa.DataType:
        if column.type is None:
            message = f"column {column.name} is of type {column.source_type}, not carried here"
            hint = (
                f"Convert it in the query, for example {column.cast.format(name=column.name)}."
                if column.cast
                else "Ask for the file with this column as text or as a number, or without it."
            )
            raise SourceError(message, where=self._file, hint=hint)
        if column.name in self._declared:
            return arrow_type(self._declared[column.name])
        return column.type

    def convert(self, batch: pa.RecordBatch, *, rows_before: int) -> pa.RecordBatch:
        """Bring a batch into shape without changing a value.

        Args:
            batch: rows as the reader gave them.
            rows_before: how many rows of the result came before, for errors.

        Raises:
            SourceError: a value does not fit its column's type; names column and row.
        """
        arrays = [
            self._convert(column, array, field.type, rows_before)
            for column, array, field in zip(self._columns, batch.columns, self.schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _convert(
        self, column: SourceColumn, array: pa.Array, target: pa.DataType, rows_before: int
    ) -> pa.Array:
        try:
            converted = exactly(array, target)
        except UnfitError as error:
            index = first_unfit(array, target)
            raise self._unfit(column, target, array[index], rows_before + index, error) from error
        except NeverFitsError as error:
            reason = f": {error}" if str(error) and not error.__cause__ else ""
            message = (
                f"column {column.name} is of type {column.source_type} "
                f"and never becomes {spelled(target)}{reason}"
            )
            raise SourceError(
                message,
                where=f"{self._file}, column {column.name}",
                hint="Declare another type under `columns:`, or convert it in the query.",
            ) from error
        if pa.types.is_floating(target) and column.name not in self._declared:
            self._check_finite(column, converted, rows_before)
        return converted

    def _check_finite(self, column: SourceColumn, array: pa.Array, rows_before: int) -> None:
        finite = pc.is_finite(array)
        if pc.all(finite).as_py() is False:
            index = pc.index(finite, False).as_py()
            error = UnfitError(_NOT_FINITE)
            raise self._unfit(column, array.type, array[index], rows_before + index, error)

    def _unfit(
        self,
        column: SourceColumn,
        target: pa.DataType,
        value: pa.Scalar,
        row: int,
        error: UnfitError,
    ) -> SourceError:
        shown = _show(value)
        special = shown.strip("'").lower().lstrip("+-") in ("nan", "inf", "infinity")
        if special and pa.types.is_temporal(target):
            special, error = False, UnfitError(NO_DAY)
        reason = str(error) or (_NOT_FINITE if special else "")
        message = (
            f"the value {shown} does not fit {spelled(target)}{': ' if reason else ''}{reason}"
        )
        return SourceError(
            message,
            where=self._place(column.name, row),
            hint=self._hint(column, target, special=special),
        )

    def _in_result(self, column: str, row: int) -> str:
        return f"{self._file}, column {column}, row {row + 1}"

    def _hint(self, column: SourceColumn, target: pa.DataType, *, special: bool) -> str:
        if special:
            return (
                f"Filter such rows out in the query, or declare `{column.name}: float` "
                "if they are meant to be reported."
            )
        if column.name in self._declared:
            return "Correct the data, or declare a type under `columns:` that holds it."
        if target == UNBOUNDED_DECIMAL:
            return (
                f"The database does not say how long {column.name} is: declare it under "
                f"`columns:` as decimal(P,S), or round it in the query."
            )
        return f"Declare the type of {column.name} under `columns:`, or convert it in the query."


def spelled(kind: pa.DataType) -> str:
    """An Arrow type in the words of a spec."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp_utc" if kind.tz else "timestamp"
    words = {"int64": "integer", "double": "float", "bool": "boolean"}
    plain = str(kind).split("[", 1)[0]
    return words.get(plain, plain.removesuffix("32").removesuffix("64"))


def _show(value: pa.Scalar) -> str:
    try:
        found = value.as_py()
    except (OverflowError, ValueError):
        return "(no day of the calendar)"
    if isinstance(found, dict):  # a column of mixed types; one of them has the value
        found = next((part for part in found.values() if part is not None), None)
    if isinstance(found, bytes):  # some drivers give the digits of a plain value as bytes
        with suppress(UnicodeDecodeError):
            found = found.decode()
    text = found if isinstance(found, str) else str(found)
    text = text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
    return repr(text) if isinstance(found, str) else text
