"""What the one file in ``dags/`` calls: all reports as Dags, or only the one that is asked for."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from dag_factory.broken import allowed_id, broken_dag
from dag_factory.build import build_dag
from dag_factory.load import FILE_NAME, load, report_folders
from openreg_airflow import settings
from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from airflow.sdk import DAG

    from dag_factory.report import ReportSpec

    Build = Callable[[ReportSpec, Path], DAG]

log = logging.getLogger(__name__)


def load_dags(roots: Iterable[Path] | None = None) -> dict[str, DAG]:
    """The Dags of all report specs, by Dag id; put them into the globals of a Dag file.

    When Airflow parses the file to run one task, only the Dag of that task is built, and its
    folder is found by its name: the cost does not grow with the number of reports. A spec that
    cannot be used gives a Dag that says so and never keeps another one from loading.

    Args:
        roots: folders that hold one folder a report; those of the settings when not given.
    """
    found = settings.load()
    folders = tuple(roots) if roots is not None else found.spec_folders
    build = partial(build_dag, pools=found.pool_slots, sandbox=found.sandbox)
    wanted = get_parsing_context().dag_id
    if wanted is not None:
        for root in folders:
            if (root / wanted / FILE_NAME).is_file():
                return {wanted: _one(root / wanted, build)}
    dags: dict[str, DAG] = {}
    for root in folders:
        for dag in _all(root, dags, build):
            dags[dag.dag_id] = dag
    if wanted is not None:
        return {wanted: dags[wanted]} if wanted in dags else {}
    return dags


def _all(root: Path, loaded: dict[str, DAG], build: Build) -> Iterable[DAG]:
    try:
        folders = list(report_folders(root))
    except OSError as error:
        message = f"the folder of report specs {root} cannot be read: {error.strerror}"
        hint = "See [openreg] spec_folders in Airflow's configuration."
        yield broken_dag(allowed_id(root.name), SpecError(f"{message}\n{hint}"))
        return
    for folder in folders:
        dag = _one(folder, build)
        if dag.dag_id in loaded:
            message = f"there is another report {folder.name!r}; the one in {folder} is not loaded"
            yield broken_dag(f"{dag.dag_id}.duplicate", SpecError(message))
        else:
            yield dag


def _one(folder: Path, build: Build) -> DAG:
    try:
        return build(load(folder), folder)
    except SpecError as error:
        log.warning("%s", error)
        return broken_dag(allowed_id(folder.name), error)
    except Exception as error:  # one report must not hide the others
        log.exception("report %s cannot be built", folder.name)
        return broken_dag(allowed_id(folder.name), error)
