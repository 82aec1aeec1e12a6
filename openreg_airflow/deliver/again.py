"""Deliveries that a person orders, and what they would do."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from openreg_airflow.deliver.delivery import (
    Delivery,
    channel_for,
    deliver,
    ledger_entry,
    parcel_of,
)
from openreg_airflow.deliver.journal import LedgerJournal
from openreg_airflow.deliver.routing import (
    delivered_over,
    facts_of,
    holds,
    not_taken,
    stood_in_for,
)
from openreg_airflow.deliver.spec import stand_ins
from openreg_airflow.errors import OpenRegError
from openreg_airflow.references.answers import free_rejected
from openreg_airflow.references.guard import ReferenceGuard
from openreg_airflow.store.acknowledgements import Acknowledgements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from openreg_airflow.deliver.channel import Channel, Session
    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.records import ArtifactFile, Receipt
    from openreg_airflow.store.actor import Actor
    from openreg_airflow.store.deliveries import Deliveries
    from openreg_airflow.workspace import Workspace

    Connect = Callable[[str], Connection]

log = logging.getLogger(__name__)

#: How long an answer is waited for where the route does not say.
_WAIT_HOURS = 24


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What delivering one file would do.

    Attributes:
        destination: its place as a URL, or what is known of it.
        said: what would happen.
        refused: whether it would fail.
        hint: what to do about that.
    """

    route: str
    artifact: str
    filename: str
    destination: str
    said: str
    refused: bool = False
    hint: str = ""


def dry_run(
    deliveries: list[Delivery],
    *,
    connect: Connect,
    workspace: Workspace,
    store: Deliveries,
    routes: Mapping[str, RouteSpec] | None = None,
) -> Iterator[Finding]:
    """Say what each delivery would do: log in, look, send nothing and record nothing.

    Args:
        deliveries: what would go where.
        connect: gives a connection by its name.
        workspace: where the files lie; they are held against their record.
        store: what was delivered before.
        routes: all of the report, since one may have delivered in the place of another.
    """
    for delivery in deliveries:
        taken = _condition(delivery) or _elsewhere(delivery, routes or {}, store)
        if taken is not None:
            yield taken
            continue
        with ExitStack() as stack:
            line = _Line(delivery, connect, stack)
            for file in delivery.artifact.files:
                yield line.look(file, workspace, store)


@dataclass
class _Line:
    """The connection of one delivery, opened by the first file that needs it."""

    delivery: Delivery
    connect: Connect
    stack: ExitStack
    _opened: tuple[Channel, Connection] | None = None
    _session: Session | None = field(default=None)
    _references_seen: bool = False

    def look(self, file: ArtifactFile, workspace: Workspace, store: Deliveries) -> Finding:
        delivery, spec = self.delivery, self.delivery.spec
        destination = f"{spec.channel} connection {spec.connection}, folder {spec.folder}"

        def finding(said: str, *, refused: bool = False, hint: str | None = None) -> Finding:
            return Finding(
                route=delivery.route,
                artifact=delivery.artifact.name,
                filename=file.filename,
                destination=destination,
                said=said,
                refused=refused,
                hint=hint or "",
            )

        try:
            channel, connection = self._prepared()
            destination = channel.destination(connection, spec.folder, file.filename)
            entry = ledger_entry(delivery, file, destination, connection.account)
            journal = LedgerJournal(store, entry)
            if before := journal.delivered_before():
                return finding(f"delivered {before.updated_at:%Y-%m-%d %H:%M} by {before.run_id}")
            journal.refuse_taken_number()
            self._look_at_references(workspace, store)
            with workspace.open_local(file) as path:
                parcel = parcel_of(file, path, spec, journal)
                return finding(self._at(channel, connection).look(parcel, spec.folder))
        except OpenRegError as error:
            return finding(error.message, refused=True, hint=error.hint)

    def _look_at_references(self, workspace: Workspace, store: Deliveries) -> None:
        """Hold the references of the delivery against what was reported, once.

        Raises:
            ReferenceReuseError: one stands already, or one is cancelled that does not stand.
        """
        delivery = self.delivery
        if not self._references_seen and delivery.spec.reports:
            guard = ReferenceGuard(delivery.run, delivery.artifact, workspace, store, again=False)
            guard.look()
            self._references_seen = True

    def _prepared(self) -> tuple[Channel, Connection]:
        if self._opened is None:
            spec = self.delivery.spec
            self._opened = channel_for(spec, self.connect(spec.connection))
        return self._opened

    def _at(self, channel: Channel, connection: Connection) -> Session:
        if self._session is None:
            seconds = self.delivery.spec.timeout_seconds
            self._session = self.stack.enter_context(
                channel.open(connection, timeout_seconds=seconds)
            )
        return self._session


