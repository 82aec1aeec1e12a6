"""The exception queue's tasks in a report's Dag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.exception_queue.operator_names import RESUBMIT
from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import RunKey


class ResubmitOperator(StageOperator):
    """Claims what people amended or released, instead of reading the source.

    It is skipped in a run that reads the source, and in a resubmission without any records.

    Args:
        report_id: the report.
        records: its tables of records.

    Returns (to XCom):
        The dumped :class:`~openreg_airflow.records.Resubmission`.
    """

    stage: ClassVar[str] = "resubmit"
    ui_color = "#f6e3c5"

    def __init__(self, *, records: Mapping[str, RecordTable], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.records = dict(records)

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Claim and write them; see :func:`openreg_airflow.exception_queue.resubmission.take`."""
        from airflow.sdk.exceptions import AirflowSkipException

        if not is_resubmission(context):
            message = "This run reads the source."
            raise AirflowSkipException(message)
        from openreg_airflow.exception_queue.resubmission import take

        taken = take(run, self.records, self.workspace, self.settings.store_url)
        if taken is None:
            message = f"No record of {run.business_date} is amended or released."
            raise AirflowSkipException(message)
        return taken.model_dump(mode="json")


class SettleOperator(StageOperator):
    """Notes at the end of a run that what it handed on has been reported.

    It is skipped where none of some tasks succeeded. Airflow's trigger rules see only the tasks
    right before: a route that stands in for one that delivered is skipped, and hides it.

    Args:
        report_id: the report.
        one_of: ids of tasks of which one must have succeeded.

    Returns (to XCom):
        The counts of the business date by table of records, as dumped
        :class:`~openreg_airflow.exception_queue.balance.Balance`.
    """

    stage: ClassVar[str] = "settle"
    ui_color = "#f6e3c5"

    def __init__(self, *, one_of: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.one_of = tuple(one_of)

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """See :func:`openreg_airflow.exception_queue.claims.settle`."""
        if self.one_of:
            self._skip_without_delivery(context)
        from openreg_airflow.exception_queue import claims
        from openreg_airflow.exception_queue.balance import balances

        claims.settle(self.settings.store_url, run)
        found = balances(self.settings.store_url, run.report_id, run.business_date)
        for balance in found:
            self.log.info("%s", balance.line())
        return {balance.table: balance.model_dump(mode="json") for balance in found}

    def _skip_without_delivery(self, context: Context) -> None:
        from airflow.sdk.exceptions import AirflowSkipException

        run = context["dag_run"].run_id
        states = context["ti"].get_task_states(
            dag_id=self.dag_id, task_ids=list(self.one_of), run_ids=[run]
        )
        if "success" not in {str(state) for state in states.get(run, {}).values()}:
            message = "Nothing was reported by this run."
            raise AirflowSkipException(message)


def is_resubmission(context: Context) -> bool:
    """Whether a task's run takes its records from the queue."""
    return bool(context.get("params", {}).get(RESUBMIT))


def skip_in_resubmission(context: Context) -> None:
    """Hook of tasks that speak with the source: a resubmission does without them."""
    from airflow.sdk.exceptions import AirflowSkipException

    if is_resubmission(context):
        message = "A resubmission takes its records from the exception queue."
        raise AirflowSkipException(message)


def skip_without_records(context: Context) -> None:
    """Hook of the validation: a resubmission for which nothing is amended ends here."""
    from airflow.sdk.exceptions import AirflowSkipException

    task: Any = context["task"]
    if is_resubmission(context) and not task.resubmission:
        message = "There is nothing to resubmit."
        raise AirflowSkipException(message)
