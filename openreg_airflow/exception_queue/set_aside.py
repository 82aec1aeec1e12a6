"""What a stage calls to set rows aside: the run goes on without them, and they wait for people."""

from __future__ import annotations

import base64
import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openreg_airflow.exception_queue.aside_rows import AsideRows
from openreg_airflow.exception_queue.intake import Intake
from openreg_airflow.exception_queue.parting import Parting
from openreg_airflow.records import Dataset
from openreg_airflow.store import schema
from openreg_airflow.store.engine import connect_engine, parse_url, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.exception_queue.item import Origin
    from openreg_airflow.exception_queue.parting import AsideRecord
    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import RunKey
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """How a stage goes on after it has set rows aside.

    Attributes:
        tables: all tables of the stage, those of records without what was set aside.
        counts: records that were set aside, by table; tables without any are left out.
    """

    tables: dict[str, Dataset]
    counts: dict[str, int] = field(default_factory=dict)


def set_aside(
    *,
    run: RunKey,
    stage: str,
    origin: Origin,
    records: Mapping[str, RecordTable],
    tables: Mapping[str, Dataset],
    reasons: Path,
    workspace: Workspace,
    store_url: str,
    sources: Mapping[str, Dataset] | None = None,
) -> SetAside:
    """Take the records that have a reason out of the tables and put them into the queue.

    Call it at the end of a stage, also when nothing is set aside: the counts of the run, and that
    it no longer sets aside what an earlier run did, are known by this call alone. Repeated with
    the same rows, by a retry or another run, it changes nothing that people have decided.

    The tables must be as the validation will see them: an amended record goes on from there.

    Args:
        run: the run.
        stage: ``validate``, ``map`` and the like; names the folder of the new files too.
        origin: why: ``rule``, ``mapping``.
        records: the report's section ``records``.
        tables: all tables of the run, by name.
        reasons: a file that :class:`~openreg_airflow.exception_queue.reasons.ReasonWriter` wrote.
        workspace: where the tables are, and where those without the rows go.
        store_url: the product's own database.
        sources: extracted tables that rules read beside them; kept for resubmissions.

    Raises:
        SpecError: a table or column of ``records`` is not there.
        PermanentError: a reason names a row that is not there, or an inner row without a record.
        TransientError: a record is being resubmitted just now.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        local = {
            name: stack.enter_context(workspace.open_local(tables[name])).absolute()
            for name in records
            if name in tables
        }
        scratch = stack.enter_context(workspace.scratch_folder()).absolute()
        parting = stack.enter_context(Parting(AsideRows(records, local, reasons, scratch)))
        handed_on = hand_on(parting, records, tables, workspace.folder(run, stage))
        counts = {name: (tables[name].rows, handed_on[name].rows) for name in parting.roots}
        intake = record(
            store_url,
            run,
            stage=stage,
            origin=origin,
            records=parting.watched(),
            counts=counts,
            detail=kept_detail(local, handed_on, sources or {}),
        )
    aside = {name: parting.aside(name) for name in parting.roots if parting.aside(name)}
    if aside:
        listed = ", ".join(f"{rows:,} of {name}" for name, rows in aside.items())
        log.info(
            "Set aside: %s (%d new in the queue, %d there already, %d changed); %.1f s.",
            listed,
            intake.new,
            intake.same,
            intake.changed,
            time.monotonic() - started,
        )
    return SetAside(tables=handed_on, counts=aside)


def record(
    store_url: str,
    run: RunKey,
    *,
    stage: str,
    origin: Origin,
    records: Iterator[AsideRecord],
    counts: Mapping[str, tuple[int, int]],
    detail: dict[str, Any],
) -> Intake:
    """Take records into the queue in one transaction; see :meth:`Intake.take`."""
    engine = connect_engine(parse_url(store_url))
    schema.require(engine)
    with transaction(engine, write=True) as connection:
        intake = Intake(connection, run, stage, origin)
        intake.take(records, counts, detail)
    return intake


def kept_detail(
    local: Mapping[str, Path], tables: Mapping[str, Dataset], sources: Mapping[str, Dataset]
) -> dict[str, Any]:
    """What a resubmission needs of a run: the types of the records, and the other tables."""
    import pyarrow.parquet as pq

    return {
        "schemas": {
            name: base64.b64encode(pq.read_schema(path).serialize()).decode("ascii")
            for name, path in local.items()
        },
        "tables": {name: table.model_dump(mode="json") for name, table in tables.items()},
        "sources": {name: table.model_dump(mode="json") for name, table in sources.items()},
    }


def hand_on(
    parting: Parting,
    records: Mapping[str, RecordTable],
    tables: Mapping[str, Dataset],
    folder: Any,
) -> dict[str, Dataset]:
    """Write the tables without the rows; one of which nothing is set aside stays as it is.

    Args:
        parting: what is set aside.
        records: the report's section ``records``.
        tables: all tables of the run, by name.
        folder: the stage's folder of the workspace.
    """
    handed_on = dict(tables)
    for name in records:
        if not parting.aside(name):
            continue
        with folder.writing(f"{name}.parquet") as pending:
            rows = parting.write(name, pending.path)
        handed_on[name] = Dataset(
            **pending.ref.model_dump(), rows=rows, columns=tables[name].columns
        )
    return handed_on
