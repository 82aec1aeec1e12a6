"""Labels on what a task makes in the engine, and the removal of what killed tasks left there.

A killed task's container ends by itself, because its line to the task breaks; what is reaped here
is its remains.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient

    from openreg_airflow.transform.job import Job

log = logging.getLogger(__name__)

_PREFIX = "org.openreg.sandbox"
#: Tells our containers and volumes from all others.
OURS = f"{_PREFIX}.run"
TASK = f"{_PREFIX}.task"
EXPIRES = f"{_PREFIX}.expires"
#: Seconds that handing over inputs and cleaning up may take beside a script's own time.
_GRACE = 900


def labels(job: Job) -> dict[str, str]:
    """The labels for a container or volume of a job."""
    return {
        OURS: job.run.run_id,
        f"{_PREFIX}.report": job.run.report_id,
        f"{_PREFIX}.business_date": job.run.business_date.isoformat(),
        TASK: job.key,
        EXPIRES: str(int(time.time()) + job.spec.limits.seconds + _GRACE),
    }


def reap(client: APIClient, job: Job) -> None:
    """Remove what earlier attempts of the same task left, and whatever has outlived its time."""
    from docker.errors import APIError

    for found in client.containers(all=True, filters={"label": OURS}):
        if _is_left_over(found.get("Labels") or {}, job.key):
            log.warning("removing container %s that a killed task left", found["Id"][:12])
            try:
                client.remove_container(found["Id"], force=True, v=True)
            except APIError as error:
                log.debug("somebody else removes it: %s", error)
    for volume in client.volumes(filters={"label": OURS}).get("Volumes") or ():
        if _is_left_over(volume.get("Labels") or {}, job.key):
            log.warning("removing volume %s that a killed task left", volume["Name"])
            try:
                client.remove_volume(volume["Name"], force=True)
            except APIError as error:
                log.debug("it is still in use, or gone: %s", error)


def _is_left_over(found: dict[str, str], key: str) -> bool:
    expires = found.get(EXPIRES, "")
    expired = expires.isdigit() and int(expires) < time.time()
    return expired or found.get(TASK) == key
