"""The tasks that bring artifacts to their destinations and wait for the answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule

from dag_factory.deadline import deadline_of
from dag_factory.grouping import stage_group
from openreg_airflow.deliver.acknowledgement.operator import AcknowledgeOperator
from openreg_airflow.deliver.operator import DeliverOperator
from openreg_airflow.deliver.spec import one_receiver, stand_ins
from openreg_airflow.deliver.windows import RowsOnce
from openreg_airflow.pools import Slots, answer_pool, destination_pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dag_factory.report import ReportSpec
    from openreg_airflow.artifacts.operator import ArtifactOperator
    from openreg_airflow.deliver.spec import RouteRetries, RouteSpec
    from openreg_airflow.validate.finished.operator import CheckArtifactsOperator


def deliver_tasks(
    spec: ReportSpec,
    routes: Mapping[str, RouteSpec],
    artifacts: Mapping[str, ArtifactOperator],
    checked: CheckArtifactsOperator | None,
    pools: Slots,
) -> dict[tuple[str, str], DeliverOperator]:
    """The deliveries by artifact and route."""
    pairs = [
        (name, route)
        for route, wanted in routes.items()
        for name in (wanted.artifacts or artifacts)
    ]
    marks = {
        name: source.incremental.type
        for name, source in spec.extract.sources.items()
        if source.incremental is not None
    }
    tasks: dict[tuple[str, str], DeliverOperator] = {}
    with stage_group("deliver", pairs):
        for name, route in pairs:
            task = tasks[name, route] = DeliverOperator(
                task_id="deliver" if len(pairs) == 1 else f"{name}_to_{route}",
                report_id=spec.id,
                route=route,
                spec=routes[route],
                deadline=deadline_of(spec),
                artifact=artifacts[name].output,
                pool=destination_pool(routes[route], pools),
                trigger_rule=_trigger_rule(routes[route]),
                checked=checked.output if checked is not None else None,
                rows_once=RowsOnce(types=marks, routes=one_receiver(route, routes)),
                **_retries(routes[route].retries),
            )
    for (name, route), task in tasks.items():
        for before in routes[route].after:
            if (name, before) in tasks:
                tasks[name, before] >> task
        primary = tasks.get((name, routes[route].instead_of or ""))
        if primary is not None:
            task.stands_in_for = primary.task_id
            primary >> task
        task.stand_ins = stand_ins(route, routes)
    return tasks


def acknowledge_tasks(
    spec: ReportSpec,
    deliveries: Mapping[tuple[str, str], DeliverOperator],
    tables: Any,
    verdict: Any,
    pools: Slots,
) -> None:
    """The tasks that wait for answers: behind all others, since they may wait for days."""
    awaiting = {pair: task for pair, task in deliveries.items() if task.spec.awaits_acknowledgement}
    if not awaiting:
        return
    dag = next(iter(awaiting.values())).dag
    settled = dag.get_task("settle") if spec.records else None
    with stage_group("acknowledge", awaiting):
        for (name, route), delivery in awaiting.items():
            task = AcknowledgeOperator(
                task_id="acknowledge" if len(awaiting) == 1 else f"{name}_by_{route}",
                report_id=spec.id,
                route=route,
                spec=delivery.spec,
                deadline=deadline_of(spec),
                artifact=delivery.artifact,
                pool=answer_pool(delivery.spec, pools),
                receipts=delivery.output,
                tables=tables,
                verdict=verdict,
                records=spec.records,
            )
            if settled is not None:
                settled >> task
            others = [deliveries[name, r] for r in delivery.stand_ins if (name, r) in deliveries]
            if others:
                # The delivery may fail and the run be well: the task itself looks.
                task.trigger_rule = TriggerRule.ALL_DONE
                task.stand_ins = tuple(other.task_id for other in others)
                others >> task


def _trigger_rule(route: RouteSpec) -> str:
    """When a delivery begins, seen from what comes before it."""
    if route.instead_of is not None:
        # After the other route's failure: the task itself looks how what comes before it ended.
        return "all_done"
    return "none_failed" if route.after else "all_success"


def _retries(retries: RouteRetries) -> dict[str, Any]:
    """What differs from the report's other tasks."""
    given = {
        "retries": retries.count,
        "retry_delay": retries.delay_seconds and timedelta(seconds=retries.delay_seconds),
        "max_retry_delay": retries.max_delay_seconds
        and timedelta(seconds=retries.max_delay_seconds),
    }
    return {name: value for name, value in given.items() if value is not None}
