from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from openreg_airflow.records import Dataset
from openreg_airflow.store import schema
from openreg_airflow.store.source_cache import SourceCache
from openreg_airflow.store_records import CachedResult, CacheOrigin

if TYPE_CHECKING:
    from tests.services.postgres import PostgresServer

NOW = datetime(2026, 3, 2, 20, tzinfo=UTC)


def result(uri: str) -> CachedResult:
    return CachedResult(
        connection="trades",
        query_sha256="0" * 64,
        file=Dataset(uri=uri, bytes=1, sha256="1" * 64, rows=0, columns=()),
        server="a server",
        origin=CacheOrigin(
            report_id="r", business_date=date(2026, 3, 2), run_id="m", source="s", read_at=NOW
        ),
        keep_until=NOW + timedelta(minutes=5),
    )


def test_index_works_the_same_in_postgresql(postgres: PostgresServer) -> None:
    schema.upgrade(postgres.url)
    index = SourceCache(postgres.url)

    assert index.claim("k", "a", 60)
    assert not index.claim("k", "b", 60)
    assert index.put("k", result("one")) is None
    assert index.put("k", result("two")) == result("one")
    assert index.claim("k", "b", 60)
    index.release("k", "b")
    assert index.fresh("k", NOW) == result("two")
    assert index.fresh("k", NOW + timedelta(seconds=1)) is None
    index.forget("k", "one")
    assert index.results() == (result("two"),)
    assert index.take_out(expired_at=NOW) == ()
    assert index.take_out(expired_at=NOW + timedelta(minutes=6)) == (result("two"),)
    assert index.results() == ()


def test_result_that_is_noted_while_others_are_dropped_stays_or_is_told_of(
    postgres: PostgresServer,
) -> None:
    schema.upgrade(postgres.url)
    index, other = SourceCache(postgres.url), SourceCache(postgres.url)
    index.put("old", result("one"))
    index.claim("new", "a", 60)
    noted: list[None] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE"):
            noted.append(other.put("new", result("two")))

    event.listen(index._engine, "before_cursor_execute", note)
    dropped = index.take_out(connection_id="trades")

    assert noted
    left = other.results()
    assert {one.file.uri for one in (*dropped, *left)} == {"one", "two"}
