"""One delivery of one artifact over one route, with its attempt on record."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openreg_airflow.deliver.channel import Parcel
from openreg_airflow.deliver.registry import load_channel
from openreg_airflow.errors import OpenRegError
from openreg_airflow.records import DeliveryAttempt, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openreg_airflow.deliver.channel import Outcome
    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.records import Artifact, RunKey
    from openreg_airflow.store import Store
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
        number: number of this attempt within the run, from 1.
    """

    run: RunKey
    route: str
    spec: RouteSpec
    artifact: Artifact
    number: int = 1


def deliver(
    delivery: Delivery,
    *,
    connect: Callable[[], Connection],
    workspace: Workspace,
    store: Store,
) -> Receipt:
    """Bring an artifact to its destination and record the attempt, however it ends.

    The attempt is on record before the first byte is sent: one that was killed stays ``started``.

    Args:
        delivery: what, where to, and the attempt's number.
        connect: gives the connection; a failure to find it is on record too.
        workspace: where the artifact lies; its size and SHA-256 are checked again.
        store: where the attempt is recorded.

    Raises:
        DeliveryRefusedError: the destination refuses, or the connection cannot be used.
        DeliveryError: it did not finish and may be tried again.
        IntegrityError: the artifact is not the file that was recorded.
        StoreUnavailableError: the attempt cannot be recorded; nothing more is sent.
    """
    artifact, spec = delivery.artifact, delivery.spec
    with _on_record(delivery, store) as attempt:
        channel = load_channel(spec.channel)
        connection = connect()
        if connection.type not in channel.connection_types:
            fault = f"is of type {connection.type!r}, which channel {spec.channel} cannot use"
            hint = f"Use type {' or '.join(channel.connection_types)}."
            raise connection.refused(fault=fault, hint=hint)
        attempt.destination = channel.destination(connection, spec.folder, artifact.filename)
        attempt.record()
        with workspace.open_local(artifact) as path:
            parcel = Parcel(
                path=path,
                filename=artifact.filename,
                bytes=artifact.bytes,
                sha256=artifact.sha256,
            )
            log.info("delivering %s to %s", artifact.filename, attempt.destination)
            with channel.open(connection, timeout_seconds=spec.timeout_seconds) as session:
                attempt.outcome = session.deliver(parcel, spec.folder, spec.verify)
    return attempt.receipt()


class _Attempt:
    """An attempt while it runs."""

    def __init__(self, delivery: Delivery, store: Store) -> None:
        self._delivery = delivery
        self._store = store
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        spec = delivery.spec
        #: Until the channel has said it as a URL.
        self.destination = (
            f"{spec.channel} connection {spec.connection}, folder {spec.folder}, "
            f"file {delivery.artifact.filename}"
        )
        self.outcome: Outcome | None = None
        self.seconds = 0.0

    def record(self, error: BaseException | None = None) -> None:
        """Put the attempt on record as it stands now."""
        artifact, spec, outcome = self._delivery.artifact, self._delivery.spec, self.outcome
        self.seconds = time.monotonic() - self._clock
        attempt = DeliveryAttempt(
            route=self._delivery.route,
            artifact=artifact.name,
            attempt=self._delivery.number,
            channel=spec.channel,
            destination=self.destination,
            filename=artifact.filename,
            sha256=artifact.sha256,
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
        self._store.record_attempt(self._delivery.run, attempt)

    def receipt(self) -> Receipt:
        """The proof of a delivery that ended well."""
        artifact, outcome = self._delivery.artifact, self.outcome
        already_there = outcome is not None and outcome.already_there
        log.info(
            "%s %s: %d bytes, %.1f s, SHA-256 %s",
            "already there:" if already_there else "delivered:",
            self.destination,
            artifact.bytes,
            self.seconds,
            artifact.sha256,
        )
        return Receipt(
            route=self._delivery.route,
            artifact=artifact.name,
            destination=self.destination,
            filename=artifact.filename,
            bytes=artifact.bytes,
            sha256=artifact.sha256,
            delivered_at=datetime.now(UTC),
            seconds=self.seconds,
            already_there=already_there,
        )


@contextmanager
def _on_record(delivery: Delivery, store: Store) -> Iterator[_Attempt]:
    """Record an attempt when it begins and when it ends; a stopped task counts as failed."""
    attempt = _Attempt(delivery, store)
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
