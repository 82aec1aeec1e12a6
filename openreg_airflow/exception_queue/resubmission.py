"""A resubmission: amended and released records go out without the source being read again."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import PermanentError, SpecError
from openreg_airflow.exception_queue import claims
from openreg_airflow.exception_queue.aside_rows import AsideRows
from openreg_airflow.exception_queue.parting import Parting
from openreg_airflow.exception_queue.rows import queue_transaction
from openreg_airflow.exception_queue.set_aside import SetAside, hand_on
from openreg_airflow.exception_queue.spec import family
from openreg_airflow.exception_queue.values import ValueRefusedError, decode
from openreg_airflow.records import Column, Dataset, Resubmission

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.exception_queue.item import Item
    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.records import RunKey
    from openreg_airflow.workspace import StageFolder, Workspace

#: The stage under which a resubmission's counts and tables are kept.
STAGE = "resubmit"
_BATCH = 1000

log = logging.getLogger(__name__)


def take(
    run: RunKey, records: Mapping[str, RecordTable], workspace: Workspace, store_url: str
) -> Resubmission | None:
    """Claim what is amended or released and write it as tables.

    A record is claimed by one run at a time. A retry finds the claim of its first try and gives
    the same tables.

    Args:
        run: the resubmission's run.
        records: the report's section ``records``.
        workspace: where the tables go.
        store_url: the product's own database.

    Returns:
        None when nothing is amended or released.

    Raises:
        PermanentError: an amended value no longer fits its column.
        SpecError: the report's records are others than those that were set aside.
    """
    with queue_transaction(store_url, write=True) as connection:
        claim = claims.claim(connection, run, STAGE)
    if claim is None:
        return None
    tables = {name: Dataset.model_validate(t) for name, t in claim.detail["tables"].items()}
    schemas = {
        name: pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
        for name, text in claim.detail["schemas"].items()
    }
    if unknown := sorted(set(records) ^ set(schemas)):
        message = f"the records of the report have changed since they were set aside: {unknown[0]}"
        raise SpecError(message, hint="Run the report for the business date again.")
    folder = workspace.folder(run, STAGE)
    for name, table in records.items():
        if table.key:
            tables |= _write(name, records, schemas, claim.items_of(store_url, name), folder)
    log.info(
        "Resubmission %d of %s: %d records are taken from the exception queue.",
        claim.number,
        run.business_date,
        claim.size,
    )
    sources = {name: Dataset.model_validate(t) for name, t in claim.detail["sources"].items()}
    return Resubmission(number=claim.number, tables=tables, sources=sources)


def go_on(
    *,
    run: RunKey,
    stage: str,
    records: Mapping[str, RecordTable],
    tables: Mapping[str, Dataset],
    reasons: Path,
    workspace: Workspace,
    store_url: str,
) -> SetAside:
    """Return the records that fail again to the queue and go on without them.

    A record that was released is not returned for the rules that it had failed when it was.

    Args:
        run: the resubmission's run.
        stage: the stage that found the reasons.
        records: the report's section ``records``.
        tables: what :func:`take` gave.
        reasons: as for :func:`~openreg_airflow.exception_queue.set_aside.set_aside`.
        workspace: where the tables are, and where those without the rows go.
        store_url: the product's own database.

    Raises:
        PermanentError: a record of the tables is no longer claimed by this run.
    """
    from contextlib import ExitStack

    with ExitStack() as stack:
        local = {
            name: stack.enter_context(workspace.open_local(tables[name])).absolute()
            for name in records
        }
        scratch = stack.enter_context(workspace.scratch_folder()).absolute()
        with queue_transaction(store_url, write=False) as connection:
            waived = claims.released_rules(connection, run, STAGE)
        parting = stack.enter_context(Parting(AsideRows(records, local, reasons, scratch, waived)))
        handed_on = hand_on(parting, records, tables, workspace.folder(run, stage))
        with queue_transaction(store_url, write=True) as connection:
            claims.give_back_failed(connection, run, STAGE, parting.records())
    counts = {name: parting.aside(name) for name in parting.roots if parting.aside(name)}
    for name, rows in counts.items():
        log.info("%d records of %s failed again and are pending.", rows, name)
    return SetAside(tables=handed_on, counts=counts)


def _write(
    root: str,
    records: Mapping[str, RecordTable],
    schemas: Mapping[str, pa.Schema],
    items: Iterator[Item],
    folder: StageFolder,
) -> dict[str, Dataset]:
    """Write the records of a table, and their inner rows, as Parquet files."""
    from contextlib import ExitStack

    names = family(dict(records), root)
    with ExitStack() as stack:
        pending = {name: stack.enter_context(folder.writing(f"{name}.parquet")) for name in names}
        written = dict.fromkeys(names, 0)
        with ExitStack() as files:
            writers = {
                name: files.enter_context(
                    pq.ParquetWriter(pending[name].path, schemas[name], compression="zstd")
                )
                for name in names
            }
            gathered: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
            for item in items:
                for name, row in _rows(item, root, records):
                    gathered[name].append(_decoded(item, name, row, schemas[name]))
                for name, rows in gathered.items():
                    if len(rows) >= _BATCH:
                        written[name] += _flush(writers[name], rows, schemas[name])
            for name, rows in gathered.items():
                written[name] += _flush(writers[name], rows, schemas[name])
    return {
        name: Dataset(
            **pending[name].ref.model_dump(),
            rows=written[name],
            columns=tuple(
                Column(name=f.name, type=str(f.type), nullable=f.nullable) for f in schemas[name]
            ),
        )
        for name in names
    }


def _rows(
    item: Item, root: str, records: Mapping[str, RecordTable]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A record's row and inner rows; where its key was amended, its inner rows follow."""
    row, inner = item.amended()
    yield root, row
    for name in family(dict(records), root)[1:]:
        table = records[name]
        renamed = {
            own: row[above]
            for own, above in table.shared.items()
            if table.parent == root and row[above] != item.values[above]
        }
        for below in inner.get(name, []):
            yield name, below | renamed


def _decoded(item: Item, table: str, row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    found = {}
    for field in schema:
        try:
            found[field.name] = decode(row.get(field.name), field.type)
        except ValueRefusedError as error:
            message = f"column {field.name}: {error}"
            raise PermanentError(
                message, where=f"item {item.id}, table {table}", hint="Amend the item again."
            ) from error
    return found


def _flush(writer: pq.ParquetWriter, rows: list[dict[str, Any]], schema: pa.Schema) -> int:
    if rows:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
    count = len(rows)
    rows.clear()
    return count
