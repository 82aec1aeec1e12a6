"""One session for several queries, which then see one state of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.reader import HoldingSession, find_reader, keeps_results

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Session, SourceConnection, Stream


class SharedSession:
    """A reader that opens one session and gives it to one query after the other.

    A context manager; the session ends with the block.

    Args:
        connection: the database.
        timeout_seconds: the longest that any of the queries may take.

    Raises:
        SpecError: there is no reader for the connection's type; or, when it is opened, the reader
            cannot hold a state of the database.
    """

    def __init__(self, connection: SourceConnection, *, timeout_seconds: int) -> None:
        self._reader = find_reader(connection.conn_type)
        self._timeout = timeout_seconds
        self._session: HoldingSession | None = None
        self.dialect = self._reader.dialect

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._session is not None:
            self._session.close()

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:  # noqa: ARG002
        """The session, opened by the first who asks; see :class:`~.reader.Reader`."""
        if self._session is None:
            session = self._reader.open(connection, timeout_seconds=self._timeout)
            if not isinstance(session, HoldingSession):
                session.close()
                message = f"connections of type {connection.conn_type} cannot hold a snapshot"
                raise SpecError(message, hint="Set `snapshot: false`, or read with one query.")
            self._session = session
            session.hold()
        return Lent(self._session)


class Lent:
    """A session as one query has it: closing it only gives it back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.server = session.server
        self.keeps_results = keeps_results(session)

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:
        """Start the query; see :class:`~.reader.Session`."""
        return self._session.read(query, declared)

    def cancel(self) -> None:
        """Stop the running query; see :class:`~.reader.Session`."""
        self._session.cancel()

    def close(self) -> None:
        """Nothing: the session lives on for the next query."""
