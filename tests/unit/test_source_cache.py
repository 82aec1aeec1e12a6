from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from openreg_airflow.errors import (
    SourceError,
    SourceUnavailableError,
    StorageError,
    StoreUnavailableError,
)
from openreg_airflow.extract import cache
from openreg_airflow.extract.cache import SharedResults, Wanted, key_of, remove_files
from openreg_airflow.extract.engine import Extraction
from openreg_airflow.extract.reader import SourceConnection
from openreg_airflow.extract.spec import ExtractSection, SourceSpec
from openreg_airflow.records import RunKey
from openreg_airflow.store.source_cache import SourceCache
from openreg_airflow.workspace import StageFolder, Workspace
from tests.new_store import new_store
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.extract.extracted import Extracted

DAY = date(2026, 3, 2)
SOURCE = {"connection": "trades", "sql": "trades.sql", "cache": {"minutes": 60}}


@dataclass
class Site:
    """A store, a workspace and a SQLite source."""

    folder: Path
    runs: int = 0

    @property
    def index(self) -> SourceCache:
        return SourceCache(f"sqlite:///{self.folder / 'store.db'}")

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "workspace")

    @property
    def connection(self) -> SourceConnection:
        return SourceConnection(
            conn_id="trades", conn_type="sqlite", host=str(self.folder / "source.db")
        )

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.folder / "source.db")) as connection:
            connection.executescript(sql)

    def wanted(self, day: date = DAY, **changes: Any) -> tuple[Wanted, Extraction]:
        spec = SourceSpec.model_validate(SOURCE | changes)
        extraction = Extraction(spec, self.folder, self.connection, day)
        self.runs += 1
        run = RunKey(report_id=f"report_{self.runs}", business_date=day, run_id="manual__1")
        key = key_of(self.connection, extraction.query, spec, day)
        return Wanted(run=run, source="trades", spec=spec, key=key), extraction

    def obtain(self, day: date = DAY, **changes: Any) -> tuple[Extracted, list[Any]]:
        """What one more run gets."""
        wanted, extraction = self.wanted(day, **changes)
        path = self.folder / f"run-{self.runs}.parquet"
        done = SharedResults(self.index, self.workspace).obtain(wanted, extraction, path)
        return done, pq.read_table(path).column("id").to_pylist()

    def cached_files(self) -> list[Path]:
        return sorted((self.folder / "workspace" / "_source_cache").glob("*"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    new_store(tmp_path)
    (tmp_path / "trades.sql").write_text(
        "SELECT id FROM trades WHERE day <= :business_date ORDER BY id"
    )
    found = Site(tmp_path)
    found.execute(
        "CREATE TABLE trades (id INTEGER, day DATE); INSERT INTO trades VALUES (1, '2026-03-01')"
    )
    return found


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return moment

    monkeypatch.setattr(cache, "datetime", Clock)


def test_second_report_gets_what_the_first_read_and_says_so(site: Site) -> None:
    first, rows = site.obtain()
    site.execute("INSERT INTO trades VALUES (2, '2026-03-01')")

    second, again = site.obtain()

    assert rows == again == [1]
    assert first.cache is None
    assert second.cache is not None
    assert (second.cache.report_id, second.cache.run_id) == ("report_1", "manual__1")
    assert second.cache.business_date == DAY
    assert second.cache.read_at >= first.started_at - timedelta(seconds=5)
    assert (second.rows, second.server, second.query.sha256) == (
        1,
        first.server,
        first.query.sha256,
    )
    one, two = (site.folder / f"run-{n}.parquet" for n in (1, 2))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"day": date(2026, 3, 3)},
        {"columns": {"id": "decimal(9,2)"}},
        {"max_rows": 100},
    ],
)
def test_anything_that_decides_about_the_rows_is_read_anew(
    site: Site, changes: dict[str, Any]
) -> None:
    site.obtain()

    done, _ = site.obtain(**changes)

    assert done.cache is None


