"""Reading a table of 40 columns: our readers, the providers' hooks, and the database's client.

``python -m benchmarks.extract --rows 1000000`` starts a private PostgreSQL and a private MariaDB
(from the system's packages), fills a table of identifiers, decimals, timestamps, dates, flags and
NULLs, and measures each way in a process of its own, interleaved; the hooks once, since they take
minutes. ODBC reads the same tables. Memory is the sum over a way's process and all that it starts.

``ours`` is one query, ``ours in parts`` as many at a time as there are processors.

``--rows 5000000 --only ours`` shows in a few minutes that our memory stays; hooks, which would need
some 20 GB, are left out above a million rows in any case.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.extract_ways import WAYS
from benchmarks.table import Row, arguments, measure, show
from tests.services import mariadb, postgres

#: Ours takes at most so many times as long as the client, and is so many times faster than get_df.
_MOST_OF_CLIENT = 2.0
_LEAST_OF_HOOK = 5.0
_LEAST_OF_ODBC_HOOK = 3.0
_MOST_MEMORY_MB = 600
#: Above this, a hook's DataFrame does not fit on usual machines.
_MOST_HOOK_ROWS = 1_000_000
_HOOKS = ("get_df", "get_df_by_chunks")
_ODBC_HOOKS: dict[str, tuple[str, ...]] = {
    "PostgreSQL by ODBC": _HOOKS,
    "MariaDB by ODBC": ("get_df",),
}
_ODBC = {"PostgreSQL": "PostgreSQL Unicode", "MariaDB": "MariaDB Unicode"}


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
    server.execute("ALTER TABLE trades ADD PRIMARY KEY (id)")
    server.execute("VACUUM ANALYZE trades")
    return _described("postgres", server)


def _mariadb(stack: ExitStack, rows: int) -> dict[str, Any]:
    server = stack.enter_context(mariadb.started())
    columns = _columns("seq", _MARIADB)
    select = f"SELECT {columns} FROM seq_1_to_{rows}"
    server.execute(f"CREATE TABLE trades (PRIMARY KEY (id)) AS {select}")
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


def _through_odbc(described: dict[str, Any], driver: str) -> dict[str, Any]:
    """The same database through its ODBC driver."""
    return described | {"conn_type": "odbc", "extra": {"driver": driver}}


def _judged(found: dict[str, tuple[float, float]], *, odbc: bool) -> tuple[str | None, bool | None]:
    """What is asked of our way beside the ways that were measured, and whether it is met."""
    if "ours" not in found:
        return None, None
    seconds, memory = found["ours"]
    wanted, met = [f"{_MOST_MEMORY_MB} MB"], memory <= _MOST_MEMORY_MB
    if "client" in found:
        wanted.append(f"<= {_MOST_OF_CLIENT:g}x client")
        met = met and seconds <= _MOST_OF_CLIENT * found["client"][0]
    if "get_df" in found:
        times = _LEAST_OF_ODBC_HOOK if odbc else _LEAST_OF_HOOK
        wanted.append(f"{times:g}x get_df")
        met = met and seconds * times <= found["get_df"][0]
    return ", ".join(wanted), met


def _rows(name: str, rows: int, found: dict[str, tuple[float, float]]) -> list[Row]:
    """The table's rows for one database; ratios are to the client, of ODBC to the hook."""
    base = found.get("client") or found.get("get_df")
    target, met = _judged(found, odbc=name.endswith("ODBC"))
    return [
        Row(
            work=f"{name}, 40 columns",
            way=way,
            seconds=taken,
            rate=rows / taken / 1000,
            unit="k rows/s",
            peak_rss_mb=peak,
            ratio=taken / base[0] if base else None,
            target=target if way == "ours" else None,
            meets_target=met if way == "ours" else None,
        )
        for way, (taken, peak) in found.items()
    ]


def main() -> None:
    """Measure, print, and write JSON when asked."""
    given = arguments(__doc__ or "", rows=1_000_000, ways=tuple(WAYS))
    chosen = given.only or tuple(WAYS)
    shown: list[Row] = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openreg-bench-")))
        environment = dict(os.environ) | {"AIRFLOW_HOME": str(scratch)}

        def compare(name: str, connection: dict[str, Any], *ways: str) -> None:
            source = scratch / f"{name}.json"
            source.write_text(json.dumps({"connection": connection, "rows": given.rows}))
            few = given.rows <= _MOST_HOOK_ROWS
            commands = {
                way: ["-m", "benchmarks.extract_ways", way, str(source)]
                for way in ways
                if way in chosen and (few or way not in _HOOKS)
            }
            found = measure(commands, repeats=given.repeats, environment=environment, once=_HOOKS)
            shown.extend(_rows(name, given.rows, found))

        for name, start in (("PostgreSQL", _postgres), ("MariaDB", _mariadb)):
            with ExitStack() as server:
                described = start(server, given.rows)
                compare(name, described, "client", "ours", "ours in parts", *_HOOKS)
                odbc = _through_odbc(described, _ODBC[name])
                through = f"{name} by ODBC"
                compare(through, odbc, "ours", *_ODBC_HOOKS[through])
    title = f"Extraction of {given.rows:,} rows; ratio to the client, of ODBC to get_df"
    if given.rows > _MOST_HOOK_ROWS:
        title += f"; hooks left out above {_MOST_HOOK_ROWS:,} rows: they would need some 20 GB"
    show(title, shown, given.json)


if __name__ == "__main__":
    main()
