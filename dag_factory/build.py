"""One checked spec becomes one Dag: its tasks, and what each of them waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dag_factory import read_back
from dag_factory.deadline import deadline_of
from dag_factory.delivery_tasks import acknowledge_tasks, deliver_tasks
from dag_factory.frame import empty_dag
from dag_factory.grouping import stage_group
from dag_factory.mapping_sets import tenant_of, used_sets
from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.exception_queue.operator import (
    ResubmitOperator,
    SettleOperator,
    skip_in_resubmission,
    skip_without_records,
)
from openreg_airflow.extract.operator import ExtractOperator, MoveMarksOperator, SnapshotOperator
from openreg_airflow.mappings.operator import FillOperator, SnapshotSetsOperator
from openreg_airflow.mappings.spec import steps_of
from openreg_airflow.pools import Slots, source_pool, source_slots
from openreg_airflow.transform.operator import transform_operator
from openreg_airflow.validate.finished.operator import CheckArtifactsOperator
from openreg_airflow.validate.operator import ValidateOperator
from openreg_airflow.validate.phases import needed_sources
from openreg_airflow.validate.spec import ValidateSection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow.sdk import DAG, BaseOperator

    from dag_factory.report import ReportSpec
    from openreg_airflow.deliver.operator import DeliverOperator
    from openreg_airflow.mappings.spec import Phase
    from openreg_airflow.settings import SandboxKind


def build_dag(
    spec: ReportSpec,
    folder: Path,
    *,
    pools: Slots = Slots(),  # noqa: B008 - immutable
    sandbox: SandboxKind = "docker",
) -> DAG:
    """The Dag of a report.

    Args:
        spec: the report's checked spec.
        folder: the report's folder; stages read its SQL, script and layout when they run.
        pools: which pools the tasks of connections are given; by default Airflow's own.
        sandbox: ``[openreg] sandbox``.

    Returns:
        A Dag named like the report, with the tasks extract, transform, validate, artifact and
        deliver. Where a report has several sources, artifacts or deliveries, the stage is a
        group with a task for each.
    """
    with empty_dag(spec) as dag:
        tables: Any = _extract(spec, folder, pools)
        resubmit = _resubmit(spec)
        snapshots = _snapshots(spec)
        before: list[BaseOperator] = []
        extracted = tables
        tables = _mapped(spec, "source", tables, snapshots)
        if spec.transform is not None:
            transform = transform_operator(sandbox)(
                task_id="transform",
                report_id=spec.id,
                folder=folder,
                spec=spec.transform,
                inputs=tables,
                mappings=snapshots,
            )
            tables = transform.output
        tables = _mapped(spec, "transformed", tables, snapshots)
        verdict = None
        rules = spec.validate_ or (ValidateSection() if spec.records else None)
        if rules is not None:
            validate = ValidateOperator(
                task_id="validate",
                report_id=spec.id,
                folder=folder,
                spec=rules,
                tables=tables,
                sources={name: extracted[name] for name in needed_sources(rules)},
                **resubmit,
                mappings=snapshots,
                notify=spec.notify,
                deadline=deadline_of(spec),
            )
            verdict = validate.output
            before.append(validate)
        # With records, the verdict has the tables that are left.
        deliveries: Mapping[tuple[str, str], DeliverOperator] = {}
        artifacts = _artifacts(spec, folder, {} if spec.records else tables, verdict)
        for task in before:
            task >> list(artifacts.values())
        checked = _check_artifacts(
            spec, folder, {} if spec.records else tables, extracted, snapshots, verdict, artifacts
        )
        if spec.deliver is not None:
            deliveries = deliver_tasks(spec, spec.deliver.routes, artifacts, checked, pools)
        if spec.records:
            last = _last(dag)
            reporting = {task.task_id for task in (*last, *deliveries.values())}
            last >> SettleOperator(
                task_id="settle",
                report_id=spec.id,
                one_of=sorted(reporting),
                trigger_rule="none_failed",
            )
        if spec.extract.incremental:
            _last(dag) >> MoveMarksOperator(
                task_id="move_marks",
                report_id=spec.id,
                pre_execute=skip_in_resubmission,
                # A route that is not taken skips its task.
                trigger_rule="none_failed",
            )
        acknowledge_tasks(spec, deliveries, {} if spec.records else tables, verdict, pools)
    return dag


def _last(dag: DAG) -> list[Any]:
    """The tasks after which there is none."""
    return [task for task in dag.tasks if not task.downstream_task_ids]


def _resubmit(spec: ReportSpec) -> dict[str, Any]:
    """What the validation of a report with records is given beside its tables.

    In a resubmission the tasks before it are skipped, and it has its tables from another one.
    """
    if not spec.records:
        return {}
    taken = ResubmitOperator(task_id="resubmit", report_id=spec.id, records=spec.records)
    return {
        "records": spec.records,
        "resubmission": taken.output,
        "trigger_rule": "none_failed_min_one_success",
        "pre_execute": skip_without_records,
    }


def _snapshots(spec: ReportSpec) -> Any:
    """The snapshots of the report's mapping sets, which need no source; None when it has none."""
    sets = used_sets(spec)
    if not sets:
        return None
    return SnapshotSetsOperator(
        task_id="mappings", report_id=spec.id, sets=sets, tenant=tenant_of(spec)
    ).output


