from __future__ import annotations

import logging
from datetime import date, datetime, timedelta
from pathlib import Path
from shutil import copyfile
from tempfile import gettempdir
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG

from openreg_airflow.errors import MappingError, SpecError, StorageError, UnmappedError
from openreg_airflow.exception_queue.listing import Wanted, find
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.mapping_records import MappingSnapshot
from openreg_airflow.mappings import writing
from openreg_airflow.mappings.entries import Entries
from openreg_airflow.mappings.operator import FillOperator, SnapshotSetsOperator
from openreg_airflow.mappings.sets import Sets
from openreg_airflow.mappings.spec import MapStep
from openreg_airflow.records import Column, Dataset, RunKey
from openreg_airflow.store import schema
from openreg_airflow.store.mapping_runs import MappingRuns
from openreg_airflow.workspace import Workspace
from tests.mapping_sets import ACTOR, add, make_set, make_venues

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

RUN = RunKey(report_id="positions", business_date=date(2026, 3, 31), run_id="manual__1")
TRADES = pa.table(
    {
        "id": pa.array([1, 2, 3, 4, 5], pa.int64()),
        "venue": ["FRA", "PAR", "QQQ", None, "QQQ"],
        "day": pa.array(
            [date(2025, 6, 1), date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4), None],
            pa.date32(),
        ),
        "price": pa.array(["1.10", "2", "3", "4", "5"]).cast(pa.decimal128(18, 5)),
    }
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("store") / "store.db"
    schema.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> str:
    copyfile(empty_store, tmp_path / "store.db")
    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    return url


@pytest.fixture
def venues(url: str) -> str:
    make_venues(url)
    return url


@pytest.fixture(autouse=True)
def task_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger="openreg_airflow"):
        yield


