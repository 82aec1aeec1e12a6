from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from openreg_airflow.errors import IntegrityError, MappingError
from openreg_airflow.mapping_records import MappingSnapshot, TypedColumn
from openreg_airflow.mappings.snapshot import SetState, take
from openreg_airflow.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KNOWN_AT = datetime(2026, 3, 31, 18, tzinfo=UTC)
CODE = TypedColumn(name="code", type="string")
MIC = TypedColumn(name="mic", type="string")


@dataclass
class Sets:
    """Sets in memory: codes by set, and what has been read of them."""

    codes: dict[str, list[str]]
    version: int = 1
    values: tuple[TypedColumn, ...] = (MIC,)
    read: list[str] = field(default_factory=list)
    made: list[MappingSnapshot] = field(default_factory=list)

    def state(self, name: str, known_at: datetime) -> SetState:
        del known_at
        if name not in self.codes:
            message = f"there is no mapping set {name!r}"
            raise MappingError(message, hint="Make it.")
        return SetState(name, len(name), self.version, (CODE,), self.values)

    @contextmanager
    def entries(self, state: SetState, known_at: datetime) -> Iterator[Iterable[pa.RecordBatch]]:
        del known_at
        self.read.append(state.name)
        codes = self.codes[state.name]
        columns = {
            "code": pa.array(codes, pa.string()),
            **{one.name: pa.array(codes, pa.string()) for one in state.values},
            "effective_from": pa.array([None] * len(codes), pa.date32()),
            "effective_to": pa.array([date(2030, 1, 1)] * len(codes), pa.date32()),
        }
        yield [pa.RecordBatch.from_arrays([*columns.values()], schema=state.schema)]

    def same_state(self, set_id: int, version: int) -> MappingSnapshot | None:
        found = [one for one in self.made if (one.set_id, one.version) == (set_id, version)]
        return found[-1] if found else None

    def take(self, workspace: Workspace, *names: str) -> dict[str, MappingSnapshot]:
        found = take(names, KNOWN_AT, reader=self, known=self, workspace=workspace)
        self.made += found.values()
        return found


@pytest.fixture(params=["local", "remote"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    if request.param == "local":
        return Workspace(tmp_path / "root")
    return Workspace(UPath(f"memory://{uuid4()}/root"), scratch=tmp_path / "scratch")


def codes(workspace: Workspace, snapshot: MappingSnapshot) -> list[str]:
    with workspace.open_local(snapshot) as path:
        return list(pq.read_table(path)["code"].to_pylist())


def test_state_is_read_once_and_then_found_in_the_workspace(workspace: Workspace) -> None:
    sets = Sets({"venues": ["A", "B"], "desks": []})

    first, again = sets.take(workspace, "venues", "desks"), sets.take(workspace, "venues", "desks")

    assert again == first
    assert sets.read == ["venues", "desks"]
    assert codes(workspace, first["venues"]) == ["A", "B"]
    assert codes(workspace, first["desks"]) == []
    assert first["venues"].uri.endswith(f"/_mappings/venues/{first['venues'].sha256}.parquet")


def test_new_revision_is_another_file_and_the_old_one_stays(workspace: Workspace) -> None:
    sets = Sets({"venues": ["A"]})
    first = sets.take(workspace, "venues")["venues"]
    sets.codes["venues"], sets.version = ["A", "B"], 2

    second = sets.take(workspace, "venues")["venues"]

    assert codes(workspace, first) == ["A"]
    assert codes(workspace, second) == ["A", "B"]


def test_snapshot_with_other_columns_is_not_used(workspace: Workspace) -> None:
    sets = Sets({"venues": ["A"]})
    sets.take(workspace, "venues")
    sets.values = (MIC, TypedColumn(name="name", type="string"))

    again = sets.take(workspace, "venues")["venues"]

    assert [value.name for value in again.values] == ["mic", "name"]
    assert sets.read == ["venues", "venues"]


def test_run_keeps_what_it_saw_without_asking_again(workspace: Workspace) -> None:
    sets = Sets({"venues": ["A"]})
    seen = sets.take(workspace, "venues")
    sets.codes, sets.version = {}, 2

    again = take(["venues"], KNOWN_AT, reader=sets, known=sets, workspace=workspace, earlier=seen)

    assert again == seen


def test_snapshot_that_is_gone_and_cannot_be_had_again_is_not_replaced(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    sets = Sets({"venues": ["A"]})
    seen = sets.take(workspace, "venues")
    Path(seen["venues"].uri).unlink()
    sets.codes["venues"], sets.version = ["A", "B"], 2

    with pytest.raises(IntegrityError, match="is not what the run saw: version 2 instead of 1"):
        take(["venues"], KNOWN_AT, reader=sets, known=sets, workspace=workspace, earlier=seen)


def test_all_missing_sets_are_named_and_nothing_is_read(workspace: Workspace) -> None:
    sets = Sets({"venues": ["A"]})

    with pytest.raises(MappingError) as caught:
        sets.take(workspace, "desks", "venues", "books")

    assert "'desks'; there is no mapping set 'books'" in caught.value.message
    assert caught.value.hint == "Make it."
    assert sets.read == []
