"""What the store knows of the tries to bring one file to one place."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from openreg_airflow.deliver.channel import Unsettled
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError

if TYPE_CHECKING:
    from openreg_airflow.store.deliveries import Deliveries, LedgerEntry

log = logging.getLogger(__name__)


class LedgerJournal:
    """A :class:`~openreg_airflow.deliver.channel.Journal` kept in the store's ledger.

    Args:
        store: the ledger.
        entry: the file and its place, as this try would leave it when all goes well.
        again: the operator wants it sent whatever is known of earlier tries.
    """

    def __init__(self, store: Deliveries, entry: LedgerEntry, *, again: bool = False) -> None:
        self._store = store
        self._entry = entry
        self._again = again
        self._known = store.at(entry.place)
        self._token: str | None = None
        self._noted: LedgerEntry | None = None

    def delivered_before(self) -> LedgerEntry | None:
        """The entry of this very file at this very place, if it was delivered."""
        return None if self._again else self._delivered()

    def _delivered(self) -> LedgerEntry | None:
        return next(
            (
                known
                for known in self._known
                if known.content == self._entry.content and known.state == "delivered"
            ),
            None,
        )

    def refuse_taken_number(self) -> None:
        """See that no other content went there under the same sequence number.

        Raises:
            DeliveryRefusedError: it did, or nobody knows.
        """
        entry = self._entry
        if entry.sequence is None or entry.number is None:
            return
        for other in self._store.of_number(entry.sequence, entry.number):
            same = (other.report_id, other.business_date, other.artifact) == (
                entry.report_id,
                entry.business_date,
                entry.artifact,
            )
            if other.state != "withdrawn" and other.route == entry.route and not same:
                known = other.state == "delivered"
                message = (
                    f"number {entry.number} of sequence {entry.sequence} "
                    f"{'went' if known else 'may have gone'} out already: "
                    f"{other.filename} of report {other.report_id} for {other.business_date}, "
                    f"run {other.run_id}"
                )
                hint = "Two files under one number would be rejected. Find out which is right."
                if not known:
                    hint += " Its own task finds out whether it went when it is cleared."
                raise DeliveryRefusedError(message, hint=hint)

    def unsettled(self) -> tuple[Unsettled, ...]:
        """The tries at this place whose end is not known."""
        return tuple(
            Unsettled(key=known.content, temporary=known.temporary, waived=self._again)
            for known in self._known
            if known.state == "publishing"
        )

    def settle(self, earlier: Unsettled, *, published: bool) -> bool:
        """Note how an earlier try ended; True when it published this very file."""
        [entry] = (known for known in self._known if known.content == earlier.key)
        self._store.settle(entry, "delivered" if published else "withdrawn")
        log.info(
            "an interrupted try of run %s %s %s",
            entry.run_id,
            "had delivered" if published else "had not delivered",
            entry.filename,
        )
        return published and entry.content == self._entry.content and not self._again

    def begin(self) -> None:
        """See that this is the only try that goes on at its place.

        Raises:
            DeliveryError: another one has reached its last step, or delivered, meanwhile.
        """
        self._token = secrets.token_hex(16)
        if not self._store.begin(self._entry, self._token, again=self._again):
            raise _overtaken(self._entry)

    def publishing(self, temporary: str | None) -> None:
        """Note that the next step makes this file visible.

        Raises:
            DeliveryError: a later try has begun, so that this one must not go on.
        """
        if self._token is None:
            self.begin()
        noted = self._entry.model_copy(update={"state": "publishing", "temporary": temporary})
        if self._again:
            self._store.put(noted)
        elif not self._store.publish(noted, str(self._token)):
            raise _overtaken(self._entry)
        self._noted = noted

    def withdrawn(self) -> None:
        """Note that the step did not take effect: what was known before holds."""
        if self._noted is not None:
            before = self._delivered()
            self._store.settle(self._noted, "delivered" if before else "withdrawn")


def _overtaken(entry: LedgerEntry) -> DeliveryError:
    return DeliveryError(
        f"another try is bringing a file to {entry.destination}: this one gives way",
        hint="It is tried again, and finds out then what the other one did.",
    )
