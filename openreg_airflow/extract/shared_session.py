"""One session for several queries, which then see one state of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.reader import HoldingSession, find_reader, keeps_results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Reader, Session, SourceConnection, Stream


class SharedSession:
    """A reader that opens one session and gives it to one query after the other.

    A context manager; the session ends with the block.

    Attributes:
        session: None until a query asked for it.

    Args:
        reader: opens the session.
        opened: is told the session before any query.
        timeout_seconds: the longest that any of the queries may take; None for what the first
            one may.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        opened: Callable[[Session], None] | None = None,
        timeout_seconds: int | None = None,
    ) -> None:
        self._reader = reader
        self._opened = opened
        self._timeout = timeout_seconds
        self.dialect = reader.dialect
        self.session: Session | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.session is not None:
            self.session.close()

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        """The session, opened by the first who asks; see :class:`~.reader.Reader`."""
        if self.session is None:
            timeout = self._timeout or timeout_seconds
            self.session = self._reader.open(connection, timeout_seconds=timeout)
            if self._opened is not None:
                self._opened(self.session)
        return Lent(self.session)


def snapshot(connection: SourceConnection, *, timeout_seconds: int) -> SharedSession:
    """A session whose queries all see the state of the database of its first one.

    Args:
        connection: the database.
        timeout_seconds: the longest that any of the queries may take.

    Raises:
        SpecError: there is no reader for the connection's type; or, when it is opened, the reader
            cannot hold a state of the database.
    """

    def hold(session: Session) -> None:
        if not isinstance(session, HoldingSession):
            message = f"connections of type {connection.conn_type} cannot hold a snapshot"
            raise SpecError(message, hint="Set `snapshot: false`, or read with one query.")
        session.hold()

    reader = find_reader(connection.conn_type)
    return SharedSession(reader, opened=hold, timeout_seconds=timeout_seconds)


class Lent:
    """A session as one query has it: closing it only gives it back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.server = session.server

    @property
    def keeps_results(self) -> bool:
        """See :func:`~openreg_airflow.extract.reader.keeps_results`."""
        return keeps_results(self._session)

    def read(self, query: Query, declared: Mapping[str, pa.DataType]) -> Stream:
        """Start the query; see :class:`~.reader.Session`."""
        return self._session.read(query, declared)

    def cancel(self) -> None:
        """Stop the running query; see :class:`~.reader.Session`."""
        self._session.cancel()

    def close(self) -> None:
        """Nothing: the session lives on for the next query."""
