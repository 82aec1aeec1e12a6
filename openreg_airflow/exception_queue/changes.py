"""What happened to items, on its way to the audit trail."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from openreg_airflow.errors import StorageError
from openreg_airflow.store.audit import AuditEntry, append_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from sqlalchemy import Connection

    from openreg_airflow.records import RunKey
    from openreg_airflow.store.actor import Actor

#: The kind of the audit trail's entries about items.
KIND = "exception"
#: Bytes of changes that wait in memory; what is more waits in a file.
_IN_MEMORY = 4 << 20
_PROGRESS = 5.0

log = logging.getLogger(__name__)


class Change(NamedTuple):
    """What happened to one item."""

    action: str
    item: int
    before: dict[str, Any] | None
    after: dict[str, Any]


class Changes:
    """Changes that wait until the end of a transaction; a context manager.

    The audit trail lets one transaction append at a time, so a long one appends last. What it has
    to say until then, a million changes perhaps, is kept in a temporary file that has no name.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        #: How many there are.
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, change: Change) -> None:
        """Keep one.

        Raises:
            StorageError: the disk for temporary files is full.
        """
        try:
            self._file.write(json.dumps(change).encode() + b"\n")
        except OSError as error:
            message = f"the changes of {self.count:,} records cannot be kept: {error.strerror}"
            hint = f"See whether there is space in {tempfile.gettempdir()}."
            raise StorageError(message, hint=hint) from error
        self.count += 1

    def __iter__(self) -> Iterator[Change]:
        self._file.seek(0)
        return (Change(*json.loads(line)) for line in self._file)


def audit(connection: Connection, actor: Actor, run: RunKey, changes: Iterable[Change]) -> None:
    """Append changes of items of one report's date to the audit trail."""
    append_all(connection, _entries(actor, run.report_id, run.business_date, changes))


def subject(report_id: str, business_date: date, number: int) -> str:
    """What the audit trail calls an item."""
    return f"{report_id} {business_date} #{number}"


def _entries(
    actor: Actor, report_id: str, business_date: date, changes: Iterable[Change]
) -> Iterator[AuditEntry]:
    spoken = time.monotonic()
    for number, change in enumerate(changes):
        if time.monotonic() - spoken >= _PROGRESS:
            spoken = time.monotonic()
            log.info("%d changes of records are in the audit trail.", number)
        yield AuditEntry(
            actor=actor,
            action=change.action,
            kind=KIND,
            subject=subject(report_id, business_date, change.item),
            before=change.before,
            after=change.after,
        )
