"""What the store knows of the tries to bring one file to one place."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openreg_airflow.deliver.channel import Unsettled
from openreg_airflow.errors import DeliveryRefusedError

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
        self._known = () if again else store.at(entry.place)

    def delivered_before(self) -> LedgerEntry | None:
        """The entry of this very file at this very place, if it was delivered."""
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
            DeliveryRefusedError: it did.
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
            if other.state == "delivered" and other.route == entry.route and not same:
                message = (
                    f"number {entry.number} of sequence {entry.sequence} went out already: "
                    f"{other.filename} of report {other.report_id} for {other.business_date}, "
                    f"run {other.run_id}"
                )
                hint = "Two files under one number would be rejected. Find out which is right."
                raise DeliveryRefusedError(message, hint=hint)

    def unsettled(self) -> tuple[Unsettled, ...]:
        """The tries at this place whose end is not known."""
        return tuple(
            Unsettled(key=known.content, temporary=known.temporary)
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
        return published and entry.content == self._entry.content

    def publishing(self, temporary: str | None) -> None:
        """Note that the next step makes this file visible."""
        self._store.put(
            self._entry.model_copy(update={"state": "publishing", "temporary": temporary})
        )

    def withdrawn(self) -> None:
        """Note that the step did not take effect."""
        self._store.put(self._entry.model_copy(update={"state": "withdrawn"}))
