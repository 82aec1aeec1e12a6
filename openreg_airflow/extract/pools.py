"""Which Airflow pool bounds the tasks that read one database.

A task whose pool does not exist is never started, so a pool is named only where somebody asked for
it: in the spec, or for all connections by ``[openreg] source_pool_slots``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dag_factory.report import ReportSpec
    from openreg_airflow.extract.spec import SourceSpec

#: Slots of a pool that a spec names and nobody has made, when no number is configured.
USUAL_SLOTS = 4
_PREFIX = "openreg_source_"


@dataclass(frozen=True)
class SourcePool:
    """A pool that reports need.

    Attributes:
        name: its name in Airflow.
        connections: the connections that are read by its tasks.
        reports: the reports whose tasks these are.
    """

    name: str
    connections: tuple[str, ...]
    reports: tuple[str, ...]


def pool_of(source: SourceSpec, slots: int) -> str | None:
    """The pool of a source's task; None for Airflow's default pool.

    Args:
        source: the source's section of the spec.
        slots: ``[openreg] source_pool_slots``.
    """
    if source.pool:
        return source.pool
    conn_id = source.reads_from
    return f"{_PREFIX}{conn_id}" if slots > 0 and conn_id is not None else None


def needed(specs: Iterable[ReportSpec], slots: int) -> list[SourcePool]:
    """The pools that reports need, by name."""
    users: dict[str, tuple[set[str], set[str]]] = {}
    for spec in specs:
        for source in spec.extract.sources.values():
            if name := pool_of(source, slots):
                connections, reports = users.setdefault(name, (set(), set()))
                if source.reads_from is not None:
                    connections.add(source.reads_from)
                reports.add(spec.id)
    return [
        SourcePool(name, tuple(sorted(connections)), tuple(sorted(reports)))
        for name, (connections, reports) in sorted(users.items())
    ]


def slots_of(names: Iterable[str]) -> dict[str, int]:
    """The slots of those pools that exist. Reads Airflow's metadata database: not for tasks."""
    from airflow.models.pool import Pool

    found = {pool.pool: pool.slots for pool in Pool.get_pools()}
    return {name: found[name] for name in names if name in found}


def create(pools: Iterable[SourcePool], slots: int) -> None:
    """Make pools in Airflow's metadata database; not for tasks."""
    from airflow.models.pool import Pool

    for pool in pools:
        description = f"Reads {', '.join(pool.connections)} for OpenReg's reports"
        Pool.create_or_update_pool(pool.name, slots, description, include_deferred=False)
