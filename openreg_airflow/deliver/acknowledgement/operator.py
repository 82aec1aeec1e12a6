"""The task that waits for the authority's answer without holding a worker."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.sdk import Context

    from openreg_airflow.deliver.acknowledgement.collect import Awaited
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import Dataset, RunKey
    from openreg_airflow.store.acknowledgement_records import Acknowledgement, RecordAnswer

log = logging.getLogger(__name__)


class AcknowledgeOperator(StageOperator):
    """Wait for the feedback to one artifact over one route; returns how it stands with each file.

    The task looks, and defers itself until the next look; in between it is in the triggerer's
    hands and holds no worker. Rejected records go to the exception queue where the report has
    ``records``. A file that the authority rejects as a whole fails the task, and so does silence
    beyond the time: clear the task when the answer came after all.

    Args:
        route: name of the route in the spec.
        spec: the route.
        artifact: the ``Artifact`` record.
        receipts: the receipts of its delivery.
        tables: the tables of the run by name.
        verdict: the run's verdict, which may hold other tables.
        records: the report's section ``records``.
        stand_ins: ids of the tasks that deliver instead when the destination is down, one in the
            place of the other; the trigger rule must then be ``all_done``.
    """

    stage = "acknowledge"
    template_fields: Sequence[str] = (
        *StageOperator.template_fields,
        "artifact",
        "receipts",
        "tables",
        "verdict",
    )
    ui_color = "#e1d5e7"

    def __init__(
        self,
        *,
        route: str,
        spec: RouteSpec,
        artifact: Any,
        receipts: Any,
        tables: Mapping[str, Any],
        verdict: Any = None,
        records: Mapping[str, RecordTable] | None = None,
        stand_ins: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._waited = False
        self.stand_ins = tuple(stand_ins)
        self.route = route
        self.spec = spec
        self.artifact = artifact
        self.receipts = receipts
        self.tables = tables
        self.verdict = verdict
        self.records = records

    def look_again(self, context: Context, event: Any = None) -> Any:  # noqa: ARG002
        """Go on after a wait."""
        self._waited = True
        return self.execute(context)

    def run_stage(self, context: Context, run: RunKey) -> list[dict[str, Any]]:
        """Look once; then end, fail, or wait."""
        from openreg_airflow.deliver.acknowledgement.collect import collect
        from openreg_airflow.deliver.operator import airflow_connection
        from openreg_airflow.references.answers import free_rejected
        from openreg_airflow.store.acknowledgements import Acknowledgements

        if not self.receipts:
            self._nothing_delivered(context)
        awaited = self.awaited(run)
        store = Acknowledgements(self.settings.store_url)
        found = collect(
            awaited,
            connect=airflow_connection,
            workspace=self.workspace,
            store=store,
            reject=partial(self.take_back, awaited),
            # Somebody who clears the task may have mended why a file was refused.
            afresh=not self._waited,
        )
        if self.spec.reports:
            free_rejected(run, self.route, awaited.artifact, store)
        if not found.settled:
            self._wait(found.standings)
        _refuse_rejected(found.standings, resubmitted=awaited.resubmission)
        return [standing.model_dump(mode="json") for standing in found.standings]

    def _nothing_delivered(self, context: Context) -> None:
        """End without an answer to wait for.

        Raises:
            AirflowSkipException: another route took the place of this one, or it had no file.
            AcknowledgementError: what comes before failed, and the run must not look well.
        """
        from airflow.sdk.exceptions import AirflowSkipException

        from openreg_airflow.errors import AcknowledgementError

        if self.stand_ins:
            run = context["dag_run"].run_id
            found = context["ti"].get_task_states(
                dag_id=self.dag_id, task_ids=list(self.stand_ins), run_ids=[run]
            )
            states = {name: str(state) for name, state in found.get(run, {}).items()}
            # Where the first was not needed nothing had failed.
            well = "success" in states.values() or states.get(self.stand_ins[0]) == "skipped"
            if not well:
                message = f"nothing was delivered over route {self.route}"
                raise AcknowledgementError(message, hint="Mend the delivery first.")
        message = f"nothing was delivered over route {self.route}, so nobody answers"
        raise AirflowSkipException(message)

    def awaited(self, run: RunKey) -> Awaited:
        """What this task waits for."""
        from openreg_airflow.deliver.acknowledgement.collect import Awaited
        from openreg_airflow.records import Artifact
        from openreg_airflow.references.guard import written_table

        artifact = Artifact.model_validate(self.artifact)
        table = str(artifact.metadata.get("table") or "")
        delivered = [datetime.fromisoformat(r["delivered_at"]) for r in self.receipts or ()]
        return Awaited(
            run=run,
            route=self.route,
            spec=self.spec,
            artifact=artifact,
            # A correction has other rows than the table.
            table=written_table(artifact) or self._tables().get(table),
            due_at=self._due(run, max(delivered, default=datetime.now(UTC))),
            resubmission=self._resubmitted(),
        )

    def _due(self, run: RunKey, delivered: datetime) -> datetime:
        answer = self.spec.acknowledgement
        if answer is not None and answer.wait_hours is not None:
            return delivered + timedelta(hours=answer.wait_hours)
        if self.deadline is not None:
            return self.deadline.instant(run.business_date)
        return delivered + timedelta(days=1)

    def _tables(self) -> dict[str, Dataset]:
        from openreg_airflow.records import Dataset, Verdict

        tables = {name: Dataset.model_validate(table) for name, table in self.tables.items()}
        if self.verdict is not None:
            tables |= Verdict.model_validate(self.verdict).tables or {}
        return tables

    def _resubmitted(self) -> bool:
        """Whether the run sent what the exception queue resubmitted."""
        from openreg_airflow.records import Verdict

        return self.verdict is not None and Verdict.model_validate(self.verdict).resubmission > 0

    def _wait(self, standings: Sequence[Acknowledgement]) -> None:
        """Defer until the next look, or fail when the time is over.

        Raises:
            AcknowledgementError: the time is over.
        """
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        from openreg_airflow.errors import AcknowledgementError

        answer = self.spec.acknowledgement
        now = datetime.now(UTC)
        pending = timedelta(hours=answer.pending_hours if answer else 0)
        open_ = [s for s in standings if not s.settled]
        # Pending records may stay so for days after the file itself was answered in time.
        last = max(s.due_at if s.state == "awaited" else s.due_at + pending for s in open_)
        if now >= last:
            names = ", ".join(
                f"{s.filename} ({s.state}, {s.pending} pending"
                + (f", {s.untold})" if s.untold else ")")
                for s in open_
            )
            message = f"no final answer by {last:%Y-%m-%d %H:%M} UTC: {names}"
            hint = "Ask the authority. When the answer is there, clear this task to read it."
            raise AcknowledgementError(message, hint=hint)
        every = timedelta(seconds=answer.poll_seconds if answer else 300)
        wait = min(every, max(last - now, timedelta(seconds=1)))
        log.info("%d files wait for an answer; the next look is in %s", len(open_), wait)
        self.defer(trigger=TimeDeltaTrigger(wait), method_name="look_again")

    def take_back(self, awaited: Awaited, rejected: Iterator[RecordAnswer]) -> None:
        """Put rejected records into the exception queue, with the authority's reasons.

        Args:
            awaited: what was sent.
            rejected: what is said of rows that were written; read once.
        """
        first = next(rejected, None)
        if first is None:
            return
        rejected = chain([first], rejected)
        table = str(awaited.artifact.metadata.get("table") or "")
        if not self.records or table not in self.records or awaited.table is None:
            log.warning(
                "%d records were rejected; a report without `records` has no exception queue",
                sum(1 for _ in rejected),
            )
            return
        from openreg_airflow.deliver.acknowledgement.rejected import keyed
        from openreg_airflow.exception_queue.rejections import Rejection
        from openreg_airflow.exception_queue.take_back import take_back

        with ExitStack() as stack:
            source, rows = self._rows_of_report(awaited, awaited.table, rejected, stack)
            local = stack.enter_context(self.workspace.open_local(source))
            new = take_back(
                run=awaited.run,
                rejections=(
                    Rejection(
                        table=table,
                        key=key,
                        row=row,
                        rule=answer.rules or "authority",
                        message=answer.text or "rejected by the authority",
                    )
                    for row, key, answer in keyed(local, self.records[table].naming, rows)
                ),
                records=self.records,
                numbered={table: source.sha256},
                workspace=self.workspace,
                store_url=self.settings.store_url,
            )
        log.info("rejected records are in the exception queue, %d new", new)

    def _rows_of_report(
        self,
        awaited: Awaited,
        written: Dataset,
        rejected: Iterator[RecordAnswer],
        stack: ExitStack,
    ) -> tuple[Dataset, Iterator[tuple[int, RecordAnswer]]]:
        """The table whose rows the queue takes, and which of them were rejected.

        What a correction writes are other rows than those of the report: some have another action,
        and derived cancellations are none of its rows.
        """
        from openreg_airflow.deliver.acknowledgement.rejected import with_origin
        from openreg_airflow.references.guard import submission_of

        submission = submission_of(awaited.run, awaited.artifact)
        source = self._tables().get(str(awaited.artifact.metadata.get("table") or ""))
        records = submission.records if submission is not None else None
        known = records is not None and any(c.name == "origin" for c in records.columns)
        if records is None or source is None or not known:
            return written, ((answer.row, answer) for answer in rejected)
        local = stack.enter_context(self.workspace.open_local(records))
        return source, _reported(with_origin(local, rejected))


def _reported(
    rejected: Iterator[tuple[int | None, RecordAnswer]],
) -> Iterator[tuple[int, RecordAnswer]]:
    """What is said of rows of the report; of derived cancellations only the log tells."""
    for row, answer in rejected:
        if row is not None:
            yield row, answer
            continue
        if not answer.reference:
            # The file was rejected as a whole, of which the task tells.
            continue
        log.error(
            "the cancellation of %s was rejected, and goes out again with the next run of the "
            "date: %s %s",
            answer.reference,
            answer.rules,
            answer.text,
        )


def _refuse_rejected(standings: Sequence[Acknowledgement], *, resubmitted: bool) -> None:
    """Fail for files that the authority rejected as a whole.

    Raises:
        AcknowledgementError: with what it said.
    """
    from openreg_airflow.errors import AcknowledgementError

    refused = [s for s in standings if s.state in ("rejected", "corrupted")]
    if refused:
        said = "; ".join(
            f"{s.filename} is {s.state}: {s.text or 'no reason given'}" for s in refused
        )
        message = f"the authority took nothing of {len(refused)} files: {said}"
        hint = "Correct the report and run the business date again: it is a new version."
        if resubmitted:
            hint = (
                "Its records are pending in the exception queue again, with this reason: amend "
                "them, or release them where they are right; then run openreg resubmit."
            )
        raise AcknowledgementError(message, hint=hint)
