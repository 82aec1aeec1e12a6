"""What the store keeps of the mapping sets of runs, in both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.mapping_records import (
    MappingSnapshot,
    MappingUse,
    TypedColumn,
    UnmappedValue,
)
from openreg_airflow.mappings.snapshot import take
from openreg_airflow.mappings.stored_sets import StoredSets
from openreg_airflow.records import Artifact, ArtifactFile, RunKey
from openreg_airflow.store import schema
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.artifact_history import ArtifactHistory
from openreg_airflow.store.mapping_runs import MOST_KEPT, MappingRuns
from openreg_airflow.workspace import Workspace
from tests.mapping_sets import add, make_venues

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.postgres import PostgresServer

RUN = RunKey(report_id="mifir", business_date=date(2026, 3, 2), run_id="manual__1")
KNOWN_AT = datetime(2026, 3, 3, 6, 0, 0, 123_456, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        server.execute(f"ALTER DATABASE {server.database} SET timezone TO 'Asia/Tokyo'")
        url = server.url
    schema.upgrade(url)
    return url


def snapshot(name: str = "venues", **changes: Any) -> MappingSnapshot:
    fields: dict[str, Any] = {
        "uri": f"/workspace/_mappings/{name}/x.parquet",
        "bytes": 3_000_000_000,
        "sha256": "ab" * 32,
        "name": name,
        "set_id": 7,
        "version": 5_000_000_000,
        "known_at": KNOWN_AT,
        "keys": (TypedColumn(name="code", type="string"),),
        "values": (TypedColumn(name="mic", type="decimal(18,5)"),),
        "rows": 3,
    }
    return MappingSnapshot(**(fields | changes))


def use(place: str = "map.venue", **changes: Any) -> MappingUse:
    fields: dict[str, Any] = {
        "place": place,
        "name": "venues",
        "rows": 9_000_000_000,
        "blank": 1,
        "unmapped": 2,
        "distinct": 1,
        "fallback": "none",
        "values": (UnmappedValue(key=("Ä\x00", "1"), rows=2, first=date(2026, 1, 1)),),
    }
    return MappingUse(**(fields | changes))


def test_snapshots_are_kept_and_replaced_by_a_retry(url: str) -> None:
    runs = MappingRuns(url)
    runs.record_snapshots(RUN, [snapshot(), snapshot("gone")])
    runs.record_snapshots(RUN, [snapshot(version=6)])

    assert runs.snapshots(RUN) == (snapshot(version=6),)
    assert runs.same_state(7, 6) == snapshot(version=6)
    assert runs.same_state(8, 6) is None
    assert runs.same_state(7, 5) is None


def test_first_run_of_a_date_is_the_one_that_knew_least(url: str) -> None:
    runs = MappingRuns(url)
    later = KNOWN_AT + timedelta(days=700)
    runs.record_snapshots(RUN.model_copy(update={"run_id": "2"}), [snapshot(known_at=later)])
    runs.record_snapshots(RUN, [snapshot()])

    assert runs.first_run(RUN.report_id, RUN.business_date) == RUN
    assert runs.first_run("other", RUN.business_date) is None
    assert runs.first_run(RUN.report_id, date(2026, 3, 3)) is None


def test_uses_are_kept_by_place_and_replaced_by_a_retry(url: str) -> None:
    runs = MappingRuns(url)
    runs.record_uses(RUN, [use(values=())], ["map.venue"])
    runs.record_uses(RUN, [use("transform", values=())], ["transform"])
    assert [one.place for one in runs.uses(RUN)] == ["map.venue", "transform"]

    runs.record_uses(RUN, [], ["map.venue"])
    assert [one.place for one in runs.uses(RUN)] == ["transform"]


def test_unmapped_values_come_back_as_they_were_and_are_bounded(url: str) -> None:
    runs = MappingRuns(url)
    plain = UnmappedValue(key=("Ä\u2028", "1"), rows=2, first=date(2026, 1, 1))
    runs.record_uses(RUN, [use(values=(plain,) * (MOST_KEPT + 5))], ["map.venue"])

    [found] = runs.uses(RUN)
    assert found.values == (plain,) * MOST_KEPT


def test_character_that_a_database_cannot_hold_does_not_lose_the_count(url: str) -> None:
    runs = MappingRuns(url)
    runs.record_uses(RUN, [use()], ["map.venue"])

    [found] = runs.uses(RUN)
    assert (found.unmapped, found.values[0].rows) == (2, 2)


def test_newest_run_is_the_one_that_looked_up_last(url: str) -> None:
    runs = MappingRuns(url)
    assert runs.newest_run("mifir") is None
    for run_id, day in (("1", 2), ("2", 3), ("3", 2)):
        run = RUN.model_copy(update={"run_id": run_id, "business_date": date(2026, 3, day)})
        runs.record_uses(run, [use(values=())], ["map.venue"])

    newest, of_third = runs.newest_run("mifir"), runs.newest_run("mifir", date(2026, 3, 3))
    assert newest is not None
    assert newest.run_id == "3"
    assert of_third is not None
    assert of_third.run_id == "2"


def test_snapshot_stays_while_a_young_run_or_one_with_files_needs_it(url: str) -> None:
    runs, history = MappingRuns(url), ArtifactHistory(url)
    uris = {name: f"/workspace/_mappings/{name}/x.parquet" for name in ("venues", "desks", "books")}
    removed: list[str] = []
    sent = RUN.model_copy(update={"run_id": "sent"})
    runs.record_snapshots(RUN, [snapshot("venues"), snapshot("desks")])
    runs.record_snapshots(sent, [snapshot("desks"), snapshot("books")])
    file = ArtifactFile(
        uri="/workspace/out.csv", bytes=1, sha256="0" * 64, filename="out.csv", part=1, records=1
    )
    made = Artifact(name="out", format="csv", records=1, schema_check="", files=(file,))
    history.record_artifact(sent, made)
    future = datetime.now(UTC) + timedelta(days=1)
    actor = Actor.of_command_line()

    assert runs.unused(datetime.now(UTC) - timedelta(days=1)) == ()
    assert [one.uri for one in runs.unused(future)] == [uris["venues"]]
    assert not runs.remove_unused(snapshot("desks"), future, actor, removed.append)
    assert removed == []

    [kept] = history.find()
    history.mark_removed(kept, actor)
    unused = runs.unused(future)
    assert {one.uri for one in unused} == set(uris.values())
    assert all(runs.remove_unused(one, future, actor, removed.append) for one in unused)
    assert sorted(removed) == sorted(uris.values())
    # What the runs saw stays on record.
    assert {one.name for one in runs.snapshots(sent)} == {"desks", "books"}


def test_removed_snapshot_becomes_the_same_again(url: str, tmp_path: Path) -> None:
    make_venues(url)
    runs, workspace, known_at = MappingRuns(url), Workspace(tmp_path), datetime.now(UTC)
    parts: Any = {"reader": StoredSets(url), "known": runs, "workspace": workspace}
    first = take(["venues"], known_at, **parts)
    runs.record_snapshots(RUN, first.values())
    add(url, {"code": "LON"}, {"mic": "XLON"})
    [unused] = runs.unused(datetime.now(UTC) + timedelta(days=1))
    assert workspace.has(unused.uri)
    workspace.remove(unused.uri)
    assert not workspace.has(unused.uri)

    again = take(["venues"], known_at, **parts, earlier={"venues": first["venues"]})

    assert again["venues"] == first["venues"]
    assert workspace.has(unused.uri)


def test_same_revision_gives_the_same_file_in_every_workspace(url: str, tmp_path: Path) -> None:
    make_venues(url)
    known_at = datetime.now(UTC)
    add(url, {"code": "LON"}, {"mic": "XLON"})
    sums = {
        take(
            ["venues"],
            known_at,
            reader=StoredSets(url),
            known=MappingRuns(url),
            workspace=Workspace(tmp_path / name),
        )["venues"].sha256
        for name in ("one", "two")
    }

    assert len(sums) == 1
