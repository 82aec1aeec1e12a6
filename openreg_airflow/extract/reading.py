"""A query running in a thread of its own, so that the task stays able to stop it."""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import dataclass
from queue import Empty, Queue
from typing import TYPE_CHECKING, Self

from openreg_airflow.errors import SourceUnavailableError
from openreg_airflow.extract.reader import keeps_results

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from openreg_airflow.errors import OpenRegError
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Reader, Session, SourceColumn, SourceConnection

#: Batches that may wait for the task: enough to keep both sides busy, few enough for memory.
_WAITING = 2
#: Seconds between looks at the clock and at a stop that is still to be obeyed.
_GLANCE = 0.5
#: Seconds that a cancelled query gets to end before its thread is left behind.
_LAST_WAIT = 10.0
#: New containers after which Python looks for cycles among them. Drivers' rows are containers, and
#: looking through them after each 700 takes some 5 % of the time; they hold no cycles.
_COLLECT_AFTER = 50_000


@dataclass(frozen=True)
class _Opened:
    server: str
    columns: tuple[SourceColumn, ...]
    keeps_results: bool


@dataclass(frozen=True)
class _Ended:
    error: BaseException | None


class Reading:
    """One query, read batch by batch; a context manager that leaves nothing running.

    The driver works in a background thread. The thread that uses this object only waits for
    batches, in Python, where a signal reaches it; :meth:`cancel` may be called from a signal
    handler.

    Attributes:
        server: product and version of the database.
        columns: of the result.
        keeps_results: see :func:`~openreg_airflow.extract.reader.keeps_results`.

    Args:
        reader: the database's reader.
        connection: where to read.
        query: what to read.
        declared: the Arrow types that the spec enforces, by column.
        timeout_seconds: wall time from the connection to the last batch.
        deadline: of the monotonic clock, when this is one of several queries that share the time.
    """

    def __init__(
        self,
        reader: Reader,
        connection: SourceConnection,
        query: Query,
        *,
        declared: Mapping[str, pa.DataType],
        timeout_seconds: int,
        deadline: float | None = None,
    ) -> None:
        self._reader = reader
        self._connection = connection
        self._query = query
        self._declared = declared
        self._timeout = timeout_seconds
        self._queue: Queue[_Opened | pa.RecordBatch | _Ended] = Queue(_WAITING)
        self._session: Session | None = None
        self._stop: OpenRegError | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="openreg-read", daemon=True)
        self._deadline = deadline
        self.server = ""
        self.keeps_results = False
        self.columns: tuple[SourceColumn, ...] = ()

    def __enter__(self) -> Self:
        """Connect and start the query; the attributes are known afterwards.

        Raises:
            SourceError: the source refuses.
            SourceUnavailableError: it cannot be reached, or the time is up.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + self._timeout
        self._thread.start()
        try:
            opened = self._next()
        except BaseException:
            self._leave()
            raise
        if isinstance(opened, _Opened):
            self.server, self.columns = opened.server, opened.columns
            self.keeps_results = opened.keeps_results
        return self

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches in order; raises as :meth:`__enter__` does."""
        while not isinstance(item := self._next(), _Ended):
            yield item

    def __exit__(self, *exc_info: object) -> None:
        self._leave()

    def cancel(self, reason: str = "the task was stopped") -> None:
        """Stop the query on the server; whoever waits for a batch gets an error instead."""
        message = f"{reason}, the query on connection {self._connection.conn_id} was cancelled"
        self._stop = self._stop or SourceUnavailableError(message, where=self._query.file)
        self._cancel_on_server()

    def _cancel_on_server(self) -> None:
        if self._session is not None:
            self._session.cancel()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            _collect_seldom()
            session = self._reader.open(self._connection, timeout_seconds=self._timeout)
            try:
                self._session = session
                if self._stop is None:
                    stream = session.read(self._query, self._declared)
                    keeps = keeps_results(session)
                    self._queue.put(_Opened(session.server, stream.columns, keeps))
                    for batch in stream.batches:
                        if self._stop is not None:
                            break
                        self._queue.put(batch)
            finally:
                session.close()
        except BaseException as raised:  # noqa: BLE001 - handed over and raised by the waiting thread
            error = raised
        self._queue.put(_Ended(error))

    def _next(self) -> _Opened | pa.RecordBatch | _Ended:
        assert self._deadline is not None  # noqa: S101 - set on entering
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0 and self._stop is None:
                self.cancel(f"after {self._timeout} seconds")
                assert self._stop is not None  # noqa: S101 - for the type checker
                self._stop.hint = "Make the query faster, or raise `timeout_seconds`."
            try:
                item = self._queue.get(timeout=_GLANCE)
            except Empty:
                if self._stop is None:
                    continue
                if left < -_LAST_WAIT:
                    raise self._stop from None
                self._cancel_on_server()  # the first time perhaps nothing was running yet
                continue
            self._ended = isinstance(item, _Ended)
            if self._stop is not None:
                raise self._stop
            if isinstance(item, _Ended) and item.error is not None:
                raise item.error
            return item

    def _leave(self) -> None:
        """Cancel what still runs and let the thread end; batches on their way are dropped."""
        if not self._ended:
            self._stop = self._stop or SourceUnavailableError("the query was left")
            self._cancel_on_server()
        patience = time.monotonic() + _LAST_WAIT
        while not self._ended and time.monotonic() < patience:
            try:
                self._ended = isinstance(self._queue.get(timeout=_GLANCE), _Ended)
            except Empty:
                self._cancel_on_server()
        if self._ended:
            self._thread.join()


def _collect_seldom() -> None:
    """Let this process look for cycles less often from now on, if it does at all."""
    first, *others = gc.get_threshold()
    if 0 < first < _COLLECT_AFTER:
        gc.set_threshold(_COLLECT_AFTER, *others)
