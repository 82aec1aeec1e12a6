"""What a database reader is, and how one is found.

A reader is one module for one database. A package adds one by an entry point in the group
``openreg.readers`` whose name is the Airflow connection type and whose object is a
:class:`Reader`, made without arguments::

    [project.entry-points."openreg.readers"]
    mydb = "my_package.mydb_reader:MyDbReader"

A reader knows no Airflow. It opens a session that can only read, binds the query's parameters in
its driver's own way, and streams record batches; everything else (declared types, Parquet,
limits, evidence) is done for all readers alike. Whatever its driver raises, it raises
:class:`~openreg_airflow.errors.SourceError` when trying again cannot help and
:class:`~openreg_airflow.errors.SourceUnavailableError` when it may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.spec import USUAL_PART_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from openreg_airflow.extract.query import Query

GROUP = "openreg.readers"

#: Readers aim at record batches of about this many bytes, however wide the rows are.
BATCH_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class SourceConnection:
    """How to reach a database: an Airflow connection without Airflow.

    Attributes:
        conn_id: its id, for messages.
        conn_type: Airflow's connection type; it chooses the reader.
        database: Airflow calls it the schema.
        extra: the driver's further options.
    """

    conn_id: str
    conn_type: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class SourceColumn:
    """A column of a result.

    Attributes:
        name: as the database gives it.
        type: the Arrow type it has when the spec declares none; None when this reader cannot
            carry it.
        source_type: the database's own word for its type, for messages.
        cast: how a query makes what is carried of a column of such a type; for hints. Empty where
            there is no query.
    """

    name: str
    type: pa.DataType | None
    source_type: str
    cast: str = "CAST({name} AS text)"


@dataclass(frozen=True)
class Stream:
    """The result of a query.

    Attributes:
        columns: known before the first row, also when there is none.
        batches: the rows. An array may come in a plainer type than its column's (text for a
            decimal); it is then converted exactly. Only null-free knowledge is needed of a
            column that mixes types: it comes as a struct with one child for each of them.
    """

    columns: tuple[SourceColumn, ...]
    batches: Iterator[pa.RecordBatch]


class Session(Protocol):
    """An open, read-only session. Used by one thread, except for :meth:`cancel`."""

    #: Product and version of the server, for the record.
    server: str

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:
        """Start the query; ``declared`` holds the types that the spec enforces, by column."""

    def cancel(self) -> None:
        """Stop the running query on the server. Called from another thread, perhaps repeatedly,
        perhaps when nothing runs; does not raise."""

    def close(self) -> None:
        """End the session; does not raise."""


def keeps_results(session: Session) -> bool:
    """Whether a session's driver holds a whole result in memory before it gives the first row.

    A session says so by an attribute of this name; without one, its rows stream. One that reads
    some queries in parts says there how it was with the last one, and before any what it does with
    a query that it cannot divide.
    """
    return bool(getattr(session, "keeps_results", False))


#: What to do about a query whose whole result such a driver holds.
READ_IN_TURN = (
    f"Write `partition: {{column: KEY, rows: {USUAL_PART_ROWS}}}` into the source, where KEY is a "
    "column of its result with few ties, and no ORDER BY into its SQL; memory then holds however "
    "many rows there are. Or take a driver that streams."
)
#: For the log: the server, and the SQL file.
KEEPS_RESULT = "The driver of %s keeps the whole result of %s in memory. " + READ_IN_TURN


@runtime_checkable
class HoldingSession(Session, Protocol):
    """A session that can read several queries from one state of the database."""

    def hold(self) -> None:
        """See one state from now on, whatever others commit; called before the first query."""


@runtime_checkable
class SharingSession(Session, Protocol):
    """A session whose state of the database others can see too."""

    def share(self) -> str:
        """Name the state of the database that is read here, for as long as this one is open."""


@runtime_checkable
class SharingReader(Protocol):
    """A reader whose sessions can see a state that another one named."""

    def open_in(self, connection: SourceConnection, state: str, *, timeout_seconds: int) -> Session:
        """Connect as :meth:`Reader.open` does; see ``state`` and nothing newer."""


class Reader(Protocol):
    """Opens sessions with one kind of database."""

    #: sqlglot's name of the database's SQL dialect.
    dialect: str

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        """Connect; where the database can, it stops queries itself after ``timeout_seconds``."""


def find_reader(conn_type: str) -> Reader:
    """The reader for an Airflow connection type.

    Raises:
        SpecError: no installed package has one.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = found.get(conn_type)
    if entry is None:
        message = f"there is no reader for connections of type {conn_type!r}"
        raise SpecError(
            message,
            hint=f"Readers are installed for {', '.join(sorted(found)) or 'nothing'}.",
        )
    return cast("Reader", entry.load()())
