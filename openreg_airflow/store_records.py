"""What stages give the store to keep, and what it gives back: never rows, but records of them.

They are made like those that stages hand to one another (:mod:`openreg_airflow.records`).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from openreg_airflow.records import Artifact, Column, Dataset, FileRef, Record


class CacheOrigin(Record):
    """The run that read what another got from the cache, and when it did."""

    report_id: str
    business_date: date
    run_id: str
    source: str
    read_at: datetime


class CachedResult(Record):
    """A query's result that reports share.

    Attributes:
        connection: id of the Airflow connection that was read.
        query_sha256: hash of the SQL file's text.
        file: the Parquet file in the workspace's shared part.
        server: product and version of the database.
        origin: who read it, and when.
        keep_until: when it may be removed.
    """

    connection: str
    query_sha256: str
    file: Dataset
    server: str
    origin: CacheOrigin
    keep_until: datetime


class Extract(FileRef):
    """What is known of one source's extraction: where the table came from, and how.

    Attributes:
        source: the source's name in the spec.
        connection: id of the Airflow connection that was read.
        server: product and version of what was read.
        query: the text of the SQL file.
        query_sha256: hash of that text.
        parameters: the values that were bound, as text; several for a list.
        rows: rows of the table.
        columns: its columns.
        seconds: wall time.
        attempt: Airflow's number of the task's try that wrote the file, from 1.
        mark: the largest value of an incremental source's column, or the start of its window when
            it had no rows; None for other sources.
        cache: where the rows came from if they were not read anew.
        splits: where the parts of a source that was read in parts begin, but for the first.
    """

    source: str
    connection: str
    server: str
    query: str
    query_sha256: str
    parameters: dict[str, str | tuple[str, ...]]
    rows: int
    columns: tuple[Column, ...]
    started_at: datetime
    seconds: float
    attempt: int = 1
    mark: str | None = None
    cache: CacheOrigin | None = None
    splits: tuple[str, ...] = ()


class Window(Record):
    """What a run that succeeded read of an incremental source: after ``since``, up to ``mark``."""

    source: str
    since: str
    mark: str


class Replaced(Record):
    """The version of an artifact that a correction stands in for.

    Attributes:
        numbers: its sequence numbers, by part.
        filenames: the names of its report files, by part.
    """

    version: int
    numbers: tuple[int, ...] = ()
    filenames: tuple[str, ...] = ()


class Allocation(Record):
    """What the store gave to one content of an artifact: its version and sequence numbers.

    Attributes:
        replaces: the version before; None for the first one.
        finished: the same content as it was finished before, in this run or another.
    """

    version: int = 1
    numbers: tuple[int, ...] = ()
    replaces: Replaced | None = None
    finished: Artifact | None = None


#: ``started`` stays when the process was killed before it could say how the attempt ended.
AttemptResult = Literal["started", "delivered", "already-there", "failed"]


class DeliveryAttempt(Record):
    """One try to bring one file of an artifact to one destination.

    Attributes:
        position: which file of the artifact, from 1, in the order of delivery.
        attempt: Airflow's number of the task's try, from 1.
        destination: where to, without credentials, e.g. ``sftp://host:22/inbox/file.xml``.
        bytes: bytes sent; 0 when nothing had to be or could be sent.
        sha256: hash of the file, which tells a repeated delivery from a new one.
        seconds: how long it took; 0 while it runs.
        error_class: name of the error's class when it failed.
        error: what went wrong, without secrets.
    """

    route: str
    artifact: str
    attempt: int
    channel: str
    destination: str
    filename: str
    sha256: str
    started_at: datetime
    result: AttemptResult
    position: int = 1
    bytes: int = 0
    seconds: float = 0.0
    error_class: str | None = None
    error: str | None = None
