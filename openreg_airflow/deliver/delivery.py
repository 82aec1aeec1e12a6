"""One delivery of one artifact over one route, with an attempt on record for each file."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openreg_airflow.deliver.channel import Outcome, Parcel
from openreg_airflow.deliver.journal import LedgerJournal
from openreg_airflow.deliver.progress import MIB
from openreg_airflow.deliver.registry import load_channel
from openreg_airflow.errors import OpenRegError
from openreg_airflow.records import Receipt
from openreg_airflow.references.guard import ReferenceGuard
from openreg_airflow.store.deliveries import LedgerEntry, content_of, place_of
from openreg_airflow.store_records import DeliveryAttempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from openreg_airflow.deliver.channel import Channel, Journal, Session
    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.deliver.windows import RowsOnce
    from openreg_airflow.records import Artifact, ArtifactFile, RunKey
    from openreg_airflow.store.deliveries import Deliveries
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What is delivered where.

    Attributes:
        run: the run that made the artifact.
        route: name of the route in the spec.
        spec: the route.
        artifact: the record of the artifact.
        again: the operator wants it sent even if it was delivered before.
        rows_once: what is delivered of incremental sources.
    """

    run: RunKey
    route: str
    spec: RouteSpec
    artifact: Artifact
    again: bool = False
    rows_once: RowsOnce | None = None


def deliver(
    delivery: Delivery,
    *,
    connect: Callable[[], Connection],
    workspace: Workspace,
    store: Deliveries,
) -> tuple[Receipt, ...]:
    """Bring the files of an artifact to their destination and record each attempt, however it ends.

    The files go in their order over one connection, after all of them have been checked against
    their recorded size and hash, unless all were delivered before. An attempt is on record before
    the first byte of its file is sent: one that was killed stays ``started``. The first file that
    fails ends the delivery. A file that the ledger knows as delivered to its place is not sent
    again, whichever run sent it.

    Args:
        delivery: what, and where to.
        connect: gives the connection; a failure to find it is on record too.
        workspace: where the files lie.
        store: where the attempts and the ledger are.

    Returns:
        A receipt for each file; none for an artifact without files.

    Raises:
        DeliveryRefusedError: the destination refuses, or the connection cannot be used.
        DeliveryError: it did not finish and may be tried again.
        IntegrityError: a file is not the one that was recorded; nothing was sent.
        ReferenceReuseError: a record's reference stands at the authority; nothing was sent.
        DeliveryRefusedError: another business date has delivered rows that this run has read.
        StoreUnavailableError: an attempt cannot be recorded; nothing more is sent.
    """
    files, spec = delivery.artifact.files, delivery.spec
    if not files:
        log.info("artifact %s has no file, so nothing is delivered", delivery.artifact.name)
    number = store.next_attempt(delivery.run, delivery.route, delivery.artifact.name)
    guard = ReferenceGuard(
        delivery.run,
        delivery.artifact if spec.reports else None,
        workspace,
        store,
        again=delivery.again,
    )
    line = _Line()
    receipts = []
    with ExitStack() as stack:
        stack.push(guard.ended)
        for position, file in enumerate(files, 1):
            with _on_record(delivery, file, (number, position), store) as attempt:
                if line.channel is None:
                    line.prepare(spec, connect)
                    # What was delivered long ago is perhaps kept no longer.
                    if not line.delivered_before(delivery, store):
                        line.paths = [stack.enter_context(workspace.open_local(f)) for f in files]
                    guard.reserve()
                attempt.entry = entry = line.entry(delivery, file)
                attempt.destination = entry.destination
                attempt.record()
                journal = LedgerJournal(store, entry, again=delivery.again)
                if before := journal.delivered_before():
                    log.info(
                        "%s was delivered on %s by run %s; it is not sent again",
                        entry.destination,
                        f"{before.updated_at:%Y-%m-%d %H:%M:%S %Z}",
                        before.run_id,
                    )
                    # The ledger goes on naming the run that sent it, and when.
                    attempt.entry = None
                    attempt.outcome = Outcome(bytes_sent=0, already_there=True)
                else:
                    journal.refuse_taken_number()
                    log.info("delivering %s to %s", file.filename, attempt.destination)
                    if line.session is None:
                        _refuse_rows_of_another_run(delivery, store)
                        line.session = stack.enter_context(line.open(spec))
                    parcel = parcel_of(file, line.paths[position - 1], spec, journal)
                    attempt.outcome = line.session.deliver(parcel, spec.folder, spec.verify)
            receipts.append(attempt.receipt())
        guard.delivered()
    return tuple(receipts)


