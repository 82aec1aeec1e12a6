"""Snapshots: the entries of a mapping set, as known at one instant, as a Parquet file.

A file is named by its own SHA-256 and shared by all runs and reports that see the same state of
the set; a state that has been written once is not read from the store again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import IntegrityError, SpecError
from openreg_airflow.mapping_records import MappingSnapshot, TypedColumn
from openreg_airflow.transform.runner.lookup import FROM, TO
from openreg_airflow.workspace import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from openreg_airflow.records import FileRef
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)

_GROUP_ROWS = 122_880
_FOLDER = "mappings"


@dataclass(frozen=True)
class SetState:
    """A mapping set as it was known at an instant.

    Attributes:
        name: the set's name.
        set_id: the set, which may be renamed.
        version: its revision: a number that grows with every change of its entries.
        keys: the key columns, in order.
        values: the value columns, in order.
    """

    name: str
    set_id: int
    version: int
    keys: tuple[TypedColumn, ...]
    values: tuple[TypedColumn, ...]

    @property
    def schema(self) -> pa.Schema:
        """The columns of the snapshot's file."""
        typed = [(one.name, arrow_type(one.type)) for one in (*self.keys, *self.values)]
        return pa.schema([*typed, (FROM, pa.date32()), (TO, pa.date32())])


class SetReader(Protocol):
    """Where sets and entries are read."""

    def state(self, name: str, known_at: datetime) -> SetState:
        """A set as it was known at an instant.

        Raises:
            SpecError: there is no such set, or there was none then.
        """

    def entries(self, state: SetState, known_at: datetime) -> Iterator[pa.RecordBatch]:
        """The entries that were known at an instant, in the columns of ``state.schema``."""


class Known(Protocol):
    """Which snapshots have been made."""

    def same_state(self, set_id: int, version: int) -> MappingSnapshot | None:
        """The newest snapshot of a state of a set."""


def take(
    names: Iterable[str],
    known_at: datetime,
    *,
    reader: SetReader,
    known: Known,
    workspace: Workspace,
) -> dict[str, MappingSnapshot]:
    """Snapshots of some sets.

    Args:
        names: the sets.
        known_at: entries that were recorded later are left out.
        reader: where sets and entries are read.
        known: which snapshots have been made.
        workspace: where they are.

    Raises:
        SpecError: there is no such set; all that are missing are named.
        StorageError: a file cannot be written.
    """
    states = _states(names, known_at, reader)
    return {
        name: _same(state, known_at, known, workspace)
        or _written(state, known_at, reader, workspace)
        for name, state in states.items()
    }


def _states(names: Iterable[str], known_at: datetime, reader: SetReader) -> dict[str, SetState]:
    states, missing = {}, []
    for name in names:
        try:
            states[name] = reader.state(name, known_at)
        except SpecError as error:
            missing.append(error)
    if len(missing) > 1:
        message = "; ".join(error.message for error in missing)
        raise SpecError(message, hint=missing[0].hint)
    if missing:
        raise missing[0]
    return states


def _same(
    state: SetState, known_at: datetime, known: Known, workspace: Workspace
) -> MappingSnapshot | None:
    """The file that another run has made of the same state, if it is still as it was."""
    found = known.same_state(state.set_id, state.version)
    if found is None or (found.keys, found.values) != (state.keys, state.values):
        return None
    if not _intact(workspace, found):
        return None
    log.info(
        "mapping set %s: version %d, %s entries, as before", state.name, found.version, found.rows
    )
    return found.model_copy(update={"known_at": known_at, "name": state.name})


def _intact(workspace: Workspace, ref: FileRef) -> bool:
    try:
        with workspace.open_local(ref):
            return True
    except IntegrityError as error:
        log.warning("%s Writing it again.", error.message)
        return False


def _written(
    state: SetState, known_at: datetime, reader: SetReader, workspace: Workspace
) -> MappingSnapshot:
    started = time.monotonic()
    with workspace.scratch_folder() as scratch:
        file = scratch / "entries.parquet"
        rows = write(state, reader.entries(state, known_at), file)
        ref = _publish(file, state.name, workspace)
    log.info(
        "mapping set %s: version %d, %s entries, %s bytes in %.1f s",
        state.name,
        state.version,
        f"{rows:,}",
        f"{ref.bytes:,}",
        time.monotonic() - started,
    )
    return MappingSnapshot(
        **ref.model_dump(),
        name=state.name,
        set_id=state.set_id,
        version=state.version,
        known_at=known_at,
        keys=state.keys,
        values=state.values,
        rows=rows,
    )


def write(state: SetState, batches: Iterable[pa.RecordBatch], file: Path) -> int:
    """Write entries in the order of their keys and periods, so that they always give one file.

    Returns:
        The number of entries.
    """
    schema = state.schema
    table = pa.Table.from_batches(batches, schema)
    order = [(one.name, "ascending") for one in state.keys]
    table = table.sort_by([*order, (FROM, "ascending")])
    pq.write_table(table, file, compression="zstd", row_group_size=_GROUP_ROWS)
    return len(table)


def _publish(file: Path, name: str, workspace: Workspace) -> FileRef:
    import shutil

    with workspace.shared(_FOLDER, name).writing(f"{describe(file).sha256}.parquet") as pending:
        shutil.copyfile(file, pending.path)
    return pending.ref


def missing_message(name: str, known: Sequence[str]) -> tuple[str, str]:
    """What to say of a set that does not exist, and what to do."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, 3, 0.6)
    near = f"Did you mean {' or '.join(close)}? " if close else ""
    hint = f"{near}`openreg mappings list` shows the sets; `openreg mappings import` makes one."
    return f"there is no mapping set {name!r}", hint


def columns_of(columns: Mapping[str, str]) -> tuple[TypedColumn, ...]:
    """Typed columns from their names and types."""
    return tuple(TypedColumn(name=name, type=kind) for name, kind in columns.items())
