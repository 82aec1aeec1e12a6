"""Which Airflow pool bounds the tasks that read one database or deliver to one host.

A task whose pool does not exist is never started, so a pool is named only where somebody asked for
it: in the spec, or for all connections by ``[openreg] source_pool_slots`` and
``destination_pool_slots``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dag_factory.report import ReportSpec
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.extract.spec import SourceSpec

#: Slots of a pool that a spec names and nobody has made, when no number is configured.
USUAL_SLOTS = 4
_SOURCE = "openreg_source_"
_DESTINATION = "openreg_destination_"


@dataclass(frozen=True)
class Slots:
    """Slots of the pools that connections are given; 0 gives them none.

    Attributes:
        source: ``[openreg] source_pool_slots``.
        destination: ``[openreg] destination_pool_slots``.
    """

    source: int = 0
    destination: int = 0


@dataclass(frozen=True)
class ReportPool:
    """A pool that reports need.

    Attributes:
        name: its name in Airflow.
        connections: the connections that its tasks use.
        reports: the reports whose tasks these are.
        slots: of the pool, when it has to be made; None when no number is configured.
        at_least: slots that the largest of its tasks takes; with fewer, that task never starts.
    """

    name: str
    connections: tuple[str, ...]
    reports: tuple[str, ...]
    slots: int | None = None
    at_least: int = 1


def source_slots(source: SourceSpec) -> int:
    """The slots of its pool that a source's task takes: one for each session."""
    return (source.partition.parts if source.partition is not None else None) or 1


def source_pool(source: SourceSpec, slots: Slots) -> str | None:
    """The pool of a source's task; None for Airflow's default pool."""
    if source.pool:
        return source.pool
    conn_id = source.reads_from
    return f"{_SOURCE}{conn_id}" if slots.source > 0 and conn_id is not None else None


def destination_pool(route: RouteSpec, slots: Slots) -> str | None:
    """The pool of a route's tasks; None for Airflow's default pool."""
    if route.pool:
        return route.pool
    return f"{_DESTINATION}{route.connection}" if slots.destination > 0 else None


def answer_pool(route: RouteSpec, slots: Slots) -> str | None:
    """The pool of the tasks that look for the answers to a route; None for the default pool.

    An authority that takes few sessions at a time counts those that look, too.
    """
    place = answer_connection(route)
    if place == route.connection:
        return destination_pool(route, slots)
    return f"{_DESTINATION}{place}" if slots.destination > 0 else None


def answer_connection(route: RouteSpec) -> str:
    """The connection over which a route's answers come."""
    answer = route.acknowledgement
    return (answer.connection if answer is not None else None) or route.connection


def needed(specs: Iterable[ReportSpec], slots: Slots) -> list[ReportPool]:
    """The pools that reports need, by name."""
    users: dict[str, tuple[set[str], set[str], int]] = {}
    least: dict[str, int] = {}

    def use(
        name: str | None, connection: str | None, report: str, configured: int, taken: int = 1
    ) -> None:
        if name is not None:
            least[name] = max(least.get(name, 1), taken)
            connections, reports, _ = users.setdefault(name, (set(), set(), configured))
            connections.update({connection} - {None})  # type: ignore[arg-type]
            reports.add(report)

    for spec in specs:
        for source in spec.extract.sources.values():
            pool, taken = source_pool(source, slots), source_slots(source)
            use(pool, source.reads_from, spec.id, slots.source, taken)
        for route in spec.deliver.routes.values() if spec.deliver else ():
            use(destination_pool(route, slots), route.connection, spec.id, slots.destination)
            if route.awaits_acknowledgement:
                place = answer_connection(route)
                use(answer_pool(route, slots), place, spec.id, slots.destination)
    return [
        ReportPool(
            name,
            tuple(sorted(connections)),
            tuple(sorted(reports)),
            configured or None,
            least[name],
        )
        for name, (connections, reports, configured) in sorted(users.items())
    ]


def slots_of(names: Iterable[str]) -> dict[str, int]:
    """The slots of those pools that exist. Reads Airflow's metadata database: not for tasks."""
    from airflow.models.pool import Pool

    found = {pool.pool: pool.slots for pool in Pool.get_pools()}
    return {name: found[name] for name in names if name in found}


def create(pools: Iterable[ReportPool], slots: int | None) -> None:
    """Make pools in Airflow's metadata database; not for tasks.

    Args:
        pools: that are missing.
        slots: of each; what is configured when None.
    """
    from airflow.models.pool import Pool

    for pool in pools:
        wanted = max(slots or pool.slots or USUAL_SLOTS, pool.at_least)
        description = f"Uses {', '.join(pool.connections)} for OpenReg's reports"
        Pool.create_or_update_pool(pool.name, wanted, description, include_deferred=False)