def _refuse_rows_of_another_run(delivery: Delivery, store: Deliveries) -> None:
    """See that no two business dates deliver the same rows, but on a person's word."""
    once = delivery.rows_once
    if once is not None and delivery.spec.reports and not delivery.again:
        once.refuse_rows_of_another_run(delivery.run, delivery.artifact.name, store.url)


def parcel_of(file: ArtifactFile, path: Path, spec: RouteSpec, journal: Journal) -> Parcel:
    """A finished file on its way.

    Args:
        file: its record.
        path: where it can be read.
        spec: the route.
        journal: what is known of earlier tries.
    """
    return Parcel(
        path=path,
        filename=file.filename,
        bytes=file.bytes,
        sha256=file.sha256,
        journal=journal,
        bytes_per_second=int(spec.mib_per_second * MIB) if spec.mib_per_second else None,
    )


def ledger_entry(
    delivery: Delivery, file: ArtifactFile, destination: str, account: str
) -> LedgerEntry:
    """The ledger's entry for a file once it is delivered.

    Args:
        delivery: what, and where to.
        file: one of its files.
        destination: its place as a URL without credentials.
        account: whose folder it is; see :attr:`.Connection.account`.
    """
    artifact, run = delivery.artifact, delivery.run
    content = artifact.content or file.document_sha256 or file.sha256
    numbers = artifact.numbers
    return LedgerEntry(
        content=content_of(run, artifact.name, content, file.part, file.role),
        place=place_of(delivery.spec.channel, account, destination),
        destination=destination,
        state="delivered",
        report_id=run.report_id,
        business_date=run.business_date,
        run_id=run.run_id,
        route=delivery.route,
        artifact=artifact.name,
        filename=file.filename,
        bytes=file.bytes,
        sha256=file.sha256,
        sequence=artifact.sequence if numbers else None,
        number=numbers[min(file.part, len(numbers)) - 1] if numbers else None,
    )


@dataclass
class _Line:
    """The one connection of a delivery; made by its first file, whose attempt tells of failures."""

    channel: Channel | None = None
    connection: Connection | None = None
    session: Session | None = None
    paths: list[Path] = field(default_factory=list)

    def prepare(self, spec: RouteSpec, connect: Callable[[], Connection]) -> None:
        self.channel, self.connection = channel_for(spec, connect())

    def entry(self, delivery: Delivery, file: ArtifactFile) -> LedgerEntry:
        channel, connection = self._prepared()
        destination = channel.destination(connection, delivery.spec.folder, file.filename)
        return ledger_entry(delivery, file, destination, connection.account)

    def delivered_before(self, delivery: Delivery, store: Deliveries) -> bool:
        """Whether the ledger knows all files of a delivery as delivered, so that none is sent."""
        entries = [self.entry(delivery, file) for file in delivery.artifact.files]
        journals = (LedgerJournal(store, entry, again=delivery.again) for entry in entries)
        return all(journal.delivered_before() for journal in journals)

    def open(self, spec: RouteSpec) -> AbstractContextManager[Session]:
        channel, connection = self._prepared()
        return channel.open(connection, timeout_seconds=spec.timeout_seconds)

    def _prepared(self) -> tuple[Channel, Connection]:
        if self.channel is None or self.connection is None:
            message = "the connection is asked for before it was prepared"
            raise RuntimeError(message)
        return self.channel, self.connection