class InAnHour(datetime):
    """A clock that is an hour ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(hours=1)


def execute(task: Any, run: RunKey = RUN) -> Any:
    # What rendering the templates makes of the macro.
    task.business_date = run.business_date.isoformat()
    return task.execute({"dag_run": SimpleNamespace(run_id=run.run_id)})


def snapshot(
    *sets: str, run: RunKey = RUN, known_at: str = "", tenant: str = ""
) -> dict[str, MappingSnapshot]:
    with DAG(run.report_id):
        task = SnapshotSetsOperator(
            task_id="mappings",
            report_id=run.report_id,
            sets=sets,
            known_at=known_at,
            tenant=tenant,
        )
    found = execute(task, run)
    return {name: MappingSnapshot.model_validate(one) for name, one in found.items()}


def entries(one: MappingSnapshot) -> list[dict[str, Any]]:
    return list(pq.read_table(one.uri).to_pylist())


def of_run(run_id: str, **changes: Any) -> RunKey:
    return RUN.model_copy(update={"run_id": run_id, **changes})


def test_snapshot_holds_the_entries_of_all_dates_and_is_on_record(
    workspace: Workspace, venues: str
) -> None:
    [one] = snapshot("venues").values()

    assert entries(one) == [
        {"code": "FRA", "mic": "XOLD", "effective_from": None, "effective_to": date(2026, 1, 1)},
        {"code": "FRA", "mic": "XFRA", "effective_from": date(2026, 1, 1), "effective_to": None},
        {"code": "PAR", "mic": "XPAR", "effective_from": None, "effective_to": None},
    ]
    assert MappingRuns(venues).snapshots(RUN) == (one,)
    assert (one.version, one.rows, [key.name for key in one.keys]) == (3, 3, ["code"])
    assert one.sha256 in one.uri
    with workspace.open_local(one):
        pass


def test_entry_recorded_by_a_clock_that_is_ahead_is_seen(
    workspace: Workspace, venues: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as ahead:
        ahead.setattr(writing, "datetime", InAnHour)
        add(venues, {"code": "LON"}, {"mic": "XLON"})

    assert {row["code"] for row in entries(snapshot("venues")["venues"])} == {"FRA", "PAR", "LON"}


def test_runs_and_reports_share_a_file_until_an_entry_changes(
    workspace: Workspace, venues: str
) -> None:
    first = snapshot("venues")["venues"]
    written = Path(first.uri).stat().st_mtime_ns

    other = snapshot("venues", run=of_run("manual__2", report_id="other"))["venues"]
    assert other.uri == first.uri
    assert Path(first.uri).stat().st_mtime_ns == written

    add(venues, {"code": "LON"}, {"mic": "XLON"})
    changed = snapshot("venues", run=of_run("manual__3"))["venues"]
    assert (changed.version, changed.rows) == (4, 4)
    assert changed.uri != first.uri
    assert len(entries(first)) == 3
    assert workspace.local is not None


def test_run_keeps_seeing_what_was_known_when_it_began(workspace: Workspace, venues: str) -> None:
    del workspace
    first = snapshot("venues")["venues"]
    add(venues, {"code": "LON"}, {"mic": "XLON"})

    assert snapshot("venues")["venues"] == first


def test_snapshot_that_was_removed_is_written_again_with_the_same_bytes(
    workspace: Workspace, venues: str, caplog: pytest.LogCaptureFixture
) -> None:
    del workspace
    first = snapshot("venues")["venues"]
    add(venues, {"code": "LON"}, {"mic": "XLON"})
    Path(first.uri).unlink()

    assert snapshot("venues")["venues"] == first
    assert len(entries(first)) == 3
    assert "is gone" in caplog.text


def test_snapshot_that_was_changed_is_not_used(workspace: Workspace, venues: str) -> None:
    del workspace, venues
    first = snapshot("venues")["venues"]
    Path(first.uri).write_bytes(b"PAR1" * 100)

    snapshot("venues", run=of_run("manual__2"))

    assert len(entries(first)) == 3


def test_later_run_can_see_what_the_first_run_of_its_date_saw(
    workspace: Workspace, venues: str
) -> None:
    del workspace
    first = snapshot("venues")["venues"]
    [paris] = [one for one in range(1, 4) if _value(venues, one) == "XPAR"]
    Entries(venues, "venues", ACTOR).change(paris, value={"mic": "WRNG"})

    again = snapshot("venues", run=of_run("manual__2028"), known_at="first")["venues"]
    given = snapshot("venues", run=of_run("manual__2"), known_at=first.known_at.isoformat())
    new = snapshot("venues", run=of_run("manual__3"))["venues"]

    assert again == first
    assert given["venues"].sha256 == first.sha256
    assert [one["mic"] for one in entries(new)] == ["XOLD", "XFRA", "WRNG"]


def _value(url: str, entry: int) -> str:
    from sqlalchemy import create_engine, text

    with create_engine(url).connect() as connection:
        query = text("SELECT value FROM openreg_mapping_entry WHERE id = :id")
        return str(connection.execute(query, {"id": entry}).scalar())


def test_renamed_set_is_not_taken_for_the_one_that_had_its_name(
    workspace: Workspace, venues: str
) -> None:
    del workspace
    snapshot("venues")
    Sets(venues, ACTOR).rename("venues", "old_venues")
    make_set(venues)
    for code in ("A", "B", "C"):
        add(venues, {"code": code}, {"mic": "X"})

    fresh = snapshot("venues", run=of_run("manual__2"))["venues"]

    assert [one["code"] for one in entries(fresh)] == ["A", "B", "C"]


def test_sets_that_do_not_exist_are_all_named(workspace: Workspace, venues: str) -> None:
    del workspace
    with pytest.raises(MappingError) as caught:
        snapshot("venus", "venues", "currencies")

    assert "there is no mapping set 'venus'" in caught.value.message
    assert "there is no mapping set 'currencies'" in caught.value.message
    assert MappingRuns(venues).snapshots(RUN) == ()


def test_archived_set_is_read_with_a_warning(
    workspace: Workspace, venues: str, caplog: pytest.LogCaptureFixture
) -> None:
    del workspace
    Sets(venues, ACTOR).archive("venues")

    assert snapshot("venues")["venues"].rows == 3
    assert "mapping set venues was archived at" in caplog.text


@pytest.mark.parametrize(
    ("known_at", "words"),
    [
        ("yesterday", "no date and time"),
        ("2026-03-31T18:00:00", "no time zone"),
        ("9998-12-31T18:00:00+00:00", "yet to come"),
    ],
)
def test_known_at_that_is_no_past_instant_is_refused(
    workspace: Workspace, venues: str, known_at: str, words: str
) -> None:
    del workspace, venues
    with pytest.raises(SpecError, match=words):
        snapshot("venues", known_at=known_at)


def table(workspace: Workspace, content: pa.Table, name: str) -> Dataset:
    with workspace.folder(RUN, "extract", name).writing(f"{name}.parquet") as pending:
        pq.write_table(content, pending.path)
    columns = tuple(Column(name=one.name, type=str(one.type)) for one in content.schema)
    return Dataset(**pending.ref.model_dump(), rows=len(content), columns=columns)


def filled(
    workspace: Workspace,
    content: pa.Table = TRADES,
    run: RunKey = RUN,
    records: dict[str, RecordTable] | None = None,
    **steps: dict[str, Any],
) -> pa.Table:
    given = {
        "trades": table(workspace, content, "trades"),
        "other": table(workspace, TRADES, "other"),
    }
    snapshots = snapshot(*dict.fromkeys(step["set"] for step in steps.values()), run=run)
    with DAG(RUN.report_id):
        task = FillOperator(
            task_id="map",
            report_id=RUN.report_id,
            steps={
                name: MapStep.model_validate({"table": "trades"} | step)
                for name, step in steps.items()
            },
            tables={name: one.model_dump(mode="json") for name, one in given.items()},
            snapshots={name: one.model_dump(mode="json") for name, one in snapshots.items()},
            records=records,
        )
    made = {name: Dataset.model_validate(one) for name, one in execute(task, run).items()}
    assert made["other"] == given["other"]
    with workspace.open_local(made["trades"]) as path:
        content = pq.read_table(path)
    assert [(one.name, one.type) for one in made["trades"].columns] == [
        (one.name, str(one.type)) for one in content.schema
    ]
    return content


STEP: dict[str, Any] = {"set": "venues", "key": ["venue"], "fill": {"venue_mic": "mic"}}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"unmapped": "none"}, ["XFRA", "XPAR", None, None, None]),
        (
            {"unmapped": "default", "default": {"venue_mic": "XXXX"}},
            ["XFRA", "XPAR", "XXXX", None, "XXXX"],
        ),
        ({"unmapped": "original"}, ["XFRA", "XPAR", "QQQ", None, "QQQ"]),
        ({"unmapped": "none", "as_of": "day"}, ["XOLD", "XPAR", None, None, None]),
    ],
)
def test_map_step_fills_a_column_as_its_fallback_says(
    workspace: Workspace, venues: str, step: dict[str, Any], expected: list[str | None]
) -> None:
    made = filled(workspace, venue=STEP | step)

    assert made["venue_mic"].to_pylist() == expected
    assert made.drop_columns("venue_mic") == TRADES
    [use] = MappingRuns(venues).uses(RUN)
    assert (use.place, use.rows) == ("map.venue", 5)
    assert (use.blank, use.unmapped) == ((2, 1) if "as_of" in step else (1, 2))


def test_filled_column_that_is_there_keeps_its_place(workspace: Workspace, venues: str) -> None:
    del venues
    made = filled(workspace, venue=STEP | {"fill": {"venue": "mic"}, "unmapped": "none"})

    assert made.column_names == TRADES.column_names
    assert made["venue"].to_pylist() == ["XFRA", "XPAR", None, None, None]


def test_later_step_uses_what_an_earlier_one_filled(workspace: Workspace, venues: str) -> None:
    make_set(venues, "countries", keys=(("mic", "string"),), values=(("country", "string"),))
    add(venues, {"mic": "XPAR"}, {"country": "FR"}, name="countries")

    made = filled(
        workspace,
        venue=STEP | {"unmapped": "none"},
        country={
            "set": "countries",
            "key": ["venue_mic"],
            "fill": {"country": "country"},
            "unmapped": "none",
        },
    )

    assert made["country"].to_pylist() == [None, "FR", None, None, None]


def test_typed_set_of_two_keys_and_values_fills_two_columns(workspace: Workspace, url: str) -> None:
    make_set(
        url,
        "limits",
        keys=(("venue", "string"), ("number", "integer")),
        values=(("limit", "decimal(10,2)"), ("since", "date")),
    )
    key = {"venue": "FRA", "number": 1}
    add(url, key, {"limit": "12.50", "since": "2026-01-05"}, name="limits")

    made = filled(
        workspace,
        limit={
            "set": "limits",
            "key": ["venue", "id"],
            "fill": {"limit": "limit", "since": "since"},
            "unmapped": "default",
            "default": {"limit": "0.01", "since": date(2000, 1, 1)},
        },
    )

    assert made.schema.field("limit").type == pa.decimal128(10, 2)
    assert [str(value) for value in made["limit"].to_pylist()] == [
        "12.50", "0.01", "0.01", "None", "0.01",
    ]  # fmt: skip
    assert made["since"].to_pylist()[:2] == [date(2026, 1, 5), date(2000, 1, 1)]


def test_unmapped_values_fail_the_task_with_their_counts_and_stay_on_record(
    workspace: Workspace, venues: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UnmappedError) as caught:
        filled(workspace, venue=STEP)

    assert "no entry for 'QQQ' (2 rows), 2 rows in all" in caught.value.message
    assert "openreg mappings unmapped positions" in str(caught.value)
    [use] = MappingRuns(venues).uses(RUN)
    assert [(one.key, one.rows, one.first) for one in use.values] == [
        (("QQQ",), 2, RUN.business_date)
    ]
    assert "map.venue: 5 rows looked up in venues, 1 without a key, 2 unmapped" in caplog.text
    assert not list(Path(str(workspace.root)).rglob("map/*/*.parquet"))


def test_rows_that_are_set_aside_wait_in_the_exception_queue(
    workspace: Workspace, venues: str
) -> None:
    records = {"trades": RecordTable(key=("id",))}
    step = STEP | {"fill": {"venue": "mic"}, "unmapped": "set_aside"}

    made = filled(workspace, records=records, venue=step)

    assert made["id"].to_pylist() == [1, 2, 4]
    assert made["venue"].to_pylist() == ["XFRA", "XPAR", None]
    waiting = list(find(venues, Wanted(report_id=RUN.report_id)))
    assert [(one.values["id"], one.stage, one.origin) for one in waiting] == [
        (3, "map", "mapping"),
        (5, "map", "mapping"),
    ]
    [reason] = waiting[0].reasons
    assert (reason.rule, reason.message) == (
        "map.venue",
        "mapping set venues has no entry for 'QQQ'",
    )
    [use] = MappingRuns(venues).uses(RUN)
    assert (use.unmapped, use.fallback) == (2, "set_aside")

    # The next run finds the value: nothing waits any more.
    add(venues, {"code": "QQQ"}, {"mic": "XQQQ"})
    again = filled(workspace, run=of_run("manual__2"), records=records, venue=step)
    assert again["id"].to_pylist() == [1, 2, 3, 4, 5]
    assert {one.state for one in find(venues, Wanted(report_id=RUN.report_id))} == {"superseded"}


def test_rows_without_a_record_cannot_be_set_aside(workspace: Workspace, venues: str) -> None:
    del venues
    with pytest.raises(SpecError, match="nothing names a record of trades") as caught:
        filled(workspace, venue=STEP | {"unmapped": "set_aside"})
    assert caught.value.where == "map.venue"


def test_failure_lists_the_values_of_all_steps(workspace: Workspace, venues: str) -> None:
    del venues
    again = STEP | {"key": ["other"], "fill": {"x": "mic"}}
    content = TRADES.append_column("other", pa.array(["A", "B", "C", "D", "E"]))

    with pytest.raises(UnmappedError) as caught:
        filled(workspace, content, venue=STEP, other=again)

    assert "map.venue: set venues" in caught.value.message
    assert "'A' (1 row), 'B' (1 row)" in caught.value.message


def test_millions_of_unmapped_values_give_a_bounded_list(workspace: Workspace, url: str) -> None:
    make_set(url)
    count = 300_000
    content = pa.table({"venue": [f"Q{number:07d}" for number in range(count)]})

    with pytest.raises(UnmappedError) as caught:
        filled(workspace, content, venue=STEP)

    assert len(caught.value.message) < 2_000
    assert f"{count:,} rows in all" in caught.value.message
    [use] = MappingRuns(url).uses(RUN)
    assert (use.unmapped, len(use.values)) == (count, 10_000)


def test_same_table_and_set_give_the_same_bytes(workspace: Workspace, venues: str) -> None:
    del venues
    content = pa.concat_tables([TRADES] * 40_000)
    sums = set()
    for _ in range(2):
        made = filled(workspace, content, venue=STEP | {"unmapped": "none"})
        assert made["id"].to_pylist() == content["id"].to_pylist()
        [path] = Path(str(workspace.root)).rglob("map/map/trades.parquet")
        sums.add(path.read_bytes())
    assert len(sums) == 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"key": ["id"]}, "key code is string, but what is looked up is int64"),
        ({"key": ["veneu"]}, "table trades has no column 'veneu'"),
        ({"key": ["venue", "id"]}, "has the keys code, but key names 2 columns"),
        ({"fill": {"x": "bic"}}, "set venues has no value 'bic'"),
        ({"as_of": "venue"}, "holds dates or timestamps, not string"),
        ({"unmapped": "default", "default": {"venue_mic": 5}}, "default 5 of column venue_mic"),
    ],
)
def test_step_that_does_not_fit_names_itself_and_the_fault(
    workspace: Workspace, venues: str, step: dict[str, Any], words: str
) -> None:
    del venues
    with pytest.raises(SpecError, match=words) as caught:
        filled(workspace, venue=STEP | step)
    assert caught.value.where == "map.venue"


def test_table_that_the_run_does_not_have_is_named_with_those_it_has(
    workspace: Workspace, venues: str
) -> None:
    del venues
    with pytest.raises(SpecError, match="fills table 'deals'") as caught:
        filled(workspace, venue=STEP | {"table": "deals"})
    assert caught.value.hint == "Its tables are: trades, other."


def test_full_disk_is_told_as_such(
    workspace: Workspace, venues: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del workspace, venues
    import errno

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("openreg_airflow.mappings.snapshot.write", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        snapshot("venues")
    assert gettempdir() in str(caught.value.hint)
    assert caught.value.stage == "mappings"
