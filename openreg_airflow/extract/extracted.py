"""What came of an extraction, and the record of it: where a table's rows are from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from openreg_airflow.records import Column
from openreg_airflow.store_records import Extract

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa

    from openreg_airflow.extract.parameter import Value
    from openreg_airflow.extract.reader import SourceColumn
    from openreg_airflow.records import FileRef
    from openreg_airflow.store_records import CacheOrigin


class Asked(Protocol):
    """What a source was asked for, as it goes on record."""

    @property
    def text(self) -> str:
        """The SQL, or the list of files."""

    @property
    def sha256(self) -> str:
        """Hash of the text."""

    @property
    def used(self) -> Mapping[str, Value | tuple[Value, ...]]:
        """The values that took part in it."""


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """What came of an extraction.

    Attributes:
        rows: rows in the file.
        columns: the file's columns.
        connection: id of the connection that was read.
        server: product and version of what was read.
        query: the query that ran, with the values that were bound; or the files that were read.
        mark: the largest value of an incremental source's column; None for other sources.
        seconds: wall time.
        cache: where the rows came from if they were not read anew.
        splits: where the parts of a source that was read in parts begin, but for the first.
    """

    rows: int
    columns: tuple[Column, ...]
    connection: str
    server: str
    query: Asked
    mark: str | None
    started_at: datetime
    seconds: float
    cache: CacheOrigin | None = None
    splits: tuple[str, ...] = ()

    def evidence(self, file: FileRef, *, source: str, attempt: int) -> Extract:
        """The record of where a published file came from.

        Args:
            file: the Parquet file.
            source: the source's name in the spec.
            attempt: Airflow's number of the task's try, from 1.
        """
        return Extract(
            **file.model_dump(),
            source=source,
            connection=self.connection,
            server=self.server,
            query=self.query.text,
            query_sha256=self.query.sha256,
            parameters={name: _text(value) for name, value in self.query.used.items()},
            rows=self.rows,
            columns=self.columns,
            started_at=self.started_at,
            seconds=self.seconds,
            attempt=attempt,
            mark=self.mark,
            cache=self.cache,
            splits=self.splits,
        )


@dataclass(frozen=True, kw_only=True)
class Head:
    """The first rows of a query's result.

    Attributes:
        table: the rows, in the types that the report gets.
        columns: what the database says of the columns.
        server: product and version of the database.
        more: whether there are more rows than these.
    """

    table: pa.Table
    columns: tuple[SourceColumn, ...]
    server: str
    more: bool


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of a table as they go on record."""
    return tuple(Column(name=f.name, type=str(f.type), nullable=f.nullable) for f in schema)


def _text(value: Value | tuple[Value, ...]) -> str | tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, tuple) else str(value)