def _mapped(spec: ReportSpec, phase: Phase, tables: Any, snapshots: Any) -> Any:
    """The tables after the map steps of a phase; the same ones when there are none."""
    steps = dict(steps_of(spec.map_, phase))
    if not steps:
        return tables
    return FillOperator(
        task_id="map" if phase == "transformed" else "map_sources",
        report_id=spec.id,
        steps=steps,
        tables=tables,
        snapshots=snapshots,
        records=spec.records if phase == "transformed" else None,
    ).output


def _extract(spec: ReportSpec, folder: Path, pools: Slots) -> dict[str, Any]:
    groups = spec.extract.groups()
    tables: dict[str, Any] = {}
    with stage_group("extract", groups):
        for task_id, sources in groups.items():
            name, source = next(iter(sources.items()))
            shared: dict[str, Any] = {
                "task_id": "extract" if len(groups) == 1 else task_id,
                "report_id": spec.id,
                "folder": folder,
                "pool": source_pool(source, pools),
                "pool_slots": source_slots(source) if source_pool(source, pools) else 1,
                "pre_execute": skip_in_resubmission,
            }
            if len(sources) == 1:
                tables[name] = ExtractOperator(source=name, spec=source, **shared).output
                continue
            together: Any = SnapshotOperator(sources=sources, **shared).output
            tables.update({name: together[name] for name in sources})
    return {name: tables[name] for name in spec.extract.sources}


def _artifacts(
    spec: ReportSpec, folder: Path, tables: Any, verdict: Any
) -> dict[str, ArtifactOperator]:
    with stage_group("artifact", spec.artifacts):
        return {
            name: ArtifactOperator(
                task_id="artifact" if len(spec.artifacts) == 1 else name,
                report_id=spec.id,
                folder=folder,
                artifact=name,
                spec=artifact,
                tables=tables,
                verdict=verdict,
                routes=_routes(spec, name),
            )
            for name, artifact in spec.artifacts.items()
        }


def _check_artifacts(  # noqa: PLR0917 - what the run has so far
    spec: ReportSpec,
    folder: Path,
    tables: Any,
    extracted: Any,
    snapshots: Any,
    verdict: Any,
    artifacts: Mapping[str, ArtifactOperator],
) -> CheckArtifactsOperator | None:
    """The task that holds finished files against rules; None when no rule speaks of them."""
    forms = read_back.forms(spec)
    if not forms or spec.validate_ is None:
        return None
    return CheckArtifactsOperator(
        task_id="check",
        report_id=spec.id,
        folder=folder,
        spec=spec.validate_,
        forms=forms,
        artifacts={name: artifacts[name].output for name in forms},
        tables=tables,
        sources={name: extracted[name] for name in spec.validate_.sources},
        mappings=snapshots,
        verdict=verdict,
        notify=spec.notify,
        deadline=deadline_of(spec),
        # In a resubmission the tasks of the sources are skipped.
        trigger_rule="none_failed_min_one_success" if spec.records else "all_success",
    )


def _routes(spec: ReportSpec, artifact: str) -> dict[str, dict[str, Any]]:
    """What the artifact has to know of its routes: for retention, and how answers name rows."""
    about = spec.artifacts[artifact].references
    routes = spec.deliver.routes if spec.deliver is not None else {}
    return {
        name: {
            "when": route.when,
            "instead_of": route.instead_of,
            "acknowledged": bool(getattr(route, "awaits_acknowledgement", False)),
            "names": list(route.acknowledgement.named_by(about)) if route.acknowledgement else [],
        }
        for name, route in routes.items()
        if route.artifacts is None or artifact in route.artifacts
    }
