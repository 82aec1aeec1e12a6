"""PostgreSQL read through PgBouncer, which hands one session to one transaction after the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.errors import SourceUnavailableError
from tests.reader_databases import LOGIN, PASSWORD, Source, drop_postgres_login, postgres_source
from tests.services.pgbouncer import pooling
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.postgres import PostgresServer

ZONE = (
    "SELECT current_setting('TimeZone') AS zone, current_setting('statement_timeout') AS limit_, "
    "pg_backend_pid() AS session"
)


@pytest.fixture
def source(postgres: PostgresServer, tmp_path: Path) -> Iterator[Source]:
    """A database behind a pool of one session."""
    found = postgres_source(postgres, tmp_path)
    with pooling(postgres, f"{LOGIN}_{postgres.database}", PASSWORD, sessions=1) as port:
        yield found.reached(port=port)
    drop_postgres_login(postgres)


def test_many_readers_share_one_session_and_leave_nothing_in_it(
    source: Source, tmp_path: Path
) -> None:
    source.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) AS n")

    def read(number: int) -> int:
        folder = tmp_path / str(number)
        folder.mkdir()
        table = replace(source.database, folder=folder).extract(
            "SELECT n, pg_backend_pid() AS session FROM t WHERE n <= :most ORDER BY n",
            parameters={"most": {"type": "integer", "value": number}},
        )
        assert table["n"].to_pylist() == list(range(1, number + 1))
        return int(table["session"][0].as_py())

    with ThreadPoolExecutor(4) as pool:
        sessions = set(pool.map(read, range(1, 9)))
    assert len(sessions) == 1

    [inside] = source.database.extract(ZONE, timeout_seconds=77).to_pylist()
    [later] = source.database.extract(ZONE, timeout_seconds=88).to_pylist()
    assert (inside["zone"], inside["limit_"]) == ("UTC", "77s")
    assert (later["limit_"], later["session"]) == ("88s", inside["session"])


def test_query_behind_the_pool_is_gone_from_the_server_when_its_time_is_up(source: Source) -> None:
    with pytest.raises(SourceUnavailableError, match=r"1 seconds|timeout"):
        source.database.extract(source.spelling.sleep, timeout_seconds=1)

    wait_until(lambda: source.active() == 0)
    assert source.database.extract("SELECT 1 AS a").num_rows == 1
