"""Makes the Airflow pools that reports name and nobody has made yet.

A task whose pool is missing never starts. Whenever a scheduler, triggerer or Dag processor starts,
what is missing is made, with the slots that are configured; pools that are there stay as they are.
For reports that came since then there is ``openreg connections pools --create``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dag_factory.report import ReportSpec

log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: Any) -> None:
    """Airflow calls this when one of its components starts; a task is one too."""
    if type(component).__module__ != "airflow.jobs.job":
        return
    try:
        made = create_missing()
    except Exception:
        # Whatever is wrong with a pool or a spec must not keep a scheduler from starting.
        log.exception("the pools of reports could not be made")
        return
    if made:
        log.info("made the pools %s", ", ".join(made))


def create_missing() -> list[str]:
    """Make the pools that are missing, in Airflow's metadata database.

    Returns:
        Their names.
    """
    from openreg_airflow import pools, settings

    found = settings.load()
    needed = pools.needed(_specs(found.spec_folders), found.pool_slots)
    there = pools.slots_of(pool.name for pool in needed)
    missing = [pool for pool in needed if pool.name not in there]
    pools.create(missing, None)
    return [pool.name for pool in missing]


def _specs(roots: Any) -> Iterator[ReportSpec]:
    """The specs that can be read; what is wrong with the others their Dags say."""
    from dag_factory.load import load, report_folders
    from openreg_airflow.errors import SpecError

    for root in roots:
        for folder in report_folders(root) if root.is_dir() else ():
            try:
                yield load(folder)
            except SpecError:
                continue
