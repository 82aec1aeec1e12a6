"""The queries by which one source is read in parts: one time limit, and one cancel for all."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openreg_airflow.errors import SourceUnavailableError
from openreg_airflow.extract.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Reader, SourceConnection


class Readings:
    """Queries that are read side by side or in turn, each by whoever asks for it.

    Args:
        connection: where to read.
        declared: the Arrow types that the spec enforces, by column.
        timeout_seconds: wall time from the first query to the last batch of the last one.
    """

    def __init__(
        self,
        connection: SourceConnection,
        *,
        declared: Mapping[str, pa.DataType],
        timeout_seconds: int,
    ) -> None:
        self._connection = connection
        self._declared = declared
        self._timeout = timeout_seconds
        self._deadline: float | None = None
        self._running: set[Reading] = set()
        # Reentrant, since cancel() may come from a signal handler while this thread holds it.
        self._lock = threading.RLock()
        self._stopped = False

    def cancel(self) -> None:
        """Stop all queries that run on the server; no other begins."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for reading in running:
            reading.cancel()

    @contextmanager
    def reading(self, query: Query, reader: Reader) -> Iterator[Reading]:
        """Read one of the queries; the time begins with the first one.

        Args:
            query: what to read.
            reader: opens the session in which it is read.

        Raises:
            SourceError: the source refuses.
            SourceUnavailableError: it cannot be reached, the time is up, or all were cancelled.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + self._timeout
        reading = Reading(
            reader,
            self._connection,
            query,
            declared=self._declared,
            timeout_seconds=self._timeout,
            deadline=self._deadline,
        )
        with self._lock:
            self._running.add(reading)
        try:
            # Asked only now: cancel() may come at any moment, and did not see this one before.
            if self._stopped:
                message = "the task was stopped, and not all parts were read"
                raise SourceUnavailableError(message, where=query.file)
            with reading:
                yield reading
        finally:
            with self._lock:
                self._running.discard(reading)
