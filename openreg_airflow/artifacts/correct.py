"""Has an artifact send only what differs from what the authority has."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.writer import relations, writer
from openreg_airflow.errors import ArtifactError
from openreg_airflow.records import Column, Dataset
from openreg_airflow.references.guard import scope_of

if TYPE_CHECKING:
    from openreg_airflow.artifacts.order import Order
    from openreg_airflow.store.references import References, Submission

log = logging.getLogger(__name__)


def corrected(order: Order, store: References) -> Order:
    """The order of what has to be sent, with the table that the authority is to have as target.

    The same table again gives the rows that were sent for it, so that a repeated run is known as
    such; unless the authority rejected some since: these are reported anew.

    Args:
        order: an artifact with ``corrections: cancel_and_new``.
        store: what was reported.

    Raises:
        ArtifactError: another version is on its way, or what differs cannot be sent.
    """
    spec = order.spec.references
    target = order.tables.get(order.spec.table)
    if spec is None or target is None:
        return order
    refuse_inner(order)
    scope = scope_of(spec, order.run.report_id)
    key = (scope, order.run.report_id, order.run.business_date, order.name)
    before = store.submissions(*key)
    alike = [one for one in before if one.resubmission == order.resubmission]
    if alike and alike[-1].target == target.sha256 and not store.rejected(alike[-1].id):
        place = before.index(alike[-1])
        log.info("version %d was made of the same table", alike[-1].version)
        return _order(order, alike[-1].written, target, before[:place])
    if target.rows == 0 and order.spec.when_empty == "fail":
        # An empty source is not a reason to cancel everything.
        return order
    if open_ := [one for one in before if one.state == "sending"]:
        message = f"version {open_[-1].version} of run {open_[-1].run_id} is not delivered yet"
        hint = "Clear the delivery of that run; then clear this task."
        raise ArtifactError(message, where=f"artifact {order.name}", hint=hint)
    return _order(order, _derived(order, store, target, before), target, before)


def refuse_inner(order: Order) -> None:
    """See that a record is one row.

    Raises:
        ArtifactError: it has rows in other tables, whose changes would not be seen.
    """
    if found := relations(writer(order.format), order.spec, order.folder):
        names = ", ".join(sorted({relation.table for relation in found}))
        message = f"corrections cannot be derived: records have rows in {names}"
        hint = "Use corrections: as_written and put the cancellations into the table."
        raise ArtifactError(message, where=f"artifact {order.name}", hint=hint)


def _order(
    order: Order, written: Dataset, target: Dataset, before: tuple[Submission, ...]
) -> Order:
    return replace(
        order,
        tables={**order.tables, order.spec.table: written},
        target=target,
        after=before[-1].content if before else "",
    )


def _derived(
    order: Order, store: References, target: Dataset, before: tuple[Submission, ...]
) -> Dataset:
    from openreg_airflow.references.correction import derive
    from openreg_airflow.references.rows import records

    spec = order.spec.references
    if spec is None:
        message = f"artifact {order.name} has no references"
        raise ArtifactError(message)
    with ExitStack() as stack:
        scratch = stack.enter_context(order.workspace.scratch_folder())
        local = stack.enter_context(order.workspace.open_local(target))
        written = {
            one.id: stack.enter_context(order.workspace.open_local(one.written)) for one in before
        }
        folder = order.workspace.folder(order.run, "correction", order.name)
        with folder.writing("records.parquet") as pending:
            made = derive(
                local,
                spec,
                held=store.held(
                    scope_of(spec, order.run.report_id), list(written), records(local, spec)
                ),
                own={one.id: one.resubmission for one in before},
                written=written,
                resubmission=bool(order.resubmission),
                out=pending.path,
                scratch=scratch,
            )
    log.info(
        "correction of %s: %d cancellations, %d new reports, %d rows as they stand",
        order.name,
        made.cancellations,
        made.reports,
        made.unchanged,
    )
    return Dataset(
        **pending.ref.model_dump(),
        rows=made.cancellations + made.reports,
        columns=tuple(Column.model_validate(column) for column in target.columns),
    )
