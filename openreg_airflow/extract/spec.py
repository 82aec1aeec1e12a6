"""The ``extract`` section of a report spec: where the report's tables come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from openreg_airflow.column_types import ColumnType
from openreg_airflow.extract.file_spec import ConnectionId, FileSpec
from openreg_airflow.extract.parameter import (
    LONGEST_INTEGER,
    ParameterSpec,
    Scalar,
    Value,
    typed,
)
from openreg_airflow.section import Name, RelativeFile, Section

if TYPE_CHECKING:
    from datetime import date

#: The parameter that every query has without declaring it.
BUSINESS_DATE = "business_date"

#: The parameters of an incremental query: after the first, up to and with the second.
SINCE, UNTIL = "since", "until"

#: Where the window of an incremental source ends when nothing else bounds it.
_ENDS: dict[str, int | str] = {
    "date": "9999-12-31",
    "integer": LONGEST_INTEGER - 1,
    "string": "9999-12-31 23:59:59",
}
#: A column of a result that is written into SQL: a plain name, so it needs no quotes.
ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)]

#: Rows of a part that is read in turn: some 150 MB of 40 columns where a driver keeps them all.
USUAL_PART_ROWS = 200_000

#: Sources whose names make up the name of the task that reads them together.
_NAMED_TOGETHER = 3


class IncrementalSpec(Section):
    """What is new in a source since the last run that succeeded: a window of a column's values.

    The query reads ``column > :since AND column <= :until``.
    """

    column: str = Field(
        min_length=1, description="Column of the result that only grows; its largest value is kept."
    )
    type: Literal["date", "integer", "string"] = Field(
        description="The type under which :since and :until are bound. For timestamps: string, "
        "cast in the query."
    )
    start: Scalar = Field(description="The value of :since before any run has succeeded.")
    end: Scalar | None = Field(
        default=None,
        description="The value of :until while nothing bounds the window; default: the largest "
        "integer, 9999-12-31, or the text '9999-12-31 23:59:59'.",
    )

    @model_validator(mode="after")
    def _typed_bounds(self) -> Self:
        self.bound(self.start)
        self.bound(self.last)
        return self

    @property
    def last(self) -> Any:
        """The value of :until while nothing bounds the window."""
        return _ENDS[self.type] if self.end is None else self.end

    def bound(self, value: Any) -> Value:
        """A bound of the window in the declared type.

        Raises:
            ValueError: it is not of that type.
        """
        return typed(self.type, value)


class CacheSpec(Section):
    """That the result of a query may be shared with every report that asks the same."""

    minutes: int = Field(
        ge=1,
        le=7 * 24 * 60,
        description="How old a result may be that was read for the same business date with the "
        "same query, parameters and connection.",
    )


class PartitionSpec(Section):
    """That a query is read in parts: side by side for speed, or one after the other for memory."""

    column: ColumnName = Field(
        description="Column of the result that the parts divide: whole numbers, decimals or dates; "
        "timestamps for `parts`, text for `rows`. Best one with an index and without ties."
    )
    parts: int | None = Field(
        default=None,
        ge=2,
        le=32,
        description="Read so many parts side by side, each over a session of its own and as wide "
        "as the others in the column's values.",
    )
    rows: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Read parts of so many rows one after the other in one session, for drivers "
        f"that keep a whole result in memory. Default without `parts`: {USUAL_PART_ROWS}.",
    )
    order_by: tuple[ColumnName, ...] = Field(
        default=(),
        max_length=16,
        description="Columns that order the rows of a part; the partition's column when left out. "
        "The query itself has no ORDER BY.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.parts is not None and self.rows is not None:
            message = (
                "a partition has `parts`, read side by side, or `rows`, read in turn; not both"
            )
            raise ValueError(message)
        return self

    @property
    def part_rows(self) -> int | None:
        """Rows of a part when parts are read in turn; None when they are read side by side."""
        return None if self.parts is not None else self.rows or USUAL_PART_ROWS


class SourceSpec(Section):
    """One query against one database, or a file; its result is one table of the report."""

    connection: ConnectionId | None = Field(
        default=None,
        description="Id of the Airflow connection of the query; its type chooses the reader.",
    )
    sql: RelativeFile | None = Field(
        default=None,
        description="File in the report's folder with one query that reads. "
        ":business_date and the declared parameters are bound in it.",
    )
    file: FileSpec | None = Field(
        default=None, description="A file, or several, in place of a connection and a query."
    )
    columns: dict[str, ColumnType] = Field(
        default_factory=dict,
        description="Types of columns, enforced exactly: a value that does not fit is an error, "
        "never rounded. Columns that are not named keep the type that the database gives.",
    )
    parameters: dict[Name, ParameterSpec] = Field(
        default_factory=dict, description="Further typed parameters of the query."
    )
    incremental: IncrementalSpec | None = Field(
        default=None,
        description="Read only what is new since the last run that succeeded: the query uses "
        ":since and :until.",
    )
    cache: CacheSpec | None = Field(
        default=None,
        description="Share the result between reports and runs: it is read once and kept for a "
        "while. Not for incremental sources, snapshots and files.",
    )
    partition: PartitionSpec | None = Field(
        default=None,
        description="Read one big query in parts: `parts` at the same time, but not for snapshots, "
        "or parts of so many `rows` in turn. Not for files.",
    )
    timeout_seconds: int = Field(
        default=3600,
        ge=1,
        le=7 * 24 * 3600,
        description="The query is cancelled on the server when it takes longer.",
    )
    pool: Annotated[str, StringConstraints(pattern=r"^[\w.\- ]+$", max_length=200)] | None = Field(
        default=None,
        description="Airflow pool that bounds how many tasks read this database at a time. "
        "When left out: one for the connection if [openreg] source_pool_slots is set, or the "
        "default pool.",
    )
    max_rows: int | None = Field(
        default=None, ge=1, description="More rows than this are an error, not a cut."
    )
    max_bytes: int | None = Field(
        default=None,
        ge=1,
        description="More bytes of values than this are an error, not a cut; counted in memory, "
        "before the file is compressed.",
    )

    @model_validator(mode="after")
    def _query_or_file(self) -> Self:
        if self.file is None:
            if self.connection is None or self.sql is None:
                message = "a source has `connection` and `sql`, or `file`"
                raise ValueError(message)
            return self
        of_queries = ("connection", "sql", "parameters", "incremental", "cache", "partition")
        if given := [name for name in of_queries if getattr(self, name)]:
            message = f"a source with `file` has no {' and no '.join(f'`{n}`' for n in given)}"
            raise ValueError(message)
        return self

    @field_validator("parameters")
    @classmethod
    def _not_built_in(cls, parameters: dict[str, ParameterSpec]) -> dict[str, ParameterSpec]:
        if BUSINESS_DATE in parameters:
            message = f":{BUSINESS_DATE} is given to every query and cannot be declared"
            raise ValueError(message)
        return parameters

    @model_validator(mode="after")
    def _window_is_not_declared(self) -> Self:
        if self.incremental is not None and {SINCE, UNTIL} & set(self.parameters):
            message = f":{SINCE} and :{UNTIL} are given to an incremental query, not declared"
            raise ValueError(message)
        if self.incremental is not None and self.cache is not None:
            message = "an incremental source cannot be cached: every run reads a window of its own"
            raise ValueError(message)
        return self

    @property
    def reads_from(self) -> str | None:
        """Id of the connection that is read; None for the worker's own disk."""
        return self.connection if self.file is None else self.file.connection

    def bind(
        self, business_date: date, window: tuple[str | None, str | None] = (None, None)
    ) -> dict[str, Value | tuple[Value, ...]]:
        """The values of all parameters that the query may use, by name.

        Args:
            business_date: the reported day.
            window: the text of :since and :until of an incremental source; None is an open end.
        """
        values: dict[str, Value | tuple[Value, ...]] = {BUSINESS_DATE: business_date}
        if (new := self.incremental) is not None:
            since, until = window
            values[SINCE] = new.bound(new.start if since is None else since)
            values[UNTIL] = new.bound(new.last if until is None else until)
        values.update({name: given.bound() for name, given in self.parameters.items()})
        return values


