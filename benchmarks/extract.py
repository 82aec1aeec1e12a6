"""Reading a table of 40 columns: our readers, the providers' hooks, and the database's client.

``python -m benchmarks.extract --rows 1000000`` starts a private PostgreSQL and a private MariaDB
(from the system's packages), fills a table of identifiers, decimals, timestamps, dates, flags and
NULLs, and measures each way in a process of its own, interleaved.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.table import Row, arguments, measure, show
from tests.services import mariadb, postgres

#: Ours takes at most so many times as long as the client, and is so many times faster than get_df.
_MOST_OF_CLIENT = 2.0
_LEAST_OF_HOOK = 5.0
_MOST_MEMORY_MB = 600


def _columns(number: str, words: dict[str, str]) -> str:
    """The 40 columns; ``words`` are what the two databases spell differently."""
    columns = [f"{number} AS id"]
    columns += [f"CAST({number} * {i}.12345 AS decimal(18,5)) AS amount_{i}" for i in range(1, 8)]
    hashed = f"md5(CAST({number} + {{i}} AS {words['text']}))"
    columns += [
        f"concat('529900', upper(substr({hashed.format(i=i)}, 1, 12)), '42') AS lei_{i}"
        for i in range(6)
    ]
    columns += [
        f"concat('DE000', substr({hashed.format(i=i)}, 1, 7)) AS isin_{i}" for i in range(6)
    ]
    columns += [f"{words['instant'].format(n=number, i=i)} AS at_{i}" for i in range(1, 6)]
    columns += [f"{words['day'].format(n=number, i=i)} AS day_{i}" for i in range(5)]
    columns += [f"CAST({number} % {i + 7} AS {words['int']}) AS count_{i}" for i in range(5)]
    columns += [
        f"CASE WHEN {number} % {i + 3} > 0 THEN concat('T', {number} % 50) END AS flag_{i}"
        for i in range(5)
    ]
    return ", ".join(columns)


_POSTGRES = {
    "text": "text",
    "int": "integer",
    "instant": "timestamp '2026-03-02 08:00:00.123456' + {n} * {i} * interval '1 microsecond'",
    "day": "date '2026-03-02' + {n} % 1000",
}
_MARIADB = {
    "text": "char",
    "int": "int",
    "instant": "CAST('2026-03-02 08:00:00.123456' + INTERVAL {n} * {i} MICROSECOND AS datetime(6))",
    "day": "CAST('2026-03-02' + INTERVAL {n} % 1000 DAY AS date)",
}


def _postgres(stack: ExitStack, rows: int) -> dict[str, Any]:
    server = stack.enter_context(postgres.started())
    columns = _columns("g", _POSTGRES)
    server.execute(f"CREATE TABLE trades AS SELECT {columns} FROM generate_series(1, {rows}) AS g")
    server.execute("VACUUM ANALYZE trades")
    return _described("postgres", server)


def _mariadb(stack: ExitStack, rows: int) -> dict[str, Any]:
    server = stack.enter_context(mariadb.started())
    columns = _columns("seq", _MARIADB)
    server.execute(f"CREATE TABLE trades AS SELECT {columns} FROM seq_1_to_{rows}")
    return _described("mysql", server)


def _described(
    conn_type: str, server: postgres.PostgresServer | mariadb.MariadbServer
) -> dict[str, Any]:
    return {
        "conn_type": conn_type,
        "host": server.host,
        "port": server.port,
        "login": server.user,
        "password": server.password,
        "database": server.database,
    }


def _rows(name: str, rows: int, found: dict[str, tuple[float, float]]) -> list[Row]:
    """The table's rows for one database; ratios are of our time."""
    seconds, memory = found["ours"]
    limit, hook = found["client"][0], found["get_df"][0]
    fast = seconds <= _MOST_OF_CLIENT * limit and seconds * _LEAST_OF_HOOK <= hook
    targets = {
        "ours": ("<= 2x client, 5x get_df, 600 MB", fast and memory <= _MOST_MEMORY_MB),
    }
    return [
        Row(
            work=f"{name}, 40 columns",
            way=way,
            seconds=taken,
            rate=rows / taken / 1000,
            unit="k rows/s",
            peak_rss_mb=peak,
            ratio=taken / limit,
            target=targets.get(way, (None, None))[0],
            meets_target=targets.get(way, (None, None))[1],
        )
        for way, (taken, peak) in found.items()
    ]


def main() -> None:
    """Measure, print, and write JSON when asked."""
    given = arguments(__doc__ or "", rows=1_000_000)
    shown: list[Row] = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openreg-bench-")))
        environment = dict(os.environ) | {"AIRFLOW_HOME": str(scratch)}
        for name, start in (("PostgreSQL", _postgres), ("MariaDB", _mariadb)):
            with ExitStack() as server:
                source = scratch / f"{name}.json"
                described = {"connection": start(server, given.rows), "rows": given.rows}
                source.write_text(json.dumps(described))
                commands = {
                    way: ["-m", "benchmarks.extract_ways", way, str(source)]
                    for way in ("client", "ours", "get_df_by_chunks", "get_df")
                }
                found = measure(commands, repeats=given.repeats, environment=environment)
                shown += _rows(name, given.rows, found)
    show(f"Extraction of {given.rows:,} rows; ratio to the client", shown, given.json)


if __name__ == "__main__":
    main()
