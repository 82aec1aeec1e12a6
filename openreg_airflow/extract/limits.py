"""The bounds of what a source may give, and saying how far a long reading is."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from openreg_airflow.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

    from openreg_airflow.extract.spec import SourceSpec

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 5.0


class Meter:
    """Counts what goes by.

    Args:
        spec: the source's section of the spec, with its bounds.
        what: what is read, such as ``the query``.
        where: its file, for errors.
        started: when reading began, of the monotonic clock.
    """

    def __init__(self, spec: SourceSpec, *, what: str, where: str, started: float) -> None:
        self._spec = spec
        self._what = what
        self._where = where
        self._started = started
        self._told = time.monotonic()
        self.rows = 0
        self.bytes = 0

    def count(self, batch: pa.RecordBatch) -> None:
        """Take note of a batch.

        Raises:
            SourceError: there is more than the spec allows.
        """
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        spec = self._spec
        if spec.max_rows is not None and self.rows > spec.max_rows:
            message = f"{self._what} returns more than {spec.max_rows} rows"
            raise self._refusal(message, "max_rows")
        if spec.max_bytes is not None and self.bytes > spec.max_bytes:
            message = (
                f"{self._what} returns more than {spec.max_bytes} bytes: {self.rows} rows so far"
            )
            raise self._refusal(message, "max_bytes")
        now = time.monotonic()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            seconds = now - self._started
            log.info("%d rows, %d MiB read, %.0f s", self.rows, self.bytes >> 20, seconds)

    def _refusal(self, message: str, option: str) -> SourceError:
        verb = "Narrow the query" if self._spec.file is None else "Look at the file"
        return SourceError(message, where=self._where, hint=f"{verb}, or raise `{option}`.")
