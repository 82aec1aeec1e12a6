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
from openreg_airflow.errors import IntegrityError, MappingError
from openreg_airflow.mapping_records import MappingSnapshot, TypedColumn
from openreg_airflow.transform.runner.lookup import FROM, TO
from openreg_airflow.workspace import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager
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
        fields = [pa.field(one.name, arrow_type(one.type), nullable=False) for one in self.keys]
        fields += [pa.field(one.name, arrow_type(one.type)) for one in self.values]
        return pa.schema([*fields, (FROM, pa.date32()), (TO, pa.date32())])


class SetReader(Protocol):
    """Where sets and entries are read."""

    def state(self, name: str, known_at: datetime) -> SetState:
        """A set as it was known at an instant.

        Raises:
            MappingError: there is no such set, or there was none then.
        """

    def entries(
        self, state: SetState, known_at: datetime
    ) -> AbstractContextManager[Iterable[pa.RecordBatch]]:
        """The entries known at an instant: by key and period, in the columns of the schema."""


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
    earlier: Mapping[str, MappingSnapshot] | None = None,
) -> dict[str, MappingSnapshot]:
    """Snapshots of some sets.

    Args:
        names: the sets.
        known_at: entries that were recorded later are left out.
        reader: where sets and entries are read.
        known: which snapshots have been made.
        workspace: where they are.
        earlier: what the run itself saw before, or the run that it is to repeat: what is still
            there is taken as it is, and what is gone must become the same again.

    Raises:
        MappingError: there is no such set; all that are missing are named.
        IntegrityError: a snapshot that is gone did not become the same again.
        StorageError: a file cannot be written.
    """
    wanted, seen = tuple(names), earlier or {}
    kept = {name: seen[name] for name in wanted if name in seen and _intact(workspace, seen[name])}
    states = _states((name for name in wanted if name not in kept), known_at, reader)
    made = {
        name: _same(state, known_at, known, workspace)
        or _written(state, known_at, reader, workspace)
        for name, state in states.items()
    }
    for name, one in made.items():
        if name in seen and one.sha256 != seen[name].sha256:
            message = (
                f"mapping set {name} as known at {known_at.isoformat()} is not what the run saw: "
                f"version {one.version} instead of {seen[name].version}"
            )
            hint = "Start a new run; `openreg mappings verify` says whether records were changed."
            raise IntegrityError(message, hint=hint)
    return {name: (kept | made)[name] for name in wanted}


def _states(names: Iterable[str], known_at: datetime, reader: SetReader) -> dict[str, SetState]:
    states, missing = {}, []
    for name in names:
        try:
            states[name] = reader.state(name, known_at)
        except MappingError as error:
            missing.append(error)
    if len(missing) > 1:
        message = "; ".join(error.message for error in missing)
        raise MappingError(message, hint=missing[0].hint)
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
        with reader.entries(state, known_at) as batches:
            rows = write(state, batches, file)
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
    """Write entries, which come in one order, so that equal states give equal files.

    Returns:
        The number of entries.
    """
    rows = 0
    with pq.ParquetWriter(file, state.schema, compression="zstd") as writer:
        for batch in batches:
            rows += len(batch)
            writer.write_batch(batch, row_group_size=_GROUP_ROWS)
    return rows


def _publish(file: Path, name: str, workspace: Workspace) -> FileRef:
    import shutil

    with workspace.shared(_FOLDER, name).writing(f"{describe(file).sha256}.parquet") as pending:
        shutil.copyfile(file, pending.path)
    return pending.ref
