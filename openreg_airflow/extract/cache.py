"""Results of queries that reports share: read once, kept for a while, checked at every use."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import IntegrityError, OpenRegError, SourceUnavailableError
from openreg_airflow.extract.extracted import Extracted
from openreg_airflow.extract.parameter import type_of
from openreg_airflow.records import Dataset
from openreg_airflow.store_records import CachedResult, CacheOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.extract.engine import Extraction
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import SourceConnection
    from openreg_airflow.extract.spec import SourceSpec
    from openreg_airflow.records import RunKey
    from openreg_airflow.store.source_cache import SourceCache
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)

FOLDER = "source_cache"
#: Seconds that the right to read lasts; it is renewed three times as often.
_LEASE = 60.0
#: Seconds between looks for what another task is reading.
_POLL = 1.0
#: How far the clocks of workers may be apart.
_SKEW = timedelta(minutes=1)
#: Changes when the same query would give another file.
_VERSION = 2
#: A key must not let anybody try out passwords quickly: a connection's extra may hold one.
_ROUNDS = 100_000


def key_of(connection: SourceConnection, query: Query, spec: SourceSpec, business_date: Any) -> str:
    """What two sources have in common when they share a result.

    Everything that decides about the rows: the database and how it is reached, without the
    password; the SQL; the values that are bound, with their types; the business date, also when
    the query does not ask for it; the declared types and bounds.
    """
    plain = {
        "version": _VERSION,
        "connection": [
            connection.conn_id,
            connection.conn_type,
            connection.host,
            connection.port,
            connection.login,
            connection.database,
            dict(connection.extra),
        ],
        "query": query.text,
        "business_date": str(business_date),
        "values": {name: _spelled(value) for name, value in query.used.items()},
        "spec": spec.model_dump(
            mode="json", include={"columns", "max_rows", "max_bytes", "partition"}
        ),
    }
    text = json.dumps(plain, sort_keys=True, default=str).encode()
    return hashlib.pbkdf2_hmac("sha256", text, FOLDER.encode(), _ROUNDS).hex()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A cached source of one run.

    Attributes:
        run: who wants it.
        source: the source's name in the spec.
        spec: its section.
        key: of its query; see :func:`key_of`.
    """

    run: RunKey
    source: str
    spec: SourceSpec
    key: str