class ExtractSection(Section):
    """The tables that the report starts from."""

    sources: dict[Name, SourceSpec] = Field(
        min_length=1, description="The sources; each gives one table of its name."
    )
    snapshot: bool = Field(
        default=False,
        description="Sources on the same connection are read one after the other in one session "
        "that sees one state of the database. Otherwise each is read by a task of its own.",
    )

    @model_validator(mode="after")
    def _snapshot_is_read(self) -> Self:
        cached = [name for name, source in self.sources.items() if source.cache is not None]
        if self.snapshot and cached:
            message = f"a snapshot cannot be cached: remove `cache` of {', '.join(cached)}"
            raise ValueError(message)
        parted = [
            name
            for name, source in self.sources.items()
            if source.partition is not None and source.partition.parts is not None
        ]
        if self.snapshot and parted:
            message = (
                "a snapshot is read by one session: no `partition` with `parts` of "
                f"{', '.join(parted)}; `rows` are read in turn"
            )
            raise ValueError(message)
        return self

    @property
    def incremental(self) -> bool:
        """Whether a source reads only what is new since the last run that succeeded."""
        return any(source.incremental is not None for source in self.sources.values())

    def groups(self) -> dict[str, dict[str, SourceSpec]]:
        """The sources by the task that reads them: alone, or all of a connection together."""
        shared: dict[tuple[str | None, str], dict[str, SourceSpec]] = {}
        for name, source in self.sources.items():
            together = self.snapshot and source.file is None
            key = (source.connection, "") if together else (None, name)
            shared.setdefault(key, {})[name] = source
        return {_together(tuple(sources)): sources for sources in shared.values()}


def _together(names: tuple[str, ...]) -> str:
    if len(names) <= _NAMED_TOGETHER:
        return "_and_".join(names)
    return f"{names[0]}_and_{len(names) - 1}_more"
