"""Rows of incremental sources go out by one run, whichever runs have read them.

Two runs that begin at the same mark read the same rows: a scheduled run beside a backfill, or the
next run after one whose delivery failed. So a delivery whose attempt is on record looks for other
business dates that have read the same rows and may have delivered them to the same receiver. Each
of two runs has its own attempt on record before it looks, so that not both can miss the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import DeliveryRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.records import RunKey
    from openreg_airflow.store.windows import ReadWindow


@dataclass(frozen=True, kw_only=True)
class RowsOnce:
    """What one route delivers of incremental sources.

    Attributes:
        types: the types of the marks by source; none where no source is incremental.
        routes: the route, with those that stand in for one another with it: one receiver.
    """

    types: Mapping[str, str]
    routes: tuple[str, ...]

    def refuse_rows_of_another_run(self, run: RunKey, artifact: str, store_url: str) -> None:
        """See that no other business date has delivered what this run has read.

        Args:
            run: the run that is about to deliver.
            artifact: what it is about to deliver.
            store_url: the product's own database.

        Raises:
            DeliveryRefusedError: one has, or may have, or is about to.
        """
        if not self.types:
            return
        from openreg_airflow.store.windows import Windows

        windows = Windows(store_url)
        for own in windows.read_by(run):
            if (kind := self.types.get(own.source)) is None:
                continue
            for other in windows.handed_out(run, own.source, artifact, self.routes):
                if _overlap(own, other, kind):
                    message = (
                        f"rows would go out twice: {own.source} was read after {own.since} up to "
                        f"{own.mark}; run {other.run_id} of {other.business_date} has read it "
                        f"after {other.since} up to {other.mark}, and has delivered or is about to"
                    )
                    hint = (
                        "Clear what failed in that run, and when it has succeeded clear extract "
                        "of this one: it reads what is left."
                    )
                    raise DeliveryRefusedError(message, hint=hint)


def _overlap(one: ReadWindow, other: ReadWindow, kind: str) -> bool:
    """Whether a row can lie in both windows, each after its beginning and up to its mark."""

    def value(text: str) -> Any:
        return int(text) if kind == "integer" else text

    return bool(
        value(one.since) < value(other.mark)
        and value(other.since) < value(one.mark)
        and value(one.since) < value(one.mark)
        and value(other.since) < value(other.mark)
    )
