"""Has an artifact send only what differs from what the authority has."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.writer import relations, writer
from openreg_airflow.errors import ArtifactError
from openreg_airflow.exception_queue.left_out import left_out
from openreg_airflow.records import Column, Dataset
from openreg_airflow.references.content import Inner, Records
from openreg_airflow.references.guard import scope_of, told
from openreg_airflow.references.rows import STAGED, write_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from openreg_airflow.artifacts.order import Order
    from openreg_airflow.records import FileRef
    from openreg_airflow.references.spec import ReferencesSpec
    from openreg_airflow.store.references import References, Submission

log = logging.getLogger(__name__)


def corrected(order: Order, store: References) -> Order:
    """The order of what has to be sent, with a hash of what the authority is to have as target.

    The same tables again give the rows that were sent for them, so that a repeated run is known as
    such; unless the authority rejected some since, of this version or one before: these are
    reported anew, but not by a resubmission, nor where a resubmission has mended them.

    Args:
        order: an artifact with corrections that are derived.
        store: what was reported.

    Raises:
        ArtifactError: another version is on its way, or what differs cannot be sent.
    """
    spec = order.spec.references
    table = order.tables.get(order.spec.table)
    if spec is None or table is None:
        return order
    target = _with_left_out(_target(order, table), order, spec, store)
    scope = scope_of(spec, order.run.report_id)
    key = (scope, order.run.report_id, order.run.business_date, order.name)
    before = store.submissions(*key)
    alike = [one for one in before if one.resubmission == order.resubmission]
    same = alike[-1] if alike and alike[-1].target == target else None
    again = None
    if same is not None and same.records is not None:
        again = _again(order, same, same.records, target, before)
        # What a resubmission sent and was rejected is in the queue again: another one sends it.
        if order.resubmission:
            return again
        if not store.rejected([same.id]):
            # A record of an older version, which this one left alone, may have been rejected late.
            late = same.state == "delivered" and store.rejected([one.id for one in before])
            if not late:
                return again
            tables, records = _derived(order, spec, store, before)
            return _order(order, tables, records, target, before) if records.rows else again
    if table.rows == 0 and order.spec.when_empty == "fail":
        # An empty source is not a reason to cancel everything.
        return order
    if open_ := [one for one in before if one.state == "sending"]:
        message = f"version {open_[-1].version} of run {open_[-1].run_id} is not delivered yet"
        hint = "Clear the delivery of that run; then clear this task."
        raise ArtifactError(message, where=f"artifact {order.name}", hint=hint)
    tables, records = _derived(order, spec, store, before)
    own = same is not None and same.run_id == order.run.run_id
    if again is not None and own and not records.rows:
        # All that was rejected is reported otherwise, and the run keeps the files that it sent.
        return again
    return _order(order, tables, records, target, before)


def _with_left_out(target: str, order: Order, spec: ReferencesSpec, store: References) -> str:
    """The hash of what the authority is to have, where records wait in the exception queue."""
    digest, waiting = hashlib.sha256(target.encode()), False
    for batch in _left_out(order, spec, store):
        for reference in batch:
            digest.update(f"\n{reference}".encode())
            waiting = True
    return digest.hexdigest() if waiting else target


def _left_out(order: Order, spec: ReferencesSpec, store: References) -> Iterator[list[str]]:
    """The references of records that are in the exception queue and not in the tables."""
    if order.resubmission:
        return iter(())
    return left_out(store.url, order.run, order.spec.table, spec.column)


def _again(
    order: Order,
    same: Submission,
    records: Dataset,
    target: str,
    before: tuple[Submission, ...],
) -> Order:
    """The order of a submission that was made of the same tables."""
    log.info("version %d was made of the same tables", same.version)
    tables = {**same.inner_tables, order.spec.table: same.written}
    return _order(order, tables, records, target, before[: before.index(same)])


def told_of(
    order: Order, spec: ReferencesSpec, local: Mapping[str, Path], scratch: Path
) -> dict[str, Any]:
    """What an artifact's metadata tells of its references; its records are written for that.

    Args:
        order: the artifact, with the tables that are written.
        spec: its section.
        local: their files.
        scratch: a folder for what does not fit into memory.

    Raises:
        ArtifactError: a row has no reference or another word for its action, or an inner row
            belongs to no record.
    """
    records, table = order.records, order.tables[order.spec.table]
    inner = [relation.table for relation in _relations(order)]
    if records is None:
        folder = order.workspace.folder(order.run, "references", order.name)
        with folder.writing("records.parquet") as pending:
            rows = write_records(_record_tables(order, local), spec, pending.path, scratch)
        records = _staged(pending.ref, rows)
    return told(
        spec,
        written=table,
        inner={name: order.tables[name] for name in inner},
        records=records,
        target=order.target or _target(order, table),
        resubmission=order.resubmission,
    )


def _relations(order: Order) -> tuple[Any, ...]:
    return relations(writer(order.format), order.spec, order.folder)


def _record_tables(order: Order, local: Mapping[str, Path]) -> Records:
    return Records(
        name=order.spec.table,
        path=local[order.spec.table],
        inner=tuple(
            Inner(table=one.table, parent=one.parent, on=one.on, path=local[one.table])
            for one in _relations(order)
        ),
    )


def _target(order: Order, table: Dataset) -> str:
    """The hash of all that a file is made of: the same again is no other version."""
    names = writer(order.format).tables(order.spec, order.folder) | {order.spec.table}
    if len(names) == 1:
        return table.sha256
    found = {name: order.tables[name].sha256 for name in sorted(names & set(order.tables))}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _order(
    order: Order,
    tables: Mapping[str, Dataset],
    records: Dataset,
    target: str,
    before: tuple[Submission, ...],
) -> Order:
    return replace(
        order,
        tables={**order.tables, **tables},
        records=records,
        target=target,
        after=before[-1].content if before else "",
    )


def _derived(
    order: Order, spec: ReferencesSpec, store: References, before: tuple[Submission, ...]
) -> tuple[dict[str, Dataset], Dataset]:
    """The tables that are sent, and their records."""
    from openreg_airflow.references.correction import Files, derive

    wanted = {order.spec.table, *(relation.table for relation in _relations(order))}
    if missing := sorted(wanted - set(order.tables)):
        message = f"there is no table {missing[0]}"
        raise ArtifactError(message, where=f"artifact {order.name}")
    with ExitStack() as stack:
        scratch = stack.enter_context(order.workspace.scratch_folder())
        local = {
            name: stack.enter_context(order.workspace.open_local(order.tables[name]))
            for name in sorted(wanted)
        }
        written = {
            one.id: stack.enter_context(order.workspace.open_local(one.written)) for one in before
        }
        own = {one.id: one.resubmission for one in before}
        target = _record_tables(order, local)
        here = scratch / "target.parquet"
        write_records(target, spec, here, scratch)
        made_in = scratch / "made"
        made_in.mkdir()
        files = {name: made_in / f"{name}.parquet" for name in ["the records", *sorted(wanted)]}
        made = derive(
            target,
            spec,
            held=partial(store.held, scope_of(spec, order.run.report_id), own),
            own=own,
            written=written,
            resubmission=bool(order.resubmission),
            left_out=_left_out(order, spec, store),
            out=Files(
                rows=files[order.spec.table],
                records=files["the records"],
                inner={one.table: files[one.table] for one in target.inner},
            ),
            scratch=scratch,
        )
        kept = {name: _kept(order, path) for name, path in files.items()}
    log.info(
        "correction of %s: %d cancellations, %d reports, %d rows as they stand",
        order.name,
        made.cancellations,
        made.reports,
        made.unchanged,
    )
    rows = {**made.inner, order.spec.table: made.cancellations + made.reports}
    tables = {
        name: Dataset(
            **kept[name].model_dump(), rows=rows[name], columns=order.tables[name].columns
        )
        for name in wanted
    }
    return tables, _staged(kept["the records"], rows[order.spec.table])


def _kept(order: Order, made: Path) -> FileRef:
    """A file of a correction, named by its content: what the run sent before needs its own files.

    Later corrections are derived from them, also when this task is cleared after other versions.
    """
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = order.workspace.folder(order.run, "correction", order.name)
    with folder.writing(f"{made.stem}_{digest[:16]}.parquet") as pending:
        shutil.copyfile(made, pending.path)
    return pending.ref


def _staged(ref: FileRef, rows: int) -> Dataset:
    columns = tuple(Column(name=field.name, type=str(field.type)) for field in STAGED)
    return Dataset(**ref.model_dump(), rows=rows, columns=columns)