class SharedResults:
    """The cache, as one task uses it.

    Args:
        index: what is in it.
        workspace: where its files are.
    """

    def __init__(self, index: SourceCache, workspace: Workspace) -> None:
        self._index = index
        self._workspace = workspace
        self._token = secrets.token_hex(16)
        self._stopped = threading.Event()

    def cancel(self) -> None:
        """Stop waiting for another task."""
        self._stopped.set()

    def obtain(self, wanted: Wanted, extraction: Extraction, path: Path) -> Extracted:
        """Write a source's rows to a file: from the cache, or read anew and shared.

        While another task reads the same, this one waits for it; if that fails or takes longer
        than the source's own time limit, it reads itself.

        Raises:
            SourceError: the source refuses.
            SourceUnavailableError: it cannot be reached, or the task was stopped.
        """
        assert wanted.spec.cache is not None  # noqa: S101 - asked for by the spec
        started, started_at = time.monotonic(), datetime.now(UTC)
        oldest = started_at - timedelta(minutes=wanted.spec.cache.minutes)
        waiting = False
        while time.monotonic() - started < wanted.spec.timeout_seconds:
            if (found := self._found(wanted.key, oldest, path)) is not None:
                return self._told(found, extraction, started, started_at)
            if self._index.claim(wanted.key, self._token, _LEASE):
                # Another may have shared it after the look and before the claim.
                if (found := self._found(wanted.key, oldest, path)) is None:
                    break
                self._index.release(wanted.key, self._token)
                return self._told(found, extraction, started, started_at)
            if not waiting:
                log.info("Another task reads %s now; waiting for it", wanted.source)
            waiting = True
            if self._stopped.wait(_POLL):
                message = "the task was stopped while it waited for another to read the same"
                raise SourceUnavailableError(message)
        return self._read(wanted, extraction, path)

    def _found(self, key: str, oldest: datetime, path: Path) -> CachedResult | None:
        """A result that is new enough, its file brought here; None when there is none."""
        found = self._index.fresh(key, oldest)
        if found is None:
            return None
        if found.origin.read_at > datetime.now(UTC) + _SKEW:
            # Until that time comes it would look new, however old it is.
            moment = found.origin.read_at.isoformat()
            log.warning("The cached result of %s is not used: that is to come here", moment)
            return None
        return found if self._copy(key, found, path) else None

    def _copy(self, key: str, found: CachedResult, path: Path) -> bool:
        """Bring a result here if its file is still what was recorded."""
        try:
            with self._workspace.open_local(found.file) as cached:
                _link(cached, path)
        except (IntegrityError, FileNotFoundError) as error:
            log.warning("The cached result is not used: %s", error)
            path.unlink(missing_ok=True)
            self._index.forget(key, found.file.uri)
            return False
        return True

    def _read(self, wanted: Wanted, extraction: Extraction, path: Path) -> Extracted:
        read_at = datetime.now(UTC)
        with self._lease(wanted.key):
            done = extraction.run(path)
            try:
                self._share(wanted, done, path, read_at)
            except (OpenRegError, OSError) as error:
                # The task has what it needs: a full disk of the cache must not fail the report.
                log.warning("The result is not shared: %s", error)
        return done

    def _share(self, wanted: Wanted, done: Extracted, path: Path, read_at: datetime) -> None:
        assert wanted.spec.cache is not None  # noqa: S101 - asked for by the spec
        run = wanted.run
        name = f"{wanted.key[:16]}-{self._token}.parquet"
        with self._workspace.shared(FOLDER).writing(name) as pending:
            _link(path, pending.path)
        result = CachedResult(
            connection=done.connection,
            query_sha256=done.query.sha256,
            file=Dataset(**pending.ref.model_dump(), rows=done.rows, columns=done.columns),
            server=done.server,
            origin=CacheOrigin(**run.model_dump(), source=wanted.source, read_at=read_at),
            keep_until=read_at + timedelta(minutes=wanted.spec.cache.minutes),
        )
        try:
            replaced = self._index.put(wanted.key, result)
        except OpenRegError:
            # Nobody would ever remove it. Should it have been noted after all, others read anew.
            self._workspace.remove(result.file.uri)
            raise
        log.info("Shared as %s until %s", result.file.uri, result.keep_until.isoformat())
        expired = self._index.take_out(expired_at=datetime.now(UTC))
        remove_files(self._workspace, [*expired, *([replaced] if replaced else [])])

    def _told(
        self, found: CachedResult, extraction: Extraction, started: float, started_at: datetime
    ) -> Extracted:
        origin = found.origin
        log.info(
            "%d rows from the cache, read at %s by report %s, business date %s, run %s",
            found.file.rows,
            origin.read_at.isoformat(),
            origin.report_id,
            origin.business_date,
            origin.run_id,
        )
        return Extracted(
            rows=found.file.rows,
            columns=found.file.columns,
            connection=found.connection,
            server=found.server,
            query=extraction.query,
            mark=None,
            started_at=started_at,
            seconds=time.monotonic() - started,
            cache=origin,
        )

    @contextmanager
    def _lease(self, key: str) -> Iterator[None]:
        """Keep the right to read until the block ends; others read when this process dies."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(_LEASE / 3):
                try:
                    self._index.claim(key, self._token, _LEASE)
                except OpenRegError as error:
                    log.warning("The right to read could not be renewed: %s", error)

        thread = threading.Thread(target=renew, name="openreg-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._index.release(key, self._token)


def remove_files(workspace: Workspace, results: list[CachedResult]) -> None:
    """Remove the files of results that are no longer in the index."""
    for result in results:
        workspace.remove(result.file.uri)
        log.info("Removed %s from the cache", result.file.uri)


def _link(source: Path, target: Path) -> None:
    """The same file under another name where the disk can, otherwise a copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _spelled(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_spelled(part) for part in value]
    return [type_of(value), str(value)]
