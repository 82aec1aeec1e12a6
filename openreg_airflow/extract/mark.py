"""How far an incremental source was read: the largest value of its column."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.errors import SourceError, SpecError
from openreg_airflow.extract.spec import SINCE, UNTIL

if TYPE_CHECKING:
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.spec import IncrementalSpec


class Mark:
    """Watches the column of an incremental source while its rows go by.

    Args:
        spec: the source's ``incremental`` section.
        query: its query, with the window bound.

    Raises:
        SpecError: the query does not bound what it reads by :since and :until.
    """

    def __init__(self, spec: IncrementalSpec, query: Query) -> None:
        self._spec = spec
        self._file = query.file
        unused = [name for name in (SINCE, UNTIL) if name not in query.used]
        if unused:
            message = f"the incremental query does not use :{' and :'.join(unused)}"
            hint = f"Write {spec.column} > :{SINCE} AND {spec.column} <= :{UNTIL}."
            raise SpecError(message, where=query.file, hint=hint)
        self._since = query.used[SINCE]
        self._until = query.used[UNTIL]
        self._largest: Any = None

    def check(self, schema: pa.Schema) -> None:
        """Refuse a result whose column is missing or of another type than the window's bounds.

        Raises:
            SourceError: it is.
        """
        index = schema.get_field_index(self._spec.column)
        if index < 0:
            message = f"the incremental column {self._spec.column} is not in the result"
            hint = f"Select it; the query returns {', '.join(schema.names)}."
            raise SourceError(message, where=self._file, hint=hint)
        found = schema.field(index).type
        fits = {
            "date": pa.types.is_date,
            "integer": pa.types.is_integer,
            "string": lambda kind: pa.types.is_string(kind) or pa.types.is_timestamp(kind),
        }
        if not fits[self._spec.type](found):
            message = f"the incremental column is {found}, its bounds are of type {self._spec.type}"
            hint = "Correct `incremental.type`, or declare the column's type under `columns:`."
            where = f"{self._file}, column {self._spec.column}"
            raise SourceError(message, where=where, hint=hint)

    def look(self, batch: pa.RecordBatch) -> None:
        """Take note of a batch.

        Raises:
            SourceError: a row is outside the window: another run reads it too, or has read it.
        """
        column = batch.column(self._spec.column)
        if column.null_count:
            name = self._spec.column
            message = f"the query returns a row without {name}: every run reads that row"
            hint = "Leave such rows out, or select what stands for the missing value there."
            raise SourceError(message, where=f"{self._file}, column {name}", hint=hint)
        ends = pc.min_max(column)
        least, found = ends["min"].as_py(), ends["max"].as_py()
        if found is None:
            return
        since, until = _like(self._since, found), _like(self._until, found)
        if since is not None and least <= since:
            raise self._outside(least, f"not after :{SINCE} = {self._since}")
        if until is not None and found > until:
            raise self._outside(found, f"after :{UNTIL} = {self._until}")
        if self._largest is None or found > self._largest:
            self._largest = found

    def _outside(self, value: Any, how: str) -> SourceError:
        column = self._spec.column
        return SourceError(
            f"the query returns {value}, which is {how}: another run reads that row too",
            where=f"{self._file}, column {column}",
            hint=f"Write {column} > :{SINCE} AND {column} <= :{UNTIL} without a margin, and cast "
            "the bounds to the column's own type with all its digits, such as datetime(6).",
        )

    @property
    def text(self) -> str:
        """The largest value so far, as the next window's :since; the window's own without rows."""
        found = self._since if self._largest is None else self._largest
        if isinstance(found, datetime):
            return found.isoformat(sep=" ")
        return found.isoformat() if isinstance(found, date) else str(found)


def _like(bound: Any, found: Any) -> Any:
    """A bound as a value that compares with one of the column; None where only databases can.

    They order text by rules of their own.
    """
    if isinstance(found, str):
        return None
    if not isinstance(found, datetime):
        return bound
    try:
        moment = datetime.fromisoformat(bound)
    except ValueError:
        return None
    if found.tzinfo is None:
        return moment if moment.tzinfo is None else None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