def test_parameters_and_connections_tell_results_apart(site: Site) -> None:
    (site.folder / "trades.sql").write_text("SELECT id FROM trades WHERE id = :n")

    def key(value: Any, **reached: Any) -> str:
        parameters = {"n": {"type": "string" if isinstance(value, str) else "integer"}}
        parameters["n"]["value"] = value
        wanted, extraction = site.wanted(parameters=parameters)
        connection = replace(site.connection, **reached)
        return key_of(connection, extraction.query, wanted.spec, DAY)

    keys = [
        key(1),
        key(2),
        key("1"),
        key(1, host="elsewhere"),
        key(1, extra={"options": "-c search_path=other"}),
        key(1, login="other"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(1) == keys[0]
    assert key(1, password="rotated") == keys[0]  # noqa: S106


def test_result_that_is_too_old_is_read_anew_and_replaced(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.obtain()
    [old] = site.cached_files()
    set_clock(monkeypatch, datetime.now(UTC) + timedelta(minutes=61))

    done, _ = site.obtain()

    assert done.cache is None
    [new] = site.cached_files()
    assert new != old


def test_result_of_a_time_to_come_is_read_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    set_clock(monkeypatch, now + timedelta(days=1))  # as a worker's that is wrong
    site.obtain()
    site.execute("DELETE FROM trades")

    set_clock(monkeypatch, now)
    done, rows = site.obtain()

    assert done.cache is None
    assert rows == []
    assert "that is to come" in caplog.text
    set_clock(monkeypatch, now - timedelta(seconds=5))
    assert site.obtain()[0].cache is not None


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_file_that_is_not_what_was_recorded_is_never_used(site: Site, harm: str) -> None:
    site.obtain()
    [file] = site.cached_files()
    if harm == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[10] ^= 1
        file.unlink()  # the run's own file is the same one on the disk
        file.write_bytes(content)

    done, rows = site.obtain()

    assert done.cache is None
    assert rows == [1]
    assert site.obtain()[0].cache is not None


class Gate:
    """Holds an extraction until it is opened."""

    def __init__(self, extraction: Extraction) -> None:
        self.query = extraction.query
        self._extraction = extraction
        self.entered, self.open = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def run(self, path: Path) -> Extracted:
        self.entered.set()
        assert self.open.wait(30)
        if self.error is not None:
            raise self.error
        return self._extraction.run(path)


def two_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[Gate, Any, dict[str, Any]]:
    """One run that reads and another that waits for it."""
    monkeypatch.setattr(cache, "_POLL", 0.02)
    wanted, extraction = site.wanted()
    gate: Any = Gate(extraction)
    outcome: dict[str, Any] = {}

    def read() -> None:
        results = SharedResults(site.index, site.workspace)
        try:
            outcome["first"] = results.obtain(wanted, gate, site.folder / "first.parquet")
        except SourceError as error:
            outcome["first"] = error

    threads = [threading.Thread(target=read)]
    threads[0].start()
    assert gate.entered.wait(30)

    def wait() -> None:
        outcome["second"] = site.obtain()[0]

    threads.append(threading.Thread(target=wait))
    threads[1].start()
    return gate, threads, outcome


def test_two_tasks_at_once_read_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, threads, outcome = two_at_once(site, monkeypatch)
    site.execute("INSERT INTO trades VALUES (2, '2026-03-01')")
    gate.open.set()
    for thread in threads:
        thread.join(30)

    assert outcome["first"].cache is None
    assert outcome["second"].cache is not None
    assert outcome["second"].rows == outcome["first"].rows


def test_result_that_is_shared_between_look_and_claim_is_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []
    fresh = site.index.fresh

    def at_first_nothing(*given: Any) -> Any:
        looks.append(given)
        return None if len(looks) == 1 else fresh(*given)

    site.obtain()
    monkeypatch.setattr(site.index, "fresh", at_first_nothing)

    wanted, _ = site.wanted()
    done, _ = site.obtain()

    assert done.cache is not None
    assert site.index.claim(wanted.key, "another", 60)


def test_when_the_one_that_reads_fails_the_other_reads_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, threads, outcome = two_at_once(site, monkeypatch)
    gate.error = SourceError("it broke")
    gate.open.set()
    for thread in threads:
        thread.join(30)

    assert isinstance(outcome["first"], SourceError)
    assert outcome["second"].cache is None


def test_right_to_read_ends_when_its_holder_dies(site: Site) -> None:
    wanted, _ = site.wanted()
    assert site.index.claim(wanted.key, "killed", -1)

    assert site.obtain()[0].cache is None


def test_right_to_read_is_one_readers_until_it_ends(site: Site) -> None:
    index = site.index

    assert index.claim("k", "a", 60)
    assert index.claim("k", "a", 60)
    assert not index.claim("k", "b", 60)
    index.release("k", "b")
    assert not index.claim("k", "b", 60)
    index.release("k", "a")
    assert index.claim("k", "b", 60)


def test_waiting_task_can_be_stopped(site: Site) -> None:
    wanted, extraction = site.wanted()
    assert site.index.claim(wanted.key, "other", 600)
    results = SharedResults(site.index, site.workspace)
    results.cancel()

    with pytest.raises(SourceUnavailableError, match="stopped while it waited"):
        results.obtain(wanted, extraction, site.folder / "x.parquet")


def test_failed_reading_leaves_nothing_in_the_cache(site: Site) -> None:
    with pytest.raises(SourceError):
        site.obtain(columns={"nothing": "date"})

    assert site.cached_files() == []
    assert site.index.results() == ()


def test_cache_that_cannot_be_written_does_not_fail_the_report(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        message = "no space left"
        raise StorageError(message)

    monkeypatch.setattr(StageFolder, "writing", full)

    done, rows = site.obtain()

    assert (done.cache, rows) == (None, [1])
    wait_until(lambda: site.index.claim(site.wanted()[0].key, "next", 1))


def test_result_that_cannot_be_noted_leaves_no_file_and_does_not_fail_the_report(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        message = "the store is restarted"
        raise StoreUnavailableError(message)

    with monkeypatch.context() as broken:
        broken.setattr(SourceCache, "put", gone)
        done, rows = site.obtain()

    assert (done.cache, rows) == (None, [1])
    assert site.cached_files() == []


def test_expired_results_go_with_their_files_when_the_next_is_shared(site: Site) -> None:
    site.obtain()
    [old] = site.index.results()
    past = datetime.now(UTC) - timedelta(days=1)
    wanted, _ = site.wanted()
    site.index.put(wanted.key, old.model_copy(update={"keep_until": past}))

    site.obtain(day=date(2026, 3, 3))

    [left] = site.index.results()
    assert left.origin.business_date == date(2026, 3, 3)
    assert [str(file) for file in site.cached_files()] == [left.file.uri]


def test_dropping_removes_rows_and_files_of_a_connection(site: Site) -> None:
    site.obtain()

    assert site.index.take_out(connection_id="other") == ()
    dropped = site.index.take_out(connection_id="trades")
    remove_files(site.workspace, list(dropped))

    assert site.cached_files() == []
    assert site.obtain()[0].cache is None


@pytest.mark.parametrize(
    ("changes", "snapshot", "said"),
    [
        (
            {"incremental": {"column": "id", "type": "integer", "start": 0}},
            False,
            "incremental source cannot be cached",
        ),
        ({}, True, "snapshot cannot be cached: remove `cache` of trades"),
        ({"cache": {"minutes": 0}}, False, "greater than or equal to 1"),
    ],
)
def test_what_must_be_read_anew_cannot_be_cached(
    changes: dict[str, Any], snapshot: bool, said: str
) -> None:
    given = {"snapshot": snapshot, "sources": {"trades": SOURCE | changes}}

    with pytest.raises(ValidationError, match=said):
        ExtractSection.model_validate(given)


def test_files_are_not_cached() -> None:
    file = {"file": {"path": "f.csv", "format": "csv"}, "cache": {"minutes": 1}}

    with pytest.raises(ValidationError, match="has no `cache`"):
        SourceSpec.model_validate(file)