def _condition(delivery: Delivery) -> Finding | None:
    """Why the route would not be taken, or None."""
    spec = delivery.spec
    said, refused, hint = "", False, ""
    try:
        if spec.when is not None and not holds(
            spec.when, facts_of(delivery.run, delivery.artifact)
        ):
            said = f"not taken: {spec.when}"
    except OpenRegError as error:
        said, refused, hint = error.message, True, error.hint or ""
    if not said and not delivery.artifact.files:
        said = "the artifact has no file, so nothing is sent"
    return _of_all(delivery, said, refused=refused, hint=hint) if said else None


def _elsewhere(
    delivery: Delivery, routes: Mapping[str, RouteSpec], store: Deliveries
) -> Finding | None:
    """What another route has delivered, or is to deliver first; None where this one goes on."""
    name, spec, run, artifact = delivery.route, delivery.spec, delivery.run, delivery.artifact
    said, refused, hint = None, False, ""
    try:
        said = stood_in_for(name, stand_ins(name, routes), run, artifact, store)
        if said is None and spec.instead_of is not None:
            said = _primary(delivery, spec.instead_of, store)
    except OpenRegError as error:
        said, refused, hint = error.message, True, error.hint or ""
    return _of_all(delivery, said, refused=refused, hint=hint) if said else None


def _primary(delivery: Delivery, primary: str, store: Deliveries) -> str | None:
    """Why a route does not take the place of another one; None where it does or did.

    Raises:
        DeliveryRefusedError: the other one was refused, or may have delivered.
    """
    run, artifact = delivery.run, delivery.artifact
    if delivered_over(delivery.route, run, artifact, store):
        return None
    unconditional = delivery.spec.model_copy(update={"when": None})
    why = not_taken(delivery.route, unconditional, run, artifact, store)
    return f"only when the destination of route {primary} is down; {why}" if why else None


def _of_all(delivery: Delivery, said: str, *, refused: bool, hint: str) -> Finding:
    """What is found of all files of a delivery alike."""
    spec = delivery.spec
    return Finding(
        route=delivery.route,
        artifact=delivery.artifact.name,
        filename=", ".join(file.filename for file in delivery.artifact.files),
        destination=f"{spec.channel} connection {spec.connection}, folder {spec.folder}",
        said=said,
        refused=refused,
        hint=hint,
    )


def send_again(
    delivery: Delivery,
    *,
    connect: Connect,
    workspace: Workspace,
    store: Deliveries,
    actor: Actor,
    reason: str,
) -> tuple[Receipt, ...]:
    """Deliver once more, whatever was delivered before; who and why goes to the audit trail first.

    What the authority answered to files that are sent once more counts no more; they are awaited
    anew.

    Args:
        delivery: what, and where to.
        connect: gives a connection by its name.
        workspace: where the files lie.
        store: the ledger.
        actor: who orders it.
        reason: why.

    Raises:
        OpenRegError: as :func:`~openreg_airflow.deliver.delivery.deliver`.
    """
    channel, connection = channel_for(delivery.spec, connect(delivery.spec.connection))
    for file in delivery.artifact.files:
        destination = channel.destination(connection, delivery.spec.folder, file.filename)
        entry = ledger_entry(delivery, file, destination, connection.account)
        store.note_again(actor, entry, reason)
    receipts = deliver(
        Delivery(
            run=delivery.run,
            route=delivery.route,
            spec=delivery.spec,
            artifact=delivery.artifact,
            again=True,
        ),
        connect=lambda: connection,
        workspace=workspace,
        store=store,
    )
    if delivery.spec.acknowledgement is not None:
        _await_again(delivery, receipts, Acknowledgements(store.url))
    return receipts


def _await_again(
    delivery: Delivery, receipts: tuple[Receipt, ...], answers: Acknowledgements
) -> None:
    """Let what was said of an earlier sending count no more for files that were sent once more."""
    sent = {receipt.filename for receipt in receipts if not receipt.already_there}
    reports = enumerate(delivery.artifact.reports, 1)
    positions = {position for position, file in reports if file.filename in sent}
    if positions:
        answer = delivery.spec.acknowledgement
        hours = (answer.wait_hours if answer else None) or _WAIT_HOURS
        due_at = datetime.now(UTC) + timedelta(hours=hours)
        answers.await_again(delivery.run, delivery.route, delivery.artifact.name, positions, due_at)
        log.info("what was answered before counts no more for %d files", len(positions))
    if delivery.spec.reports:
        # What was not sent once more is as free as it was.
        free_rejected(delivery.run, delivery.route, delivery.artifact, answers)


def note_delivered(
    delivery: Delivery, *, connect: Connect, store: Deliveries, actor: Actor, reason: str
) -> int:
    """Note that the receiver has the files, on a person's word; nothing is sent.

    Returns:
        The number of files.
    """
    channel, connection = channel_for(delivery.spec, connect(delivery.spec.connection))
    for file in delivery.artifact.files:
        destination = channel.destination(connection, delivery.spec.folder, file.filename)
        entry = ledger_entry(delivery, file, destination, connection.account)
        store.note_delivered(actor, entry, reason)
    return len(delivery.artifact.files)