def channel_for(spec: RouteSpec, connection: Connection) -> tuple[Channel, Connection]:
    """The route's channel, and the connection if the channel can use it.

    Raises:
        DeliveryRefusedError: the connection is of another type, or would show a secret.
        SpecError: there is no such channel.
    """
    channel = load_channel(spec.channel)
    if connection.type not in channel.connection_types:
        fault = f"is of type {connection.type!r}, which channel {spec.channel} cannot use"
        hint = f"Use type {' or '.join(channel.connection_types)}."
        raise connection.refused(fault=fault, hint=hint)
    connection.refuse_unsound()
    return channel, connection


class _Attempt:
    """An attempt to deliver one file, while it runs."""

    def __init__(
        self, delivery: Delivery, file: ArtifactFile, number: tuple[int, int], store: Deliveries
    ) -> None:
        self._delivery = delivery
        self._file = file
        self._number, self._position = number
        self._store = store
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        spec = delivery.spec
        #: Until the channel has said it as a URL.
        self.destination = (
            f"{spec.channel} connection {spec.connection}, folder {spec.folder}, "
            f"file {file.filename}"
        )
        self.entry: LedgerEntry | None = None
        self.outcome: Outcome | None = None
        self.seconds = 0.0

    def record(self, error: BaseException | None = None) -> None:
        """Put the attempt on record as it stands now."""
        delivery, file, outcome = self._delivery, self._file, self.outcome
        self.seconds = time.monotonic() - self._clock
        attempt = DeliveryAttempt(
            route=delivery.route,
            artifact=delivery.artifact.name,
            attempt=self._number,
            position=self._position,
            channel=delivery.spec.channel,
            destination=self.destination,
            filename=file.filename,
            sha256=file.sha256,
            started_at=self._started,
            result="started",
        )
        end: dict[str, object] = {}
        if error is not None:
            # The text of an error that is not ours could hold anything, a password included.
            told = error.message if isinstance(error, OpenRegError) else "see the task's log"
            end = {"result": "failed", "error_class": type(error).__name__, "error": told}
        elif outcome is not None:
            result = "already-there" if outcome.already_there else "delivered"
            end = {"result": result, "bytes": outcome.bytes_sent}
        if end:
            attempt = attempt.model_copy(update={**end, "seconds": self.seconds})
        if error is None and outcome is not None and self.entry is not None:
            self._store.finish(delivery.run, attempt, self.entry)
        else:
            self._store.record_attempt(delivery.run, attempt)

    def receipt(self) -> Receipt:
        """The proof of a delivery that ended well."""
        file, outcome = self._file, self.outcome
        already_there = outcome is not None and outcome.already_there
        log.info(
            "%s %s: %s bytes, %.1f s, SHA-256 %s",
            "already there:" if already_there else "delivered:",
            self.destination,
            f"{file.bytes:,}",
            self.seconds,
            file.sha256,
        )
        return Receipt(
            route=self._delivery.route,
            artifact=self._delivery.artifact.name,
            destination=self.destination,
            filename=file.filename,
            bytes=file.bytes,
            sha256=file.sha256,
            delivered_at=datetime.now(UTC),
            seconds=self.seconds,
            already_there=already_there,
        )


@contextmanager
def _on_record(
    delivery: Delivery, file: ArtifactFile, number: tuple[int, int], store: Deliveries
) -> Iterator[_Attempt]:
    """Record an attempt when it begins and when it ends; a stopped task counts as failed."""
    attempt = _Attempt(delivery, file, number, store)
    attempt.record()
    try:
        yield attempt
    except BaseException as error:
        try:
            attempt.record(error)
        except OpenRegError:
            # The delivery's own error is the one that the task must fail with.
            log.exception("the failed attempt could not be recorded")
        raise
    attempt.record()
